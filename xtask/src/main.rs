//! The project's commands: `cargo xtask help` lists them.

mod args;
mod install;
mod pg;
mod util;

use args::Args;
use install::Profile;
use pg::Postgres;
use std::process::ExitCode;
use util::{fail, Result};

const HELP: &str = "\
cargo xtask <command>

  install [--release]    build the extension and install it into PostgreSQL

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
            install::install(&Postgres::find()?, profile)
        }
        "help" => {
            print!("{HELP}");
            Ok(())
        }
        other => fail(format!("unknown command {other}: see `cargo xtask help`")),
    }
}
