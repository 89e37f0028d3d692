//! The next standby, beside the one that is there.
//!
//! Owns the folder `<standby>.treering-failover` and the exchange. What a pass that was killed has left there is removed
//! by the next one.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use treering_snapshot::restore::{Hold, Place, refuse_mounts};

use super::FailoverError;
use super::origin::{Looks, Origin, SETTINGS};
use super::record::{RECORD, Record, modified_ns};
use crate::log::{FILE_HEADER_BYTES, FileSummary, Scanner, data_folder_name};
use crate::restore::hold;

/// Behind the standby's name.
const SUFFIX: &str = ".treering-failover";
/// Nobody else looks into a stage.
const PRIVATE: u32 = 0o700;

pub(super) struct Stage {
    folder: PathBuf,
}

/// A file that was copied.
pub(super) struct Copied {
    pub(super) summary: FileSummary,
    pub(super) bytes: u64,
    pub(super) modified_ns: i128,
}

impl Stage {
    /// Beside a standby that can be exchanged.
    pub(super) fn make(standby: &Path) -> Result<Self, FailoverError> {
        let place = Place { path: standby, shown: standby };
        refuse_mounts(&place).map_err(|refusal| FailoverError::refused(standby, refusal))?;
        let mut name = standby.file_name().map_or_else(OsString::new, OsString::from);
        name.push(SUFFIX);
        let folder = standby.with_file_name(name);
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(FailoverError::io("remove", &folder)(e)),
            _ => {}
        }
        let parent = folder.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(FailoverError::io("make", parent))?;
        DirBuilder::new().mode(PRIVATE).create(&folder).map_err(FailoverError::io("make", &folder))?;
        Ok(Self { folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the data folders: JE insists on all of them, also on empty ones.
    pub(super) fn make_folders(&self, numbers: &[u32], looks: Looks) -> Result<(), FailoverError> {
        for number in numbers {
            let folder = self.folder.join(data_folder_name(*number));
            let made = fs::create_dir(&folder).and_then(|()| looks.put_on(&File::open(&folder)?));
            made.map_err(FailoverError::io("make", &folder))?;
        }
        Ok(())
    }

    /// Takes over a file of the standby that is the same: log files that are not the last one are never written again.
    pub(super) fn link(&self, standby: &Path, inner: &Path) -> Result<(), FailoverError> {
        let path = self.folder.join(inner);
        fs::hard_link(standby.join(inner), &path).map_err(FailoverError::io("link", &path))
    }

    /// Copies a file and looks at every checksum; `None` if nothing but a header is in it. The last one is cut behind its
    /// last whole entry.
    pub(super) fn copy(
        &self,
        origin: &mut dyn Origin,
        number: u32,
        inner: &Path,
        is_last: bool,
    ) -> Result<Option<Copied>, FailoverError> {
        let path = self.folder.join(inner);
        let file = File::create(&path).map_err(FailoverError::io("make", &path))?;
        let mut to = Checked { file, scanner: Scanner::new(number, None), failed: None };
        let copied = origin.copy(number, &mut to);
        let Checked { file, scanner, failed } = to;
        let looks = match failed {
            Some(error) => return Err(FailoverError::io("write", &path)(error)),
            None => copied?,
        };
        let summary = scanner.finish(&mut |_| {});
        let is_torn_end = is_last && (summary.is_torn() || summary.is_only_header());
        if let Some(damage) = summary.damage.as_ref().filter(|_| !is_torn_end) {
            let (offset, detail) = (damage.offset, damage.fault.to_string());
            return Err(FailoverError::Damaged { path: origin.path().join(inner), offset, detail });
        }
        if is_last && summary.is_only_header() {
            fs::remove_file(&path).map_err(FailoverError::io("remove", &path))?;
            return Ok(None);
        }
        let bytes = summary.valid_end.max(FILE_HEADER_BYTES);
        let finished = file.set_len(bytes).and_then(|()| looks.put_on(&file)).and_then(|()| file.sync_all());
        finished.map_err(FailoverError::io("sync", &path))?;
        let modified_ns = modified_ns(&file.metadata().map_err(FailoverError::io("look at", &path))?);
        Ok(Some(Copied { summary, bytes, modified_ns }))
    }

    /// Copies JE's settings, if there are any.
    pub(super) fn put_settings(&self, origin: &mut dyn Origin) -> Result<(), FailoverError> {
        let Some((bytes, looks)) = origin.settings()? else { return Ok(()) };
        let path = self.folder.join(SETTINGS);
        let mut file = File::create(&path).map_err(FailoverError::io("make", &path))?;
        let written = file.write_all(&bytes).and_then(|()| looks.put_on(&file)).and_then(|()| file.sync_all());
        written.map_err(FailoverError::io("write", &path))
    }

    /// Makes everything durable, puts it in the standby's place while nobody can open that, and removes the old one.
    pub(super) fn publish(self, standby: &Path, record: &Record, looks: Looks) -> Result<(), FailoverError> {
        let path = self.folder.join(RECORD);
        let mut text = File::create(&path).map_err(FailoverError::io("make", &path))?;
        let written = text.write_all(record.to_text().as_bytes()).and_then(|()| text.sync_all());
        written.map_err(FailoverError::io("write", &path))?;
        let made = File::open(&self.folder).and_then(|folder| looks.put_on(&folder));
        made.and_then(|()| sync_folders(&self.folder)).map_err(FailoverError::io("sync", &self.folder))?;
        let held = self.hold(standby)?;
        self.exchange(standby).map_err(|e| FailoverError::io("exchange", standby)(e.into()))?;
        let parent = standby.parent().unwrap_or(Path::new("/"));
        sync_folder(parent).map_err(FailoverError::io("sync", parent))?;
        drop(held);
        match fs::remove_dir_all(&self.folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FailoverError::io("remove", &self.folder)(e)),
            _ => Ok(()),
        }
    }

    fn hold(&self, standby: &Path) -> Result<Option<Hold>, FailoverError> {
        if !standby.exists() {
            return Ok(None);
        }
        let held = hold(&Place { path: standby, shown: standby });
        held.map(Some).map_err(|refusal| FailoverError::refused(standby, refusal))
    }

    fn exchange(&self, standby: &Path) -> Result<(), Errno> {
        match renameat_with(CWD, &self.folder, CWD, standby, RenameFlags::EXCHANGE) {
            Err(Errno::NOENT) => renameat_with(CWD, &self.folder, CWD, standby, RenameFlags::NOREPLACE),
            exchanged => exchanged,
        }
    }
}

/// A file that is scanned while it is written.
struct Checked {
    file: File,
    scanner: Scanner,
    /// What writing failed with, which whoever writes here may tell as a failure of its own.
    failed: Option<io::Error>,
}

impl Write for Checked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.file.write_all(bytes) {
            self.failed = Some(error);
            return Err(io::ErrorKind::Other.into());
        }
        self.scanner.push(bytes, &mut |_| {});
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
