//! `treering diff`.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use treering_snapshot::diff::{self as library, Change, DiffCounts, DiffReport};
use treering_snapshot::select::Named;

use super::damaged;
use crate::args::DiffArgs;
use crate::choice;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Outcome};
use crate::output::json;
use crate::output::messages::{DiffChange, DiffStat, DiffStatistics, Message};
use crate::settings::{Verbosity, snapshot_filter};
use crate::{escape, size};

/// Compares two snapshots.
pub(crate) fn run(context: &Context, args: &DiffArgs) -> Outcome {
    context.with_repository(|opened| compare(context, opened, args))
}

fn compare(context: &Context, opened: &Opened, args: &DiffArgs) -> Outcome {
    let filter = snapshot_filter(&args.filter, &context.environment);
    let all = choice::all(&opened.repository, context.printer)?;
    let older = choice::one(&all, &args.older, &filter)?;
    let newer = choice::one(&all, &args.newer, &filter)?;
    let mut reader = opened.repository.reader()?;
    let before = choice::node(&mut reader, older, &choice::sub_path(&args.older))?;
    let after = choice::node(&mut reader, newer, &choice::sub_path(&args.newer))?;
    let head = format!("comparing snapshot {} to {}:\n", older.0.short(), newer.0.short());
    context.printer.note(Verbosity::Normal, &head)?;
    let mut out = context.printer.stream();
    let mut written = Ok(());
    let sides = ((&older.1, &before), (&newer.1, &after));
    let report = library::diff(&mut reader, sides, Path::new("/"), args.metadata, |change| {
        if written.is_ok() {
            written = out.write_all(line(change, context.printer.json).as_bytes());
        }
    })?;
    written.and_then(|()| out.flush()).map_err(|error| Failure::stdout(&error))?;
    drop(out);
    tell(context, older, newer, &report)?;
    damaged(context.printer, "diff", &report.damaged)
}

fn line(change: &Change<'_>, is_json: bool) -> String {
    let node = change.after.or(change.before);
    let mut path = change.path.as_os_str().as_bytes().to_vec();
    if node.is_some_and(|node| node.tree().is_some()) && !path.ends_with(b"/") {
        path.push(b'/');
    }
    let modifier = change.letters();
    match is_json {
        true => json::line(&Message::Change(DiffChange {
            path: escape::lossy(&path),
            path_raw: escape::raw(&path),
            modifier: modifier.to_owned(),
        })),
        false => format!("{modifier:<5}{}\n", escape::terminal(&path)),
    }
}

fn tell(context: &Context, older: &Named, newer: &Named, report: &DiffReport) -> Outcome {
    if context.printer.json {
        return context.printer.json(&Message::Statistics(DiffStatistics {
            source_snapshot: older.0.to_string(),
            target_snapshot: newer.0.to_string(),
            changed_files: report.changed_files,
            added: stat(report.added),
            removed: stat(report.removed),
        }));
    }
    let (added, removed, changed) = (&report.added, &report.removed, report.changed_files);
    let row = |what: &str, new: u64, gone: u64| format!("{what:<11} {new:>5} new, {gone:>5} removed");
    let say = |line: &str| context.printer.note(Verbosity::Normal, line);
    say("")?;
    say(&format!("{}, {changed:>5} changed", row("Files:", added.files, removed.files)))?;
    say(&row("Dirs:", added.dirs, removed.dirs))?;
    say(&row("Others:", added.others, removed.others))?;
    say(&format!("  Added:   {}", size::show(added.bytes)))?;
    say(&format!("  Removed: {}", size::show(removed.bytes)))
}

fn stat(counts: DiffCounts) -> DiffStat {
    DiffStat { files: counts.files, dirs: counts.dirs, others: counts.others, bytes: counts.bytes }
}
