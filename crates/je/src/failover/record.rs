//! What the last pass has put into a standby: a small text in it, by which the next pass knows what is the same, and that
//! nobody has worked with the standby since.
//!
//! One line for each file: its fingerprint where it comes from, the length and the modification time of the copy, whether
//! it is read again the next time in any case, its path.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::FailoverError;
use crate::log::{Listing, log_number};

/// Its name; nothing that JE looks at.
pub(super) const RECORD: &str = "treering-failover";
/// The first line.
const VERSION: &str = "treering failover 2";

/// What is in a standby.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// By their paths in it.
    pub(super) files: BTreeMap<PathBuf, Entry>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Of the file that was copied.
    pub(super) fingerprint: String,
    /// The length of the copy.
    pub(super) bytes: u64,
    /// When the copy was last written to, in nanoseconds since 1970.
    pub(super) modified_ns: i128,
    /// Whether it is never taken over: the log ended in it, or it has the last checkpoint, whose end is what the log is
    /// judged by.
    pub(super) is_read_again: bool,
}

impl Entry {
    /// Whether it was copied from a file in this state, and may be taken over.
    pub(super) fn is_same(&self, fingerprint: &str) -> bool {
        !self.is_read_again && self.fingerprint == fingerprint
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn modified_ns(metadata: &fs::Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

impl Record {
    /// Reads the record of a standby and compares it with what is there. A folder that is missing or empty is a standby
    /// of nothing.
    pub(super) fn of_standby(standby: &Path) -> Result<Self, FailoverError> {
        let text = match fs::read_to_string(standby.join(RECORD)) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return nothing(standby),
            Err(e) => return Err(FailoverError::io("read", &standby.join(RECORD))(e)),
        };
        let not_ours = || FailoverError::NotAStandby { standby: standby.to_owned() };
        let record = Self::parse(&text).ok_or_else(not_ours)?;
        let listing = Listing::read(standby).map_err(FailoverError::io("list", standby))?;
        let changed = |detail: String| FailoverError::Changed { standby: standby.to_owned(), detail };
        if let Some(file) = listing.files.values().find(|file| !record.files.contains_key(&file.path)) {
            return Err(changed(format!("{} is new", file.path.display())));
        }
        for (path, entry) in &record.files {
            let metadata =
                fs::metadata(standby.join(path)).map_err(|_| changed(format!("{} is gone", path.display())))?;
            if (metadata.len(), modified_ns(&metadata)) != (entry.bytes, entry.modified_ns) {
                return Err(changed(format!("{} is another one", path.display())));
            }
        }
        Ok(record)
    }

    /// The number of the last file.
    pub(super) fn last(&self) -> Option<u32> {
        self.files.keys().filter_map(|path| log_number(path)).max()
    }

    pub(super) fn to_text(&self) -> String {
        let line = |(path, entry): (&PathBuf, &Entry)| {
            let Entry { fingerprint, bytes, modified_ns, is_read_again } = entry;
            format!("{fingerprint} {bytes} {modified_ns} {} {}\n", u8::from(*is_read_again), path.display())
        };
        std::iter::once(format!("{VERSION}\n")).chain(self.files.iter().map(line)).collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(VERSION)?.strip_prefix('\n')?;
        let files = rest.lines().map(|line| {
            let mut words = line.splitn(5, ' ');
            let entry = Entry {
                fingerprint: words.next()?.to_owned(),
                bytes: words.next()?.parse().ok()?,
                modified_ns: words.next()?.parse().ok()?,
                is_read_again: words.next()? == "1",
            };
            Some((PathBuf::from(words.next()?), entry))
        });
        Some(Self { files: files.collect::<Option<_>>()? })
    }
}

fn nothing(standby: &Path) -> Result<Record, FailoverError> {
    match fs::read_dir(standby).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(Record::default()),
        Ok(false) => Err(FailoverError::NotAStandby { standby: standby.to_owned() }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Record::default()),
        Err(e) => Err(FailoverError::io("list", standby)(e)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let entry = Entry { fingerprint: "ab".into(), bytes: 5, modified_ns: -7, is_read_again: true };
        let files = BTreeMap::from([(PathBuf::from("data001/00000000.jdb"), entry)]);
        let record = Record { files };
        assert_eq!(Record::parse(&record.to_text()), Some(record));
        for bad in ["", "treering failover 1\n", "treering failover 2\nab 5\n"] {
            assert_eq!(Record::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_folder_with_something_else_in_it_is_no_standby() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(Record::of_standby(temp.path()).unwrap(), Record::default());
        assert_eq!(Record::of_standby(&temp.path().join("none")).unwrap(), Record::default());
        fs::write(temp.path().join("mine"), "").unwrap();
        assert!(matches!(Record::of_standby(temp.path()), Err(FailoverError::NotAStandby { .. })));
    }
}
