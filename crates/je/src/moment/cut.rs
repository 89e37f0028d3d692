//! The choice of a cut.

use super::{Position, Range, Source};
use crate::log::{Commit, Lsn};

/// What the user wants back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The state before the first commit, in the order of the log, that was made after this time, in milliseconds since
    /// 1970. Times need not ascend in the log: a later commit with an earlier time is not in it.
    Until(i64),
    /// The state with all commits up to this place, the commit that begins there included.
    Lsn(Lsn),
}

/// Where the log is cut, and what that means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The log ends here.
    pub at: Position,
    /// Where the files come from.
    pub source: Source,
    /// Of two sources: the number of the first file that comes from the second one.
    pub first_of_newer: u32,
    /// The last commit that is in it, if it is known.
    pub last: Option<Commit>,
    /// The first commit that is not in it, if there is one.
    pub next: Option<Commit>,
}

/// Why there is no cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoCut {
    /// The nearest moment before that can be brought back.
    pub before: Option<Commit>,
    /// The nearest moment behind that can be brought back.
    pub after: Option<Commit>,
}

impl Goal {
    /// Whether a commit is not to be in it.
    fn is_before(self, commit: &Commit) -> bool {
        match self {
            Goal::Until(time_ms) => commit.time_ms > time_ms,
            Goal::Lsn(lsn) => commit.lsn > lsn,
        }
    }

    /// Whether nothing that is to be in it can lie behind the end of a range.
    fn is_within(self, range: &Range) -> bool {
        match self {
            Goal::Until(time_ms) => range.closed_ms.is_some_and(|closed_ms| time_ms <= closed_ms),
            Goal::Lsn(lsn) => Position { file: lsn.file, offset: lsn.offset.into() } < range.to,
        }
    }
}

/// Finds the cut, in the newest history that has one.
///
/// # Errors
///
/// [`NoCut`] if the moment lies in a gap, before everything or behind everything.
pub fn find(ranges: &[Range], goal: Goal) -> Result<Cut, NoCut> {
    ranges.iter().rev().find_map(|range| cut(range, goal)).ok_or_else(|| nearest(ranges, goal))
}

fn cut(range: &Range, goal: Goal) -> Option<Cut> {
    if range.base.as_ref().is_some_and(|base| goal.is_before(base)) {
        return None;
    }
    let first_out = range.commits.iter().position(|commit| goal.is_before(commit));
    let next = first_out.and_then(|at| range.commits.get(at)).copied();
    if next.is_none() && !goal.is_within(range) {
        return None;
    }
    let in_it = range.commits.get(..first_out.unwrap_or(range.commits.len())).unwrap_or_default();
    let last = in_it.last().or(range.base.as_ref()).copied();
    // Without a commit before the range, what its first position holds is known, but not when it was so.
    last.as_ref()?;
    let at = in_it.last().map_or(range.from, Position::after);
    let (source, first_of_newer) = range.source(at)?;
    Some(Cut { at, source, first_of_newer, last, next })
}

/// The ends of ranges on both sides.
fn nearest(ranges: &[Range], goal: Goal) -> NoCut {
    let before = ranges.iter().filter_map(Range::last).filter(|commit| !goal.is_before(commit));
    let after = ranges.iter().filter_map(Range::first).filter(|commit| goal.is_before(commit));
    NoCut {
        before: before.max_by_key(|commit| (commit.time_ms, commit.lsn)).copied(),
        after: after.min_by_key(|commit| (commit.time_ms, commit.lsn)).copied(),
    }
}
