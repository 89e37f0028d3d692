//! A standby: a copy of an environment that follows it and can be opened at any instant.
//!
//! ```text
//! the files of the home fixed, as for a backup ─► a stage beside the standby: what is the same linked, the rest copied,
//!     every checksum looked at ─► synced ─► the standby's own locks ─► exchanged ─► synced ─► the old one removed
//! ```
//!
//! JE's guide copies changed files into the standby one by one. Then there are moments when a file is missing between two
//! others, because it was made and cleaned between two passes; here the folder is exchanged as a whole.
//!
//! Owns the copy and the exchange. Never writes to the home, nor to a standby that it has not made, nor to one that
//! somebody has opened since: by then it is the environment, and the home the past.
//!
//! Invariant: whenever it is cut off, the standby is the one of the last pass or of this one, whole.

mod record;
mod stage;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::record::Record;
use self::stage::Stage;
use crate::capture::{Held, Pinned};
use crate::log::{Commit, EntryType, Item, Listing, Outcome, scan};

/// Follows a home.
#[derive(Debug, Clone)]
pub struct Failover {
    home: PathBuf,
    standby: PathBuf,
    lock_wait: Duration,
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
    /// Files that the home has no more.
    pub removed: u64,
    /// The last commit that the standby has.
    pub last: Option<Commit>,
    /// How many commits the home has made since.
    pub behind_commits: u64,
    /// The time from that commit to the last one of the home, in milliseconds.
    pub behind_ms: i64,
}

/// Why a pass failed. The standby is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FailoverError {
    /// A system call failed.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The home's files cannot be fixed.
    #[error(transparent)]
    Home(#[from] crate::Error),
    /// There is no log in the home.
    #[error("{} has no file of a JE log", .home.display())]
    NoEnvironment {
        /// The home.
        home: PathBuf,
    },
    /// A file of the home is damaged; a standby with it would be no standby.
    #[error("{} is damaged at byte {offset}: {detail}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
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
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FailoverError {
    let path = path.to_owned();
    move |source| FailoverError::Io { action, path, source }
}

impl Failover {
    /// From a home to a standby, both absolute. A deletion of JE's that is under way is waited for so long.
    pub fn new(home: PathBuf, standby: PathBuf, lock_wait: Duration) -> Self {
        Self { home, standby, lock_wait }
    }

    /// Brings the standby up to now.
    ///
    /// # Errors
    ///
    /// See [`FailoverError`]; the standby is as it was.
    pub fn pass(&self) -> Result<Pass, FailoverError> {
        let record = Record::of_standby(&self.standby)?;
        let pinned = self.pin()?;
        let last = pinned.last().ok_or_else(|| FailoverError::NoEnvironment { home: self.home.clone() })?.number;
        let stage = Stage::make(&self.standby)?;
        let (mut pass, mut end) = (Pass::default(), None);
        let mut next = Record::default();
        for (number, file) in &pinned.files {
            let same = record.files.get(&file.path).filter(|known| known.is_same(file)).filter(|_| *number != last);
            if let Some(known) = same.filter(|known| !known.was_last) {
                stage.link(&self.standby, &file.path)?;
                next.files.insert(file.path.clone(), known.clone());
                pass.kept += 1;
                continue;
            }
            let Some(copied) = stage.copy(file, *number == last)? else { continue };
            pass.copied += 1;
            pass.copied_bytes += copied.bytes;
            pass.last = copied.last_commit.or(pass.last);
            end = Some((*number, copied.bytes));
            next.files.insert(file.path.clone(), copied.entry);
        }
        pass.removed = record.files.keys().filter(|path| !next.files.contains_key(*path)).count() as u64;
        stage.copy_settings(&self.home)?;
        drop(pinned);
        stage.publish(&self.standby, &next)?;
        self.measure(&mut pass, end);
        Ok(pass)
    }

    fn pin(&self) -> Result<Pinned, FailoverError> {
        let held = Held::reader(&self.home.join("je.lck"), self.lock_wait).ok();
        let pinned = Pinned::take(&self.home, held.is_some())?;
        match pinned.needs_lock() {
            // Rare: more files than descriptors. They are read by name, which only the lock makes safe.
            true => Err(FailoverError::Io {
                action: "hold all files open of",
                path: self.home.clone(),
                source: io::Error::other("raise the limit of open files"),
            }),
            false => Ok(pinned),
        }
    }

    /// How far the home has gone on. What cannot be read meanwhile does not count.
    fn measure(&self, pass: &mut Pass, end: Option<(u32, u64)>) {
        let (Some((file, offset)), Ok(listing)) = (end, Listing::read(&self.home)) else { return };
        let mut newest = None;
        for (number, listed) in listing.files.range(file..) {
            let Ok(open) = fs::File::open(self.home.join(&listed.path)) else { continue };
            let mut open = open;
            let _unread = scan(&mut open, *number, None, &mut |entry| {
                if let Some(time_ms) = commit_time(entry).filter(|_| *number > file || entry.end() > offset) {
                    pass.behind_commits += 1;
                    newest = Some(time_ms);
                }
            });
        }
        if let (Some(newest), Some(last)) = (newest, pass.last) {
            pass.behind_ms = newest.saturating_sub(last.time_ms).max(0);
        }
    }
}

fn commit_time(entry: &crate::log::Entry<'_>) -> Option<i64> {
    if entry.is_behind || entry.header.kind != EntryType::COMMIT {
        return None;
    }
    match entry.item()? {
        Item::TransactionEnd(end) if end.outcome == Outcome::Commit => Some(end.time_ms),
        _ => None,
    }
}

/// The files of a standby by their paths in it.
type Files = BTreeMap<PathBuf, record::Entry>;
