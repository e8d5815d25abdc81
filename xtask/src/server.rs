//! One PostgreSQL server on loopback: its data directory, start, stop and psql.

use crate::pg::Postgres;
use crate::util::{capture, fail, is_root, Context, Failure, Result};
use std::fs;
use std::os::unix::fs::{chown, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// File of our own settings in a data directory; `postgresql.conf` includes it.
const CONF_FILE: &str = "citus.conf";

/// Settings of every server. `max_prepared_transactions` is what two-phase commit needs,
/// the lock table is for statements that touch many shards.
const CONF: &str = "\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_preload_libraries = 'citus'
citus.node_conninfo = 'sslmode=disable'
max_connections = 300
max_prepared_transactions = 300
max_worker_processes = 32
max_locks_per_transaction = 512
wal_level = logical
max_wal_senders = 20
max_replication_slots = 60
shared_buffers = 256MB
work_mem = 16MB
maintenance_work_mem = 128MB
max_wal_size = 4GB
jit = off
log_line_prefix = '%m [%p] %q%u@%d '
";

/// The account that servers run as: PostgreSQL refuses to run as root.
struct Account {
    uid: u32,
    gid: u32,
    home: String,
}

/// A server of a cluster.
#[derive(Clone)]
pub struct Server {
    /// "coordinator" or "worker1" ...
    pub name: String,
    /// Its data directory.
    pub data: PathBuf,
    /// The port on 127.0.0.1.
    pub port: u16,
}

impl Server {
    /// True if the data directory is complete.
    pub fn exists(&self) -> bool {
        self.data.join("PG_VERSION").is_file()
    }

    /// The port that the data directory was set up with, if it says so.
    pub fn configured_port(&self) -> Option<u16> {
        let conf = fs::read_to_string(self.data.join(CONF_FILE)).ok()?;
        let line = conf.lines().find_map(|l| l.strip_prefix("port = "))?;
        line.trim().parse().ok()
    }

    /// Makes the data directory. It is built beside its place and renamed at the end, so that
    /// an interrupted start leaves nothing that looks finished.
    pub fn create(&self, pg: &Postgres) -> Result<()> {
        let fresh = self.data.with_extension("new");
        if fresh.exists() {
            fs::remove_dir_all(&fresh).context(fresh.display())?;
        }
        fs::create_dir(&fresh).context(fresh.display())?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o700)).context(fresh.display())?;
        give_to_server(&fresh)?;
        let mut initdb = command(&pg.program("initdb"))?;
        initdb.arg("-D").arg(&fresh).args(["-U", "postgres", "-A", "trust", "-E", "UTF8"]);
        capture(initdb.args(["--locale=C.UTF-8", "--no-sync"]))?;
        let main = fresh.join("postgresql.conf");
        let text = fs::read_to_string(&main).context(main.display())?;
        fs::write(&main, format!("{text}\ninclude = '{CONF_FILE}'\n")).context(main.display())?;
        let ours = fresh.join(CONF_FILE);
        let text = format!("{CONF}cluster_name = '{}'\nport = {}\n", self.name, self.port);
        fs::write(&ours, text).context(ours.display())?;
        fs::set_permissions(&ours, fs::Permissions::from_mode(0o644)).context(ours.display())?;
        give_to_server(&ours)?;
        fs::rename(&fresh, &self.data).context(self.data.display())
    }

    /// True if the server runs.
    pub fn running(&self, pg: &Postgres) -> Result<bool> {
        if !self.exists() {
            return Ok(false);
        }
        let mut ctl = self.pg_ctl(pg, "status")?;
        ctl.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(ctl.status().context("pg_ctl status")?.success())
    }

    /// Starts the server and waits until it accepts connections.
    pub fn start(&self, pg: &Postgres) -> Result<()> {
        let log = self.data.join("log");
        let mut ctl = self.pg_ctl(pg, "start")?;
        ctl.args(["-w", "-t", "60", "-l"]).arg(&log);
        // Not captured through a pipe: the server would inherit its end and keep it open.
        ctl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if ctl.status().context("pg_ctl start")?.success() {
            return Ok(());
        }
        fail(format!(
            "{} did not start on port {}; the end of {}:\n{}",
            self.name,
            self.port,
            log.display(),
            last_lines(&log, 15)
        ))
    }

    /// Stops the server, rolling back what its sessions had open.
    pub fn stop(&self, pg: &Postgres) -> Result<()> {
        capture(self.pg_ctl(pg, "stop")?.args(["-m", "fast", "-w", "-t", "60"]))?;
        Ok(())
    }

    /// True if the installed library is newer than the running server, which therefore still
    /// uses the previous one.
    pub fn outdated(&self, pg: &Postgres) -> bool {
        let modified = |path: PathBuf| fs::metadata(path).and_then(|m| m.modified()).ok();
        modified(pg.pkglibdir.join("citus.so")) > modified(self.data.join("postmaster.pid"))
    }

    /// `psql` connected to the server, without the user's start-up file.
    pub fn psql(&self, pg: &Postgres) -> Command {
        psql(pg, self.port)
    }

    /// Runs statements and returns their output, unaligned and without headers.
    pub fn sql(&self, pg: &Postgres, text: &str) -> Result<String> {
        let mut psql = self.psql(pg);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text]);
        let output = capture(&mut psql)
            .map_err(|e| Failure::new(format!("{} (port {}): {e}", self.name, self.port)))?;
        Ok(output.trim_end().to_string())
    }

    fn pg_ctl(&self, pg: &Postgres, action: &str) -> Result<Command> {
        let mut ctl = command(&pg.program("pg_ctl"))?;
        ctl.arg(action).arg("-D").arg(&self.data);
        Ok(ctl)
    }
}

