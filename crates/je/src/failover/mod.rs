//! A standby: a copy of an environment that follows it and can be opened at any instant.
//!
//! ```text
//! the files of the home fixed, as for a backup, or those of a snapshot ─► a stage beside the standby: what is the same
//!     linked, the rest copied, every checksum looked at ─► the log judged as a whole ─► synced ─► the standby's own locks
//!     ─► exchanged ─► synced ─► the old one removed
//! ```
//!
//! JE's guide copies changed files into the standby one by one. Then there are moments when a file is missing between two
//! others, because it was made and cleaned between two passes; here the folder is exchanged as a whole.
//!
//! Owns the copy and the exchange. Never writes to the home, nor to a standby that it has not made, nor to one that
//! somebody has opened since: by then it is the environment, and the home the past; nor over one with newer files.
//!
//! Invariant: whenever it is cut off, the standby is the one of the last pass or of this one, whole.

mod origin;
mod record;
mod stage;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use treering_snapshot::SnapshotError;
use treering_snapshot::restore::Refusal;

pub use self::origin::InSnapshot;
use self::origin::{Home, Origin};
use self::record::{Entry, Record};
use self::stage::Stage;
use crate::log::{Commit, FILE_HEADER_BYTES, FileHeader, FileSummary, Listing, file_name, scan};
use crate::moment::Contents;
use crate::verify::{FolderSource, Severity, Verifier};

/// Keeps a standby.
#[derive(Debug, Clone)]
pub struct Failover {
    standby: PathBuf,
}

/// What one pass has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// Files that were copied.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Files that were the same.
    pub kept: u64,
    /// Files that the standby had and has no more.
    pub removed: u64,
    /// The last commit in what was copied.
    pub last: Option<Commit>,
    /// How far a home has gone on since.
    pub behind: Option<Behind>,
}

/// How far a standby is behind its home.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Behind {
    /// How many commits the home has made since.
    pub commits: u64,
    /// The time from the last commit of the standby to the last one of the home, in milliseconds.
    pub ms: i64,
}

/// Why a pass failed. The standby is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FailoverError {
    /// A system call failed, or the home's files cannot be fixed.
    #[error(transparent)]
    Failed(#[from] crate::Error),
    /// A snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// There is no log to be copied.
    #[error("{} has no file of a JE log", .home.display())]
    NoEnvironment {
        /// The home, or its path in the snapshot.
        home: PathBuf,
    },
    /// The standby would be a part of its own home.
    #[error("the standby {} lies in the environment {} itself", .standby.display(), .home.display())]
    Within {
        /// The folder of the standby.
        standby: PathBuf,
        /// The home.
        home: PathBuf,
    },
    /// A file is damaged; a standby with it would be no standby.
    #[error("{} is damaged at byte {offset}: {detail}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        detail: String,
    },
    /// The home has lost what the standby has; following it would lose that for good.
    #[error("{} ends with {}, and the standby has {}: entries that were committed are gone", .home.display(), file_name(*.last), file_name(*.had))]
    Behind {
        /// The home, or its path in the snapshot.
        home: PathBuf,
        /// The last file that it has.
        last: u32,
        /// The last file of the standby.
        had: u32,
    },
    /// The files do not belong together, so that JE would not open a standby of them.
    #[error("{} is no environment that JE would open: {detail}", .home.display())]
    Unsound {
        /// The home, or its path in the snapshot.
        home: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The folder holds something else.
    #[error("{} is not empty and was not made by treering", .standby.display())]
    NotAStandby {
        /// The folder.
        standby: PathBuf,
    },
    /// Somebody has worked with the standby.
    #[error("{} has been changed since it was copied ({detail}): it may be the environment in use now", .standby.display())]
    Changed {
        /// The folder.
        standby: PathBuf,
        /// What has changed.
        detail: String,
    },
    /// Somebody has the standby open.
    #[error("{}: {detail}", .standby.display())]
    InUse {
        /// The folder.
        standby: PathBuf,
        /// How that was noticed.
        detail: String,
    },
    /// What is mounted there keeps the standby from being exchanged.
    #[error("the standby cannot be exchanged: {detail}")]
    Mounted {
        /// What is mounted where.
        detail: String,
    },
}

impl FailoverError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let failed = crate::error::io_error(action, path);
        move |source| failed(source).into()
    }

    fn refused(standby: &Path, refusal: Refusal) -> Self {
        match refusal {
            Refusal::Io { action, path, source } => crate::Error::Io { action, path, source }.into(),
            Refusal::Mounted { detail } => Self::Mounted { detail },
            other => Self::InUse { standby: standby.to_owned(), detail: other.to_string() },
        }
    }
}

impl Failover {
    /// Of this standby, absolute.
    pub fn new(standby: PathBuf) -> Self {
        Self { standby }
    }

