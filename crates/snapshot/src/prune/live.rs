//! What is needed, and where it lies.
//!
//! Owns the marking, and the decision whether a pack may go (rule A9 of `docs/protocol.md`). Brought up to date as often
//! as wanted: each time only packs and snapshots that have appeared are read, so that the last time, under the lock, is
//! short.
//!
//! Invariant: a chunk that was needed once counts as needed to the end, also if its snapshot is forgotten meanwhile.

use std::collections::{BTreeSet, HashMap, HashSet};

use treering_chunk::{ChunkId, ChunkKind};
use treering_store::storage::Area;
use treering_store::{Listing, PackName, Repository, StoreError};

use crate::check::{CheckFinding, Findings};
use crate::error::{Result, SnapshotError};
use crate::follow::Follower;
use crate::known::{Bits, KnownChunks};
use crate::progress::Progress;
use crate::record::{Snapshot, SnapshotName};
use crate::repair::strays;

/// What is needed, and where it lies.
pub(crate) struct Live<'r> {
    repository: &'r Repository,
    pub(crate) known: KnownChunks,
    /// The first row of every chunk that is needed.
    seen: Bits,
    /// First rows of chunks that need not be followed again.
    sound: Bits,
    /// The copy of each needed chunk that stays; chunks that were not needed when that was decided have none.
    kept: Bits,
    packs: HashMap<PackName, usize>,
    followed: HashSet<SnapshotName>,
    /// Second copies of the records of what was followed.
    copies: HashSet<ChunkId>,
}

impl<'r> Live<'r> {
    pub(crate) fn new(repository: &'r Repository) -> Self {
        Self {
            repository,
            known: KnownChunks::default(),
            seen: Bits::default(),
            sound: Bits::default(),
            kept: Bits::default(),
            packs: HashMap::new(),
            followed: HashSet::new(),
            copies: HashSet::new(),
        }
    }

    /// Learns packs that have appeared, and follows snapshots and parents of live sessions that have. `dropped` are
    /// snapshots that do not count although they are visible.
    pub(crate) fn catch_up(
        &mut self,
        listing: &Listing,
        dropped: &BTreeSet<SnapshotName>,
        progress: &dyn Progress,
    ) -> Result<()> {
        self.learn(listing, progress)?;
        for name in listing.snapshots.iter().filter(|name| !dropped.contains(name)) {
            match self.follow(*name, progress) {
                // Forgotten since it was listed, and pruned by somebody else: nobody needs it.
                Err(SnapshotError::Store(StoreError::Missing { area: Area::Snapshots, .. })) => {}
                done => done?,
            }
        }
        for parent in listing.sessions.iter().filter_map(|session| session.parent) {
            self.follow(parent, progress)?;
        }
        Ok(())
    }

    fn learn(&mut self, listing: &Listing, progress: &dyn Progress) -> Result<()> {
        let is_new = |(name, _): &&(PackName, u64)| !self.packs.contains_key(name);
        let mut new: Vec<_> = listing.packs.iter().filter(is_new).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        new.sort_unstable();
        self.repository.with_ballast(|| self.repository.learn_packs())?;
        let first = self.known.packs.len();
        let mut marks = [&mut self.seen, &mut self.sound, &mut self.kept];
        self.known.extend(self.repository, &new, &mut marks, progress)?;
        self.known.refuse_out_of_reach()?;
        let learned = self.known.packs.iter().enumerate().skip(first);
        self.packs.extend(learned.map(|(at, pack)| (pack.name, at)));
        Ok(())
    }

    fn follow(&mut self, name: SnapshotName, progress: &dyn Progress) -> Result<()> {
        if self.followed.contains(&name) {
            return Ok(());
        }
        let bytes = self.repository.record_bytes(name)?;
        let snapshot = Snapshot::open(self.repository, name, &bytes).map_err(|e| not_whole(name, &e))?;
        let findings = self.mark(name, (&snapshot, &bytes), progress)?;
        if let Some(damage) = findings.list.iter().find(|finding| finding.breaks()) {
            return Err(SnapshotError::NotWhole { snapshot: name, detail: describe(damage) });
        }
        self.followed.insert(name);
        Ok(())
    }

    /// Marks what of snapshots that are lost is there: as long as they can be brought back, nothing of them goes.
    pub(crate) fn keep_lost(&mut self, listing: &Listing, progress: &dyn Progress) -> Result<Vec<SnapshotName>> {
        if strays(self.repository, &self.known, &self.copies, Some(listing))?.is_empty() {
            return Ok(Vec::new());
        }
        // What was found without the lock only says where to look: nobody ends what was forgotten meanwhile.
        let alone = self.repository.start_deletion()?;
        let lost = strays(self.repository, &self.known, &self.copies, Some(listing))?;
        drop(alone);
        for (name, stray) in &lost {
            self.mark(*name, (&stray.snapshot, &stray.bytes), progress)?;
        }
        Ok(lost.into_keys().collect())
    }

