//! Finds the PostgreSQL to work with and asks its `pg_config`.

use crate::util::{capture, fail, which, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian's package puts `pg_config` of the supported major version.
const DEBIAN_PG_CONFIG: &str = "/usr/lib/postgresql/15/bin/pg_config";

/// The major version that the extension is built for.
pub const MAJOR: &str = "15";

/// A PostgreSQL installation.
pub struct Postgres {
    /// Its `pg_config`.
    pub pg_config: PathBuf,
    /// Directory of `postgres`, `initdb`, `psql` ...
    pub bindir: PathBuf,
    /// Directory of loadable modules.
    pub pkglibdir: PathBuf,
    /// Directory of control files and scripts of extensions.
    pub extension_dir: PathBuf,
}

impl Postgres {
    /// The PostgreSQL of `PG_CONFIG`, else Debian's, else the one in PATH.
    pub fn find() -> Result<Self> {
        let Some(pg_config) = locate() else {
            return fail(
                "PostgreSQL 15 was not found: run `cargo xtask setup`, or name its pg_config in PG_CONFIG",
            );
        };
        let version = ask(&pg_config, "--version")?;
        if version.split([' ', '.']).nth(1) != Some(MAJOR) {
            return fail(format!(
                "{} is {version}, but the extension needs PostgreSQL {MAJOR}: name another pg_config in PG_CONFIG",
                pg_config.display()
            ));
        }
        Ok(Self {
            bindir: ask(&pg_config, "--bindir")?.into(),
            pkglibdir: ask(&pg_config, "--pkglibdir")?.into(),
            extension_dir: Path::new(&ask(&pg_config, "--sharedir")?).join("extension"),
            pg_config,
        })
    }

    /// One of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bindir.join(name)
    }
}

/// Path of the `pg_config` to use, if there is one.
pub fn locate() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("PG_CONFIG") {
        return Some(path.into());
    }
    let debian = Path::new(DEBIAN_PG_CONFIG);
    if debian.is_file() {
        return Some(debian.to_path_buf());
    }
    which("pg_config")
}

fn ask(pg_config: &Path, what: &str) -> Result<String> {
    Ok(capture(Command::new(pg_config).arg(what))?.trim().to_string())
}
