//! PostgreSQL's own regression suite gives the same results with the extension preloaded, and with
//! the extension created in its database.
//!
//! The suite runs on three servers: without the extension, with it preloaded, and with it created
//! too. The output of every test must be the same, apart from [`LISTS_OBJECTS`]. What it says without
//! the extension is kept beside the compiled tests, for as long as server and suite are the same.
//!
//! [`citus_tests::postgres_source`] says where the suite comes from.

mod reference;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use citus_tests::postgres_source::{quiet, regression_suite};
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

/// Tests that list all objects of a database or look for the rules that PostgreSQL has for its own:
/// they differ where the extension is created, and must differ, or they are listed in vain.
const LISTS_OBJECTS: [&str; 5] =
    ["misc_sanity.out", "opr_sanity.out", "rules.out", "sanity_check.out", "type_sanity.out"];

/// Tests of the source's release (15.18) that later servers fail, with the extension or without.
/// docs/development.md says why.
const OUTDATED: [&str; 2] = ["alter_table", "rules"];
/// The newest minor release for which this list was checked.
const CHECKED_MINOR: u32 = 20;

/// Compiles the suite's C functions and puts them beside the contrib modules that it uses.
fn library_dir(regress: &Path) -> PathBuf {
    let dir = process::fresh_dir("regress-lib");
    let named = pg_config_value("--includedir-server");
    let system = PathBuf::from("/usr/include/postgresql/15/server");
    let include = if named.join("postgres.h").is_file() { named } else { system };
    let compile = |source: PathBuf, library: &str| {
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-w", "-DREFINT_VERBOSE", "-I"]).arg(&include);
        quiet(cc.arg(source).arg("-o").arg(dir.join(library))).unwrap();
    };
    compile(regress.join("regress.c"), "regress.so");
    for module in ["refint", "autoinc"] {
        // The suite expects what the modules of its own release say.
        let source = regress.join(format!("../../../contrib/spi/{module}.c"));
        let library = format!("{module}.so");
        if source.is_file() {
            compile(source, &library);
        } else {
            let installed = pg_config_value("--pkglibdir").join(&library);
            std::os::unix::fs::symlink(installed, dir.join(&library)).unwrap();
        }
    }
    dir
}

/// The minor release of psql, whose part in the suite is as large as the server's.
fn psql_minor() -> u32 {
    let psql = pg_config_value("--bindir").join("psql");
    let out = Command::new(psql).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let version = text.split_whitespace().find(|w| w.starts_with("15.")).unwrap_or_default();
    version.trim_start_matches("15.").parse().unwrap_or(0)
}

/// Since 15.19 psql takes the lines after a refused COPY FROM STDIN for its data, up to `\\.`.
/// Scripts of an older release do not have that line, and what follows would be swallowed.
fn end_refused_copies(script: &str, expected: &str) -> String {
    let answers: Vec<&str> = expected.lines().collect();
    let lines: Vec<&str> = script.lines().collect();
    let (mut out, mut at) = (String::new(), 0);
    for (n, line) in lines.iter().enumerate() {
        out.push_str(line);
        out.push('\n');
        let lower = line.to_ascii_lowercase();
        if !(lower.starts_with("copy") && lower.contains("from stdin") && line.contains(';')) {
            continue;
        }
        let Some(echo) = answers[at..].iter().position(|a| a == line) else { continue };
        at += echo + 1;
        let refused = answers.get(at).is_some_and(|a| a.starts_with("ERROR:"));
        // psql repeats commands in its output, and data not.
        let next = lines[n + 1..].iter().find(|l| !l.is_empty());
        let no_data = next.is_some_and(|l| answers[at..].iter().take(12).any(|a| a == l));
        if refused && no_data {
            out.push_str("\\.\n");
        }
    }
    out
}

/// The suite's directory for one run, with scripts that fit psql.
fn input_dir(name: &str, regress: &Path) -> PathBuf {
    let input = process::fresh_dir(name);
    quiet(Command::new("cp").arg("-r").arg(regress.join(".")).arg(&input)).unwrap();
    if psql_minor() >= 19 {
        for entry in fs::read_dir(input.join("sql")).unwrap().flatten() {
            let script = entry.path();
            let stem = script.file_stem().unwrap_or_default();
            let expected = input.join("expected").join(stem).with_extension("out");
            let read = |p: &Path| String::from_utf8(fs::read(p).unwrap_or_default()).ok();
            if let (Some(old), Some(answers)) = (read(&script), read(&expected)) {
                let new = end_refused_copies(&old, &answers);
                if new.len() > old.len() + 1 {
                    fs::write(&script, new).unwrap();
                }
            }
        }
    }
    quiet(Command::new("chown").arg("-R").arg("--reference").arg(process::top_dir()).arg(&input))
        .unwrap();
    input
}

