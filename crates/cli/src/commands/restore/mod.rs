//! `treering restore`.
//!
//! Invariant: before anything is written, one line says where things go; whatever was not brought back exactly is
//! named and makes the exit code.

mod jpom;
mod missing;
mod plan;
mod tell;

use std::time::Instant;

use treering_snapshot::SnapshotError;
use treering_snapshot::restore::{self as library, RestoreSummary};

use self::plan::Plan;
use crate::args::RestoreArgs;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Outcome};
use crate::output::listener::Listener;
use crate::output::progress::Task;
use crate::process;
use crate::settings::Verbosity;

/// What is true of every restore that fails in its midst.
const REPOSITORY_UNTOUCHED: &str =
    "The repository was not changed. Files that were complete by then stay; no other was left half written.";

/// Brings files back.
pub(crate) fn run(context: &Context, args: &RestoreArgs) -> Outcome {
    context.with_repository(|opened| {
        process::catch_signals()?;
        run_in(context, opened, args)
    })
}

/// The same from a repository that is open.
pub(crate) fn run_in(context: &Context, opened: &Opened, args: &RestoreArgs) -> Outcome {
    let plan = Plan::make(context, opened, args)?;
    context.printer.note(Verbosity::Normal, &plan.says_where())?;
    plan.tell_moment(context)?;
    plan.tell_missing(context)?;
    let started = Instant::now();
    let mut done = write(context, opened, &plan).map_err(|failure| match failure.safe {
        // It knows better: that nothing was restored, for instance.
        Some(_) => failure,
        None => failure.safe(REPOSITORY_UNTOUCHED),
    })?;
    jpom::tell_nothing(context, args, &done);
    jpom::keep_old(context, &plan, &mut done);
    tell::tell(context, &plan, &done, started.elapsed())
}

fn write(context: &Context, opened: &Opened, plan: &Plan<'_>) -> Result<RestoreSummary, Failure> {
    let listener = Listener::start(Task::Restore, &context.settings, context.printer);
    let (_, snapshot) = &plan.named;
    let done = library::restore(&opened.repository, snapshot, &plan.options(), &listener);
    listener.finish();
    done.map_err(|error| match process::is_interrupted() {
        true => SnapshotError::Interrupted.into(),
        false => error.into(),
    })
}