/// `psql` as user postgres in database postgres on a port of loopback.
pub fn psql(pg: &Postgres, port: u16) -> Command {
    let mut psql = Command::new(pg.program("psql"));
    for variable in ["PGSERVICE", "PGOPTIONS", "PGHOSTADDR", "PGSSLMODE"] {
        psql.env_remove(variable);
    }
    psql.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres", "-d", "postgres"]);
    psql
}

/// A program that runs with the servers' account, away from directories it may not read.
fn command(program: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    command.current_dir("/");
    // The messages of pg_ctl and initdb are shown only when they fail: keep them in English.
    command.env("LC_ALL", "C.UTF-8");
    if let Some(account) = account()? {
        command.uid(account.uid).gid(account.gid).env("HOME", account.home);
    }
    Ok(command)
}

/// Hands a file or directory to the servers' account.
fn give_to_server(path: &Path) -> Result<()> {
    match account()? {
        Some(account) => chown(path, Some(account.uid), Some(account.gid)).context(path.display()),
        None => Ok(()),
    }
}

/// Makes the directory that holds the data directories, usable by the servers' account.
pub fn prepare_directory(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).context(dir.display())?;
    let empty = fs::read_dir(dir).context(dir.display())?.next().is_none();
    if empty {
        give_to_server(dir)?;
    }
    let mut test = command(Path::new("test"))?;
    if crate::util::succeeds(test.arg("-x").arg(dir)) {
        return Ok(());
    }
    fail(format!(
        "user postgres, who runs the servers, may not enter {}: \
         choose a directory under one that everybody can enter, with --dir",
        dir.display()
    ))
}

/// The account for servers: `postgres` if we are root, else ourselves (`None`).
fn account() -> Result<Option<Account>> {
    if !is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
    match passwd.lines().find_map(parse_postgres) {
        Some(account) => Ok(Some(account)),
        None => fail("there is no user postgres to run servers as: run `cargo xtask setup`"),
    }
}

fn parse_postgres(line: &str) -> Option<Account> {
    let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let home = fields.nth(1)?.to_string();
    Some(Account { uid, gid, home })
}

fn last_lines(file: &Path, count: usize) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.len().saturating_sub(count);
    lines.iter().skip(start).map(|l| format!("  {l}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwd_line() {
        let line = "postgres:x:105:109:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash";
        let account = parse_postgres(line);
        let found = account.map(|a| (a.uid, a.gid, a.home));
        assert_eq!(found, Some((105, 109, "/var/lib/postgresql".to_string())));
        assert!(parse_postgres("root:x:0:0:root:/root:/bin/bash").is_none());
    }
}
