//! `cargo xtask install`: builds the extension and puts it into a PostgreSQL.

use crate::pg::Postgres;
use crate::util::{as_root, capture, cargo, fail, root, run, Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How the extension is compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build, slow to run.
    Debug,
    /// Optimised.
    Release,
}

impl Profile {
    /// From a `--release` flag.
    pub fn from_release(release: bool) -> Self {
        if release {
            Self::Release
        } else {
            Self::Debug
        }
    }

    fn directory(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

/// Builds the extension and installs it into `postgres`.
pub fn install(postgres: &Postgres, profile: Profile) -> Result<()> {
    build(profile)?;
    let library = target_directory()?.join(profile.directory()).join("libcitus.so");
    let content = fs::read(&library).context(library.display())?;
    place(&postgres.pkglibdir.join("citus.so"), &content, 0o755)?;

    let control = fs::read_to_string(root().join("citus.control")).context("citus.control")?;
    let version = default_version(&control)?;
    // The control file goes last: it is what makes a new version visible.
    let script = bootstrap_script(&root().join("sql/bootstrap"))?;
    let name = format!("citus--{version}.sql");
    place(&postgres.extension_dir.join(name), script.as_bytes(), 0o644)?;
    for step in sql_files(&root().join("sql"))? {
        let content = fs::read(&step).context(step.display())?;
        let name = step.file_name().unwrap_or_default();
        place(&postgres.extension_dir.join(name), &content, 0o644)?;
    }
    place(&postgres.extension_dir.join("citus.control"), control.as_bytes(), 0o644)?;
    println!("citus {version} installed for {}", postgres.pg_config.display());
    Ok(())
}

fn build(profile: Profile) -> Result<()> {
    let mut command = cargo();
    command.args(["build", "--package", "citus", "--lib"]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    run(&mut command)
}

/// Where cargo puts what it builds; the user may have moved it by environment or configuration.
pub fn target_directory() -> Result<PathBuf> {
    let metadata = capture(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let found =
        metadata.split_once("\"target_directory\":\"").and_then(|(_, rest)| rest.split_once('"'));
    match found {
        Some((path, _)) => Ok(PathBuf::from(path)),
        None => fail("`cargo metadata` names no target_directory"),
    }
}

/// The value of `default_version` in a control file.
fn default_version(control: &str) -> Result<&str> {
    let line = control.lines().find_map(|l| l.trim().strip_prefix("default_version"));
    match line.and_then(|l| l.split('\'').nth(1)) {
        Some(version) => Ok(version),
        None => fail("citus.control has no default_version"),
    }
}

/// The installation script: the topics in the order of their names.
fn bootstrap_script(directory: &Path) -> Result<String> {
    let mut script = String::new();
    for file in sql_files(directory)? {
        let text = fs::read_to_string(&file).context(file.display())?;
        script.push_str(text.trim_end());
        script.push_str("\n\n");
    }
    Ok(script)
}

/// The `*.sql` files directly in a directory, sorted by name; none if it does not exist.
fn sql_files(directory: &Path) -> Result<Vec<PathBuf>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).context(directory.display())? {
        let path = entry.context(directory.display())?.path();
        if path.is_file() && path.extension().is_some_and(|e| e == "sql") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Writes a file in one step. A running server has the old library mapped: replacing the
/// directory entry leaves it alone, while writing into the file would crash it.
fn place(target: &Path, content: &[u8], mode: u32) -> Result<()> {
    if fs::read(target).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let temporary = target.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = fs::write(&temporary, content)
        .and_then(|()| fs::set_permissions(&temporary, fs::Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&temporary, target));
    match written {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            place_as_root(target, &name, content, mode)
        }
        Err(e) => {
            let _ = fs::remove_file(&temporary);
            Err(e).context(target.display())
        }
        Ok(()) => Ok(()),
    }
}

/// The same through sudo, for a PostgreSQL that belongs to root.
fn place_as_root(target: &Path, name: &str, content: &[u8], mode: u32) -> Result<()> {
    let staged = target_directory()?.join(format!("{name}.{}", std::process::id()));
    let temporary = target.with_file_name(format!(".{name}.{}", std::process::id()));
    fs::write(&staged, content).context(staged.display())?;
    let copied =
        run(as_root("install").args(["-m", &format!("{mode:o}")]).arg(&staged).arg(&temporary))
            .and_then(|()| run(as_root("mv").arg("-f").arg(&temporary).arg(target)));
    fs::remove_file(&staged).context(staged.display())?;
    copied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_the_control_file() {
        let control = "comment = 'x'\ndefault_version = '13.2-1'\n";
        assert_eq!(default_version(control).ok(), Some("13.2-1"));
        assert!(default_version("comment = 'x'").is_err());
    }
}
