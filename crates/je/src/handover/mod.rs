//! The set of files that an application hands over, as JE's `DbBackup` names it.
//!
//! The application keeps JE from deleting files and names those that the environment needs. They are read one by one,
//! each with a look at all its checksums, and the application is told of each that has been read to its end, so that it
//! can give up the protection of it. Files that cannot have changed since the parent snapshot are not read again, by the
//! rule of `State`, which every capture of an environment leaves for the next one. At the end the application says
//! whether JE found the files left alone meanwhile; only then is the snapshot worth anything.
//!
//! Owns what is in the set, and the verdict about it. Never lists files for itself but those up to the last file of the
//! backup before, which the application may leave out: JE deletes none that is needed while its backup lasts.
//!
//! Invariant: the verdict is consistent only if every file was read whole and right by this capture or the one before, no
//! number is missing from where recovery begins, and the application has confirmed the end of its backup.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use treering_chunk::CutPolicy;
use treering_snapshot::capture::{
    Application, Capture, CaptureError, Conclusion, Content, Folder, Part, PieceStore, TakenFile, Verdict,
};
use treering_snapshot::with_causes;

use crate::KIND;
use crate::capture::{Fingerprint, Outcome, PinnedFile, Seen, Stamp, State, is_settled};
use crate::error::{Error, io_error};
use crate::log::{Checkpoint, Commit, Listing, Lsn, log_number};

/// The application that hands files over.
pub trait Partner: Send + Sync {
    /// A file was read to its end and is in the hands of the backup: it may be deleted. If the backup fails later, no
    /// snapshot is written at all.
    fn stored(&self, file: &Path);

    /// All files are; this is the number of the last one. Waits until the application has ended its backup, and says
    /// whether it may be relied on.
    fn all_stored(&self, last: u32) -> bool;
}

/// What was handed over.
#[derive(Clone)]
pub struct Handover {
    /// The folder of the environment, absolute.
    pub environment: PathBuf,
    /// The names, relative to it.
    pub files: Vec<PathBuf>,
    /// The last file of the backup before this one. Those up to it need not be named.
    pub after: Option<u32>,
    /// Who hands over.
    pub partner: Arc<dyn Partner>,
}

/// Why a set cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadSet {
    /// A name is none of a file of the log in the environment.
    #[error("{} is no file of the log, as 00000005.jdb or data003/00000005.jdb", .name.display())]
    NotALogFile {
        /// The name.
        name: PathBuf,
    },
    /// Nothing was named.
    #[error("no file was named")]
    Empty,
}

impl Handover {
    /// The numbers of the named files.
    ///
    /// # Errors
    ///
    /// If a name is none of a file of the log, or there is none.
    pub fn numbers(&self) -> Result<BTreeMap<u32, PathBuf>, BadSet> {
        let number = |name: &PathBuf| log_number(name).ok_or_else(|| BadSet::NotALogFile { name: name.clone() });
        let files = self.files.iter().map(|name| Ok((number(name)?, name.clone())));
        let files = files.collect::<Result<BTreeMap<_, _>, _>>()?;
        if files.is_empty() { Err(BadSet::Empty) } else { Ok(files) }
    }
}

impl Application for Handover {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn claim(&self, folder: &Folder<'_>) -> Vec<Box<dyn Capture>> {
        if folder.path != self.environment {
            return Vec::new();
        }
        let (Ok(listing), Ok(set)) = (Listing::read(folder.path), self.numbers()) else { return Vec::new() };
        let is_excluded = |name: &&PathBuf| (folder.is_excluded)(&folder.path.join(name), false);
        let excluded = set.values().find(is_excluded).map(|name| format!("{} is excluded", name.display()));
        let left = [PathBuf::from("je.lck")].into_iter().chain(listing.leftovers.iter().cloned());
        let files = listing.files.values().map(|file| file.path.clone());
        Vec::from([Box::new(SetCapture {
            environment: self.environment.clone(),
            claimed: files.chain(set.values().cloned()).chain(left).collect(),
            named: set.keys().copied().collect(),
            files: with_older(set, &listing, self.after),
            partner: Arc::clone(&self.partner),
            seen: Seen::default(),
            found: Found { fault: excluded, ..Found::default() },
        }) as Box<dyn Capture>])
    }
}

