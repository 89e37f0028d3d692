//! `treering backup`.
//!
//! Owns: what the library is asked for, and what is compared with what.
//! Invariant: an id is printed only for a snapshot that is durable; whatever keeps a backup from being complete and
//! consistent is said and decides the exit code.

mod handover;
mod pause;
mod plan;
mod stream;
mod tell;

use std::sync::atomic::{AtomicBool, Ordering};

use treering_je::handover::Handover;
use treering_snapshot::SnapshotError;
use treering_snapshot::backup::{self as library, BackupOptions, BackupOutcome};
use treering_store::StoreError;

use self::pause::Pause;
use self::plan::Plan;
use self::stream::Stream;
use crate::args::BackupArgs;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Outcome};
use crate::output::listener::Listener;
use crate::output::progress::Task;
use crate::settings::{BackupSettings, Source};
use crate::{clock, process};

/// What is true of every backup that fails.
const NOTHING_COMMITTED: &str = "No snapshot was written, and the repository is intact. What has been stored is not stored again by the next backup.";

/// Backs up.
pub(crate) fn run(context: &Context, args: &BackupArgs) -> Outcome {
    context.with_repository(|opened| {
        process::catch_signals()?;
        run_in(context, opened, args)
    })
}

/// The same into a repository that is open.
pub(crate) fn run_in(context: &Context, opened: &Opened, args: &BackupArgs) -> Outcome {
    let settings = BackupSettings::resolve(args, &context.environment, clock::now(), &context.zone)?;
    for line in &settings.unmatched {
        context.printer.warn(&format!("--files-from: nothing matches {}", line.to_string_lossy()));
    }
    let handed_over = handover::read(&args.je, context.printer)?;
    let pause = Pause::begin(context, args, &settings.source)?;
    let outcome = back_up(context, opened, args, &settings, handed_over.as_ref());
    pause.end(context, &settings.h2.down, outcome)
}

fn back_up(
    context: &Context,
    opened: &Opened,
    args: &BackupArgs,
    settings: &BackupSettings,
    handed_over: Option<&Handover>,
) -> Outcome {
    // Each time the parent was forgotten meanwhile there is a snapshot less to choose from.
    loop {
        let plan = Plan::make(context, opened, args, settings, handed_over)?;
        plan.tell(context, args)?;
        let taken = take(context, opened, &plan, &settings.source).map_err(|f| f.safe(NOTHING_COMMITTED))?;
        for note in plan.homes.take_notes() {
            context.printer.warn(&format!("{}: {}", note.home.display(), note.text));
        }
        if let Some(outcome) = taken {
            for option in plan.homes.unfitted() {
                context.printer.warn(&format!("{option}: nothing in a home of Jpom fits it"));
            }
            return tell::tell(context, args, &outcome);
        }
    }
}

/// `None`: the parent was forgotten before anything was read.
fn take(
    context: &Context,
    opened: &Opened,
    plan: &Plan<'_>,
    source: &Source,
) -> Result<Option<BackupOutcome>, Failure> {
    let listener = Listener::start(Task::Backup, &context.settings, context.printer);
    let options = plan.options(&listener);
    let outcome = match source {
        Source::Paths(_) => with_estimate(&listener, &options, || library::backup(&opened.repository, &options)),
        Source::Stdin(_) => stored(opened, &options, Stream::of_stdin()),
        Source::Command { words, .. } => stored(opened, &options, Stream::of_command(words)?),
    };
    listener.finish();
    match outcome {
        // A command has been started by now, and is not started twice.
        Err(SnapshotError::Store(StoreError::ParentGone { .. })) if !matches!(source, Source::Command { .. }) => {
            Ok(None)
        }
        Err(_) if process::is_interrupted() => Err(SnapshotError::Interrupted.into()),
        done => Ok(Some(done?)),
    }
}

fn stored(opened: &Opened, options: &BackupOptions<'_>, stream: Stream) -> Result<BackupOutcome, SnapshotError> {
    let Stream { mut from, mut child } = stream;
    let outcome = library::backup_stream(&opened.repository, options, &mut *from, &mut || child.finish());
    // Whoever still writes into the pipe is told that nobody reads.
    drop(from);
    outcome.inspect_err(|_| child.stop())
}

/// Counts what there is to do while it is done, if anybody wants to see that.
fn with_estimate<T>(listener: &Listener, options: &BackupOptions<'_>, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    let (paths, is_excluded) = (&options.paths, options.is_excluded);
    std::thread::scope(|scope| {
        if listener.progress().is_shown() {
            let (done, counters) = (&done, listener.progress().counters());
            scope.spawn(move || {
                let (files, bytes) = library::estimate(paths, is_excluded, &|| done.load(Ordering::Relaxed));
                counters.set_total(files, bytes);
            });
        }
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}
