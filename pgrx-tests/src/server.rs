//! One PostgreSQL server in a temporary directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::client::{Conn, Error};
use crate::process;
use crate::template::{self, Content};

/// Settings that every test server has.
const CONF: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
max_prepared_transactions = 100
max_worker_processes = 32
max_locks_per_transaction = 512
shared_buffers = 32MB
max_wal_size = 4GB
checkpoint_timeout = 1h
autovacuum = off
jit = off
timezone = 'UTC'
datestyle = 'ISO, MDY'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %d '
log_min_messages = warning
restart_after_crash = on
";

/// How a server is set up.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Preload the extension.
    pub citus: bool,
    /// Write everything to disk in time: only tests that kill servers need it.
    pub durable: bool,
}

impl Kind {
    /// PostgreSQL as it comes: the oracle.
    pub const PLAIN: Kind = Kind { citus: false, durable: false };
    /// A node for tests of answers.
    pub const FAST: Kind = Kind { citus: true, durable: false };
    /// A node for tests that kill it.
    pub const DURABLE: Kind = Kind { citus: true, durable: true };
}

/// `pg_config` of the PostgreSQL under test.
pub fn pg_config() -> PathBuf {
    ["CITUS_TEST_PG_CONFIG", "PG_CONFIG"]
        .iter()
        .find_map(std::env::var_os)
        .map_or_else(|| PathBuf::from("/usr/lib/postgresql/15/bin/pg_config"), PathBuf::from)
}

/// What `pg_config OPTION` prints.
pub fn pg_config_value(option: &str) -> PathBuf {
    let tool = pg_config();
    let out = Command::new(&tool)
        .arg(option)
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", tool.display()));
    PathBuf::from(String::from_utf8_lossy(&out.stdout).trim())
}

/// Where the programs of the PostgreSQL under test lie.
pub(crate) fn bin_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| pg_config_value("--bindir"))
}

/// A port that nobody listens on: below the range that outgoing connections use.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let (low, high) = port_range();
    let span = high - low + 1;
    // Programs that run at the same time have numbers in a row: far from each other all the same.
    let start = (u64::from(std::process::id()) * 211 % u64::from(span)) as u16;
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = low + (start.wrapping_add(step)) % span;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {low} and {high}");
}

/// `CITUS_TEST_PORTS=7500-7599`, or a wide range.
fn port_range() -> (u16, u16) {
    let given = std::env::var("CITUS_TEST_PORTS").ok();
    let parsed = given.as_deref().and_then(|s| {
        let (a, b) = s.split_once('-')?;
        Some((a.parse().ok()?, b.parse().ok()?))
    });
    parsed.unwrap_or((20000, 29999))
}

/// A running (or stopped, or killed) server.
pub struct Server {
    pub name: String,
    pub dir: PathBuf,
    pub port: u16,
    child: Mutex<Option<Child>>,
}

impl Server {
    /// Makes a data directory and starts a server on it.
    pub fn create(name: &str, kind: Kind, extra_conf: &str) -> io::Result<Server> {
        Server::create_with(Content::Bare, name, kind, extra_conf)
    }

    /// Makes a server that has a database [`crate::template::DATABASE`], with the extension if it
    /// is preloaded.
    pub fn with_template(name: &str, kind: Kind, extra_conf: &str) -> io::Result<Server> {
        let content = if kind.citus { Content::Extension } else { Content::Plain };
        Server::create_with(content, name, kind, extra_conf)
    }

    fn create_with(
        content: Content,
        name: &str,
        kind: Kind,
        extra_conf: &str,
    ) -> io::Result<Server> {
        let dir = process::fresh_dir(name);
        let data = dir.join("data");
        template::copy(content, &data)?;
        let mut conf = OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        conf.write_all(CONF.as_bytes())?;
        if kind.citus {
            writeln!(
                conf,
                "shared_preload_libraries = 'citus'\ncitus.node_conninfo = 'sslmode=disable'"
            )?;
            // Tests look at shards; those of what other clients see take it back.
            writeln!(conf, "citus.show_shards_for_app_name_prefixes = '*'")?;
            // Tests see what is left behind; those of recovery itself turn it on.
            writeln!(conf, "citus.recover_2pc_interval = -1")?;
            writeln!(conf, "citus.distributed_deadlock_detection_factor = -1")?;
        }
        if !kind.durable {
            writeln!(conf, "fsync = off\nfull_page_writes = off")?;
        }
        writeln!(conf, "{extra_conf}")?;
        let mut server = Server { name: name.to_owned(), dir, port: 0, child: Mutex::new(None) };
        for attempt in 0.. {
            server.port = free_port();
            // The last one counts.
            writeln!(conf, "port = {}", server.port)?;
            match server.start() {
                Ok(()) => break,
                // Another program was quicker.
                Err(_) if attempt < 3 && server.log_tail(30).contains("could not bind") => {}
                Err(e) => return Err(e),
            }
        }
        Ok(server)
    }

