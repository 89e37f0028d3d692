//! The first 100 bytes of a database file.
//!
//! Pure but for one positioned read, which moves no file position and touches no lock. Says nothing about the rest of
//! the file.
//!
//! Invariant: a [`Header`] has the magic and a page size that SQLite allows.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use treering_chunk::CutPolicy;

/// Length of the header.
pub(crate) const HEADER_BYTES: usize = 100;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const MIN_PAGE_BYTES: u32 = 512;
/// Smaller pages would make more chunk ids than they save bytes.
const MIN_CUT_PAGE_BYTES: u32 = 1024;
/// The read version of databases with a write-ahead log; 1 is a rollback journal, more is not defined yet.
const WAL_VERSION: u8 = 2;

/// What the backup API rewrites in the header of its copy: change counter, schema cookie, and at the end the counter
/// and the library version that go with the stored size.
const REWRITTEN: [Range<usize>; 3] = [24..28, 40..44, 92..100];

/// A header that was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    bytes: [u8; HEADER_BYTES],
}

impl Header {
    /// Recognises a header.
    pub(crate) fn parse(bytes: [u8; HEADER_BYTES]) -> Option<Header> {
        let header = Header { bytes };
        let page = header.page_bytes();
        (bytes.starts_with(MAGIC) && page.is_power_of_two() && page >= MIN_PAGE_BYTES).then_some(header)
    }

    /// Reads the header of a file; `None` if it has none.
    pub(crate) fn read(file: &File) -> io::Result<Option<Header>> {
        let mut bytes = [0; HEADER_BYTES];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Header::parse(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives the copy that the backup API made the counters of its source again, so that it is the same file.
    pub(crate) fn put_back_counters(&self, copy: &File) -> io::Result<()> {
        for field in REWRITTEN {
            copy.write_all_at(&self.bytes[field.clone()], field.start as u64)?;
        }
        Ok(())
    }

    /// The size of a page in bytes. The value 1 stands for 65536, which does not fit.
    pub(crate) fn page_bytes(&self) -> u32 {
        match u16::from_be_bytes([self.bytes[16], self.bytes[17]]) {
            1 => 65_536,
            size => u32::from(size),
        }
    }

    /// Whether the database keeps a write-ahead log.
    pub(crate) fn is_wal(&self) -> bool {
        self.bytes[19] == WAL_VERSION
    }

    /// Whether the format is newer than this program.
    pub(crate) fn is_unknown(&self) -> bool {
        self.bytes[19] > WAL_VERSION
    }

    /// Counts the transactions of a database with a rollback journal. In WAL mode it may stand still.
    pub(crate) fn change_counter(&self) -> u32 {
        self.number(24)
    }

    /// Changes with the schema.
    pub(crate) fn schema_cookie(&self) -> u32 {
        self.number(40)
    }

    /// The library that wrote the file last, in words.
    pub(crate) fn library(&self) -> Option<String> {
        let number = self.number(96);
        let (major, minor, patch) = (number / 1_000_000, number / 1000 % 1000, number % 1000);
        (number != 0).then(|| format!("SQLite {major}.{minor}.{patch} (file)"))
    }

    /// How the file is cut.
    pub(crate) fn cut(&self) -> CutPolicy {
        match self.page_bytes() {
            page if page >= MIN_CUT_PAGE_BYTES => CutPolicy::Pages(page),
            _ => CutPolicy::Fine,
        }
    }

    fn number(&self, offset: usize) -> u32 {
        let mut four = [0; 4];
        four.copy_from_slice(&self.bytes[offset..offset + 4]);
        u32::from_be_bytes(four)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(page: [u8; 2]) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..16].copy_from_slice(MAGIC);
        bytes[16..18].copy_from_slice(&page);
        bytes
    }

    #[test]
    fn pages_from_1024_bytes_are_the_cut_points() {
        let cut = |page: u16| Header::parse(header(page.to_be_bytes())).map(|header| header.cut());
        assert_eq!(cut(1), Some(CutPolicy::Pages(65_536)));
        assert_eq!(cut(4096), Some(CutPolicy::Pages(4096)));
        assert_eq!(cut(1024), Some(CutPolicy::Pages(1024)));
        assert_eq!(cut(512), Some(CutPolicy::Fine));
        assert_eq!(cut(256), None);
        assert_eq!(cut(4097), None);
        assert_eq!(cut(0), None);
    }

    proptest! {
        #[test]
        fn what_is_recognised_has_a_valid_page(page in any::<[u8; 2]>(), rest in any::<[u8; 32]>()) {
            let mut bytes = header(page);
            bytes[18..50].copy_from_slice(&rest);
            if let Some(header) = Header::parse(bytes) {
                prop_assert!((512..=65_536).contains(&header.page_bytes()));
            }
        }
    }
}
