//! Checking a repository: the configuration, every pack, every record, and everything that snapshots refer to.
//!
//! Owns what is found and what that means for snapshots and files. Never changes anything, except that an index which
//! does not lead to a chunk is made anew, as always. The structure is checked under the shared commit lock, so that
//! nothing is deleted meanwhile; the data of packs is read without it.
//!
//! Invariant: damage is a [`CheckFinding`], collected and never the end of the check. What is reported is bounded
//! ([`FINDINGS_MOST`] findings, [`PATHS_MOST`] paths in each); what is counted is not. Memory: 25 bytes a chunk, and
//! what [`crate::tree::TreeReader`] needs for one way down.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use treering_chunk::ChunkKind;
use treering_store::storage::{Area, LockMode};
use treering_store::{
    Finding, FindingPlace, PackCheck, PackName, RECORD_MOST_BYTES, RecordName, Repository, StoreError,
};

use crate::error::{Result, SnapshotError};
use crate::follow::Follower;
use crate::known::{KnownChunks, damage};
use crate::progress::{Event, Progress};
use crate::record::{AllSnapshots, Snapshot, SnapshotName};

/// The most findings that are kept; the rest is counted.
pub const FINDINGS_MOST: usize = 1000;
/// The most paths that one finding names; the rest is counted.
pub const PATHS_MOST: usize = 8;
/// The most snapshots that one finding names; the rest is counted.
pub const SNAPSHOTS_MOST: usize = 64;

/// What to check.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckOptions {
    /// Also read, open and verify every byte of every pack.
    pub read_data: bool,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is wrong; space can be freed.
    Leftover,
    /// Something is wrong, and no byte of any file is lost by it.
    Repairable,
    /// Something that was backed up, or may have been, cannot be read.
    Damage,
}

/// One damaged, missing or superfluous thing, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFinding {
    /// Where.
    pub place: FindingPlace,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong; what was found first there.
    pub detail: String,
    /// Snapshots that are affected, in the order they were met.
    pub snapshots: Vec<SnapshotName>,
    /// How many more there are.
    pub more_snapshots: u64,
    /// The first files and folders that are affected.
    pub paths: Vec<PathBuf>,
    /// How many more times it was met; one path counts again in every snapshot.
    pub more_paths: u64,
}

impl CheckFinding {
    fn new(place: FindingPlace, severity: Severity, detail: &str) -> Self {
        let (snapshots, paths, detail) = (Vec::new(), Vec::new(), detail.to_owned());
        Self { place, severity, detail, snapshots, more_snapshots: 0, paths, more_paths: 0 }
    }

    /// What can be done about it.
    pub fn suggestion(&self) -> &'static str {
        match (&self.place, self.severity) {
            (_, Severity::Leftover) => "prune frees the space",
            (FindingPlace::Index, _) => "nothing is lost: the index is made anew from the packs when it is deleted",
            (FindingPlace::Config | FindingPlace::Key(_), _) => "copy the sound one of the two copies over the other",
            (FindingPlace::Record(Area::Snapshots, _), Severity::Repairable) => {
                "the snapshot can be read; its record has one copy only, in snapshots/ or in a pack"
            }
            (FindingPlace::Record(..), _) => "bring the file back from another copy of the repository, or remove it",
            (FindingPlace::Pack(_), _) => {
                "bring the pack back from another copy of the repository, or move it away and back the affected files \
                 up again with --force: what they still hold is stored anew"
            }
            _ => "back the affected files up again with --force: what they still hold is stored anew",
        }
    }

    fn affect(&mut self, affected: Affected<'_>) {
        if let Some(name) = affected.snapshot.filter(|name| self.snapshots.last() != Some(name)) {
            match self.snapshots.len() < SNAPSHOTS_MOST {
                true => self.snapshots.push(name),
                false => self.more_snapshots += 1,
            }
        }
        match affected.path {
            Some(path) if self.paths.iter().any(|known| known == path) => {}
            Some(path) if self.paths.len() < PATHS_MOST => self.paths.push(path.to_owned()),
            Some(_) => self.more_paths += 1,
            None => {}
        }
    }
}

/// What a finding was met in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Affected<'p> {
    pub(crate) snapshot: Option<SnapshotName>,
    pub(crate) path: Option<&'p Path>,
}

/// Findings as they are collected: one for each place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    pub(crate) list: Vec<CheckFinding>,
    by_place: HashMap<FindingPlace, usize>,
    /// Met beyond what is kept.
    pub(crate) omitted: u64,
    affected: BTreeSet<SnapshotName>,
}

