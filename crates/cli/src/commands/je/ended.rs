//! Which moments of JE environments a plan of retention would end.
//!
//! Never: decides what is dropped. Reads the logs of those environments only of which a snapshot is to go.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use treering_je::log::{Commit, Lsn};
use treering_je::moment::{Loader, Range, ranges};
use treering_snapshot::SnapshotName;
use treering_snapshot::record::AllSnapshots;
use treering_snapshot::select::Filter;

use super::history::{History, histories};
use super::moment::show;
use crate::context::{Context, Opened};
use crate::escape;
use crate::exit::{Failure, Outcome};
use crate::output::table;
use crate::settings::Verbosity;

/// Says which moments can be brought back now and could not be any more.
pub(crate) fn tell(
    context: &Context,
    opened: &Opened,
    all: &AllSnapshots,
    dropped: &BTreeSet<SnapshotName>,
) -> Outcome {
    if context.printer.json {
        return Ok(());
    }
    for history in histories(all, &Filter::default(), &[]) {
        if history.snapshots.iter().any(|(name, _)| dropped.contains(name)) {
            let lines = ended(opened, &history, dropped, &context.zone)?;
            lines.iter().try_for_each(|line| context.printer.note(Verbosity::Normal, line))?;
        }
    }
    Ok(())
}

fn ended(
    opened: &Opened,
    history: &History,
    dropped: &BTreeSet<SnapshotName>,
    zone: &TimeZone,
) -> Result<Vec<String>, Failure> {
    let mut loader = Loader::default();
    let before = ranges(&history.images_with(opened, &mut loader, |_| true)?);
    let after = ranges(&history.images_with(opened, &mut loader, |name| !dropped.contains(name))?);
    let kept: BTreeSet<(Lsn, i64)> = after.iter().flat_map(moments).map(key).collect();
    let (path, host) = (escape::path(&history.path), escape::text(&history.host));
    let line = |lost: Vec<&Commit>| {
        let (first, last) = (lost.first()?, lost.last()?);
        let (first, last, count) = (show(first, zone), show(last, zone), table::count(lost.len() as u64, "commit"));
        Some(format!("je: {path} of {host} could no more be brought back to {count} from {first} to {last}"))
    };
    let lost = |range: &Range| line(moments(range).filter(|commit| !kept.contains(&key(commit))).collect());
    Ok(before.iter().filter_map(lost).collect())
}

/// Every commit whose state a range has.
fn moments(range: &Range) -> impl Iterator<Item = &Commit> {
    range.base.iter().chain(&range.commits)
}

fn key(commit: &Commit) -> (Lsn, i64) {
    (commit.lsn, commit.time_ms)
}
