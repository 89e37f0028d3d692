//! What a repository must hold, kept apart from it in plain copies.
//!
//! Owns: which snapshots were acknowledged, forgotten, or left in doubt by a power cut, and what was in each.
//! Never: asks the repository; it is told.
//! Invariant: what is in doubt is in doubt only until the repository was looked at after the cut: [`Ledger::settle`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use treering_snapshot::SnapshotName;

/// Files by their paths beneath the folder that is backed up.
pub type Tree = BTreeMap<PathBuf, Vec<u8>>;

/// A snapshot that was forgotten.
#[derive(Debug, Clone)]
struct Gone<T> {
    tree: T,
    /// A prune has begun since, so it need not come back.
    may_be_pruned: bool,
}

/// What a repository must hold. `T` says what was backed up: a copy of it, or its fingerprint.
#[derive(Debug, Clone)]
pub struct Ledger<T> {
    visible: BTreeMap<SnapshotName, T>,
    forgotten: BTreeMap<SnapshotName, Gone<T>>,
    in_doubt: BTreeMap<SnapshotName, Gone<T>>,
    /// Trees of backups that were begun and not acknowledged.
    begun: Vec<T>,
    prunes: u32,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        let (visible, forgotten, in_doubt) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { visible, forgotten, in_doubt, begun: Vec::new(), prunes: 0 }
    }
}

impl<T: Clone + PartialEq> Ledger<T> {
    /// A backup begins.
    pub fn begin_backup(&mut self, tree: &T) {
        self.begun.push(tree.clone());
    }

    /// A backup was acknowledged.
    pub fn backed_up(&mut self, name: SnapshotName, tree: &T) {
        let at = self.begun.iter().position(|begun| begun == tree);
        at.map(|at| self.begun.remove(at));
        self.visible.insert(name, tree.clone());
    }

    /// A forget begins.
    pub fn begin_forget(&mut self, name: SnapshotName) {
        if let Some(tree) = self.visible.remove(&name) {
            self.in_doubt.insert(name, Gone { tree, may_be_pruned: self.prunes > 0 });
        }
    }

    /// A forget was acknowledged.
    pub fn forgot(&mut self, name: SnapshotName) {
        if let Some(gone) = self.in_doubt.remove(&name) {
            self.forgotten.insert(name, gone);
        }
    }

    /// An undelete begins.
    pub fn begin_undelete(&mut self, name: SnapshotName) {
        if let Some(gone) = self.forgotten.remove(&name) {
            self.in_doubt.insert(name, gone);
        }
    }

    /// An undelete was acknowledged.
    pub fn undeleted(&mut self, name: SnapshotName) {
        if let Some(gone) = self.in_doubt.remove(&name) {
            self.visible.insert(name, gone.tree);
        }
    }

    /// An undelete was refused. Says whether that may be.
    pub fn was_refused(&mut self, name: SnapshotName) -> bool {
        let gone = self.in_doubt.remove(&name);
        let may_be = gone.as_ref().is_none_or(|gone| gone.may_be_pruned);
        gone.map(|gone| self.forgotten.insert(name, gone));
        may_be
    }

    /// Whether a prune has begun since a snapshot was forgotten.
    pub fn may_be_pruned(&self, name: SnapshotName) -> bool {
        self.forgotten.get(&name).is_some_and(|gone| gone.may_be_pruned)
    }

    /// A prune begins, which drops these first.
    pub fn begin_prune(&mut self, dropped: &BTreeSet<SnapshotName>) {
        self.prunes += 1;
        dropped.iter().for_each(|name| self.begin_forget(*name));
        let gone = self.forgotten.values_mut().chain(self.in_doubt.values_mut());
        gone.for_each(|gone| gone.may_be_pruned = true);
    }

    /// A prune ended, well or not.
    pub fn end_prune(&mut self) {
        self.prunes = self.prunes.saturating_sub(1);
    }

    /// What it dropped was acknowledged.
    pub fn pruned(&mut self, dropped: &BTreeSet<SnapshotName>) {
        dropped.iter().for_each(|name| self.forgot(*name));
    }

    /// The machine went down: nothing is under way any more.
    pub fn power_failed(&mut self) {
        self.prunes = 0;
    }

    /// Snapshots that must be visible.
    pub fn visible(&self) -> Vec<SnapshotName> {
        self.visible.keys().copied().collect()
    }

    /// Snapshots that must not be visible.
    pub fn forgotten(&self) -> Vec<SnapshotName> {
        self.forgotten.keys().copied().collect()
    }

    /// What a snapshot must hold, if that is known.
    pub fn tree(&self, name: SnapshotName) -> Option<&T> {
        let gone = || self.forgotten.get(&name).or_else(|| self.in_doubt.get(&name)).map(|gone| &gone.tree);
        self.visible.get(&name).or_else(gone)
    }

    /// Compares with the snapshots that are visible now, when nothing is under way. Snapshots that nobody knows must
    /// hold a tree whose backup was begun; `read` reads them.
    ///
    /// # Errors
    ///
    /// What is there and must not be, or the other way round.
    pub fn settle(
        &mut self,
        seen: &[SnapshotName],
        read: &mut dyn FnMut(SnapshotName) -> Result<T, String>,
    ) -> Result<(), String> {
        for (name, gone) in std::mem::take(&mut self.in_doubt) {
            match seen.contains(&name) {
                true => drop(self.visible.insert(name, gone.tree)),
                false => drop(self.forgotten.insert(name, gone)),
            }
        }
        for name in seen {
            if self.visible.contains_key(name) {
                continue;
            }
            if self.forgotten.contains_key(name) {
                return Err(format!("snapshot {name} was forgotten and is visible"));
            }
            let tree = read(*name)?;
            if !self.begun.contains(&tree) {
                return Err(format!("snapshot {name} holds what nobody has backed up"));
            }
            self.visible.insert(*name, tree);
        }
        self.begun.clear();
        match self.visible.keys().find(|name| !seen.contains(name)) {
            Some(name) => Err(format!("snapshot {name} was acknowledged and is lost")),
            None => Ok(()),
        }
    }
}