    fn mark(
        &mut self,
        name: SnapshotName,
        (snapshot, bytes): (&Snapshot, &[u8]),
        progress: &dyn Progress,
    ) -> Result<Findings> {
        let (mut reader, mut findings) = (self.repository.reader()?, Findings::default());
        let (seen, sound) = (std::mem::take(&mut self.seen), std::mem::take(&mut self.sound));
        let follower = Follower::new(&mut reader, &self.known, &[], &mut findings, progress);
        let mut follower = follower.resume(seen, sound);
        let copy = self.repository.namer().id(ChunkKind::SnapshotCopy, bytes);
        let done = follower.follow(name, snapshot).and_then(|()| follower.follow_copy(name, &copy));
        (self.seen, self.sound) = follower.into_marks();
        self.copies.insert(copy);
        done?;
        Ok(findings)
    }

    /// How many snapshots were followed.
    pub(crate) fn snapshots(&self) -> usize {
        self.followed.len()
    }

    pub(crate) fn is_needed(&self, first_row: usize) -> bool {
        self.seen.has(first_row)
    }

    pub(crate) fn keep(&mut self, row: usize) {
        self.kept.set(row);
    }

    /// Whether a chunk must be copied before the pack that it lies in may go.
    pub(crate) fn must_copy(&self, id: &ChunkId, pack: PackName) -> bool {
        let Some(first) = self.known.find(id).filter(|first| self.seen.has(*first)) else { return false };
        let number = self.packs.get(&pack).copied();
        let mut rows = self.known.packs_of(first).zip(first..);
        rows.find(|(_, row)| self.kept.has(*row)).is_none_or(|(kept, _)| Some(kept) == number)
    }

    /// Whether a chunk lies in a pack that is there.
    pub(crate) fn is_in_packs(&self, id: &ChunkId, listing: &Listing) -> bool {
        let packs = self.known.find(id).into_iter().flat_map(|row| self.known.packs_of(row));
        let names: Vec<_> = packs.filter_map(|at| self.known.packs.get(at)).map(|pack| pack.name).collect();
        listing.packs.iter().any(|(listed, _)| names.contains(listed))
    }

    /// Which of these packs may go: each chunk of them that is needed lies in another pack, which is there and does not
    /// go. Packs of live sessions stay.
    pub(crate) fn deletable(&self, doomed: &[PackName], listing: &Listing) -> Vec<PackName> {
        let mut is_present = vec![false; self.known.packs.len()];
        for (name, bytes) in &listing.packs {
            let known = self.packs.get(name).and_then(|at| Some((*at, self.known.packs.get(*at)?)));
            let Some((at, _)) = known.filter(|(_, pack)| pack.bytes == *bytes) else { continue };
            is_present.get_mut(at).into_iter().for_each(|present| *present = true);
        }
        let claimed: HashSet<PackName> = listing.sessions.iter().flat_map(|session| &session.packs).copied().collect();
        let mut is_doomed = vec![false; self.known.packs.len()];
        for at in doomed.iter().filter(|name| !claimed.contains(name)).filter_map(|name| self.packs.get(name)) {
            is_doomed.get_mut(*at).into_iter().for_each(|doomed| *doomed = true);
        }
        for group in self.known.groups().filter(|group| self.seen.has(group.start)) {
            let present = || self.known.packs_of(group.start).filter(|at| is_present.get(*at) == Some(&true));
            if present().any(|at| is_doomed.get(at) == Some(&false)) {
                continue;
            }
            // The first that must stay also serves those that come after. Where none is there, somebody has pruned what
            // was needed once.
            let spared = present().next();
            if let Some(doomed) = spared.and_then(|at| is_doomed.get_mut(at)) {
                *doomed = false;
            }
        }
        let is_set = |bits: &[bool], name: &PackName| self.packs.get(name).and_then(|at| bits.get(*at)) == Some(&true);
        doomed.iter().filter(|name| is_set(&is_doomed, name) && is_set(&is_present, name)).copied().collect()
    }
}

fn not_whole(snapshot: SnapshotName, error: &SnapshotError) -> SnapshotError {
    SnapshotError::NotWhole { snapshot, detail: error.to_string() }
}

/// Where something is wrong, and what.
pub(crate) fn describe(finding: &CheckFinding) -> String {
    let path = finding.paths.first().map(|path| format!(", needed by {}", path.display())).unwrap_or_default();
    format!("{}: {}{path}", finding.place, finding.detail)
}
