//! What the developers of treering run: `cargo xtask <command>`.
//!
//! Owns: the commands of this repository that are more than one line.
//! Never: uses a crate of treering, so it builds and measures even when they do not compile.
//! Invariant: a command that could not do all it was asked for ends with a failure.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bench;
mod campaign;
mod ci;
mod error;
mod try_out;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What the developers of treering run
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the tests need, then check formatting, lints and tests
    Ci(ci::Arguments),
    /// Build treering and back a folder up with it, into a repository in ~/treering-try
    Try(try_out::Arguments),
    /// Run a random test at its full size
    Campaign(campaign::Arguments),
    /// Measure treering beside the backup tools found on PATH
    Bench(bench::Arguments),
    /// Run and measure one command (bench starts this for every cell)
    #[command(hide = true)]
    Cell(bench::cell::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Ci(arguments) => ci::run(&arguments),
        Command::Try(arguments) => try_out::run(&arguments),
        Command::Campaign(arguments) => campaign::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Cell(arguments) => bench::cell::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {}", error::with_causes(&error));
            ExitCode::FAILURE
        }
    }
}
