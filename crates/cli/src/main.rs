//! The `treering` command.
//!
//! Owns: the way from the command line to a command and from its outcome to the exit code.
//! Never: holds logic that a library caller would need.
//! Invariant: the only module that ends the process; nothing else calls `exit`.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test says what it expects by panicking"))]

mod applications;
mod args;
mod choice;
mod clock;
mod commands;
mod context;
mod docker;
mod environment;
mod escape;
mod exit;
mod files_from;
mod output;
mod owners;
mod password;
mod paths;
mod patterns;
mod process;
mod selector;
mod settings;
mod size;
mod time;

use std::process::ExitCode;

use args::{Cli, Command};
use context::Context;
use environment::Environment;
use exit::{Failure, Kind, Outcome};
use settings::Settings;

fn main() -> ExitCode {
    match args::parse() {
        Ok(cli) => finish(run(&cli), cli.global.json),
        Err(error) => finish_parsing(&error),
    }
}

/// Resolves what was typed and runs the command.
fn run(cli: &Cli) -> Outcome {
    let environment = Environment::read()?;
    let settings = Settings::resolve(&cli.global, &environment)?;
    process::raise_open_files();
    let context = Context::new(settings, environment);
    match &cli.command {
        Command::Init(args) => commands::init::run(&context, args),
        Command::Backup(args) => commands::backup::run(&context, args),
        Command::Snapshots(args) => commands::snapshots::run(&context, args),
        Command::Ls(args) => commands::ls::run(&context, args),
        Command::Find(args) => commands::find::run(&context, args),
        Command::Diff(args) => commands::diff::run(&context, args),
        Command::Dump(args) => commands::dump::run(&context, args),
        Command::Restore(args) => commands::restore::run(&context, args),
        Command::Stats(args) => commands::stats::run(&context, args),
        Command::Check(args) => commands::check::run(&context, args),
        Command::Prune(args) => commands::prune::run(&context, args),
        Command::Undelete(args) => commands::undelete::run(&context, args),
        Command::Repair(args) => commands::repair::run(&context, args),
        Command::Forget(args) => commands::forget::run(&context, args),
        Command::Cat(args) => commands::cat::run(&context, args),
        Command::Key(args) => commands::key::run(&context, args),
        Command::Je(args) => commands::je::run(&context, args),
        Command::H2(args) => commands::h2::run(&context, args),
        Command::Jpom(args) => commands::jpom::run(&context, args),
        Command::Completions(args) => commands::completions::run(args, context.printer),
        Command::Man(args) => commands::man::run(args, context.printer),
        Command::Version => commands::version::run(context.printer),
    }
}

fn finish(outcome: Outcome, json: bool) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.render(json).iter().for_each(|text| output::eprint_raw(text));
            failure.kind.into()
        }
    }
}

/// Help and the version come as errors too, with code 0. `--json` may stand in what could not be parsed.
fn finish_parsing(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if !error.use_stderr() || !json {
        // Nobody is left to tell if this fails.
        let _ = error.print();
        return if error.use_stderr() { Kind::Usage.into() } else { ExitCode::SUCCESS };
    }
    finish(Err(parse_failure(&error.render().to_string())), true)
}

/// clap's text, cut into what is wrong and what to do.
fn parse_failure(text: &str) -> Failure {
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let wrong = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let failure = Failure::usage(wrong.trim_start_matches("error: "));
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    failure.next(tip.unwrap_or("`treering COMMAND --help` says what may be typed."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_that_cannot_be_read_is_a_failure_with_a_hint() {
        let failure = parse_failure("error: two\n  <A>\n\n  tip: try\n\nUsage: x\n");
        assert_eq!((failure.kind, failure.message().as_str()), (Kind::Usage, "two <A>"));
        assert_eq!(failure.next.as_deref(), Some("try"));
        assert!(parse_failure("error: one\n").next.unwrap().contains("--help"));
    }
}
