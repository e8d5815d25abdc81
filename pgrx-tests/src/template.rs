//! Data directories that servers start from. `initdb` and `CREATE EXTENSION` take seconds of a
//! processor: they are done once and their result is copied.
//!
//! A copy gets a system identifier of its own, because the extension tells servers apart by it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::process;
use crate::server::{bin_dir, Kind, Server};

/// Name of the database that new test databases are copied from.
pub const DATABASE: &str = "citus_template";

/// What a copy has besides the databases of `initdb`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Nothing.
    Bare,
    /// An empty database [`DATABASE`].
    Plain,
    /// [`DATABASE`] with the extension.
    Extension,
}

impl Content {
    fn name(self) -> &'static str {
        match self {
            Content::Bare => "template-bare",
            Content::Plain => "template-plain",
            Content::Extension => "template-extension",
        }
    }
}

/// Makes the data directory of a new server.
pub fn copy(content: Content, data: &Path) -> io::Result<()> {
    process::run(Command::new("cp").arg("-a").arg(made(content)?).arg(data))?;
    identify(data)?;
    // Begins the log of changes anew, under the identifier that is there now.
    let mut reset = Command::new(bin_dir().join("pg_resetwal"));
    process::run(reset.arg("-f").arg("-D").arg(data)).map(|_| ())
}

/// The directory to copy, made when it is needed first.
fn made(content: Content) -> io::Result<&'static Path> {
    static BARE: OnceLock<io::Result<PathBuf>> = OnceLock::new();
    static PLAIN: OnceLock<io::Result<PathBuf>> = OnceLock::new();
    static EXTENSION: OnceLock<io::Result<PathBuf>> = OnceLock::new();
    let slot = match content {
        Content::Bare => &BARE,
        Content::Plain => &PLAIN,
        Content::Extension => &EXTENSION,
    };
    match slot.get_or_init(|| find_or_make(content)) {
        Ok(path) => Ok(path),
        Err(e) => Err(io::Error::other(e.to_string())),
    }
}

fn find_or_make(content: Content) -> io::Result<PathBuf> {
    let place = process::shared_dir().join(content.name());
    if place.is_dir() {
        return Ok(place);
    }
    let data = make(content)?;
    fs::remove_dir_all(data.join("pg_wal"))?;
    for dir in ["pg_wal", "pg_wal/archive_status"] {
        process::run(Command::new("mkdir").args(["-m", "700"]).arg(data.join(dir)))?;
    }
    match fs::rename(&data, &place) {
        // Another process of the same run was faster.
        Err(_) if place.is_dir() => fs::remove_dir_all(&data)?,
        other => other?,
    }
    Ok(place)
}

fn make(content: Content) -> io::Result<PathBuf> {
    if content == Content::Bare {
        let data = process::fresh_dir("template").join("data");
        let mut init = Command::new(bin_dir().join("initdb"));
        init.arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust", "-E", "UTF8"]);
        init.args(["--locale=C", "--no-sync", "--no-instructions"]);
        process::run(&mut init)?;
        return Ok(data);
    }
    let citus = content == Content::Extension;
    let server = Server::create("template", Kind { citus, durable: false }, "")?;
    server.connect("postgres").run(&format!("CREATE DATABASE {DATABASE}"));
    if citus {
        server.connect(DATABASE).run("CREATE EXTENSION citus");
    }
    server.end(libc::SIGINT);
    let data = process::fresh_dir("template").join("data");
    fs::rename(server.dir.join("data"), &data)?;
    // Each server adds its settings to those of initdb.
    fs::copy(made(Content::Bare)?.join("postgresql.conf"), data.join("postgresql.conf"))?;
    Ok(data)
}

/// Writes a new system identifier, made as `initdb` makes it, into the control file, whose first
/// field it is. The file's checksum is wrong then: `pg_resetwal -f` writes a new one.
fn identify(data: &Path) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_secs();
    let number = NEXT.fetch_add(1, Ordering::Relaxed) & 0x3ff;
    let low = (u64::from(std::process::id()) << 10 | number) & 0xffff_ffff;
    let mut file = OpenOptions::new().write(true).open(data.join("global/pg_control"))?;
    file.write_all(&(now << 32 | low).to_ne_bytes())
}
