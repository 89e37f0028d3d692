//! The capture of one environment, while it is written or not.
//!
//! Owns the order of things: the lock, the set of files ([`pin`]), the tail, what need not be read again ([`state`]), and
//! the verdict once everything was read.
//! Never writes to the environment, and holds JE's lock no longer than it takes to list and open files.
//!
//! Invariant: a verdict is never better than what the checksums and links of the very bytes that were handed out say,
//! or those of the capture that read them before.

mod app;
mod lock;
mod pin;
mod read;
mod state;
mod verdict;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use app::{Je, KIND, is_home};
pub(crate) use lock::Held;
pub(crate) use pin::{Pinned, PinnedFile, Stamp};
pub(crate) use read::{Outcome, Seen};
pub(crate) use state::{Fingerprint, State, is_settled};
pub use verdict::{is_unlocked, lost};

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use treering_chunk::CutPolicy;
use treering_snapshot::capture::{
    Capture, CaptureError, Conclusion, Content, PieceStore, TakenFile, foreign_file_system, open_plain,
};

use self::lock::NotLocked;
use self::state::fingerprint;
use crate::error::{Error, io_error};
use crate::log::{FILE_HEADER_BYTES, FileHeader, Listing, Name, scan};
use crate::{Options, verify};

/// The capture of one environment.
pub(crate) struct EnvironmentCapture {
    folder: PathBuf,
    claimed: Vec<PathBuf>,
    options: Options,
    taken: Option<Taken>,
}

/// How writers and the cleaner were dealt with.
#[derive(Debug)]
enum Locking {
    /// The readers' lock was held for so long.
    Hot(Duration),
    /// No lock could be had.
    Unlocked(NotLocked),
    /// Writers are kept out until the end.
    Offline,
}

/// What `take` has fixed.
struct Taken {
    pinned: Pinned,
    locking: Locking,
    /// Until everything was read, where that is needed.
    held: Option<Held>,
    /// Files that end elsewhere than on disk, and where.
    lengths: BTreeMap<u32, u64>,
    /// Files without entries, which are left out.
    dropped: BTreeSet<u32>,
    /// Bytes that are no whole entry and were left out.
    cut_off: u64,
    unchanged: BTreeSet<u32>,
    fingerprints: BTreeMap<u32, Fingerprint>,
    headers: BTreeMap<u32, FileHeader>,
    previous: Option<State>,
    seen: Seen,
    /// The file system, if it promises too little.
    uncertain: Option<&'static str>,
}

impl EnvironmentCapture {
    /// Prepares the capture of the environment in `folder`.
    pub(crate) fn new(folder: &Path, claimed: Vec<PathBuf>, options: Options) -> Self {
        EnvironmentCapture { folder: folder.to_path_buf(), claimed, options, taken: None }
    }

    fn fix(&self, previous: Option<&[u8]>) -> Result<Taken, Error> {
        let (held, locking) = self.lock()?;
        let pinned = Pinned::take(&self.folder, held.is_some())?;
        let locking = match (&held, locking) {
            (Some(held), Locking::Hot(_)) => Locking::Hot(held.age()),
            (_, locking) => locking,
        };
        let keeps = matches!(locking, Locking::Offline) || pinned.needs_lock();
        let mut taken = Taken {
            pinned,
            locking,
            held: held.filter(|_| keeps),
            lengths: BTreeMap::new(),
            dropped: BTreeSet::new(),
            cut_off: 0,
            unchanged: BTreeSet::new(),
            fingerprints: BTreeMap::new(),
            headers: BTreeMap::new(),
            previous: previous.and_then(State::decode),
            seen: Seen::default(),
            uncertain: File::open(&self.folder).and_then(|folder| foreign_file_system(&folder)).ok().flatten(),
        };
        taken.find_end().map_err(io_error("read the log in", &self.folder))?;
        taken.compare().map_err(io_error("read the log in", &self.folder))?;
        Ok(taken)
    }

    fn lock(&self) -> Result<(Option<Held>, Locking), Error> {
        let lock_file = self.folder.join("je.lck");
        let folder = || self.folder.clone();
        if !self.options.offline {
            return Ok(match Held::reader(&lock_file, self.options.lock_wait) {
                Ok(held) => (Some(held), Locking::Hot(Duration::ZERO)),
                Err(why) => (None, Locking::Unlocked(why)),
            });
        }
        match Held::offline(&lock_file, self.options.lock_wait) {
            Ok(held) => Ok((Some(held), Locking::Offline)),
            // Nobody has opened it since it was put there: a writer would have made the file.
            Err(NotLocked::NoFile) => Ok((None, Locking::Offline)),
            Err(NotLocked::Busy) => Err(Error::InUse { folder: folder() }),
            Err(NotLocked::Refused(error)) => Err(Error::NotOffline { folder: folder(), reason: error.to_string() }),
        }
    }
}

impl Capture for EnvironmentCapture {
    fn name(&self) -> &Path {
        Path::new("")
    }

    fn claimed(&self) -> &[PathBuf] {
        &self.claimed
    }

    /// JE insists on all data folders, also on those in which no file lies at present.
    fn folders(&self) -> Vec<PathBuf> {
        let is_data = |path: &&PathBuf| matches!(Name::of(path.as_os_str()), Name::DataFolder(_));
        self.claimed.iter().filter(is_data).cloned().collect()
    }

    fn take(&mut self, previous: Option<&[u8]>, _: &mut dyn PieceStore) -> Result<Vec<TakenFile>, CaptureError> {
        let taken = self.fix(previous)?;
        let mut files: Vec<TakenFile> = taken.files();
        files.extend(strangers(&self.folder, &taken.pinned.listing));
        self.taken = Some(taken);
        Ok(files)
    }