impl Findings {
    pub(crate) fn add(&mut self, place: FindingPlace, severity: Severity, detail: &str, affected: Affected<'_>) {
        if severity == Severity::Damage {
            self.affected.extend(affected.snapshot);
        }
        let known = self.by_place.get(&place).copied();
        if known.is_none() && self.list.len() >= FINDINGS_MOST {
            self.omitted += u64::from(severity > Severity::Leftover);
            return;
        }
        let at = known.unwrap_or(self.list.len());
        if known.is_none() {
            self.by_place.insert(place.clone(), at);
            self.list.push(CheckFinding::new(place, severity, detail));
        }
        if let Some(finding) = self.list.get_mut(at) {
            finding.severity = finding.severity.max(severity);
            finding.affect(affected);
        }
    }

    fn has_error(&self, place: &FindingPlace) -> bool {
        let finding = self.by_place.get(place).and_then(|at| self.list.get(*at));
        finding.is_some_and(|finding| finding.severity > Severity::Leftover)
    }

    fn add_store(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            let severity = match finding.place {
                FindingPlace::Config | FindingPlace::Key(_) | FindingPlace::Index => Severity::Repairable,
                _ => Severity::Damage,
            };
            self.add(finding.place, severity, &finding.detail, Affected::default());
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// The findings, one for each place, in the order they were met.
    pub findings: Vec<CheckFinding>,
    /// How often something was met that is not among them: [`FINDINGS_MOST`].
    pub omitted: u64,
    /// All snapshots that have damage, by name.
    pub affected: BTreeSet<SnapshotName>,
    /// Snapshots that can be read.
    pub snapshots: u64,
    /// Other records that were read.
    pub records: u64,
    /// Packs.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Chunks in packs; those that lie in two count twice.
    pub chunks: u64,
    /// Distinct chunks of trees that were read.
    pub tree_chunks: u64,
    /// Files in them.
    pub files: u64,
    /// Chunks that nothing refers to.
    pub unused_chunks: u64,
    /// Their bytes before compression.
    pub unused_bytes: u64,
}

impl CheckReport {
    /// How much is wrong: everything but leftovers.
    pub fn num_errors(&self) -> u64 {
        let errors = self.findings.iter().filter(|finding| finding.severity > Severity::Leftover).count();
        errors as u64 + self.omitted
    }

    /// Packs that are damaged.
    pub fn broken_packs(&self) -> impl Iterator<Item = PackName> + '_ {
        self.findings.iter().filter_map(|finding| match finding.place {
            FindingPlace::Pack(name) if finding.severity > Severity::Leftover => Some(name),
            _ => None,
        })
    }

    /// Whether the index should be made anew.
    pub fn suggest_repair_index(&self) -> bool {
        self.findings.iter().any(|finding| finding.place == FindingPlace::Index)
    }

    /// Whether whole packs can be freed.
    pub fn suggest_prune(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Leftover)
    }
}

/// Checks a repository.
///
/// # Errors
///
/// [`SnapshotError::Interrupted`], and what keeps the check from going on: an area that cannot be listed, an index that
/// can neither be read nor made anew.
pub fn check(repository: &Repository, options: &CheckOptions, progress: &dyn Progress) -> Result<CheckReport> {
    // Opens the index here: opening it uses rayon, and a worker of rayon that waits for it would wait for itself.
    drop(repository.reader()?);
    let mut base = Findings::default();
    base.add_store(repository.check_config()?);
    let records = check_records(repository, &mut base, progress)?;
    let mut structure = Structure::check(repository, &base, &[], progress)?;
    if options.read_data {
        let found = check_packs(repository, &structure.packs, PackCheck::Data, progress)?;
        // Now that it is known what cannot be read, who is affected? Nobody asks if that was known before.
        if found.iter().any(|finding| !structure.findings.has_error(&finding.place)) {
            structure = Structure::check(repository, &base, &found, progress)?;
        }
    }
    Ok(structure.report(records))
}

fn check_records(repository: &Repository, findings: &mut Findings, progress: &dyn Progress) -> Result<u64> {
    let mut records = 0;
    for name in repository.list_records(Area::Records)? {
        ask(progress)?;
        match repository.read_record(Area::Records, name) {
            Ok(_) => records += 1,
            Err(StoreError::Missing { .. }) => {}
            Err(e) => {
                let place = FindingPlace::Record(Area::Records, name);
                findings.add(place, Severity::Damage, &damage(e.into())?, Affected::default());
            }
        }
    }
    Ok(records)
}

fn ask(progress: &dyn Progress) -> Result<()> {
    if progress.is_interrupted() { Err(SnapshotError::Interrupted) } else { Ok(()) }
}

