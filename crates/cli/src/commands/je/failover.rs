//! `treering je failover`.

use std::cell::Cell;
use std::time::Duration;

use treering_je::failover::{Failover, FailoverError, Pass};
use treering_snapshot::SnapshotName;

use super::history::histories;
use super::moment::only;
use super::watch::again_and_again;
use crate::args::{JeFailoverArgs, RestoreArgs};
use crate::commands::restore;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Kind, Outcome, kind_of_io};
use crate::output::messages::{JePass, Message};
use crate::output::table::count;
use crate::settings::{Verbosity, snapshot_filter};
use crate::{choice, escape, paths, process, size};

/// How long a deletion of JE's is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Follows an environment, or its snapshots.
pub(crate) fn run(context: &Context, args: &JeFailoverArgs) -> Outcome {
    if args.from_snapshots {
        return from_snapshots(context, args);
    }
    process::catch_signals()?;
    let (home, standby) = (paths::absolute(&args.folder)?, paths::absolute(&args.to)?);
    let failover = Failover::new(home, standby, LOCK_WAIT);
    again_and_again(context, args.every, args.once, || tell(context, args, &failover.pass().map_err(explained)?))
}

fn tell(context: &Context, args: &JeFailoverArgs, pass: &Pass) -> Outcome {
    let seconds = pass.behind_ms as f64 / 1000.0;
    if context.printer.json {
        return context.printer.json(&Message::JePass(JePass {
            standby: escape::lossy(args.to.as_os_str().as_encoded_bytes()),
            files_copied: pass.copied,
            bytes_copied: pass.copied_bytes,
            files_kept: pass.kept,
            files_removed: pass.removed,
            last_commit: pass.last.as_ref().map(|last| super::moment::commit(last, &context.zone)),
            commits_behind: pass.behind_commits,
            seconds_behind: seconds,
        }));
    }
    let last = pass
        .last
        .as_ref()
        .map_or_else(String::new, |last| format!(", up to the commit of {}", super::moment::show(last, &context.zone)));
    let (standby, copied) = (escape::path(&args.to), count(pass.copied, "file"));
    let behind = format!("{} and {seconds:.1} s behind", count(pass.behind_commits, "commit"));
    let line = format!("{standby}: {copied} copied ({}){last}; {behind}", size::show(pass.copied_bytes));
    context.printer.note(Verbosity::Normal, &line)
}

fn explained(error: FailoverError) -> Failure {
    let kind = match &error {
        FailoverError::Io { source, .. } => kind_of_io(source),
        FailoverError::Damaged { .. } => Kind::Damaged,
        _ => Kind::Failed,
    };
    let next = match &error {
        FailoverError::Changed { .. } | FailoverError::NotAStandby { .. } => {
            "If it is of no use any more, move it away, and run this again."
        }
        FailoverError::InUse { .. } => "If the application has moved to the standby, stop this command.",
        FailoverError::Damaged { .. } => "`treering je verify` of the home says what is at stake.",
        _ => "Run it again; the standby can be opened meanwhile.",
    };
    let failure = Failure::new(kind, error.to_string()).safe("The standby is as it was.").next(next);
    match std::error::Error::source(&error) {
        Some(cause) => failure.because(cause),
        None => failure,
    }
}

/// Restores the newest snapshot whenever it is another one than the last time.
fn from_snapshots(context: &Context, args: &JeFailoverArgs) -> Outcome {
    let restore = args.restore().map_err(|error| Failure::usage("the standby cannot be restored").because(&error))?;
    context.with_repository(|opened| {
        process::catch_signals()?;
        let last = Cell::new(None);
        again_and_again(context, args.every, args.once, || newest(context, opened, args, &restore, &last))
    })
}

fn newest(
    context: &Context,
    opened: &Opened,
    args: &JeFailoverArgs,
    restore: &RestoreArgs,
    last: &Cell<Option<SnapshotName>>,
) -> Outcome {
    let filter = snapshot_filter(&restore.filter, &context.environment);
    let all = choice::all(&opened.repository, context.printer)?;
    let wanted = [paths::absolute(&args.folder)?];
    let unfiltered = treering_snapshot::select::Filter { paths: Vec::new(), ..filter };
    let history = only(histories(&all, &unfiltered, &wanted))?;
    let newest = history.snapshots.last().map(|(name, _)| *name);
    if newest.is_some() && newest == last.get() {
        return Ok(());
    }
    restore::run_in(context, opened, restore)?;
    last.set(newest);
    Ok(())
}
