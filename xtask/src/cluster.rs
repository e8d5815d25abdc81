//! `cargo xtask cluster`: a coordinator and workers on loopback.

use crate::args::Args;
use crate::install::{install, Profile};
use crate::pg::Postgres;
use crate::server::{prepare_directory, psql, Server};
use crate::setup::{ensure, Need};
use crate::util::{fail, root, timed, Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Port of the coordinator unless --port says otherwise.
const DEFAULT_PORT: u16 = 9700;

/// Number of workers of a new cluster unless --workers says otherwise.
const DEFAULT_WORKERS: u16 = 2;

/// Where and how large a cluster is.
pub struct Cluster {
    dir: PathBuf,
    servers: Vec<Server>,
}

impl Cluster {
    /// From --workers, --port and --dir; what is not given comes from the cluster that the
    /// directory holds already.
    pub fn from_args(args: &mut Args) -> Result<Self> {
        let dir = directory(args)?;
        let port = args.option::<u16>("--port")?;
        let workers = args.option::<u16>("--workers")?;
        Self::new(dir, port, workers)
    }

    /// The cluster in a directory.
    pub fn new(dir: PathBuf, port: Option<u16>, workers: Option<u16>) -> Result<Self> {
        let existing = (1..).take_while(|i| dir.join(format!("worker{i}")).is_dir()).count();
        let known_port = server(&dir, 0, 0).configured_port();
        if let (Some(known), Some(port)) = (known_port, port) {
            if known != port {
                return fail(format!(
                    "the cluster in {} uses port {known}: leave --port out, or wipe it first",
                    dir.display()
                ));
            }
        }
        let port = port.or(known_port).unwrap_or(DEFAULT_PORT);
        let existing = u16::try_from(existing).context("number of workers")?;
        let workers = match (workers, known_port) {
            (Some(workers), _) if workers < existing => {
                return fail(format!(
                    "the cluster in {} has {existing} workers: wipe it first to make it smaller",
                    dir.display()
                ))
            }
            (Some(workers), _) => workers,
            (None, Some(_)) => existing,
            (None, None) => DEFAULT_WORKERS,
        };
        if port == 0 || u32::from(port) + u32::from(workers) > u32::from(u16::MAX) {
            return fail(format!("--port {port} leaves no room for {workers} workers"));
        }
        let servers = (0..=workers).map(|i| server(&dir, i, port)).collect();
        Ok(Self { dir, servers })
    }

    /// The directory that holds the data directories.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// True if commands find this cluster without being told its directory.
    pub fn is_default(&self) -> bool {
        self.dir == default_directory()
    }

    /// The coordinator.
    pub fn coordinator(&self) -> Result<&Server> {
        self.servers.first().ok_or_else(|| crate::util::Failure::new("no coordinator"))
    }

    /// Brings everything up; what runs already is left alone.
    pub fn start(&self, pg: &Postgres) -> Result<()> {
        prepare_directory(&self.dir)?;
        let missing: Vec<&Server> = self.servers.iter().filter(|s| !s.exists()).collect();
        if !missing.is_empty() {
            timed(&format!("initialising {} data directories", missing.len()), || {
                on_each(&missing, |s| s.create(pg))
            })?;
        }
        let mut down = Vec::new();
        for server in &self.servers {
            if !server.running(pg)? {
                down.push(server);
            } else if server.outdated(pg) {
                println!("    {} runs an older build: stop and start to renew it", server.name);
            }
        }
        if !down.is_empty() {
            timed(&format!("starting {} servers", down.len()), || on_each(&down, |s| s.start(pg)))?;
        }
        self.join(pg)
    }

    /// Stops servers that still use the previous library.
    pub fn restart_outdated(&self, pg: &Postgres) -> Result<()> {
        for server in &self.servers {
            if server.running(pg)? && server.outdated(pg) {
                timed(&format!("stopping {} of an older build", server.name), || server.stop(pg))?;
            }
        }
        Ok(())
    }

    /// Creates the extension everywhere and makes the workers known to the coordinator.
    fn join(&self, pg: &Postgres) -> Result<()> {
        let all: Vec<&Server> = self.servers.iter().collect();
        on_each(&all, |s| {
            let made =
                s.sql(pg, "SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'citus'")?;
            if made.is_empty() {
                s.sql(pg, "CREATE EXTENSION citus")?;
            }
            Ok(())
        })?;
        let coordinator = self.coordinator()?;
        let known = "SELECT nodeport FROM pg_catalog.pg_dist_node WHERE nodename = '127.0.0.1'";
        let known = match self.servers.len() {
            0 | 1 => return Ok(()),
            _ => coordinator.sql(pg, known)?,
        };
        let unknown = |s: &&Server| !known.lines().any(|port| port == s.port.to_string());
        for server in self.servers.iter().filter(unknown) {
            let function = match server.name == coordinator.name {
                true => "citus_set_coordinator_host",
                false => "citus_add_node",
            };
            let call = format!("SELECT pg_catalog.{function}('127.0.0.1', {})", server.port);
            timed(&format!("adding {} on port {}", server.name, server.port), || {
                coordinator.sql(pg, &call)
            })?;
        }
        Ok(())
    }

    /// Stops what runs, workers last, so that the coordinator does not see them go.
    pub fn stop(&self, pg: &Postgres) -> Result<()> {
        for server in &self.servers {
            if server.running(pg)? {
                timed(&format!("stopping {}", server.name), || server.stop(pg))?;
            } else {
                println!("    {} is not running", server.name);
            }
        }
        Ok(())
    }

    /// Prints a line per server; a failure if one is down.
    pub fn status(&self, pg: &Postgres) -> Result<()> {
        let mut down = 0;
        for server in &self.servers {
            let state = match (server.exists(), server.running(pg)?) {
                (false, _) => "missing",
                (true, true) => "running",
                (true, false) => "stopped",
            };
            down += usize::from(state != "running");
            println!("{:12} {:5} {state:8} {}", server.name, server.port, server.data.display());
        }
        match down {
            0 => Ok(()),
            n => fail(format!("{n} of {} servers do not run", self.servers.len())),
        }
    }

    /// Stops the cluster and deletes its data directories, and nothing else.
    fn wipe(&self, pg: &Postgres) -> Result<()> {
        self.stop(pg)?;
        for server in self.servers.iter().filter(|s| s.data.is_dir()) {
            fs::remove_dir_all(&server.data).context(server.data.display())?;
        }
        // Other files of the user may lie there; then the directory stays.
        let _ = fs::remove_dir(&self.dir);
        println!("    {} is wiped", self.dir.display());
        Ok(())
    }
}

/// `cargo xtask cluster ACTION`.
pub fn command(mut args: Args) -> Result<()> {
    let action = args.word().unwrap_or_default();
    let profile = Profile::from_release(args.flag("--release"));
    let cluster = Cluster::from_args(&mut args)?;
    args.finish()?;
    if action == "start" {
        ensure(Need::Build)?;
    }
    let pg = Postgres::find()?;
    match action.as_str() {
        "start" => {
            install(&pg, profile)?;
            cluster.start(&pg)?;
            cluster.status(&pg)?;
            println!("connect with: psql -h 127.0.0.1 -p {} -U postgres", cluster.coordinator()?.port);
            Ok(())
        }
        "stop" => cluster.stop(&pg),
        "status" => cluster.status(&pg),
        "wipe" => cluster.wipe(&pg),
        _ => fail("usage: cargo xtask cluster start|stop|status|wipe [--workers N] [--port P] [--dir D] [--release]"),
    }
}

/// `cargo xtask psql`: an interactive session on the coordinator.
pub fn psql_command(mut args: Args) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let port = match args.option::<u16>("--port")? {
        Some(port) => port,
        None => Cluster::new(directory(&mut args)?, None, None)?.coordinator()?.port,
    };
    let pg = Postgres::find()?;
    let error = psql(&pg, port).args(args.rest()).exec();
    fail(format!("psql: {error}"))
}

/// --dir, or a directory of this checkout's own that user postgres can enter.
fn directory(args: &mut Args) -> Result<PathBuf> {
    if let Some(dir) = args.option::<PathBuf>("--dir")? {
        return std::path::absolute(&dir).context(dir.display());
    }
    Ok(default_directory())
}

/// Directory of the cluster that commands use when none is named.
fn default_directory() -> PathBuf {
    // Different checkouts get different clusters; the home of root is closed to user postgres.
    let mut hash: u32 = 2_166_136_261;
    for byte in root().as_os_str().as_encoded_bytes() {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(16_777_619);
    }
    std::env::temp_dir().join(format!("citus-{hash:08x}"))
}

fn server(dir: &Path, index: u16, port: u16) -> Server {
    let name = match index {
        0 => "coordinator".to_string(),
        i => format!("worker{i}"),
    };
    Server { data: dir.join(&name), name, port: port.saturating_add(index) }
}

/// Does the same on several servers at once; the first failure counts.
fn on_each(servers: &[&Server], work: impl Fn(&Server) -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = servers.iter().map(|s| scope.spawn(move || work(s))).collect();
        running.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => fail("a server thread panicked"),
        })
    })
}
