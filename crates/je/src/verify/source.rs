//! Where the bytes of log files come from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use simd_adler32::Adler32;

use crate::log::{Entry, EntryHeader, EntryType, FileSummary, Listing, Lsn, scan};

/// The longest entry that is looked at by itself; roots and ends of checkpoints have some hundred bytes.
const LOOK_MOST_BYTES: usize = 64 << 20;

/// Gives access to the files of a log.
pub trait Source {
    /// Reads a file from its beginning to its end.
    ///
    /// # Errors
    ///
    /// That it cannot be read, with why.
    fn scan(&mut self, number: u32, visit: &mut dyn FnMut(&Entry<'_>)) -> io::Result<FileSummary>;

    /// What entry begins at this place; `None` if none does.
    ///
    /// # Errors
    ///
    /// That the file cannot be read.
    fn kind_at(&mut self, lsn: Lsn) -> io::Result<Option<EntryType>> {
        let mut found = None;
        self.scan(lsn.file, &mut |entry| {
            if entry.lsn == lsn {
                found = Some(entry.header.kind);
            }
        })?;
        Ok(found)
    }
}

/// The files in an environment's folder.
#[derive(Debug, Clone)]
pub struct FolderSource {
    folder: PathBuf,
    paths: BTreeMap<u32, PathBuf>,
}

impl FolderSource {
    /// The files of that listing in that folder.
    pub fn new(folder: &Path, listing: &Listing) -> Self {
        let paths = listing.files.iter().map(|(number, file)| (*number, file.path.clone())).collect();
        FolderSource { folder: folder.to_path_buf(), paths }
    }

    fn open(&self, number: u32) -> io::Result<File> {
        let path = self.paths.get(&number).ok_or(io::ErrorKind::NotFound)?;
        File::open(self.folder.join(path))
    }
}

impl Source for FolderSource {
    fn scan(&mut self, number: u32, visit: &mut dyn FnMut(&Entry<'_>)) -> io::Result<FileSummary> {
        let file = self.open(number)?;
        let length = file.metadata()?.len();
        scan(&mut file.take(length), number, Some(length), visit)
    }

    fn kind_at(&mut self, lsn: Lsn) -> io::Result<Option<EntryType>> {
        let file = self.open(lsn.file)?;
        kind_in(&file, lsn.offset)
    }
}

/// What entry begins at this offset of a file, by its checksum.
pub(crate) fn kind_in(file: &File, offset: u32) -> io::Result<Option<EntryType>> {
    let mut head = [0; crate::log::FILE_HEADER_BYTES as usize];
    let Some(version) = read_at(file, &mut head, 0)?.and_then(crate::log::FileHeader::read) else { return Ok(None) };
    let version = version.version;
    let mut start = [0; EntryHeader::LEAST_BYTES];
    let header = read_at(file, &mut start, offset.into())?.and_then(|start| EntryHeader::read(start, version));
    let Some(header) = header.filter(|header| header.is_possible(version)) else { return Ok(None) };
    let whole = usize::try_from(header.entry_bytes()).unwrap_or(usize::MAX);
    let end = u64::from(offset).saturating_add(header.entry_bytes());
    if whole > LOOK_MOST_BYTES || end > file.metadata()?.len() {
        return Ok(None);
    }
    let mut entry = vec![0; whole];
    let entry = read_at(file, &mut entry, offset.into())?;
    let is_right = |entry: &[u8]| header.is_sum_right(entry, version, &mut Adler32::new());
    let is_one = entry.is_some_and(|entry| header.kind == EntryType::ERASED || is_right(entry));
    Ok(is_one.then_some(header.kind))
}

/// Fills the buffer, or is `None` where the file ends before.
fn read_at<'b>(file: &File, buffer: &'b mut [u8], offset: u64) -> io::Result<Option<&'b [u8]>> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(Some(buffer)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
