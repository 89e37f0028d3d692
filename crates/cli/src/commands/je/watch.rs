//! `treering je watch`.
//!
//! Invariant: one snapshot that fails does not keep the next one from being taken; only a signal ends it, or a failure
//! that every further one would meet as well.

use std::time::{Duration, Instant};

use crate::args::JeWatchArgs;
use crate::commands::backup;
use crate::context::Context;
use crate::exit::{Failure, Kind, Outcome};
use crate::output;
use crate::process;

/// How often a wait looks whether somebody asked to stop.
const LOOK: Duration = Duration::from_millis(200);

/// Takes snapshots until it is stopped.
pub(crate) fn run(context: &Context, args: &JeWatchArgs) -> Outcome {
    let backup = args.backup().map_err(|error| Failure::usage("the folder cannot be watched").because(&error))?;
    context.with_repository(|opened| {
        process::catch_signals()?;
        again_and_again(context, args.every, args.once, || backup::run_in(context, opened, &backup))
    })
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
