//! `treering je failover`.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use treering_je::failover::{Failover, FailoverError, Pass};
use treering_snapshot::SnapshotName;

use super::history::{Chunks, histories};
use super::moment::only;
use super::source::environment_of;
use super::watch::{NAME_IT, again_and_again, must_be_home};
use crate::args::{JeFailoverArgs, SnapshotFilterArgs};
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
    let (home, failover) = (paths::absolute(&args.folder)?, Failover::new(paths::absolute(&args.to)?));
    must_be_home(&home).map_err(|failure| failure.safe(as_it_was(&args.to)))?;
    again_and_again(context, args.every, args.once, || {
        let pass = failover.follow(&home, LOCK_WAIT).map_err(|error| explained(error, &args.to))?;
        tell(context, args, &pass)
    })
}

fn tell(context: &Context, args: &JeFailoverArgs, pass: &Pass) -> Outcome {
    let behind = pass.behind.map(|behind| (behind.commits, behind.ms as f64 / 1000.0));
    if context.printer.json {
        return context.printer.json(&Message::JePass(JePass {
            standby: escape::lossy(args.to.as_os_str().as_encoded_bytes()),
            files_copied: pass.copied,
            bytes_copied: pass.copied_bytes,
            files_kept: pass.kept,
            files_removed: pass.removed,
            last_commit: pass.last.as_ref().map(|last| super::moment::commit(last, &context.zone)),
            commits_behind: behind.map(|(commits, _)| commits),
            seconds_behind: behind.map(|(_, seconds)| seconds),
        }));
    }
    let last = pass
        .last
        .as_ref()
        .map_or_else(String::new, |last| format!(", up to the commit of {}", super::moment::show(last, &context.zone)));
    let (standby, copied) = (escape::path(&args.to), count(pass.copied, "file"));
    let show = |(commits, seconds)| format!("; {} and {seconds:.1} s behind", count(commits, "commit"));
    let behind = behind.map(show).unwrap_or_default();
    let line = format!("{standby}: {copied} copied ({}){last}{behind}", size::show(pass.copied_bytes));
    context.printer.note(Verbosity::Normal, &line)
}

/// What is true of every pass that fails.
fn as_it_was(standby: &Path) -> &'static str {
    if standby.exists() { "The standby is as it was." } else { "There is no standby yet, and none was made." }
}

fn explained(error: FailoverError, standby: &Path) -> Failure {
    let safe = as_it_was(standby);
    let error = match error {
        FailoverError::Snapshot(error) => return Failure::from(error).safe(safe),
        error => error,
    };
    let kind = match &error {
        FailoverError::Failed(treering_je::Error::Io { source, .. }) => kind_of_io(source),
        FailoverError::Damaged { .. } | FailoverError::Unsound { .. } => Kind::Damaged,
        FailoverError::Within { .. } => Kind::Usage,
        _ => Kind::Failed,
    };
    let next = match &error {
        FailoverError::Within { .. } => "Name a folder beside it, best on another disk.",
        FailoverError::NoEnvironment { .. } => NAME_IT,
        FailoverError::Changed { .. } | FailoverError::NotAStandby { .. } => {
            "If it is of no use any more, move it away, and run this again."
        }
        FailoverError::Behind { .. } => {
            "Look for what is missing, with a disk that is not mounted for instance. If an older state was restored on \
             purpose, move the standby away, and run this again."
        }
        FailoverError::InUse { .. } => "If the application has moved to the standby, stop this command.",
        FailoverError::Damaged { .. } | FailoverError::Unsound { .. } => {
            "`treering je verify` of the home, or of the snapshot, says what is at stake."
        }
        FailoverError::Mounted { .. } => "Name a folder within it that nothing is mounted on, such as MOUNT/standby.",
        _ if standby.exists() => "Run it again; the standby can be opened meanwhile.",
        _ => "Mend that, and run it again.",
    };
    Failure::of(kind, &error).safe(safe).next(next)
}

/// Follows the newest snapshot, whenever it is another one than the last time.
fn from_snapshots(context: &Context, args: &JeFailoverArgs) -> Outcome {
    let failover = Failover::new(paths::absolute(&args.to)?);
    context.with_repository(|opened| {
        process::catch_signals()?;
        let last = Cell::new(None);
        again_and_again(context, args.every, args.once, || newest(context, opened, args, &failover, &last))
    })
}

fn newest(
    context: &Context,
    opened: &Opened,
    args: &JeFailoverArgs,
    failover: &Failover,
    last: &Cell<Option<SnapshotName>>,
) -> Outcome {
    let wanted = SnapshotFilterArgs { host: args.host.iter().cloned().collect(), ..SnapshotFilterArgs::default() };
    let filter = snapshot_filter(&wanted, &context.environment);
    let all = choice::all(&opened.repository, context.printer)?;
    let history = only(histories(&all, &filter, &[paths::absolute(&args.folder)?]))?;
    let Some(named) = history.snapshots.last().filter(|(name, _)| last.get() != Some(*name)) else { return Ok(()) };
    let mut reader = opened.repository.reader()?;
    let environment = environment_of(&mut reader, named, history.path.clone())?;
    let pass =
        failover.follow_snapshot(&environment, &mut Chunks(reader)).map_err(|error| explained(error, &args.to))?;
    last.set(Some(named.0));
    tell(context, args, &pass)
}
