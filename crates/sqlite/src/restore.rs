//! Bringing a database back.
//!
//! What lies beside a database under its name belongs to it: SQLite writes a `-wal` or a hot `-journal` that it finds into
//! whatever database it finds, which damages one that they are not of (<https://sqlite.org/howtocorrupt.html>, section
//! 1.4). So where one of them is in the target, they and the database are exchanged together; otherwise a database is a
//! file like any other.
//!
//! Owns who has a database open, as far as locks and `/proc` tell. Never writes.
//!
//! Invariant: after a restore nothing lies beside a database that the snapshot does not have there.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use treering_snapshot::capture::{Lock, Verdict, open_plain, plain};
use treering_snapshot::record::AppEntry;
use treering_snapshot::restore::{Hold, Place, Proof, Refusal, Restorer, Unit, hold_bytes};

use crate::header::Header;
use crate::name::{self, JOURNAL, SHM, WAL};
use crate::options::FULL_CHECK_MAX_BYTES;
use crate::verify::{self, Check, Depth};

/// Where SQLite locks a database: PENDING_BYTE, RESERVED_BYTE and SHARED_SIZE of its `os.h`.
const DATABASE_LOCKS: (i64, i64) = (0x4000_0000, 512);
/// Where it locks the `-shm`: WALINDEX_LOCK_OFFSET of its `wal.c`, eight of them and the one for whoever has it open.
const SHM_LOCKS: (i64, i64) = (120, 9);

/// Brings databases back.
#[derive(Debug, Default)]
pub struct SqliteRestorer {
    /// Who has which file open, by device and inode; looked at once.
    open: OnceLock<HashMap<(u64, u64), u32>>,
}

impl SqliteRestorer {
    /// One that has not yet looked at what is open.
    pub fn new() -> Self {
        Self::default()
    }

    /// An idle connection to a database with a rollback journal has no lock.
    fn refuse_if_open(&self, metadata: &Metadata, shown: &Path) -> Result<(), Refusal> {
        let key = (metadata.dev(), metadata.ino());
        match self.open.get_or_init(open_files).get(&key) {
            Some(process) => Err(Refusal::InUse { detail: format!("process {process} has {} open", shown.display()) }),
            None => Ok(()),
        }
    }
}

impl Restorer for SqliteRestorer {
    fn kind(&self) -> &'static str {
        crate::KIND
    }

    fn unit(&self, entry: &AppEntry) -> Option<Unit> {
        let name = entry.place().file_name()?;
        Some(Unit::WithCompanions {
            names: [WAL, JOURNAL, SHM].map(|suffix| name::with(name, suffix)).into(),
            // A copy that SQLite made is one file.
            may_be_stored: Verdict::from_word(&entry.verdict) != Verdict::Consistent,
        })
    }

    fn hold(&self, place: &Place<'_>) -> Result<Hold, Refusal> {
        let metadata = place.path.symlink_metadata().map_err(Refusal::io("look at", place.shown))?;
        self.refuse_if_open(&metadata, place.shown)?;
        let database = lock(place.path, DATABASE_LOCKS, place.shown)?;
        let shm = lock(&beside(place.path, SHM), SHM_LOCKS, &beside(place.shown, SHM))?;
        Ok(Box::new((database, shm)))
    }

    fn refuse_open(&self, folder: &Place<'_>, names: &[OsString]) -> Result<(), Refusal> {
        let with_companions = with_companions(folder.path);
        let databases = names.iter().map(|name| name::of_sibling(name).unwrap_or(name));
        let likely = databases.filter(|name| name::is_likely(name) || with_companions.contains(*name));
        for name in likely.collect::<BTreeSet<_>>() {
            let (path, shown) = (folder.path.join(name), folder.shown.join(name));
            if is_database(&path) {
                self.hold(&Place { path: &path, shown: &shown }).map(drop)?;
            }
        }
        Ok(())
    }

    fn verify(&self, staged: &Place<'_>) -> Result<Proof, Refusal> {
        if [WAL, JOURNAL].iter().any(|suffix| beside(staged.path, suffix).exists()) {
            let note = "SQLite finishes what was under way when the application opens it".to_owned();
            let detail = "it is as it lay there, with its log".to_owned();
            return Ok(Proof { point: None, detail, notes: vec![note] });
        }
        let bytes = fs::metadata(staged.path).map_err(Refusal::io("look at", staged.shown))?.len();
        match verify::check(staged.path, Depth::of(bytes, FULL_CHECK_MAX_BYTES)) {
            Check::Passed(depth) => Ok(Proof { point: None, detail: depth.sentence().to_owned(), notes: Vec::new() }),
            Check::Failed(message) => Err(Refusal::Unsound { detail: format!("the database is damaged: {message}") }),
            Check::Impossible(why) => {
                let note = "it is as it was captured, which is no proof that it opens".to_owned();
                Ok(Proof { point: None, detail: format!("it cannot be checked: {why}"), notes: vec![note] })
            }
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    path.with_file_name(name::with(path.file_name().unwrap_or_default(), suffix))
}

/// Locks a part of a file as SQLite would: to write it, or to read it where it may not be written. A file that is not there
/// or may not be read has no lock of ours.
fn lock(path: &Path, bytes: (i64, i64), shown: &Path) -> Result<Option<Hold>, Refusal> {
    let may_not =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
    let (opened, lock) = match plain().read(true).write(true).open(path) {
        Err(error) if may_not(&error) => (open_plain(path), Lock::Shared),
        opened => (opened, Lock::Alone),
    };
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound || may_not(&error) => return Ok(None),
        opened => opened.map_err(Refusal::io("open", shown))?,
    };
    hold_bytes(file, lock, bytes, shown).map(Some)
}

/// The names beside which a folder has a companion.
fn with_companions(folder: &Path) -> HashSet<OsString> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name::of_sibling(&name).map(OsStr::to_owned)).collect()
}

/// Whether it is a regular file that begins like a database.
fn is_database(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
        && open_plain(path).is_ok_and(|file| matches!(Header::read(&file), Ok(Some(_))))
}

/// What other processes have open, as far as this one may look.
fn open_files() -> HashMap<(u64, u64), u32> {
    let mut found = HashMap::new();
    let own = std::process::id();
    let listed = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for process in processes.filter(|process| *process != own) {
        let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        for metadata in files.filter_map(|file| fs::metadata(file.path()).ok()).filter(Metadata::is_file) {
            found.insert((metadata.dev(), metadata.ino()), process);
        }
    }
    found
}
