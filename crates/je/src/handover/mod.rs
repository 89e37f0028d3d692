//! The set of files that an application hands over, as JE's `DbBackup` names it.
//!
//! The application keeps JE from deleting files and names those that the environment needs. They are read one by one,
//! each with a look at all its checksums, and the application is told of each that has been read to its end, so that it
//! can give up the protection of it. At the end it says whether JE found the files left alone meanwhile; only then is the
//! snapshot worth anything.
//!
//! Owns what is in the set, and the verdict about it. Never lists files for itself but those up to the last file of the
//! backup before, which the application may leave out: JE deletes none that is needed while its backup lasts.
//!
//! Invariant: the verdict is consistent only if every file was read whole and right, no number is missing from where
//! recovery begins, and the application has confirmed the end of its backup.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use treering_chunk::CutPolicy;
use treering_snapshot::capture::{
    Application, Capture, CaptureError, Conclusion, Content, Folder, Part, PieceStore, TakenFile, Verdict,
};

use crate::KIND;
use crate::log::{Checkpoint, Commit, FileSummary, Listing, Name, Scanner};

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
        let number = |name: &PathBuf| number(name).ok_or_else(|| BadSet::NotALogFile { name: name.clone() });
        let files = self.files.iter().map(|name| Ok((number(name)?, name.clone())));
        let files = files.collect::<Result<BTreeMap<_, _>, _>>()?;
        if files.is_empty() { Err(BadSet::Empty) } else { Ok(files) }
    }
}

fn number(name: &Path) -> Option<u32> {
    let folder = name.parent().unwrap_or(Path::new(""));
    let is_placed = folder.as_os_str().is_empty() || matches!(Name::of(folder.as_os_str()), Name::DataFolder(_));
    match Name::of(name.file_name()?) {
        Name::Log(number) if is_placed => Some(number),
        _ => None,
    }
}

impl Application for Handover {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn claim(&self, folder: &Folder<'_>) -> Vec<Box<dyn Capture>> {
        let listing = Listing::read(folder.path);
        let (Ok(listing), Ok(set)) = (listing, self.numbers()) else { return Vec::new() };
        if folder.path != self.environment {
            return Vec::new();
        }
        let left = [PathBuf::from("je.lck")].into_iter().chain(listing.leftovers.iter().cloned());
        let files = listing.files.values().map(|file| file.path.clone());
        Vec::from([Box::new(SetCapture {
            environment: self.environment.clone(),
            claimed: files.chain(set.values().cloned()).chain(left).collect(),
            files: with_older(set, &listing, self.after),
            partner: Arc::clone(&self.partner),
            found: Found::default(),
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
    files: BTreeMap<u32, PathBuf>,
    partner: Arc<dyn Partner>,
    found: Found,
}

/// What was found in the files.
#[derive(Default)]
struct Found {
    files: u64,
    fault: Option<String>,
    version: Option<u32>,
    checkpoint: Option<Checkpoint>,
    last_commit: Option<Commit>,
}

impl Capture for SetCapture {
    fn name(&self) -> &Path {
        Path::new("")
    }

    fn claimed(&self) -> &[PathBuf] {
        &self.claimed
    }

    fn take(&mut self, _: Option<&[u8]>, pieces: &mut dyn PieceStore) -> Result<Vec<TakenFile>, CaptureError> {
        let mut taken = Vec::with_capacity(self.files.len());
        for (number, name) in &self.files {
            match store(&self.environment, *number, name, pieces) {
                Ok((file, summary)) => {
                    self.found.take_in(summary, name);
                    self.partner.stored(name);
                    taken.push(file);
                }
                Err(CaptureError::NotStored) => return Err(CaptureError::NotStored),
                // A set that lacks a file is none, and must not come into a snapshot.
                Err(error) => {
                    self.found.fault.get_or_insert(with_cause(&error));
                    break;
                }
            }
        }
        Ok(taken)
    }

    fn conclude(mut self: Box<Self>) -> Conclusion {
        let last = self.files.last_key_value().map_or(0, |(number, _)| *number);
        self.found.look_for_gaps(&self.files, last);
        let is_confirmed = self.found.fault.is_none() && self.partner.all_stored(last);
        let (verdict, detail) = match (&self.found.fault, is_confirmed) {
            (Some(fault), _) => (Verdict::Torn, fault.clone()),
            (None, false) => (Verdict::Torn, "the application did not confirm the end of its backup".to_owned()),
            (None, true) => (
                Verdict::Consistent,
                format!("{} files handed over by DbBackup, every checksum right", self.found.files),
            ),
        };
        Conclusion {
            verdict,
            version: self.found.version.map(|version| format!("log {version}")),
            consistency_point: self.found.last_commit.map(|commit| format!("commit {}", commit.lsn)),
            detail,
            state: Vec::new(),
        }
    }
}

/// Reads one file into the backup.
fn store(
    environment: &Path,
    number: u32,
    name: &Path,
    pieces: &mut dyn PieceStore,
) -> Result<(TakenFile, FileSummary), CaptureError> {
    let mut reading = Reading::open(number, &environment.join(name))?;
    let piece = pieces.put(&mut reading, CutPolicy::General)?;
    let file = TakenFile {
        path: name.to_owned(),
        attributes_of: Some(name.to_owned()),
        content: Content::Pieces(vec![Part::Stored(piece)]),
        cut: Some(CutPolicy::General),
    };
    Ok((file, reading.scanner.finish(&mut |_| {})))
}

fn with_cause(error: &CaptureError) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

impl Found {
    fn take_in(&mut self, summary: FileSummary, name: &Path) {
        self.files += 1;
        self.version = self.version.max(summary.header.as_ref().map(|header| header.version));
        self.last_commit = summary.last_commit.or(self.last_commit);
        self.checkpoint = summary.checkpoint.or(self.checkpoint.take());
        if let Some(damage) = summary.damage {
            let fault = || format!("{}, byte {}: {}", name.display(), damage.offset, damage.fault);
            self.fault.get_or_insert_with(fault);
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

/// A file that is scanned while it is read.
struct Reading {
    file: File,
    scanner: Scanner,
}

impl Reading {
    fn open(number: u32, path: &Path) -> Result<Self, CaptureError> {
        let failed = |action| move |source: io::Error| CaptureError::Io { action, path: path.to_owned(), source };
        let file = File::open(path).map_err(failed("open"))?;
        let length = file.metadata().map_err(failed("look at"))?.len();
        Ok(Self { file, scanner: Scanner::new(number, Some(length)) })
    }
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read(buffer)?;
        self.scanner.push(buffer.get(..got).unwrap_or_default(), &mut |_| {});
        Ok(got)
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
            assert_eq!(number(Path::new(name)), expected, "{name}");
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
