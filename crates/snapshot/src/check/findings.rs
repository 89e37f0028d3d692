//! Findings as a check collects them: one for each place, with whom it affects and what to do about it.
//!
//! Invariant: what is kept is bounded ([`FINDINGS_MOST`] findings, [`PATHS_MOST`] paths in each); what is counted is not.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use treering_store::storage::Area;
use treering_store::{Finding, FindingPlace, PackName};

use crate::record::SnapshotName;

/// The most findings that are kept; the rest is counted.
pub const FINDINGS_MOST: usize = 1000;
/// The most paths that one finding names; the rest is counted.
pub const PATHS_MOST: usize = 8;
/// The most snapshots that one finding names; the rest is counted.
pub const SNAPSHOTS_MOST: usize = 64;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is known to be wrong; worth a look.
    Note,
    /// Nothing is wrong; space can be freed.
    Leftover,
    /// Something could not be got at, so that nobody knows whether anything is wrong with it.
    OutOfReach,
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

    /// Whether it is an error: more than a note or a leftover.
    pub fn is_error(&self) -> bool {
        self.severity > Severity::Leftover
    }

    /// Whether what it is about cannot be read, so that whatever needs it is not whole.
    pub(crate) fn breaks(&self) -> bool {
        matches!(self.severity, Severity::Damage | Severity::OutOfReach)
    }

    /// The pack that is damaged, if one is.
    pub(super) fn broken_pack(&self) -> Option<PackName> {
        match self.place {
            FindingPlace::Pack(name) if self.severity > Severity::OutOfReach => Some(name),
            _ => None,
        }
    }

    /// What can be done about it.
    pub fn suggestion(&self) -> &'static str {
        match (&self.place, self.severity) {
            (_, Severity::OutOfReach) => {
                "nothing is to be repaired as long as it may be whole: let the user that runs treering read it (`chown`, \
                 `chmod`), or run treering as a user who may; otherwise mend what keeps it from being opened; then check again"
            }
            (FindingPlace::SnapshotCopy(_), Severity::Note) => {
                "`treering repair snapshots` brings it back if it is whole, and until then a prune keeps what it needs; if it \
                 is not wanted, forget it then"
            }
            (FindingPlace::SnapshotCopy(_), Severity::Damage) => {
                "bring the file back from another copy of the repository; otherwise run `treering repair snapshots`, which \
                 brings back what is whole, and of others what is left if they are named; until then a prune keeps what it needs"
            }
            (FindingPlace::Pack(_), Severity::Note) => {
                "if another copy of the repository has it, bring it back from there"
            }
            (_, Severity::Note | Severity::Leftover) => "prune frees the space",
            (FindingPlace::Index, _) => "run `treering repair index`; nothing is lost",
            (FindingPlace::Folders, _) => {
                "bring the folders back from another copy of the repository; otherwise run `treering repair config`, which \
                 makes them again, empty, and check again"
            }
            (FindingPlace::Lock, _) => {
                "when no other treering is at work on this repository, run `treering repair config`, which makes it again"
            }
            (FindingPlace::LostConfig, _) => {
                "bring the file `config` back from another copy of the repository, however old: without it nothing can be read"
            }
            (FindingPlace::LostKey(_), _) => {
                "bring the file back from another copy of the repository, into `keys`; otherwise remove the key by this name \
                 with `treering key remove`, and add a new one with `treering key add`"
            }
            (FindingPlace::Config | FindingPlace::Key(_), _) => {
                "run `treering repair config`, which makes both copies whole from the sound one"
            }
            (FindingPlace::SnapshotCopy(_), _) => {
                "the snapshot can be read; only the spare copy of its record is lost: run `treering repair packs \
                 --read-data`, which stores it again"
            }
            (FindingPlace::Record(Area::Snapshots, _), Severity::Repairable) => {
                "run `treering repair snapshots`, which brings the record back from its second copy"
            }
            (FindingPlace::Record(Area::Snapshots, _), _) => {
                "bring the file back from another copy of the repository; otherwise run `treering repair snapshots`"
            }
            (FindingPlace::Record(..), Severity::Repairable) => {
                "nothing is lost: the next check that reads data writes it anew"
            }
            (FindingPlace::Record(..), _) => {
                "bring the file back from another copy of the repository; otherwise run `treering repair snapshots`, \
                 which moves it aside"
            }
            (FindingPlace::Pack(_), _) => {
                "bring the pack back from another copy of the repository; otherwise run `treering repair packs \
                 --read-data`, back the affected files up again, which stores anew what they still hold, and then run \
                 `treering repair snapshots`"
            }
            _ => {
                "back the affected files up again with --force, which stores anew what they still hold; for what is \
                 gone for good run `treering repair snapshots`"
            }
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
    /// Snapshots that have damage, or need what could not be got at.
    pub(crate) affected: BTreeSet<SnapshotName>,
    /// Whether there is an error besides what could not be got at.
    pub(crate) is_any_wrong: bool,
}

impl Findings {
    pub(crate) fn add(&mut self, place: FindingPlace, severity: Severity, detail: &str, affected: Affected<'_>) {
        if matches!(severity, Severity::Damage | Severity::OutOfReach) {
            self.affected.extend(affected.snapshot);
        }
        self.is_any_wrong |= severity > Severity::OutOfReach;
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

    /// What was added before, met in something else.
    pub(crate) fn met_again(&mut self, place: &FindingPlace, affected: Affected<'_>) {
        let finding = self.by_place.get(place).and_then(|at| self.list.get_mut(*at));
        finding.into_iter().for_each(|finding| finding.affect(affected));
    }

    pub(crate) fn has_error(&self, place: &FindingPlace) -> bool {
        let finding = self.by_place.get(place).and_then(|at| self.list.get(*at));
        finding.is_some_and(CheckFinding::is_error)
    }

    pub(super) fn is_any_chunk_lost(&self) -> bool {
        self.list.iter().any(|finding| matches!(finding.place, FindingPlace::Chunk(_)) && finding.is_error())
    }

    /// Packs that were there once, where chunks are in no pack: the file to look for in another copy of the repository.
    pub(super) fn add_gone(&mut self, packs: &[PackName]) {
        let detail = "an earlier check has read it, and it is not there: it was pruned since, or is lost with the chunks \
                      that are in no pack";
        for name in packs {
            self.add(FindingPlace::Pack(*name), Severity::Note, detail, Affected::default());
        }
    }

    pub(super) fn broken_packs(&self) -> impl Iterator<Item = PackName> + '_ {
        self.list.iter().filter_map(CheckFinding::broken_pack)
    }

    pub(crate) fn has(&self, place: &FindingPlace) -> bool {
        self.by_place.contains_key(place)
    }

    pub(crate) fn add_store(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            let severity = match finding.place {
                _ if finding.is_out_of_reach => Severity::OutOfReach,
                FindingPlace::Config
                | FindingPlace::Key(_)
                | FindingPlace::LostKey(_)
                | FindingPlace::Folders
                | FindingPlace::Lock
                | FindingPlace::Index => Severity::Repairable,
                _ => Severity::Damage,
            };
            self.add(finding.place, severity, &finding.detail, Affected::default());
        }
    }
}
