//! What to do with each pack.
//!
//! Owns the choice among packs; never reads or writes. Invariant: equal repositories and options give equal plans.

use std::collections::HashMap;

use treering_store::{PackKind, PackName};

use super::live::Live;
use crate::known::KnownPack;
use crate::record::SnapshotName;

/// Small packs of one kind are merged once there are so many: with fewer, the same few megabytes would be written again
/// every night.
const SMALL_PACKS_LEAST: usize = 16;

/// How much may stay although nobody needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unused {
    /// So many bytes.
    Bytes(u64),
    /// So much of what is stored, in percent.
    Percent(f64),
    /// Any amount: only whole packs go, nothing is copied.
    Unlimited,
}

impl Unused {
    fn bytes_of(self, stored_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (stored_bytes as f64 * percent / 100.0) as u64,
            Self::Unlimited => u64::MAX,
        }
    }
}

/// What becomes of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It stays.
    Keep,
    /// What is needed of it is copied into new packs, then it goes.
    Repack,
    /// It goes.
    Remove,
}

/// A pack and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedPack {
    /// Its name.
    pub name: PackName,
    /// What it holds.
    pub kind: PackKind,
    /// Its length.
    pub bytes: u64,
    /// What of that is not needed: its share, since chunks are compressed together.
    pub unused_bytes: u64,
    /// What becomes of it.
    pub action: Action,
}

/// What a prune will do. Packs are in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunePlan {
    /// Every pack.
    pub packs: Vec<PlannedPack>,
    /// Snapshots that stay.
    pub snapshots: usize,
    /// Snapshots that are lost and of which a copy of the record is there: what they need stays, too.
    pub lost: Vec<SnapshotName>,
    /// How many forgotten snapshots cannot be brought back any more after it.
    pub ended: usize,
}

impl PrunePlan {
    /// Packs with this action.
    pub fn with(&self, action: Action) -> impl Iterator<Item = &PlannedPack> {
        self.packs.iter().filter(move |pack| pack.action == action)
    }

    /// The bytes of all packs.
    pub fn stored_bytes(&self) -> u64 {
        self.packs.iter().map(|pack| pack.bytes).sum()
    }

    /// The bytes that will be free, those of repacked packs estimated.
    pub fn freed_bytes(&self) -> u64 {
        let removed: u64 = self.with(Action::Remove).map(|pack| pack.bytes).sum();
        removed + self.with(Action::Repack).map(|pack| pack.unused_bytes).sum::<u64>()
    }

    /// The bytes that will stay although nobody needs them.
    pub fn unused_bytes(&self) -> u64 {
        self.with(Action::Keep).map(|pack| pack.unused_bytes).sum()
    }
}

/// What to repack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_unused: Unused,
    pub(crate) max_repack_bytes: u64,
    pub(crate) repack_smaller_than: u64,
}

/// Chooses which copy of each needed chunk stays, then what becomes of each pack. `claimed` are packs of live sessions.
pub(crate) fn plan(live: &mut Live<'_>, claimed: &dyn Fn(&PackName) -> bool, limits: Limits) -> PrunePlan {
    let used = choose_copies(live);
    let packs = live.known.packs.iter().zip(&used).map(|(pack, used)| first_action(pack, *used, claimed(&pack.name)));
    let mut plan = PrunePlan { packs: packs.collect(), snapshots: live.snapshots(), ..PrunePlan::default() };
    choose_repacks(&mut plan.packs, limits);
    plan.packs.sort_unstable_by_key(|pack| pack.name);
    plan
}

/// The bytes of each pack that are needed, if every other copy goes. Of several copies the one stays that lies in the
/// fullest pack.
fn choose_copies(live: &mut Live<'_>) -> Vec<u64> {
    let mut used = vec![0; live.known.packs.len()];
    let (mut kept, mut several) = (Vec::new(), Vec::new());
    for group in live.known.groups().filter(|group| live.is_needed(group.start)) {
        if group.len() > 1 {
            several.push(group);
            continue;
        }
        kept.push(group.start);
        add(&mut used, live, group.start);
    }
    for group in several {
        let pack = |row: &usize| live.known.row(*row).map_or(0, |row| used.get(row.pack()).copied().unwrap_or(0));
        let fullest = group.clone().rev().max_by_key(pack).unwrap_or(group.start);
        kept.push(fullest);
        add(&mut used, live, fullest);
    }
    kept.into_iter().for_each(|row| live.keep(row));
    used
}

fn add(used: &mut [u64], live: &Live<'_>, row: usize) {
    if let Some((row, used)) = live.known.row(row).and_then(|row| Some((row, used.get_mut(row.pack())?))) {
        *used += u64::from(row.raw_len);
    }
}