    /// Brings the standby up to what a home is now. A deletion of JE's that is under way is waited for so long.
    ///
    /// # Errors
    ///
    /// See [`FailoverError`]; the standby is as it was.
    pub fn follow(&self, home: &Path, lock_wait: Duration) -> Result<Pass, FailoverError> {
        self.refuse_within(home, &real(&self.standby))?;
        let mut copied = self.pass(&mut Home::fix(home, lock_wait)?)?;
        copied.pass.behind = Some(copied.measure(home));
        Ok(copied.pass)
    }

    /// Brings the standby up to a snapshot, whose bytes `contents` shows.
    ///
    /// # Errors
    ///
    /// See [`FailoverError`]; the standby is as it was.
    pub fn follow_snapshot(&self, snapshot: &InSnapshot, contents: &mut dyn Contents) -> Result<Pass, FailoverError> {
        // On another machine the home's place may be the standby's; nothing may lie in a home that is here.
        if crate::is_home(&snapshot.path).is_ok_and(|is_home| is_home) {
            real(&self.standby).parent().map_or(Ok(()), |folder| self.refuse_within(&snapshot.path, folder))?;
        }
        Ok(self.pass(&mut origin::Stored { snapshot, contents })?.pass)
    }

    /// A standby in its home would come into every backup of it, and into the next standby.
    fn refuse_within(&self, home: &Path, folder: &Path) -> Result<(), FailoverError> {
        match folder.starts_with(real(home)) {
            true => Err(FailoverError::Within { standby: self.standby.clone(), home: home.to_owned() }),
            false => Ok(()),
        }
    }

    fn pass(&self, origin: &mut dyn Origin) -> Result<Copied, FailoverError> {
        let record = Record::of_standby(&self.standby)?;
        let listing = origin.listing().clone();
        let last = listing.last().ok_or_else(|| FailoverError::NoEnvironment { home: origin.path().to_owned() })?;
        if let Some(had) = record.last().filter(|had| *had > last) {
            return Err(FailoverError::Behind { home: origin.path().to_owned(), last, had });
        }
        let stage = Stage::make(&self.standby)?;
        stage.make_folders(&listing.data_folders, origin.looks()?)?;
        let (mut copied, mut next, mut files) = (Copied::default(), Record::default(), Vec::new());
        for (number, listed) in &listing.files {
            let (number, path, is_last) = (*number, &listed.path, *number == last);
            let fingerprint = origin.fingerprint(number)?;
            let known = record.files.get(path).filter(|known| !is_last && known.is_same(&fingerprint));
            if let Some((known, header)) = known.and_then(|known| Some((known, header(&self.standby.join(path))?))) {
                stage.link(&self.standby, path)?;
                files.push((number, path, Found::Known(header, known.bytes)));
                next.files.insert(path.clone(), known.clone());
                copied.pass.kept += 1;
                continue;
            }
            let Some(file) = stage.copy(origin, number, path, is_last)? else { continue };
            copied.take_in(number, &file.summary, file.bytes);
            let (bytes, modified_ns) = (file.bytes, file.modified_ns);
            let entry = Entry { fingerprint, bytes, modified_ns, is_read_again: is_last };
            next.files.insert(path.clone(), entry);
            files.push((number, path, Found::Read(Box::new(file.summary))));
        }
        copied.pass.removed = record.files.keys().filter(|path| !next.files.contains_key(*path)).count() as u64;
        let checkpoint = judge(origin.path(), &listing, files, stage.folder())?;
        // What is read of it is what the whole is judged by.
        let checkpoint = checkpoint.and_then(|number| next.files.get_mut(&listing.files.get(&number)?.path));
        checkpoint.into_iter().for_each(|entry| entry.is_read_again = true);
        stage.put_settings(origin)?;
        stage.publish(&self.standby, &next, origin.looks()?)?;
        Ok(copied)
    }
}

/// A file of the stage.
enum Found {
    /// It was read before: its header, and how long it is.
    Known(FileHeader, u64),
    Read(Box<FileSummary>),
}

/// The path without links; what of it does not exist has none.
fn real(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|part| Some((part, fs::canonicalize(part).ok()?)));
    there.map_or_else(|| path.to_owned(), |(part, real)| real.join(path.strip_prefix(part).unwrap_or(Path::new(""))))
}

fn header(path: &Path) -> Option<FileHeader> {
    let mut head = [0; FILE_HEADER_BYTES as usize];
    fs::File::open(path).and_then(|file| file.read_exact_at(&mut head, 0)).ok()?;
    FileHeader::read(&head)
}

