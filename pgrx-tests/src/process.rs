//! Child processes and directories that do not outlive the tests.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// The account that servers run under: PostgreSQL refuses to run as root.
#[derive(Clone, Copy)]
struct Account {
    uid: libc::uid_t,
    gid: libc::gid_t,
}

fn account() -> Option<Account> {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    static FOUND: OnceLock<Option<Account>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let text = fs::read_to_string("/etc/passwd").ok()?;
        let line = text.lines().find(|l| l.starts_with("postgres:"))?;
        let mut ids = line.split(':').skip(2).map(str::parse);
        Some(Account { uid: ids.next()?.ok()?, gid: ids.next()?.ok()? })
    })
}

/// Lets the command run as the servers' account, and die with this process.
fn confine(cmd: &mut Command) {
    let account = account();
    let parent = std::process::id();
    // SAFETY: between fork and exec only async-signal-safe calls are made.
    unsafe {
        cmd.pre_exec(move || {
            if let Some(a) = account {
                if libc::setgroups(0, std::ptr::null()) != 0
                    || libc::setgid(a.gid) != 0
                    || libc::setuid(a.uid) != 0
                {
                    return Err(io::Error::last_os_error());
                }
            }
            // After setuid, which clears it. SIGQUIT is the postmaster's immediate shutdown.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGQUIT);
            if libc::getppid() as u32 != parent {
                return Err(io::Error::other("the parent is gone"));
            }
            Ok(())
        });
    }
    // Keeps Ctrl-C of the terminal from the servers: the test process stops them itself.
    cmd.process_group(0).current_dir("/").env("HOME", "/tmp").env_remove("PGDATA");
}

/// Runs a program as the servers' account and returns its output.
pub fn run(cmd: &mut Command) -> io::Result<String> {
    confine(cmd);
    let out = cmd.output()?;
    let text =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    if out.status.success() {
        Ok(text)
    } else {
        Err(io::Error::other(format!("{cmd:?}: {}\n{text}", out.status)))
    }
}

type SpawnJob = (Command, Sender<io::Result<Child>>);

/// Starts a long-lived process as the servers' account.
///
/// The parent-death signal follows the *thread* that started the child, and test threads end with
/// their test; so one thread that never ends starts them all.
pub fn spawn(mut cmd: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<SpawnJob>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (send, jobs) = channel::<SpawnJob>();
        std::thread::spawn(move || {
            for (mut cmd, answer) in jobs {
                let _ = answer.send(cmd.spawn());
            }
        });
        Mutex::new(send)
    });
    confine(&mut cmd);
    let (send, answer) = channel();
    let sent = spawner.lock().unwrap_or_else(|e| e.into_inner()).send((cmd, send));
    sent.map_err(|_| io::Error::other("no spawner"))?;
    answer.recv().map_err(|_| io::Error::other("no spawner"))?
}

/// Sends a signal to one process.
pub fn signal(pid: i32, signal: i32) -> bool {
    // SAFETY: kill has no memory preconditions; the pid is one that we started.
    pid > 1 && unsafe { libc::kill(pid, signal) } == 0
}

/// Kills a server process as a crash does, and waits until its postmaster knows: until then the
/// server still accepts connections, which end a moment later. False when there is no such process.
pub fn crash(pid: i32) -> bool {
    let killed = signal(pid, libc::SIGKILL);
    let end = Instant::now() + Duration::from_secs(30);
    // Whoever has died is there until its parent has asked for its status.
    while killed && signal(pid, 0) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    killed
}

/// Waits for a child for some time; None when it is still running.
pub fn wait(child: &mut Child, millis: u64) -> Option<ExitStatus> {
    for _ in 0..=millis / 10 {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// The directory of this test process, owned by the servers' account, removed when it exits.
pub fn top_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        sweep();
        let dir = base_dir().join(format!("citus-tests-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        give(&dir);
        // SAFETY: the callback is a plain function that does not unwind.
        unsafe { libc::atexit(at_exit) };
        dir
    })
}

/// A new directory below [`top_dir`] that the servers' account owns.
pub fn fresh_dir(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let dir = top_dir().join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    give(&dir);
    dir
}

/// The directory for what several test processes use: that of the process that started them, which
/// says so with `CITUS_TEST_RUN` and removes it; else [`top_dir`].
pub fn shared_dir() -> PathBuf {
    let run = std::env::var("CITUS_TEST_RUN").ok().and_then(|pid| pid.parse::<u32>().ok());
    let Some(pid) = run else { return top_dir().to_path_buf() };
    let dir = base_dir().join(format!("citus-tests-{pid}"));
    fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    give(&dir);
    dir
}

fn base_dir() -> PathBuf {
    std::env::var_os("CITUS_TEST_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// Makes the servers' account the owner of a path.
pub fn give(path: &Path) {
    if let Some(a) = account() {
        let _ = std::os::unix::fs::chown(path, Some(a.uid), Some(a.gid));
    }
}

/// Removes what test processes that were killed left behind.
fn sweep() {
    let Ok(entries) = fs::read_dir(base_dir()) else { return };
    for e in entries.flatten() {
        let name = e.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("citus-tests-").and_then(|p| p.parse::<i32>().ok());
        if pid.is_some_and(|p| !Path::new(&format!("/proc/{p}")).exists()) {
            let _ = fs::remove_dir_all(e.path());
        }
    }
}

static RUNNING: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// Remembers a postmaster that must not outlive this process.
pub fn register(pid: i32) {
    RUNNING.lock().unwrap_or_else(|e| e.into_inner()).push(pid);
}

/// Forgets a postmaster that has ended.
pub fn unregister(pid: i32) {
    RUNNING.lock().unwrap_or_else(|e| e.into_inner()).retain(|&p| p != pid);
}

extern "C" fn at_exit() {
    let pids = match RUNNING.lock() {
        Ok(list) => list.clone(),
        Err(e) => e.into_inner().clone(),
    };
    for &pid in &pids {
        signal(pid, libc::SIGQUIT);
    }
    for &pid in &pids {
        let mut status = 0;
        // SAFETY: these are our own children; the status pointer is valid.
        unsafe { libc::waitpid(pid, &mut status, 0) };
    }
    let _ = fs::remove_dir_all(top_dir());
}

/// The last lines of a log file, for messages.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