fn first_action(pack: &KnownPack, used: u64, is_claimed: bool) -> PlannedPack {
    let is_fixed = is_claimed || !pack.is_readable;
    let unused_share = 1.0 - used as f64 / pack.raw_bytes.max(1) as f64;
    let unused_bytes = if is_fixed { 0 } else { (pack.bytes as f64 * unused_share) as u64 };
    let action = if used == 0 && !is_fixed { Action::Remove } else { Action::Keep };
    PlannedPack { name: pack.name, kind: pack.kind, bytes: pack.bytes, unused_bytes, action }
}

fn choose_repacks(packs: &mut [PlannedPack], limits: Limits) {
    let mut left = limits.max_repack_bytes;
    let mut repack = |pack: &mut PlannedPack| {
        if pack.bytes <= left {
            left -= pack.bytes;
            pack.action = Action::Repack;
        }
    };
    let mut kept: Vec<_> = packs.iter_mut().filter(|pack| pack.action == Action::Keep).collect();
    let stored: u64 = kept.iter().map(|pack| pack.bytes).sum();
    let mut unused: u64 = kept.iter().map(|pack| pack.unused_bytes).sum();
    let most = limits.max_unused.bytes_of(stored);
    // The emptiest first: they free most for what is copied.
    kept.sort_by_key(|pack| (std::cmp::Reverse(unused_permille(pack)), pack.name));
    for pack in kept.iter_mut().take_while(|pack| pack.unused_bytes > 0) {
        if unused <= most {
            break;
        }
        repack(pack);
        unused -= if pack.action == Action::Repack { pack.unused_bytes } else { 0 };
    }
    let is_small = |pack: &PlannedPack| pack.action == Action::Keep && pack.bytes < limits.repack_smaller_than;
    let mut small: HashMap<PackKind, usize> = HashMap::new();
    kept.iter().filter(|pack| is_small(pack)).for_each(|pack| *small.entry(pack.kind).or_default() += 1);
    let is_worth_it = |pack: &PlannedPack| small.get(&pack.kind).is_some_and(|count| *count >= SMALL_PACKS_LEAST);
    kept.iter_mut().filter(|pack| is_small(pack) && is_worth_it(pack)).for_each(|pack| repack(pack));
}

fn unused_permille(pack: &PlannedPack) -> u64 {
    pack.unused_bytes.saturating_mul(1000) / pack.bytes.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(name: u8, kind: PackKind, bytes: u64, unused_bytes: u64) -> PlannedPack {
        PlannedPack { name: PackName::from_bytes([name; 32]), kind, bytes, unused_bytes, action: Action::Keep }
    }

    fn repacked(mut packs: Vec<PlannedPack>, limits: Limits) -> Vec<u8> {
        choose_repacks(&mut packs, limits);
        packs.iter().filter(|pack| pack.action == Action::Repack).map(|pack| pack.name.as_bytes()[0]).collect()
    }

    const ALL: Limits = Limits { max_unused: Unused::Bytes(0), max_repack_bytes: u64::MAX, repack_smaller_than: 0 };

    #[test]
    fn the_emptiest_packs_go_first_until_little_is_unused() {
        let packs = || {
            vec![pack(1, PackKind::Data, 100, 10), pack(2, PackKind::Data, 100, 90), pack(3, PackKind::Data, 100, 0)]
        };
        assert_eq!(repacked(packs(), ALL), [1, 2]);
        assert_eq!(repacked(packs(), Limits { max_unused: Unused::Bytes(10), ..ALL }), [2]);
        assert_eq!(repacked(packs(), Limits { max_unused: Unused::Percent(5.0), ..ALL }), [2]);
        assert_eq!(repacked(packs(), Limits { max_unused: Unused::Unlimited, ..ALL }), []);
        assert_eq!(repacked(packs(), Limits { max_repack_bytes: 100, ..ALL }), [2]);
        assert_eq!(repacked(packs(), Limits { max_repack_bytes: 99, ..ALL }), []);
    }

    #[test]
    fn small_packs_are_merged_when_there_are_many_of_a_kind() {
        let small = Limits { max_unused: Unused::Unlimited, repack_smaller_than: 50, ..ALL };
        let many = |count: u8| (0..count).map(|i| pack(i, PackKind::Meta, 10, 0));
        let mut packs: Vec<_> = many(16).collect();
        packs.extend([pack(100, PackKind::Data, 10, 0), pack(101, PackKind::Meta, 50, 0)]);
        assert_eq!(repacked(packs, small), (0..16).collect::<Vec<_>>());
        assert_eq!(repacked(many(15).collect(), small), []);
    }
}
