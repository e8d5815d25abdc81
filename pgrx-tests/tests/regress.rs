//! PostgreSQL's own regression suite gives the same results with the extension preloaded.
//!
//! The suite runs on two servers, one with the extension and one without, and the output of every
//! test must be the same: a test that fails on both (the source may be a minor release older than
//! the server) fails in the same way.
//!
//! The source comes from `CITUS_TEST_PG_SOURCE` (an unpacked tree) or from Debian's archive.
//! Where it cannot be had the test says so and passes, unless `CITUS_TEST_REQUIRE_REGRESS` is set.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use citus_tests::process;
use citus_tests::server::{pg_config_value, Kind, Server};

/// The suite's expected plans and messages assume nearly default settings.
const CONF: &str = "
shared_buffers = 128MB
max_locks_per_transaction = 64
max_prepared_transactions = 2
max_worker_processes = 8
autovacuum = on
datestyle = 'ISO, MDY'
";

/// Outputs that depend on timing: compared by pass or fail only.
const UNSTABLE: [&str; 0] = [];

fn quiet(cmd: &mut Command) -> Result<(), String> {
    match cmd.output() {
        Ok(out) if out.status.success() => Ok(()),
        Ok(out) => Err(format!("{cmd:?}: {}", String::from_utf8_lossy(&out.stderr))),
        Err(e) => Err(format!("{cmd:?}: {e}")),
    }
}

/// The directory of PostgreSQL's source that holds `src/test/regress`.
fn source() -> Result<PathBuf, String> {
    if let Some(dir) = std::env::var_os("CITUS_TEST_PG_SOURCE") {
        return Ok(PathBuf::from(dir));
    }
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pg-source");
    if let Some(dir) = unpacked(&cache) {
        return Ok(dir);
    }
    download(&cache)?;
    unpacked(&cache).ok_or_else(|| "the archive has no regression suite".to_owned())
}

fn unpacked(cache: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(cache).ok()?.flatten().map(|e| e.path());
    entries.into_iter().find(|p| p.join("src/test/regress/parallel_schedule").is_file())
}

/// Fetches the source with package lists of our own: nothing of the machine is changed.
fn download(cache: &Path) -> Result<(), String> {
    for dir in ["lists/partial", "archives/partial"] {
        fs::create_dir_all(cache.join(dir)).map_err(|e| e.to_string())?;
    }
    let list = cache.join("sources.list");
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let line = format!("deb-src [signed-by={key}] http://deb.debian.org/debian bookworm main\n");
    fs::write(&list, line).map_err(|e| e.to_string())?;
    let apt = |args: &[&str]| {
        let mut cmd = Command::new("apt-get");
        let options = [
            format!("Dir::Etc::sourcelist={}", list.display()),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::lists={}", cache.join("lists").display()),
            format!("Dir::Cache={}", cache.display()),
            "APT::Sandbox::User=".to_owned(),
        ];
        options.iter().for_each(|o| {
            cmd.args(["-o", o]);
        });
        quiet(cmd.args(args).current_dir(cache))
    };
    apt(&["update"])?;
    apt(&["source", "--download-only", "postgresql-15"])?;
    let entries = fs::read_dir(cache).map_err(|e| e.to_string())?;
    let archive = entries
        .flatten()
        .map(|e| e.path())
        .find(|p| p.to_string_lossy().contains(".orig.tar"))
        .ok_or("apt-get source brought no archive")?;
    let mut tar = Command::new("tar");
    quiet(
        tar.arg("xf")
            .arg(&archive)
            .args(["--wildcards", "*/src/test/regress/*"])
            .current_dir(cache),
    )
}

/// Compiles the suite's C functions and puts them beside the contrib modules that it uses.
fn library_dir(regress: &Path) -> PathBuf {
    let dir = process::fresh_dir("regress-lib");
    let named = pg_config_value("--includedir-server");
    let system = PathBuf::from("/usr/include/postgresql/15/server");
    let include = if named.join("postgres.h").is_file() { named } else { system };
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-w", "-I"]).arg(include);
    cc.arg(regress.join("regress.c")).arg("-o").arg(dir.join("regress.so"));
    quiet(&mut cc).unwrap();
    for module in ["refint.so", "autoinc.so"] {
        std::os::unix::fs::symlink(pg_config_value("--pkglibdir").join(module), dir.join(module))
            .unwrap();
    }
    dir
}

