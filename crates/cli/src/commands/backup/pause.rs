//! Homes of Jpom that are stopped while they are backed up, and what is told of anything that does not run again.
//!
//! Invariant: what was stopped here is started again before the command ends, whatever came of the backup. That something
//! is down outweighs what a snapshot that is saved lacks.

use treering_h2::{Down, NotStarted};
use treering_jpom::{Home, Stop, Stopped};
use treering_snapshot::with_causes;

use crate::args::BackupArgs;
use crate::context::Context;
use crate::exit::{Failure, Kind, Outcome};
use crate::settings::{Source, Verbosity};
use crate::{paths, process};

/// What has to be started again.
pub(super) struct Pause {
    stopped: Vec<Stopped>,
}

impl Pause {
    /// Stops what runs in the given homes, if that was asked for.
    pub(super) fn begin(context: &Context, args: &BackupArgs, source: &Source) -> Result<Pause, Failure> {
        let mut pause = Pause { stopped: Vec::new() };
        let Some(wait) = args.jpom.stop_wait().filter(|_| !args.dry_run) else { return Ok(pause) };
        for home in homes(source)? {
            let stopped = treering_jpom::stop(&home, wait, &process::is_interrupted);
            let root = home.root().display();
            match stopped.map_err(|error| not_stopped(&error))? {
                Stop::NotRunning => context.printer.note(Verbosity::Normal, "nothing runs that could be stopped")?,
                Stop::Stopped(stopped) => pause.stopped.push(stopped),
                Stop::StillRunning(stopped) => {
                    context.printer.warn(&format!("{root} was told to stop and has not; it is captured while it runs"));
                    pause.stopped.push(stopped);
                }
            }
        }
        Ok(pause)
    }

    /// Starts everything again and says so, also of what was stopped for the capture of databases.
    pub(super) fn end(self, context: &Context, databases: &Down, outcome: Outcome) -> Outcome {
        let mut down: Vec<String> = Vec::new();
        let mut commands: Vec<String> = Vec::new();
        for NotStarted { command, reason } in databases.take() {
            down.push(format!(
                "what was stopped for the capture of an H2 database is DOWN: the command `{command}` {reason}"
            ));
            commands.push(command);
        }
        for stopped in self.stopped {
            let pid = stopped.pid();
            match stopped.start() {
                Ok(Some(new)) => {
                    let said = format!("Jpom was stopped (process {pid}) and runs again (process {new})");
                    context.printer.note(Verbosity::Normal, &said)?;
                }
                Ok(None) => context.printer.warn(&format!("Jpom (process {pid}) has not stopped, and runs on")),
                Err(error) => {
                    down.push(with_causes(&error));
                    commands.push("bash bin/Server.sh start -s (or bin/Agent.sh)".to_owned());
                }
            }
        }
        commands.dedup();
        match (down.is_empty(), outcome) {
            (true, outcome) => outcome,
            (false, Ok(())) => Err(not_started(&down, &commands).safe("The snapshot is saved.")),
            (false, Err(failure)) => {
                let Failure { kind, happened, next, .. } = not_started(&down, &commands);
                let kind = if is_saved(failure.kind) { kind } else { failure.kind };
                Err(Failure { kind, happened: format!("{happened}; {}", failure.happened), next, ..failure })
            }
        }
    }
}

/// The homes among the sources; nothing else can be stopped.
fn homes(source: &Source) -> Result<Vec<Home>, Failure> {
    let Source::Paths(typed) = source else { return Ok(Vec::new()) };
    let mut homes = Vec::new();
    for path in typed {
        homes.extend(Home::at(&paths::absolute(path)?).ok().filter(Home::has_program));
    }
    match homes.is_empty() {
        false => Ok(homes),
        true => Err(Failure::usage("--jpom-stop-start: none of the paths is a home of Jpom with its program")
            .next("What runs in a container is captured live; `docker exec` stops it if that is wanted.")),
    }
}

fn not_stopped(error: &treering_jpom::Error) -> Failure {
    Failure::new(Kind::Failed, error.to_string())
        .safe("Nothing was stopped, and no snapshot was written.")
        .next("Run this as the user that Jpom runs as, or as root; or leave --jpom-stop-start away.")
}

fn not_started(down: &[String], commands: &[String]) -> Failure {
    Failure::new(Kind::Failed, down.join("; ")).next(format!("Start it: {}", commands.join("; ")))
}

/// Whether a failure of this kind comes with a snapshot.
fn is_saved(kind: Kind) -> bool {
    matches!(kind, Kind::Incomplete | Kind::AppNotConsistent)
}