/// The set, and the files up to the last one of the backup before that are still there.
fn with_older(mut set: BTreeMap<u32, PathBuf>, listing: &Listing, after: Option<u32>) -> BTreeMap<u32, PathBuf> {
    let is_older = |number: &u32| after.is_some_and(|after| *number <= after);
    for (number, file) in listing.files.iter().filter(|(number, _)| is_older(number)) {
        set.entry(*number).or_insert_with(|| file.path.clone());
    }
    set
}

/// The capture of one set.
struct SetCapture {
    environment: PathBuf,
    claimed: Vec<PathBuf>,
    /// The numbers of those that the application has named.
    named: BTreeSet<u32>,
    files: BTreeMap<u32, PathBuf>,
    partner: Arc<dyn Partner>,
    seen: Seen,
    found: Found,
}

/// What was found in the files.
#[derive(Default)]
struct Found {
    files: BTreeMap<u32, Known>,
    unchanged: usize,
    fault: Option<String>,
    version: Option<u32>,
    checkpoint: Option<Checkpoint>,
    last_commit: Option<Commit>,
    last_entry: Option<(Lsn, u32)>,
}

/// What the next capture wants to know of a file.
struct Known {
    stamp: Stamp,
    fingerprint: Fingerprint,
    began_ms: Option<i64>,
}

impl Capture for SetCapture {
    fn name(&self) -> &Path {
        Path::new("")
    }

    fn claimed(&self) -> &[PathBuf] {
        &self.claimed
    }

    fn take(&mut self, previous: Option<&[u8]>, pieces: &mut dyn PieceStore) -> Result<Vec<TakenFile>, CaptureError> {
        if self.found.fault.is_some() {
            return Ok(Vec::new());
        }
        let previous = previous.and_then(State::decode).unwrap_or_default();
        let last = self.files.last_key_value().map(|(number, _)| *number);
        let mut taken = Vec::with_capacity(self.files.len());
        for (number, name) in std::mem::take(&mut self.files) {
            match self.store(number, &name, Some(number) == last, &previous, pieces) {
                Ok(Some(file)) => {
                    self.partner.stored(&name);
                    taken.push(file);
                    self.files.insert(number, name);
                }
                Ok(None) => {}
                Err(CaptureError::NotStored) => return Err(CaptureError::NotStored),
                // A set that lacks a file is none, and must not come into a snapshot.
                Err(error) => {
                    self.found.fault.get_or_insert(with_causes(&error));
                    break;
                }
            }
        }
        self.found.last_commit = self.found.last_commit.or(previous.last_commit);
        Ok(taken)
    }

    fn conclude(mut self: Box<Self>) -> Conclusion {
        let last = self.files.last_key_value().map_or(0, |(number, _)| *number);
        self.found.look_for_gaps(&self.files, last);
        let is_confirmed = self.found.fault.is_none() && self.partner.all_stored(last);
        let found = &self.found;
        let (verdict, detail) = match (&found.fault, is_confirmed) {
            (Some(fault), _) => (Verdict::Torn, fault.clone()),
            (None, false) => (Verdict::Torn, "the application did not confirm the end of its backup".to_owned()),
            (None, true) => (Verdict::Consistent, found.how()),
        };
        Conclusion {
            verdict,
            version: found.version.map(|version| format!("log {version}")),
            consistency_point: found.last_commit.map(|commit| format!("commit {}", commit.lsn)),
            detail,
            state: if verdict == Verdict::Consistent { found.state(last).encode() } else { Vec::new() },
        }
    }
}

impl SetCapture {
    /// Reads one file into the backup, unless it cannot have changed. `None` if it has gone and was not named: then JE
    /// needs it no more.
    fn store(
        &mut self,
        number: u32,
        name: &Path,
        is_last: bool,
        previous: &State,
        pieces: &mut dyn PieceStore,
    ) -> Result<Option<TakenFile>, CaptureError> {
        let file = match PinnedFile::find(&self.environment, number, name) {
            Err(Error::Io { source, .. }) if is_gone(&source) && !self.named.contains(&number) => return Ok(None),
            found => found?,
        };
        let fingerprint = file.fingerprint().map_err(io_error("read", name))?;
        let known = previous.files.get(&number).filter(|known| **known == fingerprint && !is_last);
        let (content, began_ms) = match known {
            Some(_) => {
                self.found.unchanged += 1;
                (Content::Unchanged, previous.headers.get(&number).copied())
            }
            None => self.read(&file, pieces)?,
        };
        self.found.files.insert(number, Known { stamp: file.stamp, fingerprint, began_ms });
        let path = name.to_owned();
        Ok(Some(TakenFile { attributes_of: Some(path.clone()), path, content, cut: Some(CutPolicy::General) }))
    }