/// Runs the suite on a server of its own: the output of each test, and the names of those that failed.
fn run_suite(
    name: &str,
    kind: Kind,
    regress: &Path,
    libraries: &Path,
) -> (BTreeMap<String, String>, Vec<String>) {
    let server = Server::create(name, kind, CONF).unwrap();
    let input = process::fresh_dir(name);
    quiet(Command::new("cp").arg("-r").arg(regress.join(".")).arg(&input)).unwrap();
    quiet(Command::new("chown").arg("-R").arg("--reference").arg(process::top_dir()).arg(&input))
        .unwrap();
    let runner = pg_config_value("--pkglibdir").join("pgxs/src/test/regress/pg_regress");
    let mut cmd = Command::new(runner);
    cmd.arg(format!("--bindir={}", pg_config_value("--bindir").display()))
        .arg(format!("--inputdir={}", input.display()))
        .arg(format!("--outputdir={}", input.display()))
        .arg(format!("--schedule={}", input.join("parallel_schedule").display()))
        .arg(format!("--dlpath={}", libraries.display()))
        .args(["--host=127.0.0.1", "--user=postgres", "--max-connections=10"])
        .arg(format!("--port={}", server.port));
    let began = std::time::Instant::now();
    // It fails when any test fails; the outputs tell more.
    let said = process::run(&mut cmd).unwrap_or_else(|e| e.to_string());
    println!("{name}: {:.0} s", began.elapsed().as_secs_f64());
    let failed = said
        .lines()
        .filter(|l| l.contains("FAILED"))
        .map(|l| {
            l.trim().trim_start_matches("test ").split("...").next().unwrap_or(l).trim().to_owned()
        })
        .collect();
    let outputs = fs::read_dir(input.join("results")).unwrap_or_else(|e| panic!("{e}: {said}"));
    let outputs = outputs
        .flatten()
        .filter(|e| e.path().extension().is_some_and(|x| x == "out"))
        .map(|e| {
            let text = fs::read(e.path()).unwrap();
            // Both runs work in directories, on ports and with processes of their own.
            let text = String::from_utf8_lossy(&text).replace(&*input.to_string_lossy(), "DIR");
            (e.file_name().to_string_lossy().into_owned(), text)
        })
        .collect();
    assert!(server.try_connect("postgres").is_ok(), "{}", server.log_tail(50));
    (outputs, failed)
}

/// The lines around the first difference.
fn first_difference(a: &str, b: &str) -> String {
    let n = a.lines().zip(b.lines()).take_while(|(x, y)| x == y).count();
    let part =
        |t: &str| t.lines().skip(n.saturating_sub(3)).take(10).collect::<Vec<_>>().join("\n    ");
    format!("line {}\n  without:\n    {}\n  with:\n    {}", n + 1, part(a), part(b))
}

#[test]
fn postgresql_regression_suite() {
    let regress = match source() {
        Ok(dir) => dir.join("src/test/regress"),
        Err(e) if std::env::var_os("CITUS_TEST_REQUIRE_REGRESS").is_none() => {
            println!("skipped: PostgreSQL's source is not to be had: {e}");
            return;
        }
        Err(e) => panic!("{e}"),
    };
    let libraries = library_dir(&regress);
    let (without, with) = std::thread::scope(|s| {
        let run = |name: &'static str, kind| {
            let (regress, libraries) = (&regress, &libraries);
            s.spawn(move || run_suite(name, kind, regress, libraries))
        };
        let kinds = [run("suite-without", Kind::PLAIN), run("suite-with", Kind::FAST)];
        let [a, b] = kinds.map(|t| t.join().unwrap());
        (a, b)
    });
    println!("failed without the extension: {}", without.1.join(" "));
    println!("failed with the extension: {}", with.1.join(" "));
    assert!(without.0.len() > 200, "only {} tests ran", without.0.len());
    let mut differences = Vec::new();
    for (name, output) in &without.0 {
        match with.0.get(name) {
            Some(other) if other == output || UNSTABLE.contains(&name.as_str()) => {}
            Some(other) => differences.push(format!("{name}: {}", first_difference(output, other))),
            None => differences.push(format!("{name} did not run")),
        }
    }
    assert_eq!(without.1, with.1, "{}", differences.join("\n\n"));
    assert!(
        differences.is_empty(),
        "{} outputs differ\n\n{}",
        differences.len(),
        differences.join("\n\n")
    );
}
