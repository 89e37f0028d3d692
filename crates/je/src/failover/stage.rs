//! The next standby, beside the one that is there.
//!
//! Owns the folder `<standby>.treering-failover` and the exchange. What a pass that was killed has left there is removed
//! by the next one.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use treering_snapshot::restore::{Place, Refusal};

use super::record::{Entry, RECORD, Record, hex, modified_ns};
use super::{FailoverError, io_error};
use crate::capture::PinnedFile;
use crate::log::{Commit, FILE_HEADER_BYTES, Scanner};
use crate::restore::hold;

/// Behind the standby's name.
const SUFFIX: &str = ".treering-failover";
/// JE's own settings of the environment, which belong to it.
const SETTINGS: &str = "je.properties";
const READ_BYTES: usize = 256 << 10;

pub(super) struct Stage {
    folder: PathBuf,
}

/// A file that was copied.
pub(super) struct Copied {
    pub(super) bytes: u64,
    pub(super) last_commit: Option<Commit>,
    pub(super) entry: Entry,
}

impl Stage {
    pub(super) fn make(standby: &Path) -> Result<Self, FailoverError> {
        let mut name = standby.file_name().map_or_else(OsString::new, OsString::from);
        name.push(SUFFIX);
        let folder = standby.with_file_name(name);
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error("remove", &folder)(e)),
            _ => {}
        }
        fs::create_dir_all(&folder).map_err(io_error("make", &folder))?;
        Ok(Self { folder })
    }

    fn path(&self, inner: &Path) -> Result<PathBuf, FailoverError> {
        let path = self.folder.join(inner);
        let parent = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent).map_err(io_error("make", parent))?;
        Ok(path)
    }

    /// Takes over a file of the standby that is the same: log files that are not the last one are never written again.
    pub(super) fn link(&self, standby: &Path, inner: &Path) -> Result<(), FailoverError> {
        let path = self.path(inner)?;
        fs::hard_link(standby.join(inner), &path).map_err(io_error("link", &path))
    }

    /// Copies a file of the home and looks at every checksum; `None` if nothing but a header is in it. The last one is cut
    /// behind its last whole entry.
    pub(super) fn copy(&self, file: &PinnedFile, is_last: bool) -> Result<Option<Copied>, FailoverError> {
        let path = self.path(&file.path)?;
        let fingerprint = hex(&file.fingerprint().map_err(io_error("read", &file.path))?);
        let mut to = File::create(&path).map_err(io_error("make", &path))?;
        let mut scanner = Scanner::new(file.number, None);
        pump(file, &mut to, &mut scanner).map_err(io_error("copy", &path))?;
        let summary = scanner.finish(&mut |_| {});
        let is_torn_end = is_last && (summary.is_torn() || summary.is_only_header());
        if let Some(damage) = summary.damage.as_ref().filter(|_| !is_torn_end) {
            let (offset, detail) = (damage.offset, damage.fault.to_string());
            return Err(FailoverError::Damaged { path: file.path.clone(), offset, detail });
        }
        if is_last && summary.is_only_header() {
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
            return Ok(None);
        }
        let bytes = summary.valid_end.max(FILE_HEADER_BYTES);
        to.set_len(bytes).and_then(|()| to.sync_all()).map_err(io_error("sync", &path))?;
        let modified_ns = modified_ns(&to.metadata().map_err(io_error("look at", &path))?);
        let entry = Entry { fingerprint, bytes, modified_ns, was_last: is_last };
        Ok(Some(Copied { bytes, last_commit: summary.last_commit, entry }))
    }

    pub(super) fn copy_settings(&self, home: &Path) -> Result<(), FailoverError> {
        let (from, to) = (home.join(SETTINGS), self.folder.join(SETTINGS));
        match fs::copy(&from, &to) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            copied => copied.map(drop).map_err(io_error("copy", &from)),
        }
    }

    /// Makes everything durable, puts it in the standby's place while nobody can open that, and removes the old one.
    pub(super) fn publish(self, standby: &Path, record: &Record) -> Result<(), FailoverError> {
        let path = self.folder.join(RECORD);
        let mut text = File::create(&path).map_err(io_error("make", &path))?;
        text.write_all(record.to_text().as_bytes()).and_then(|()| text.sync_all()).map_err(io_error("write", &path))?;
        sync_folders(&self.folder).map_err(io_error("sync", &self.folder))?;
        let held = self.hold(standby)?;
        self.exchange(standby).map_err(|e| io_error("exchange", standby)(e.into()))?;
        let parent = standby.parent().unwrap_or(Path::new("/"));
        sync_folder(parent).map_err(io_error("sync", parent))?;
        drop(held);
        match fs::remove_dir_all(&self.folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &self.folder)(e)),
            _ => Ok(()),
        }
    }

    fn hold(&self, standby: &Path) -> Result<Option<treering_snapshot::restore::Hold>, FailoverError> {
        if !standby.exists() {
            return Ok(None);
        }
        hold(&Place { path: standby, shown: standby }).map(Some).map_err(|refusal| match refusal {
            Refusal::Io { action, path, source } => FailoverError::Io { action, path, source },
            other => FailoverError::InUse { standby: standby.to_owned(), detail: other.to_string() },
        })
    }

    fn exchange(&self, standby: &Path) -> Result<(), Errno> {
        match renameat_with(CWD, &self.folder, CWD, standby, RenameFlags::EXCHANGE) {
            Err(Errno::NOENT) => renameat_with(CWD, &self.folder, CWD, standby, RenameFlags::NOREPLACE),
            exchanged => exchanged,
        }
    }
}

fn pump(file: &PinnedFile, to: &mut File, scanner: &mut Scanner) -> io::Result<()> {
    let mut from = file.reader()?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let got = from.read(&mut buffer)?;
        let part = buffer.get(..got).unwrap_or_default();
        if part.is_empty() {
            return Ok(());
        }
        scanner.push(part, &mut |_| {});
        to.write_all(part)?;
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A folder and the data folders in it.
fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folder(&entry.path())?;
        }
    }
    sync_folder(folder)
}
