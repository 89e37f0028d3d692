//! Retention: which snapshots a policy keeps, and why.
//!
//! Owns the rules ([`Policy`]), the calendar that they count by, and the protection of the last good snapshot of each
//! application ([`LastGood`]). Never drops anything, reads no repository and no clock: snapshots and the time zone are
//! handed in, and what comes out are decisions.
//!
//! Invariant: a snapshot is dropped only if no rule keeps it. What protects an application is judged over all snapshots
//! that are visible, not only over those that a filter selects, and no policy drops it.

mod calendar;
mod duration;
mod group;
mod last_good;
mod policy;
mod reason;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::tz::TimeZone;

pub use calendar::{EachPeriod, Period};
pub use duration::Duration;
pub use group::GroupKey;
pub use last_good::{Instance, LastGood, refuse_last_good};
pub use policy::{Count, Policy, WATCH_TAG};
pub use reason::Reason;
pub use rules::Left;

use crate::error::{Result, SnapshotError};
use crate::record::SnapshotName;
use crate::select::{Filter, GroupBy, Named};

/// Snapshots that a policy was applied to together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<'a> {
    /// What they have in common.
    pub key: GroupKey<'a>,
    /// One for each of them, newest first.
    pub decisions: Vec<Decision<'a>>,
}

impl<'a> Group<'a> {
    /// What stays, newest first.
    pub fn kept(&self) -> impl Iterator<Item = &Decision<'a>> {
        self.decisions.iter().filter(|decision| decision.is_kept())
    }

    /// What goes, newest first.
    pub fn dropped(&self) -> impl Iterator<Item = &Decision<'a>> {
        self.decisions.iter().filter(|decision| !decision.is_kept())
    }
}

/// What becomes of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Which one.
    pub snapshot: &'a Named,
    /// Everything that keeps it; nothing does if it is dropped.
    pub reasons: Vec<Reason>,
    /// What was left of the counts after it.
    pub left: Left,
}

impl Decision<'_> {
    /// Whether it stays.
    pub fn is_kept(&self) -> bool {
        !self.reasons.is_empty()
    }
}

/// Applies a policy to each group of the snapshots that the filter selects. `all` are all that are visible, in any
/// order, and `harmed` those of them of which something is lost; days, weeks and hours are those of the time zone.
///
/// # Errors
///
/// [`SnapshotError::EmptyPolicy`], or [`SnapshotError::KeepsNothing`] for a group of which the policy would keep
/// nothing.
pub fn decide<'a>(
    (all, harmed): (&'a [Named], &BTreeSet<SnapshotName>),
    filter: &Filter,
    policy: &Policy,
    group_by: GroupBy,
    zone: &TimeZone,
) -> Result<Vec<Group<'a>>> {
    if policy.is_empty() {
        return Err(SnapshotError::EmptyPolicy);
    }
    let last_good = LastGood::of(all, harmed);
    let groups = group::newest_first(all, filter, group_by).into_iter();
    let judged = groups.map(|(key, members)| {
        let mut decisions = rules::apply(&members, policy, zone);
        if !decisions.iter().any(Decision::is_kept) {
            return Err(SnapshotError::KeepsNothing { group: key.to_string() });
        }
        decisions.iter_mut().for_each(|decision| protect(decision, &last_good));
        Ok(Group { key, decisions })
    });
    judged.collect()
}

fn protect(decision: &mut Decision<'_>, last_good: &LastGood<'_>) {
    let (name, _) = decision.snapshot;
    let reasons = last_good
        .instances_of(*name)
        .iter()
        .map(|instance| Reason::LastGood { kind: instance.kind.to_owned(), path: instance.path.to_vec() });
    decision.reasons.extend(reasons);
}
