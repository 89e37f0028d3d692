//! Packs and snapshots against each other, under the shared commit lock, so that nothing is deleted meanwhile.

use std::collections::HashSet;

use treering_chunk::{ChunkId, ChunkKind};
use treering_store::storage::{Area, LockMode};
use treering_store::{Finding, FindingPlace, PackName, RECORD_MOST_BYTES, Repository};

use super::findings::{Affected, Findings, Severity};
use super::records::Records;
use super::{CheckReport, ask};
use crate::error::Result;
use crate::follow::Follower;
use crate::known::{KnownChunks, is_out_of_reach, unread};
use crate::progress::Progress;
use crate::record::{AllSnapshots, Snapshot};
use crate::repair::strays;

/// What is said of a second copy without its snapshot, which proves nothing.
const PERHAPS_LOST: &str = "a copy of a snapshot's record is in a pack, and the snapshot is not there: its file is lost, or \
                            its backup did not come to its end";

/// How often it is begun anew because snapshots with damage were forgotten meanwhile.
const ROUNDS_MOST: usize = 3;

/// Packs and snapshots against each other.
pub(super) struct Structure {
    pub(super) findings: Findings,
    /// The packs that are there.
    pub(super) packs: Vec<(PackName, u64)>,
    counts: CheckReport,
}

impl Structure {
    /// `found` is what is known of packs from reading them whole.
    pub(super) fn check(
        repository: &Repository,
        (base, records): (&Findings, &Records),
        found: &[Finding],
        progress: &dyn Progress,
    ) -> Result<Self> {
        for _ in 1..ROUNDS_MOST {
            let structure = Self::check_once(repository, (base, records), found, progress)?;
            if !structure.names_the_gone(repository)? {
                return Ok(structure);
            }
        }
        Self::check_once(repository, (base, records), found, progress)
    }

    fn check_once(
        repository: &Repository,
        (base, records): (&Findings, &Records),
        found: &[Finding],
        progress: &dyn Progress,
    ) -> Result<Self> {
        // On a medium that cannot be written nobody prunes: no lock is needed there, and none can be had.
        let lock = repository.storage().lock(LockMode::Shared).ok();
        let (all, listed) = (Snapshot::read_all(repository)?, repository.list_packs()?);
        // A backup may have published some since the index was opened.
        repository.learn_packs()?;
        let mut known = KnownChunks::read(repository, &listed, progress)?;
        let mut findings = base.clone();
        findings.add_store(found.iter().filter(|finding| known.is_listed(&finding.place)).cloned().collect());
        findings.add_store(std::mem::take(&mut known.damaged));
        findings.add_store(known.out_of_reach.clone());
        findings.add_store(repository.check_index(&known.pack_rows())?.into_iter().collect());
        let suspects = suspects(&known, &findings);
        let packs = known.packs.iter().map(|pack| (pack.name, pack.bytes)).collect();
        let mut structure = Self { findings, packs, counts: CheckReport::default() };
        let (copies, unused) = structure.follow(repository, (&known, &suspects), &all, progress)?;
        // What cannot be read may refer to them; and without any snapshot a prune refuses to free them.
        let is_sure = all.damaged.is_empty() && structure.findings.affected.is_empty() && !all.snapshots.is_empty();
        let is_any_lost = structure.add_copies(repository, &known, all, &copies)?;
        if is_sure && !is_any_lost {
            structure.add_leftovers(&known, &unused, records.is_any_forgotten);
        }
        drop(lock);
        Ok(structure)
    }

    /// Whether damage was found in a snapshot that is not there any more: forgotten since it was listed, its packs may be
    /// gone rightly.
    fn names_the_gone(&self, repository: &Repository) -> Result<bool> {
        if self.findings.affected.is_empty() {
            return Ok(false);
        }
        let present: HashSet<_> = repository.list_records(Area::Snapshots)?.into_iter().collect();
        Ok(self.findings.affected.iter().any(|name| !present.contains(name)))
    }

