//! The last good snapshot of each application.
//!
//! A policy counts days and knows nothing of damage: when a database breaks, it would in time drop every snapshot from
//! which the database can still be restored. So for each instance of an application the newest snapshot in which it is
//! consistent is kept until a newer one is; if it never was, the newest with the best verdict. Where chunks of snapshots are
//! lost, the newest one of which nothing is lost is kept as well.
//!
//! Invariant: judged over all visible snapshots; one function for all who drop snapshots.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::capture::Verdict;
use crate::error::{Result, SnapshotError};
use crate::node::Time;
use crate::record::SnapshotName;
use crate::select::Named;

/// One application on one host, or the part of it that a scope stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance<'a> {
    /// The host.
    pub host: &'a str,
    /// Which application.
    pub kind: &'a str,
    /// Its main file or folder: an absolute path.
    pub path: &'a [u8],
    /// The part of it that was asked for; `None` is all of it.
    pub scope: Option<&'a str>,
}

/// Which snapshots are the last good ones, and of what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastGood<'a>(BTreeMap<SnapshotName, Vec<Instance<'a>>>);

/// What makes one snapshot better for an instance than another: its verdict, then its age.
type Rank = (Reverse<Verdict>, (Time, bool, SnapshotName));

impl<'a> LastGood<'a> {
    /// Those among all visible snapshots, which may come in any order. Beside one of which something is lost stands the best
    /// of those that are not `harmed`: nobody knows here whether what is lost is the application's.
    pub fn of(all: &'a [Named], harmed: &BTreeSet<SnapshotName>) -> Self {
        let mut protected = Self::default();
        protected.add_best(all.iter());
        if !harmed.is_empty() {
            protected.add_best(all.iter().filter(|(name, _)| !harmed.contains(name)));
        }
        protected
    }

    fn add_best(&mut self, all: impl Iterator<Item = &'a Named>) {
        let mut best: BTreeMap<Instance<'a>, Rank> = BTreeMap::new();
        for (name, snapshot) in all {
            for entry in &snapshot.applications {
                let instance = Instance {
                    host: &snapshot.host,
                    kind: &entry.kind,
                    path: &entry.path,
                    scope: entry.scope.as_deref(),
                };
                let rank = (Reverse(Verdict::from_word(&entry.verdict)), snapshot.age(*name));
                best.entry(instance).and_modify(|known| *known = rank.max(*known)).or_insert(rank);
            }
        }
        for (instance, (_, (_, _, name))) in best {
            let instances = self.0.entry(name).or_default();
            if !instances.contains(&instance) {
                instances.push(instance);
            }
        }
    }

    /// What a snapshot is the last good one of.
    pub fn instances_of(&self, name: SnapshotName) -> &[Instance<'a>] {
        self.0.get(&name).map_or(&[], Vec::as_slice)
    }
}

/// Refuses to drop these snapshots, all of them together, if an application would lose its last good one. `harmed` are
/// those of which something is lost.
///
/// # Errors
///
/// [`SnapshotError::LastGood`] names all of them.
pub fn refuse_last_good(all: &[Named], harmed: &BTreeSet<SnapshotName>, dropped: &[SnapshotName]) -> Result<()> {
    let last_good = LastGood::of(all, harmed);
    let lost =
        dropped.iter().flat_map(|name| last_good.instances_of(*name).iter().map(|instance| sentence(*name, instance)));
    let snapshots: Vec<String> = lost.collect();
    if snapshots.is_empty() { Ok(()) } else { Err(SnapshotError::LastGood { snapshots }) }
}

fn sentence(name: SnapshotName, instance: &Instance<'_>) -> String {
    let path = Path::new(OsStr::from_bytes(instance.path)).display();
    format!("{} is the last good snapshot of {} {path} on {}", name.short(), instance.kind, instance.host)
}