/// Examines packs on all cores. A pack that was pruned since it was listed is no finding.
fn check_packs(
    repository: &Repository,
    packs: &[(PackName, u64)],
    how: PackCheck,
    progress: &dyn Progress,
) -> Result<Vec<Finding>> {
    if how != PackCheck::Trailer {
        let bytes = packs.iter().map(|(_, bytes)| bytes).sum();
        progress.event(Event::Total { files: packs.len() as u64, bytes });
    }
    let examined: Result<Vec<_>> = packs
        .par_iter()
        .map(|(name, bytes)| {
            ask(progress)?;
            let findings = repository.check_pack(*name, how)?;
            if how != PackCheck::Trailer {
                progress.event(Event::Bytes { bytes: *bytes });
            }
            let is_gone =
                !findings.is_empty() && repository.storage().length(Area::Packs, &name.to_string())?.is_none();
            Ok(if is_gone { Vec::new() } else { findings })
        })
        .collect();
    Ok(examined?.into_iter().flatten().collect())
}

/// Packs and snapshots against each other.
struct Structure {
    findings: Findings,
    packs: Vec<(PackName, u64)>,
    counts: CheckReport,
}

impl Structure {
    /// `found` is what is known of packs from reading them whole.
    fn check(repository: &Repository, base: &Findings, found: &[Finding], progress: &dyn Progress) -> Result<Self> {
        // On a medium that cannot be written nobody prunes: no lock is needed there, and none can be had.
        let lock = repository.storage().lock(LockMode::Shared).ok();
        let (all, packs) = (Snapshot::read_all(repository)?, repository.list_packs()?);
        let known = KnownChunks::read(repository, &packs, progress)?;
        let mut findings = base.clone();
        findings.add_store(found.to_vec());
        findings.add_store(check_packs(repository, &packs, PackCheck::Trailer, progress)?);
        let suspects = suspects(&known, &findings);
        let mut structure = Self { findings, packs, counts: CheckReport::default() };
        structure.follow(repository, (&known, &suspects), &all, progress)?;
        structure.add_damaged_snapshots(repository, &known, all)?;
        drop(lock);
        Ok(structure)
    }

    fn follow(
        &mut self,
        repository: &Repository,
        (known, suspects): (&KnownChunks, &[bool]),
        all: &AllSnapshots,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut reader = repository.reader()?;
        let mut follower = Follower::new(&mut reader, known, suspects, &mut self.findings, progress);
        for (name, snapshot) in &all.snapshots {
            ask(progress)?;
            follower.follow(*name, snapshot)?;
            if let Ok(bytes) = repository.storage().read(Area::Snapshots, &name.to_string(), RECORD_MOST_BYTES) {
                follower.follow_copy(*name, &repository.namer().id(ChunkKind::SnapshotCopy, &bytes))?;
            }
        }
        let counts = &mut self.counts;
        (counts.tree_chunks, counts.files) = (follower.followed.tree_chunks, follower.followed.files);
        counts.snapshots = all.snapshots.len() as u64;
        let seen = follower.seen;
        let unused = self.count_unused(known, |at| seen.has(at));
        // What cannot be read may refer to them.
        if all.damaged.is_empty() && self.findings.affected.is_empty() {
            self.add_leftovers(known, &unused);
        }
        Ok(())
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

    fn add_leftovers(&mut self, known: &KnownChunks, is_unused: &[bool]) {
        let unused = known.packs.iter().zip(is_unused).filter(|(pack, is_unused)| pack.is_readable && **is_unused);
        for (pack, _) in unused {
            let place = FindingPlace::Pack(pack.name);
            self.findings.add(place, Severity::Leftover, "no snapshot refers to anything in it", Affected::default());
        }
    }

    /// A record that cannot be read is only repairable if its second copy can.
    fn add_damaged_snapshots(&mut self, repository: &Repository, known: &KnownChunks, all: AllSnapshots) -> Result<()> {
        if all.damaged.is_empty() {
            return Ok(());
        }
        let (mut reader, mut copies) = (repository.reader()?, BTreeSet::new());
        for id in &known.copies {
            copies.extend(reader.get(ChunkKind::SnapshotCopy, id).ok().map(|bytes| RecordName::of(&bytes)));
        }
        for (name, error) in all.damaged {
            let severity = if copies.contains(&name) { Severity::Repairable } else { Severity::Damage };
            let place = FindingPlace::Record(Area::Snapshots, name);
            self.findings.add(place, severity, &damage(error)?, Affected { snapshot: Some(name), path: None });
        }
        Ok(())
    }

    fn report(self, records: u64) -> CheckReport {
        let pack_bytes = self.packs.iter().map(|(_, bytes)| bytes).sum();
        let Findings { list: findings, omitted, affected, .. } = self.findings;
        CheckReport { findings, omitted, affected, records, packs: self.packs.len() as u64, pack_bytes, ..self.counts }
    }
}

/// Packs of which something cannot be read, by their place in the table.
fn suspects(known: &KnownChunks, findings: &Findings) -> Vec<bool> {
    known.packs.iter().map(|pack| findings.by_place.contains_key(&FindingPlace::Pack(pack.name))).collect()
}

#[cfg(test)]
mod tests;