/// Whether the files are an environment that JE opens. Says in which one the last checkpoint is.
fn judge(
    home: &Path,
    listing: &Listing,
    files: Vec<(u32, &PathBuf, Found)>,
    stage: &Path,
) -> Result<Option<u32>, FailoverError> {
    // What else lies in the home does not come into a standby.
    let staged = Listing::read(stage).map_err(FailoverError::io("list", stage))?;
    let staged = Listing { has_marker: listing.has_marker, ..staged };
    let mut verifier = Verifier::new(&staged);
    for (number, path, found) in files {
        match found {
            Found::Read(summary) => verifier.file(number, path, Ok(*summary)),
            Found::Known(header, bytes) => verifier.known(number, path, bytes, header),
        }
    }
    let report = verifier.finish(&mut FolderSource::new(stage, &staged));
    match report.findings.iter().find(|finding| finding.severity == Severity::Error) {
        None => Ok(report.checkpoint.map(|checkpoint| checkpoint.lsn.file)),
        Some(finding) => {
            let path = finding.path.iter().map(|path| format!("{}: ", path.display()));
            let detail = path.chain([finding.problem.to_string()]).collect();
            Err(FailoverError::Unsound { home: home.to_owned(), detail })
        }
    }
}

/// What a pass has copied, and up to where.
#[derive(Default)]
struct Copied {
    pass: Pass,
    /// The last file, and how long the copy of it is.
    end: Option<(u32, u64)>,
}

impl Copied {
    fn take_in(&mut self, number: u32, summary: &FileSummary, bytes: u64) {
        self.pass.copied += 1;
        self.pass.copied_bytes += bytes;
        self.pass.last = summary.last_commit.or(self.pass.last);
        self.end = Some((number, bytes));
    }

    /// How far the home has gone on. What cannot be read meanwhile does not count.
    fn measure(&self, home: &Path) -> Behind {
        let mut behind = Behind::default();
        let (Some((file, offset)), Ok(listing)) = (self.end, Listing::read(home)) else { return behind };
        let mut newest = None;
        for (number, listed) in listing.files.range(file..) {
            let Ok(mut open) = fs::File::open(home.join(&listed.path)) else { continue };
            let _unread = scan(&mut open, *number, None, &mut |entry| {
                let is_new = !entry.is_behind && (*number > file || entry.end() > offset);
                if let Some(commit) = Some(entry).filter(|_| is_new).and_then(Commit::of) {
                    behind.commits += 1;
                    newest = Some(commit.time_ms);
                }
            });
        }
        if let (Some(newest), Some(last)) = (newest, self.pass.last) {
            behind.ms = newest.saturating_sub(last.time_ms).max(0);
        }
        behind
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::log::testing::small_log;

    /// JE opens an environment only with all of its data folders, and one in the midst of a network restore not at all.
    #[test]
    fn a_standby_has_every_data_folder_and_is_left_as_it_was_when_the_home_is_no_environment() {
        let temp = tempfile::tempdir().unwrap();
        let (home, standby) = (temp.path().join("home"), temp.path().join("standby"));
        let place = |number: u32| home.join(format!("data00{}", number + 1)).join(file_name(number));
        for number in 0..3 {
            fs::create_dir_all(place(number).parent().unwrap()).unwrap();
        }
        for file in small_log(17) {
            fs::write(place(file.number), &file.bytes).unwrap();
        }
        let failover = Failover::new(standby.clone());
        let pass = failover.follow(&home, Duration::ZERO).unwrap();
        assert_eq!((pass.copied, pass.behind), (2, Some(Behind::default())));
        assert!(standby.join("data003").is_dir());
        assert_eq!(fs::read(standby.join("data001/00000000.jdb")).unwrap(), fs::read(place(0)).unwrap());
        fs::write(home.join("7fffffff.jdb"), "").unwrap();
        let refused = failover.follow(&home, Duration::ZERO).unwrap_err();
        assert!(matches!(refused, FailoverError::Unsound { .. }), "{refused}");
        assert!(standby.join("data001/00000000.jdb").exists());
    }

    /// Its newest files lay on a disk that is not mounted now, for instance.
    #[test]
    fn a_home_that_has_lost_files_is_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let (home, standby) = (temp.path().join("home"), temp.path().join("standby"));
        fs::create_dir(&home).unwrap();
        for file in small_log(17) {
            fs::write(home.join(file_name(file.number)), &file.bytes).unwrap();
        }
        let failover = Failover::new(standby.clone());
        failover.follow(&home, Duration::ZERO).unwrap();
        let newest = home.join(file_name(1));
        fs::rename(&newest, temp.path().join("aside")).unwrap();
        let refused = failover.follow(&home, Duration::ZERO).unwrap_err();
        assert!(matches!(refused, FailoverError::Behind { last: 0, had: 1, .. }), "{refused}");
        assert!(standby.join(file_name(1)).exists());
        fs::rename(temp.path().join("aside"), &newest).unwrap();
        failover.follow(&home, Duration::ZERO).unwrap();
    }
}
