//! Every statement of the corpus answers as plain PostgreSQL does, in three configurations.
//!
//! `CITUS_TEST_CONFIG=single` runs one configuration only; `CITUS_TEST_CONFIG=plain` tries the
//! corpus on plain PostgreSQL alone, without the extension.

use std::path::PathBuf;
use std::sync::OnceLock;

use citus_tests::cluster::Cluster;
use citus_tests::corpus::{read_unit, Unit};
use citus_tests::oracle::{Duel, Mode, Report, Side};
use citus_tests::server::Kind;

/// Name, shard count, and whether tables are filled before they are distributed; `single` has no
/// workers.
const CONFIGS: [(&str, u32, bool); 3] =
    [("w2s4", 4, false), ("w2s32", 32, true), ("single", 4, false)];

fn plain() -> &'static Cluster {
    static IT: OnceLock<Cluster> = OnceLock::new();
    IT.get_or_init(|| Cluster::start(0, Kind::PLAIN, ""))
}

/// A second oracle, to try the corpus itself.
fn other_plain() -> &'static Cluster {
    static IT: OnceLock<Cluster> = OnceLock::new();
    IT.get_or_init(|| Cluster::start(0, Kind::PLAIN, ""))
}

fn two_workers() -> &'static Cluster {
    static IT: OnceLock<Cluster> = OnceLock::new();
    IT.get_or_init(|| Cluster::start(2, Kind::FAST, ""))
}

fn single() -> &'static Cluster {
    static IT: OnceLock<Cluster> = OnceLock::new();
    IT.get_or_init(|| Cluster::start(0, Kind::FAST, ""))
}

fn run_config(unit: &Unit, config: &str, shards: u32, filled: bool) -> Report {
    let oracle = plain();
    let plain_db = oracle.bare_database(&unit.name);
    let plain_side = Side::new(&oracle.coordinator, &plain_db);
    if config == "plain" {
        let other_db = other_plain().bare_database(&unit.name);
        let other = Side::new(&other_plain().coordinator, &other_db);
        return Duel::new(
            config,
            unit,
            plain_side,
            other,
            Mode { distributed: false, filled, twice: true },
        )
        .run();
    }
    let cluster = if config == "single" { single() } else { two_workers() };
    let database = cluster.database(&unit.name);
    cluster
        .connect(&database)
        .run(&format!("ALTER DATABASE {database} SET citus.shard_count = {shards}"));
    let side = Side::new(&cluster.coordinator, &database);
    let filled = filled || std::env::var_os("CITUS_TEST_FILLED").is_some();
    let mode = Mode { distributed: true, filled, twice: config == "w2s4" };
    Duel::new(config, unit, plain_side, side, mode).run()
}

fn run_unit(name: &str) {
    let unit = read_unit(&corpus().join(name));
    let wanted = std::env::var("CITUS_TEST_CONFIG").ok();
    let configs: Vec<(&str, u32, bool)> = match wanted.as_deref() {
        Some("plain") => vec![("plain", 0, false)],
        Some(one) => CONFIGS.into_iter().filter(|c| c.0 == one).collect(),
        None => CONFIGS.to_vec(),
    };
    let mut failures = Vec::new();
    for (config, shards, filled) in configs {
        let began = std::time::Instant::now();
        let report = run_config(&unit, config, shards, filled);
        println!(
            "{name} {config}: {} statements, {} failures, {} skipped after them, {} known failures, {:.1} s",
            report.statements,
            report.failures.len(),
            report.skipped,
            report.known.len(),
            began.elapsed().as_secs_f64()
        );
        report.known.iter().for_each(|k| println!("  known: {k}"));
        failures.extend(report.failures);
    }
    assert!(failures.is_empty(), "{} failures\n\n{}", failures.len(), failures.join("\n\n"));
}

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

macro_rules! units {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run_unit(stringify!($name));
        })*

        /// Every directory of the corpus has a test, and the corpus keeps its size.
        #[test]
        fn corpus_is_complete() {
            let mut listed = vec![$(stringify!($name)),*];
            let entries = std::fs::read_dir(corpus()).unwrap();
            let mut found: Vec<String> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
            listed.sort_unstable();
            found.sort();
            assert_eq!(listed, found);
            let units: Vec<Unit> = found.iter().map(|n| read_unit(&corpus().join(n))).collect();
            let statements: usize = units.iter().flat_map(|u| &u.files).map(Vec::len).sum();
            assert!(units.len() >= 8 && statements >= 450, "{} schemas, {statements} statements", units.len());
        }
    };
}

units!(aggregates barriers blocks ddl equality events inserts joins lists metrics mixed names objects orms routines saas shop traps transactions types writing);