    /// Follows every snapshot. Gives the ids of their records' second copies, and of each pack whether nothing refers to
    /// anything in it.
    fn follow(
        &mut self,
        repository: &Repository,
        (known, suspects): (&KnownChunks, &[bool]),
        all: &AllSnapshots,
        progress: &dyn Progress,
    ) -> Result<(HashSet<ChunkId>, Vec<bool>)> {
        let (mut copies, mut reader) = (HashSet::new(), repository.reader()?);
        let mut follower = Follower::new(&mut reader, known, suspects, &mut self.findings, progress);
        for (name, snapshot) in &all.snapshots {
            ask(progress)?;
            follower.follow(*name, snapshot)?;
            if let Ok(bytes) = repository.storage().read(Area::Snapshots, &name.to_string(), RECORD_MOST_BYTES) {
                let id = repository.namer().id(ChunkKind::SnapshotCopy, &bytes);
                follower.follow_copy(*name, &id)?;
                copies.insert(id);
            }
        }
        let counts = &mut self.counts;
        (counts.tree_chunks, counts.files) = (follower.followed.tree_chunks, follower.followed.files);
        counts.snapshots = all.snapshots.len() as u64;
        let seen = follower.seen;
        let unused = self.count_unused(known, |at| seen.has(at));
        Ok((copies, unused))
    }

    /// Counts chunks that nothing refers to. Says of each pack whether it has only such.
    fn count_unused(&mut self, known: &KnownChunks, is_seen: impl Fn(usize) -> bool) -> Vec<bool> {
        let mut is_unused = vec![true; known.packs.len()];
        for (at, row) in known.rows().iter().enumerate() {
            if is_seen(at) {
                is_unused.get_mut(row.pack()).into_iter().for_each(|unused| *unused = false);
            } else {
                self.counts.unused_chunks += 1;
                self.counts.unused_bytes += u64::from(row.raw_len);
            }
        }
        self.counts.chunks = known.rows().len() as u64;
        is_unused
    }

    fn add_leftovers(&mut self, known: &KnownChunks, is_unused: &[bool], is_any_forgotten: bool) {
        let detail = match is_any_forgotten {
            true => "no snapshot refers to anything in it, unless it be a forgotten one that `treering undelete` lists",
            false => "no snapshot refers to anything in it",
        };
        let unused = known.packs.iter().zip(is_unused).filter(|(pack, is_unused)| pack.is_readable && **is_unused);
        for (pack, _) in unused {
            let place = FindingPlace::Pack(pack.name);
            self.findings.add(place, Severity::Leftover, detail, Affected::default());
        }
    }

    /// Second copies that belong to no record that can be read: of records that are damaged, which are repairable by
    /// them; of records whose files are gone; or of backups that never came to their end. Says whether there is any whose
    /// file is gone.
    fn add_copies(
        &mut self,
        repository: &Repository,
        known: &KnownChunks,
        all: AllSnapshots,
        of_present: &HashSet<ChunkId>,
    ) -> Result<bool> {
        let is_empty = all.snapshots.is_empty() && all.damaged.is_empty();
        let mut lost = strays(repository, known, of_present, None)?;
        for (name, error) in all.damaged {
            let severity = match lost.remove(&name) {
                _ if is_out_of_reach(&error) => Severity::OutOfReach,
                Some(_) => Severity::Repairable,
                None => Severity::Damage,
            };
            let place = FindingPlace::Record(Area::Snapshots, name);
            self.findings.add(place, severity, &unread(error)?, Affected { snapshot: Some(name), path: None });
        }
        // One may be of a first backup that never came to its end.
        let are_all_lost = is_empty && lost.len() > 1;
        for (name, stray) in &lost {
            let (severity, detail) = match stray.is_named {
                true => (Severity::Damage, "its file is lost: another snapshot says that it was there"),
                false if are_all_lost => (Severity::Damage, "its file is lost, like those of all snapshots"),
                false => (Severity::Note, PERHAPS_LOST),
            };
            self.findings.add(FindingPlace::SnapshotCopy(*name), severity, detail, Affected::default());
        }
        Ok(!lost.is_empty())
    }

    pub(super) fn report(self) -> CheckReport {
        let pack_bytes = self.packs.iter().map(|(_, bytes)| bytes).sum();
        let Findings { list: findings, omitted, affected, is_any_wrong, .. } = self.findings;
        CheckReport {
            findings,
            omitted,
            affected,
            is_any_wrong,
            packs: self.packs.len() as u64,
            pack_bytes,
            ..self.counts
        }
    }
}

/// Packs of which something cannot be read, by their place in the table.
fn suspects(known: &KnownChunks, findings: &Findings) -> Vec<bool> {
    known.packs.iter().map(|pack| findings.has(&FindingPlace::Pack(pack.name))).collect()
}
