//! `treering je watch`.
//!
//! Invariant: one snapshot that fails does not keep the next one from being taken; only a signal ends it, or a failure
//! that every further one would meet as well.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::args::JeWatchArgs;
use crate::commands::backup;
use crate::context::Context;
use crate::exit::{Failure, Kind, Outcome};
use crate::output;
use crate::process;

/// Which folder is meant by that of an environment.
pub(super) const NAME_IT: &str =
    "Name the folder in which the files `*.jdb` are, or its data folders `data001` and so on.";
/// How often a wait looks whether somebody asked to stop.
const LOOK: Duration = Duration::from_millis(200);

/// Takes snapshots until it is stopped.
pub(crate) fn run(context: &Context, args: &JeWatchArgs) -> Outcome {
    let backup = args.backup().map_err(|error| Failure::usage("the folder cannot be watched").because(&error))?;
    let home = || must_be_home(&args.folder).map_err(|failure| failure.safe("No snapshot was taken."));
    home()?;
    context.with_repository(|opened| {
        process::catch_signals()?;
        again_and_again(context, args.every, args.once, || {
            home()?;
            backup::run_in(context, opened, &backup)
        })
    })
}

/// Fails where there is no environment: whoever follows one that is not there protects nothing.
pub(super) fn must_be_home(folder: &Path) -> Outcome {
    let none = Failure::new(Kind::Failed, format!("there is no JE environment in {}", folder.display())).next(NAME_IT);
    match treering_je::is_home(folder) {
        Ok(true) => Ok(()),
        Ok(false) => Err(none),
        Err(error) => Err(none.because(&error)),
    }
}

/// Does something, waits, and does it again, until a signal comes. What fails once is told and tried again.
pub(super) fn again_and_again(
    context: &Context,
    every: Duration,
    once: bool,
    mut work: impl FnMut() -> Outcome,
) -> Outcome {
    loop {
        let started = Instant::now();
        match work() {
            done if once => return done,
            Err(failure) if is_final(failure.kind) => return Err(failure),
            Err(failure) => failure.render(context.printer.json).iter().for_each(|text| output::eprint_raw(text)),
            Ok(()) => {}
        }
        while started.elapsed() < every {
            if process::is_interrupted() {
                return Err(Failure::new(process::interruption(), "stopped by a signal")
                    .safe("Everything that was told before is done."));
            }
            std::thread::sleep(LOOK.min(every));
        }
    }
}

/// Whether trying again makes no sense.
fn is_final(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Usage | Kind::Interrupted | Kind::Terminated | Kind::ReaderLeft | Kind::WrongKey | Kind::Unsupported
    )
}