    /// Makes and starts a streaming standby of this server.
    pub fn standby(&self, name: &str) -> io::Result<Server> {
        let dir = process::fresh_dir(name);
        let data = dir.join("data");
        let mut copy = Command::new(bin_dir().join("pg_basebackup"));
        copy.args(["-h", "127.0.0.1", "-U", "postgres", "-R", "-c", "fast", "-X", "stream", "-p"]);
        copy.arg(self.port.to_string()).arg("-D").arg(&data);
        process::run(&mut copy)?;
        let port = free_port();
        let mut conf = OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        writeln!(conf, "port = {port}")?;
        let server = Server { name: name.to_owned(), dir, port, child: Mutex::new(None) };
        server.start()?;
        Ok(server)
    }

    /// Starts the server and waits until it answers.
    pub fn start(&self) -> io::Result<()> {
        // After a kill -9 of the postmaster its children need a moment to notice and leave.
        for attempt in 0.. {
            match self.try_start() {
                Ok(()) => return Ok(()),
                Err(e) if attempt >= 20 => {
                    return Err(io::Error::other(format!(
                        "{}: {e}\n{}",
                        self.name,
                        self.log_tail(30)
                    )));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(200)),
            }
        }
        Ok(())
    }

    fn try_start(&self) -> io::Result<()> {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        process::give(&self.log_path());
        let mut cmd = Command::new(bin_dir().join("postgres"));
        cmd.arg("-D").arg(self.dir.join("data"));
        cmd.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = process::spawn(cmd)?;
        process::register(child.id() as i32);
        let end = Instant::now() + Duration::from_secs(120);
        while Instant::now() < end {
            if child.try_wait()?.is_some() {
                process::unregister(child.id() as i32);
                return Err(io::Error::other("server ended at start"));
            }
            if self.is_there() {
                *self.slot() = Some(child);
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        *self.slot() = Some(child);
        Err(io::Error::other("server does not answer"))
    }

    /// Whether it answers: it and no other that has the port.
    fn is_there(&self) -> bool {
        let answer = self.try_connect("postgres").and_then(|mut c| c.simple("SHOW data_directory"));
        let told = answer.ok().and_then(|mut r| r.pop()?.rows.pop()?.pop()?);
        let real = |path: &Path| fs::canonicalize(path).ok();
        told.is_some_and(|dir| real(Path::new(&dir)) == real(&self.dir.join("data")))
    }

    /// Connects as the superuser.
    pub fn try_connect(&self, database: &str) -> Result<Conn, Error> {
        Conn::connect(self.port, "postgres", database)
    }

    /// Connects as the superuser; the server must be up.
    #[track_caller]
    pub fn connect(&self, database: &str) -> Conn {
        match self.try_connect(database) {
            Ok(c) => c,
            Err(e) => panic!("{} port {}: {e}\n{}", self.name, self.port, self.log_tail(30)),
        }
    }

    /// Process id of the postmaster, when it runs.
    pub fn pid(&self) -> Option<i32> {
        self.slot().as_ref().map(|c| c.id() as i32)
    }

    /// Shuts the server down with a signal (SIGINT fast, SIGQUIT at once, SIGKILL as a crash).
    pub fn end(&self, signal: i32) {
        let Some(mut child) = self.slot().take() else { return };
        let pid = child.id() as i32;
        process::signal(pid, signal);
        if process::wait(&mut child, 20_000).is_none() {
            process::signal(pid, libc::SIGKILL);
            let _ = child.wait();
        }
        process::unregister(pid);
    }

    /// Stops and starts the server.
    pub fn restart(&self) -> io::Result<()> {
        self.end(libc::SIGINT);
        self.start()
    }

    /// Waits until the server accepts connections again, after a backend crashed.
    pub fn wait_ready(&self) -> io::Result<()> {
        let end = Instant::now() + Duration::from_secs(120);
        while Instant::now() < end {
            if self.try_connect("postgres").is_ok_and(|mut c| c.simple("SELECT 1").is_ok()) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(io::Error::other(format!("{} does not come back\n{}", self.name, self.log_tail(30))))
    }

    /// Lets the server read its configuration again; sessions that come afterwards have it.
    pub fn reload(&self) {
        let read = || self.connect("postgres").value("SELECT pg_conf_load_time()");
        let (before, end) = (read(), Instant::now() + Duration::from_secs(60));
        self.connect("postgres").run("SELECT pg_reload_conf()");
        while read() == before {
            assert!(Instant::now() < end, "{} does not read its configuration", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until commits wait for the standbys of `synchronous_standby_names`, which are not there:
    /// sessions know of the setting a moment before the checkpointer has made it hold.
    #[track_caller]
    pub fn wait_sync(&self) {
        let (mut look, end) = (self.connect("postgres"), Instant::now() + Duration::from_secs(60));
        loop {
            assert!(Instant::now() < end, "commits on {} wait for no standby", self.name);
            let mut c = self.connect("postgres");
            let stop = format!(
                "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
                 WHERE wait_event = 'SyncRep' AND pid = {}",
                c.pid
            );
            let probe = std::thread::spawn(move || {
                c.run("SET synchronous_commit = on");
                c.run("SELECT pg_logical_emit_message(true, 'probe', '')");
            });
            let mut waited = false;
            while !probe.is_finished() {
                waited |= look.value(&stop) == "1";
                std::thread::sleep(Duration::from_millis(5));
            }
            if waited {
                return;
            }
        }
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self, lines: usize) -> String {
        process::tail(&self.log_path(), lines)
    }

    /// The whole log.
    pub fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(libc::SIGQUIT);
        let _ = fs::remove_dir_all(&self.dir);
    }
}