    fn conclude(self: Box<Self>) -> Conclusion {
        verdict::conclude(self.taken)
    }
}

impl Taken {
    /// Finds where the log ends: behind the last whole entry, unless whole ones follow on what is broken. That is damage,
    /// of which nothing is left out.
    fn find_end(&mut self) -> io::Result<()> {
        for (number, file) in self.pinned.files.iter().rev() {
            let open = file.open()?;
            let length = open.metadata()?.len();
            let summary = scan(&mut At { file: open, at: 0, end: length }, *number, Some(length), &mut |_| ())?;
            if summary.is_only_header() && summary.read_bytes <= FILE_HEADER_BYTES {
                self.dropped.insert(*number);
                self.cut_off += summary.read_bytes;
                continue;
            }
            let end = if summary.is_torn() && summary.entries > 1 { summary.valid_end } else { summary.read_bytes };
            self.cut_off += summary.read_bytes - end;
            self.lengths.insert(*number, end);
            break;
        }
        Ok(())
    }

    /// Finds what need not be read again.
    fn compare(&mut self) -> io::Result<()> {
        for (number, file) in &self.pinned.files {
            let mut head = [0; FILE_HEADER_BYTES as usize];
            match file.open()?.read_exact_at(&mut head, 0) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                Err(error) => return Err(error),
            }
            self.headers.extend(FileHeader::read(&head).map(|header| (*number, header)));
            let fingerprint = fingerprint(*number, &file.stamp, &head);
            let known = self.previous.as_ref().and_then(|previous| previous.files.get(number));
            if known == Some(&fingerprint) && !self.is_end(*number) {
                self.unchanged.insert(*number);
            }
            self.fingerprints.insert(*number, fingerprint);
        }
        Ok(())
    }

    /// Whether the log ends in this file.
    fn is_end(&self, number: u32) -> bool {
        self.lengths.contains_key(&number)
    }

    fn files(&self) -> Vec<TakenFile> {
        let kept = self.pinned.files.values().filter(|file| !self.dropped.contains(&file.number));
        kept.map(|file| self.file(file)).collect()
    }

    fn file(&self, file: &PinnedFile) -> TakenFile {
        let length = self.lengths.get(&file.number).copied().unwrap_or(file.stamp.size_bytes);
        let content = match file.held() {
            _ if self.unchanged.contains(&file.number) => Content::Unchanged,
            Some(held) => Content::Held { file: held, bytes: Box::new(self.reader(file, length)) },
            None => Content::Bytes(Box::new(self.reader(file, length))),
        };
        let path = file.path.clone();
        TakenFile { attributes_of: Some(path.clone()), path, content, cut: Some(CutPolicy::General) }
    }

    fn reader(&self, file: &PinnedFile, length: u64) -> read::Watched {
        self.seen.reader(file, length, self.is_end(file.number))
    }
}

/// Reads a part of a file without moving anybody's position.
struct At {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl io::Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.file.read_at(buffer.get_mut(..room).unwrap_or_default(), self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

impl PinnedFile {
    /// What tells this state of it from every other, without reading more than its header.
    pub(crate) fn fingerprint(&self) -> io::Result<Fingerprint> {
        let mut head = [0; FILE_HEADER_BYTES as usize];
        match self.open()?.read_exact_at(&mut head, 0) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            _ => Ok(fingerprint(self.number, &self.stamp, &head)),
        }
    }

    /// The checksum of the entry that begins at this offset, or what stands there.
    pub(crate) fn checksum_at(&self, offset: u32) -> Option<u32> {
        let mut found = [0; 4];
        self.open().ok()?.read_exact_at(&mut found, offset.into()).ok()?;
        Some(u32::from_le_bytes(found))
    }

    /// Its bytes from the first to the last that it has now.
    pub(crate) fn reader(&self) -> io::Result<impl io::Read + use<>> {
        let file = self.open()?;
        let end = file.metadata()?.len();
        Ok(At { file, at: 0, end })
    }
}

/// Looks up entries in the pinned files.
struct PinnedSource<'p>(&'p Pinned);

impl verify::Source for PinnedSource<'_> {
    fn scan(
        &mut self,
        number: u32,
        visit: &mut dyn FnMut(&crate::log::Entry<'_>),
    ) -> io::Result<crate::log::FileSummary> {
        let file = self.0.files.get(&number).ok_or(io::ErrorKind::NotFound)?.open()?;
        let end = file.metadata()?.len();
        scan(&mut At { file, at: 0, end }, number, Some(end), visit)
    }

    fn kind_at(&mut self, lsn: crate::log::Lsn) -> io::Result<Option<crate::log::EntryType>> {
        let file = self.0.files.get(&lsn.file).ok_or(io::ErrorKind::NotFound)?.open()?;
        verify::kind_in(&file, lsn.offset)
    }
}

/// Regular files of somebody else in data folders: those folders are claimed, so that nobody else takes them.
fn strangers(folder: &Path, listing: &Listing) -> Vec<TakenFile> {
    let is_inside = |path: &&PathBuf| {
        path.parent().and_then(Path::file_name).is_some_and(|name| matches!(Name::of(name), Name::DataFolder(_)))
    };
    let inside = listing.foreign.iter().filter(is_inside);
    inside.filter_map(|path| stranger(folder, path)).collect()
}

fn stranger(folder: &Path, path: &Path) -> Option<TakenFile> {
    let file = Arc::new(open_plain(&folder.join(path)).ok()?);
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let bytes = Box::new(At { file: Arc::clone(&file), at: 0, end: metadata.len() });
    let (path, attributes_of) = (path.to_path_buf(), Some(path.to_path_buf()));
    Some(TakenFile { path, attributes_of, content: Content::Held { file, bytes }, cut: None })
}