/// The output of each test, and the names of those that failed.
type Outcome = (BTreeMap<String, String>, Vec<String>);

/// Runs the suite on a server of its own.
fn run_suite(name: &str, kind: Kind, regress: &Path, libraries: &Path, create: bool) -> Outcome {
    let server = Server::create(name, kind, CONF).unwrap();
    let input = input_dir(name, regress);
    let runner = pg_config_value("--pkglibdir").join("pgxs/src/test/regress/pg_regress");
    let mut cmd = Command::new(runner);
    cmd.arg(format!("--bindir={}", pg_config_value("--bindir").display()))
        .arg(format!("--inputdir={}", input.display()))
        .arg(format!("--outputdir={}", input.display()))
        .arg(format!("--schedule={}", input.join("parallel_schedule").display()))
        .arg(format!("--dlpath={}", libraries.display()))
        .args(["--host=127.0.0.1", "--user=postgres", "--max-connections=10"])
        .arg(format!("--port={}", server.port));
    if create {
        cmd.arg("--load-extension=citus");
    }
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
    let Some(regress) = regression_suite(env!("CARGO_TARGET_TMPDIR")) else { return };
    let libraries = library_dir(&regress);
    let ([with, created], without) = std::thread::scope(|s| {
        let run = |name: &'static str, kind, create| {
            let (regress, libraries) = (&regress, &libraries);
            s.spawn(move || run_suite(name, kind, regress, libraries, create))
        };
        let with = run("suite-with", Kind::FAST, false);
        let created = run("suite-created", Kind::FAST, true);
        let without = reference::kept(&regress).unwrap_or_else(|| {
            run_suite("suite-without", Kind::PLAIN, &regress, &libraries, false)
        });
        ([with, created].map(|t| t.join().unwrap()), without)
    });
    println!("failed without the extension: {}", without.1.join(" "));
    println!("failed with the extension: {}", with.1.join(" "));
    println!("failed with the extension created: {}", created.1.join(" "));
    assert!(without.0.len() > 200, "only {} tests ran", without.0.len());
    let mut differences = compare(&without.0, &with.0, &[]);
    differences.extend(compare(&without.0, &created.0, &LISTS_OBJECTS));
    assert_eq!(without.1, with.1, "{}", differences.join("\n\n"));
    assert!(
        differences.is_empty(),
        "{} outputs differ\n\n{}",
        differences.len(),
        differences.join("\n\n")
    );
    if psql_minor() <= CHECKED_MINOR {
        let unexpected: Vec<_> =
            without.1.iter().filter(|t| !OUTDATED.contains(&t.as_str())).collect();
        assert!(unexpected.is_empty(), "tests that fail without the extension: {unexpected:?}");
    }
    // A run like any other, then: the next one compares with it.
    reference::keep(&regress, &without).unwrap();
}

/// The outputs that differ and should not, and those that should and do not.
fn compare(
    a: &BTreeMap<String, String>,
    b: &BTreeMap<String, String>,
    differ: &[&str],
) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, output) in a {
        let listed = differ.contains(&name.as_str());
        match b.get(name) {
            Some(other) if other == output && listed => {
                differences.push(format!("{name} is equal, and should not be listed"));
            }
            Some(other) if other == output || listed || UNSTABLE.contains(&name.as_str()) => {}
            Some(other) => differences.push(format!("{name}: {}", first_difference(output, other))),
            None => differences.push(format!("{name} did not run")),
        }
    }
    differences
}

#[test]
fn refused_copies_get_their_end() {
    let script = "COPY t FROM stdin;\nSELECT 1;\ncopy t from stdin;\na\n\\.\nCOPY t FROM stdin; -- no\n\\.\n";
    let expected = "COPY t FROM stdin;\nERROR:  no\nSELECT 1;\n1\ncopy t from stdin;\n\
                    ERROR:  bad\nCONTEXT:  COPY t, line 1\nCOPY t FROM stdin; -- no\nERROR:  no\n";
    let new = "COPY t FROM stdin;\n\\.\nSELECT 1;\ncopy t from stdin;\na\n\\.\nCOPY t FROM stdin; -- no\n\\.\n";
    assert_eq!(end_refused_copies(script, expected), new);
}
