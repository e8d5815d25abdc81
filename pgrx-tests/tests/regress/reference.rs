//! What the suite says without the extension, kept from one run to the next.
//!
//! It depends on the server, on psql, on the suite and on how it is run: while all of them are the
//! same, running it again tells nothing new.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use citus_tests::server::pg_config_value;

use crate::Outcome;

/// Holds the files `key`, `failed` and `out/NAME`.
fn place() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("regress-reference")
}

/// What the outcome depends on.
fn key(regress: &Path) -> String {
    let programs = ["postgres", "psql"].map(|p| pg_config_value("--bindir").join(p));
    let scripts = ["parallel_schedule", "sql/create_table.sql"].map(|f| regress.join(f));
    let stamps = programs.iter().chain(&scripts).map(|file| {
        let meta = fs::metadata(file).ok();
        let changed =
            meta.as_ref().and_then(|m| m.modified().ok()?.duration_since(UNIX_EPOCH).ok());
        let (size, changed) = (meta.map_or(0, |m| m.len()), changed.unwrap_or_default());
        format!("{} {size} {}\n", file.display(), changed.as_nanos())
    });
    stamps.chain([include_str!("main.rs").to_owned()]).collect()
}

/// The outcome of an earlier run, if it would be the same today.
pub fn kept(regress: &Path) -> Option<Outcome> {
    let place = place();
    if fs::read_to_string(place.join("key")).ok()? != key(regress) {
        return None;
    }
    let failed = fs::read_to_string(place.join("failed")).ok()?;
    let mut outputs = BTreeMap::new();
    for entry in fs::read_dir(place.join("out")).ok()? {
        let entry = entry.ok()?;
        let text = fs::read_to_string(entry.path()).ok()?;
        outputs.insert(entry.file_name().to_string_lossy().into_owned(), text);
    }
    Some((outputs, failed.lines().map(str::to_owned).collect()))
}

/// Keeps an outcome. The key comes last: without it nothing is used.
pub fn keep(regress: &Path, (outputs, failed): &Outcome) -> io::Result<()> {
    let place = place();
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(place.join("out"))?;
    for (name, text) in outputs {
        fs::write(place.join("out").join(name), text)?;
    }
    fs::write(place.join("failed"), failed.join("\n"))?;
    fs::write(place.join("key"), key(regress))
}