    /// Says besides when the file was begun.
    fn read(&mut self, file: &PinnedFile, pieces: &mut dyn PieceStore) -> Result<(Content, Option<i64>), CaptureError> {
        let mut reader = self.seen.reader(file, file.stamp.size_bytes, false);
        let piece = pieces.put(&mut reader, CutPolicy::General)?;
        let outcome = self.seen.get().remove(&file.number);
        let began_ms = outcome.as_ref().and_then(|outcome| outcome.summary.header).map(|header| header.time_ms);
        self.found.take_in(file, outcome);
        Ok((Content::Pieces(vec![Part::Stored(piece)]), began_ms))
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

impl Found {
    /// Takes in what a file says that was read.
    fn take_in(&mut self, file: &PinnedFile, outcome: Option<Outcome>) {
        let name = file.path.display();
        let Some(Outcome { summary, is_changed: false }) = outcome else {
            self.fault.get_or_insert_with(|| format!("{name} was changed while it was read"));
            return;
        };
        self.version = self.version.max(summary.header.as_ref().map(|header| header.version));
        self.last_commit = summary.last_commit.or(self.last_commit);
        self.checkpoint = summary.checkpoint.or(self.checkpoint.take());
        let last_entry = u32::try_from(summary.last_entry).ok().map(|offset| Lsn::new(file.number, offset));
        self.last_entry = last_entry.and_then(|lsn| Some((lsn, file.checksum_at(lsn.offset)?)));
        if let Some(damage) = summary.damage {
            let fault = || format!("{name}, byte {}: {}", damage.offset, damage.fault);
            self.fault.get_or_insert_with(fault);
        } else if summary.header.is_none() {
            self.fault.get_or_insert_with(|| format!("{name} is empty"));
        }
    }

    fn how(&self) -> String {
        match (self.files.len(), self.unchanged) {
            (files, 0) => format!("{files} files handed over by DbBackup, every checksum right"),
            (files, same) => format!(
                "{files} files handed over by DbBackup, {same} of them unchanged since they were verified, every \
                 checksum of the others right"
            ),
        }
    }

    /// For the next capture. The last file is not in it, nor the one with the last checkpoint: see `State`.
    fn state(&self, last: u32) -> State {
        let newest = self.files.values().map(|known| known.stamp.changed).max().unwrap_or_default();
        let checkpoint = self.checkpoint.as_ref().map(|checkpoint| checkpoint.lsn.file);
        let may_stay = |number: u32, known: &Known| {
            number != last && Some(number) != checkpoint && is_settled(&known.stamp, newest)
        };
        let files = self.files.iter().filter(|(number, known)| may_stay(**number, known));
        State {
            last_entry: self.last_entry,
            last_commit: self.last_commit,
            headers: self.files.iter().filter_map(|(number, known)| Some((*number, known.began_ms?))).collect(),
            files: files.map(|(number, known)| (*number, known.fingerprint)).collect(),
        }
    }

    fn look_for_gaps(&mut self, files: &BTreeMap<u32, PathBuf>, last: u32) {
        let start = self.checkpoint.as_ref().map_or(0, |checkpoint| {
            checkpoint.item.recovery_start().map_or(checkpoint.lsn.file, |start| start.file.min(checkpoint.lsn.file))
        });
        if let Some(missing) = (start..=last).find(|number| !files.contains_key(number)) {
            let fault = || format!("file {missing:08x}.jdb was not handed over, and recovery needs it");
            self.fault.get_or_insert_with(fault);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_log_and_lead_nowhere_else() {
        for (name, expected) in [
            ("00000005.jdb", Some(5)),
            ("data003/0000000a.jdb", Some(10)),
            ("je.lck", None),
            ("../00000005.jdb", None),
            ("/etc/00000005.jdb", None),
            ("data003/../00000005.jdb", None),
            ("00000005.JDB", None),
            ("", None),
        ] {
            assert_eq!(log_number(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn files_of_the_backup_before_are_added_if_they_are_still_there() {
        let listing = Listing::of_names(["00000001.jdb", "00000002.jdb", "00000003.jdb"].map(std::ffi::OsStr::new));
        let set = BTreeMap::from([(3, PathBuf::from("00000003.jdb"))]);
        let numbers = |after| with_older(set.clone(), &listing, after).into_keys().collect::<Vec<_>>();
        assert_eq!(numbers(Some(2)), [1, 2, 3]);
        assert_eq!(numbers(None), [3]);
    }
}
