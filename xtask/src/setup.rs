//! `cargo xtask setup`: installs what the build and the servers need, through Debian's packages.

use crate::pg::{locate, MAJOR};
use crate::util::{
    as_root, capture, fail, headline, is_root, run, succeeds, which, Context, Failure, Result,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's switch for making and starting a server as soon as the package is installed.
const CREATE_CLUSTER_CONF: &str = "/etc/postgresql-common/createcluster.conf";

/// What a command needs besides Rust.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// To compile the extension and run servers.
    Build,
    /// The same and what unpacks PostgreSQL's source, whose test suite is one of our tests.
    Test,
    /// What building needs and Python's package installer, to fetch the demo's data.
    Demo,
}

/// Installs what is missing; silent and quick if nothing is.
pub fn ensure(need: Need) -> Result<()> {
    if let Some(named) = std::env::var_os("PG_CONFIG").map(PathBuf::from) {
        if !named.is_file() {
            return fail(format!("PG_CONFIG names {}, which does not exist", named.display()));
        }
    }
    let missing = missing_packages(need);
    if missing.is_empty() {
        return Ok(());
    }
    headline(&format!("installing {}", missing.join(" ")));
    if which("apt-get").is_none() {
        return fail(format!(
            "this is not a Debian system: install the equivalents of {} yourself, \
             and name PostgreSQL's pg_config in PG_CONFIG",
            missing.join(" ")
        ));
    }
    if !is_root() && which("sudo").is_none() {
        return fail(format!(
            "installing packages needs root or sudo: run `apt-get install {}` as root",
            missing.join(" ")
        ));
    }
    run(apt_get().arg("update")).map_err(|e| Failure::new(format!("{e}: is there a network?")))?;
    let server = format!("postgresql-{MAJOR}");
    if missing.contains(&server.as_str()) {
        without_default_server(|| install_packages(&missing))?;
    } else {
        install_packages(&missing)?;
    }
    match missing_packages(need).as_slice() {
        [] => Ok(()),
        left => fail(format!("still missing after installation: {}", left.join(" "))),
    }
}

/// `cargo xtask setup`.
pub fn command() -> Result<()> {
    ensure(Need::Demo)?;
    println!("everything that is needed is installed");
    Ok(())
}

fn missing_packages(need: Need) -> Vec<&'static str> {
    let mut missing = Vec::new();
    let mut require = |present: bool, package| {
        if !present {
            missing.push(package);
        }
    };
    let pg_config = locate();
    let beside = |name: &str| pg_config.as_ref().map(|p| p.with_file_name(name));
    require(beside("postgres").is_some_and(|p| p.is_file()), "postgresql-15");
    require(has_server_headers(), "postgresql-server-dev-15");
    require(has_libclang(), "libclang-dev");
    require(which("clang").is_some(), "clang");
    require(which("pkg-config").is_some(), "pkg-config");
    if need != Need::Build {
        require(which("bzip2").is_some(), "bzip2");
    }
    if need == Need::Demo {
        let pip = succeeds(Command::new("python3").args(["-m", "pip", "--version"]));
        require(pip, "python3-pip");
    }
    missing
}

/// The headers that bindings are generated from: those of the `pg_config` that the build uses,
/// which is named in `.cargo/config.toml` and need not be the one to install to.
fn has_server_headers() -> bool {
    let Some(pg_config) = std::env::var_os("PGRX_PG_CONFIG_PATH").map(PathBuf::from).or(locate())
    else {
        return false;
    };
    let directory = capture(Command::new(pg_config).arg("--includedir-server"));
    directory.is_ok_and(|d| Path::new(d.trim()).join("postgres.h").is_file())
}

fn has_libclang() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let is_library = |name: &str| name.starts_with("libclang.so") || name.starts_with("libclang-");
    let has = |dir: PathBuf| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|e| e.file_name()).any(|name| {
            let name = name.to_string_lossy();
            is_library(&name) && name.contains(".so")
        })
    };
    let llvm = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let llvm = llvm.filter(|e| e.file_name().to_string_lossy().starts_with("llvm-"));
    llvm.map(|e| e.path().join("lib")).any(has) || has("/usr/lib64".into())
}

fn install_packages(packages: &[&str]) -> Result<()> {
    run(apt_get().args(["install", "-y", "--no-install-recommends"]).args(packages))
}

/// apt-get that asks nothing; `env` carries the variable through sudo.
fn apt_get() -> Command {
    let mut command = as_root("env");
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]);
    command
}

/// Runs an installation of the server's package with Debian's default server switched off: it
/// would take port 5432 and memory that nobody asked for. The switch is put back afterwards.
fn without_default_server(work: impl FnOnce() -> Result<()>) -> Result<()> {
    install_packages(&["postgresql-common"])?;
    let conf = Path::new(CREATE_CLUSTER_CONF);
    let before = fs::read_to_string(conf).context(conf.display())?;
    let mut off: String = before
        .lines()
        .filter(|l| !l.trim_start().starts_with("create_main_cluster"))
        .map(|l| format!("{l}\n"))
        .collect();
    off.push_str("create_main_cluster = false\n");
    write_as_root(conf, &off)?;
    let result = work();
    write_as_root(conf, &before)?;
    result
}

fn write_as_root(target: &Path, text: &str) -> Result<()> {
    let staged = std::env::temp_dir().join(format!("createcluster.conf.{}", std::process::id()));
    fs::write(&staged, text).context(staged.display())?;
    let copied = run(as_root("install").args(["-m", "644"]).arg(&staged).arg(target));
    fs::remove_file(&staged).context(staged.display())?;
    copied
}
