//! Checking a repository: the configuration, every pack, every record, and everything that snapshots refer to.
//!
//! Owns what is found and what that means for snapshots and files (`findings`), the structure (`structure`), which data is
//! read (`choose`, `data`) and the ledger of what was read when (`ledger`). Never changes anything, except
//! that the ledger is written, and that an index which does not lead to a chunk is made anew, as always. The structure is
//! checked under the shared commit lock, so that nothing is deleted meanwhile; the data of packs is read without it.
//!
//! Invariant: damage is a [`CheckFinding`], collected and never the end of the check. Memory: 25 bytes a chunk, 60 a pack,
//! a frame for each core, and what [`crate::tree::TreeReader`] needs for one way down.

mod choose;
mod data;
mod findings;
mod ledger;
#[cfg(feature = "fuzzing")]
pub(crate) use ledger::fuzzing;
mod names;
mod records;
mod structure;
mod verified;

use std::collections::BTreeSet;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use treering_store::{FindingPlace, PackName, Repository};

pub use choose::{DataOptions, DataPart};
pub(crate) use findings::{Affected, Findings};
pub use findings::{CheckFinding, FINDINGS_MOST, PATHS_MOST, SNAPSHOTS_MOST, Severity};
pub use names::check_names;
pub use verified::Verified;

use crate::error::{Result, SnapshotError};
use crate::progress::Progress;
use crate::record::SnapshotName;
use choose::choose;
use data::DataRead;
use records::Records;
use structure::Structure;

/// What to check.
#[derive(Clone, Copy)]
pub struct CheckOptions<'c> {
    /// Also read, open and verify every byte of these packs.
    pub data: Option<DataOptions>,
    /// Not to go backwards while the check runs.
    pub clock: Clock<'c>,
}

/// Says how long ago 1970 is.
pub type Clock<'c> = &'c (dyn Fn() -> Duration + Sync);

impl std::fmt::Debug for CheckOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CheckOptions({:?})", self.data)
    }
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// The findings, one for each place, in the order they were met.
    pub findings: Vec<CheckFinding>,
    /// How often something was met that is not among them: [`FINDINGS_MOST`].
    pub omitted: u64,
    /// All snapshots that have damage or need what could not be got at, by name.
    pub affected: BTreeSet<SnapshotName>,
    /// Whether there is an error besides what could not be got at.
    pub is_any_wrong: bool,
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
    /// Files in the repository's folders that are nothing of it.
    pub unknown_files: Vec<String>,
    /// How much of the data was verified, and when.
    pub verified: Verified,
}

impl CheckReport {
    /// How much is wrong: everything but leftovers.
    pub fn num_errors(&self) -> u64 {
        let errors = self.findings.iter().filter(|finding| finding.is_error()).count();
        errors as u64 + self.omitted
    }

    /// Packs that are damaged.
    pub fn broken_packs(&self) -> impl Iterator<Item = PackName> + '_ {
        self.findings.iter().filter_map(CheckFinding::broken_pack)
    }

    /// Snapshots that are not there and of which a copy of the record is: lost, or never committed.
    pub fn lost_snapshots(&self) -> impl Iterator<Item = SnapshotName> + '_ {
        let lost = self.findings.iter().filter(|finding| finding.severity != Severity::Repairable);
        lost.filter_map(|finding| match finding.place {
            FindingPlace::SnapshotCopy(name) => Some(name),
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

/// Checks a repository. Which data was verified is written into the ledger, also if the check is interrupted.
///
/// # Errors
///
/// [`SnapshotError::Interrupted`], and what keeps the check from going on: an area that cannot be listed, an index that
/// can neither be read nor made anew.
pub fn check(repository: &Repository, options: &CheckOptions<'_>, progress: &dyn Progress) -> Result<CheckReport> {
    let started = (options.clock)();
    // Opens the index here: opening it uses rayon, and a worker of rayon that waits for it would wait for itself.
    drop(repository.reader()?);
    let mut base = Findings::default();
    base.add_store(repository.check_config()?);
    let mut records = Records::read(repository, &mut base, progress)?;
    let packs = repository.list_packs()?;
    let data = options.data.unwrap_or_default();
    let chosen = match options.data {
        Some(data) => choose(&packs, &records.ledger, &data, seconds(started)),
        None => Vec::new(),
    };
    let deadline = data.max_duration.map(|most| started.saturating_add(most));
    // The structure is followed on this thread while others read data.
    let (structure, read) = std::thread::scope(|scope| {
        let read = || data::read(repository, &chosen, (options.clock, deadline), progress);
        let reader = (!chosen.is_empty()).then(|| scope.spawn(read));
        let structure = Structure::check(repository, (&base, &records), &[], progress);
        let read = reader.map_or_else(|| Ok(DataRead::default()), |reader| join(reader));
        (structure, read)
    });
    let mut read = read?;
    // What is seen to be damaged on the way through the trees was not read by those others, and is as damaged.
    read.damaged.extend(structure.iter().flat_map(|structure| structure.findings.broken_packs()));
    let is_any_lost = structure.as_ref().is_ok_and(|structure| structure.findings.is_any_chunk_lost());
    let gone = if is_any_lost { records.ledger.gone(&packs) } else { Vec::new() };
    let ledger_failed = records.learn(repository, (&packs, &gone), &read);
    let mut verified = Verified { ledger_failed, ..Verified::default() };
    (verified.read_packs, verified.read_bytes) = (read.packs, read.bytes);
    let mut structure = structure?;
    ask(progress)?;
    // Now that it is known what cannot be read, who is affected? Nobody asks if that was known before.
    let is_new = read.findings.iter().any(|finding| !structure.findings.has_error(&finding.place));
    if is_new || read.is_any_gone {
        structure = Structure::check(repository, (&base, &records), &read.findings, progress)?;
    }
    structure.findings.add_gone(&gone);
    verified.count(&structure.packs, &records.ledger, data.max_age, seconds((options.clock)()));
    let unknown_files = repository.storage().list_strangers()?;
    Ok(CheckReport { records: records.count, unknown_files, verified, ..structure.report() })
}

/// Snapshots of which something is recorded as lost, and all others with damage then. As long as nothing is recorded, nothing
/// is looked at.
///
/// # Errors
///
/// As for [`check()`].
pub fn harmed(repository: &Repository, progress: &dyn Progress) -> Result<BTreeSet<SnapshotName>> {
    if repository.lost_chunks()?.is_empty() {
        return Ok(BTreeSet::new());
    }
    Ok(check(repository, &CheckOptions { data: None, clock: &|| Duration::ZERO }, progress)?.affected)
}

fn join(reader: ScopedJoinHandle<'_, Result<DataRead>>) -> Result<DataRead> {
    reader.join().unwrap_or(Err(SnapshotError::WorkerLost))
}

fn seconds(since_1970: Duration) -> i64 {
    i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX)
}

fn ask(progress: &dyn Progress) -> Result<()> {
    if progress.is_interrupted() { Err(SnapshotError::Interrupted) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
