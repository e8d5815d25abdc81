//! The project's commands: `cargo xtask help` lists them.

mod args;
mod cluster;
mod demo;
mod docs;
mod install;
mod pg;
mod scratch;
mod server;
mod setup;
mod source;
mod suite;
mod test;
mod tidy;
mod unit;
mod util;

use args::Args;
use install::Profile;
use pg::Postgres;
use setup::Need;
use std::process::ExitCode;
use util::{fail, Result};

const HELP: &str = "\
cargo xtask <command>

  demo [--port P] [--dir D]  a cluster with real data and some queries, left running
  test [filter]              install what is missing, build, run every test
  tidy                       formatting, lints, sizes, licences
  docs                       write the table of settings, docs/settings.md
  setup                      install what is missing (Debian packages, as root or through sudo)
  install [--release]        build the extension and install it into PostgreSQL
  cluster start|stop|status|wipe [--workers N] [--port P] [--dir D] [--release]
                             a coordinator on port P (default 9700), workers on the next ports
  psql [--port P] [--dir D] [psql arguments]
                             a session on the coordinator

PG_CONFIG names the pg_config of the PostgreSQL to use (default: Debian's version 15, then PATH).
";

fn main() -> ExitCode {
    let mut args = Args::new(std::env::args().skip(1));
    let command = args.word();
    match dispatch(command.as_deref().unwrap_or("help"), args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &str, mut args: Args) -> Result<()> {
    match command {
        "install" => {
            let profile = Profile::from_release(args.flag("--release"));
            args.finish()?;
            setup::ensure(Need::Build)?;
            install::install(&Postgres::find()?, profile)
        }
        "setup" => setup::command(),
        "test" => {
            let filter = args.word();
            args.finish()?;
            setup::ensure(Need::Test)?;
            test::test(&Postgres::find()?, filter.as_deref())
        }
        "docs" => {
            args.finish()?;
            docs::write()
        }
        "tidy" => {
            args.finish()?;
            setup::ensure(Need::Build)?;
            tidy::tidy()
        }
        "cluster" => cluster::command(args),
        "demo" => demo::command(args),
        "psql" => cluster::psql_command(args),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => fail(format!("unknown command {other}: see `cargo xtask help`")),
    }
}
