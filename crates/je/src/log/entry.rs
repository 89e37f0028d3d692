//! The headers of entries and of files, and the kinds of entries.
//!
//! Owns their layout (`log/LogEntryHeader.java`, `log/FileHeader.java`, `log/LogEntryType.java`). Every number in them is
//! fixed and little-endian. Never follows a length; that is the scanner's.

use simd_adler32::Adler32;

use super::fields::Fields;
use super::items::{self, Item};
use super::{FILE_HEADER_BYTES, Lsn};

/// Headers without and with a VLSN, the number that replicated environments give.
const SHORT_HEADER_BYTES: usize = 14;
const LONG_HEADER_BYTES: usize = 22;

/// The checksum does not cover itself.
const CHECKSUM_BYTES: usize = 4;
const FLAGS_AT: usize = 5;

/// Where the header of a file has the version of its log.
const VERSION_AT: usize = 34;

const INVISIBLE: u8 = 0x10;
/// Set if a VLSN follows; the first of them up to version 6, either of them from 7 on.
const REPLICATED: u8 = 0x20;
const VLSN_PRESENT: u8 = 0x08;
/// Up to version 6 the flags share their byte with the version.
const VERSION_BITS: u8 = 0x1f;

/// The kind of an entry, as a number that never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryType(pub u8);

impl EntryType {
    /// The root of all databases; a checkpoint writes it.
    pub const ROOT: EntryType = EntryType(16);
    /// A transaction is committed.
    pub const COMMIT: EntryType = EntryType(17);
    /// A transaction is undone.
    pub const ABORT: EntryType = EntryType(18);
    /// A checkpoint begins.
    pub const CHECKPOINT_START: EntryType = EntryType(19);
    /// A checkpoint is complete: recovery may start at it.
    pub const CHECKPOINT_END: EntryType = EntryType(20);
    /// A message for people.
    pub const TRACE: EntryType = EntryType(24);
    /// The first entry of each file.
    pub const FILE_HEADER: EntryType = EntryType(25);
    /// The file is closed and will not be appended to.
    pub const IMMUTABLE_FILE: EntryType = EntryType(38);
    /// The environment must not be opened before it is restored.
    pub const RESTORE_REQUIRED: EntryType = EntryType(39);
    /// Overwritten in place because its records were erased; its checksum is void.
    pub const ERASED: EntryType = EntryType(43);

    /// Whether logs of that version have such entries.
    pub fn is_in(self, version: u32) -> bool {
        let last = match version {
            0..=6 => 27,
            7 => 30,
            8 => 36,
            9 | 10 => 37,
            11..=13 => 38,
            14 => 39,
            15 => 40,
            16 => 42,
            _ => 43,
        };
        (1..=last).contains(&self.0)
    }

    /// Whether it is a record of a user's database, written by a transaction.
    pub fn is_transactional_record(self) -> bool {
        matches!(self.0, 1 | 3 | 5 | 7 | 9 | 31 | 33 | 35 | 41)
    }

    /// The name that JE uses.
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 44] = [
            "none",
            "LN_TX",
            "LN",
            "MapLN_TX",
            "MapLN",
            "NameLN_TX",
            "NameLN",
            "DelDupLN_TX",
            "DelDupLN",
            "DupCountLN_TX",
            "DupCountLN",
            "FileSummaryLN",
            "IN",
            "BIN",
            "DIN",
            "DBIN",
            "Root",
            "Commit",
            "Abort",
            "CkptStart",
            "CkptEnd",
            "INDelete",
            "BINDelta",
            "DupBINDelta",
            "Trace",
            "FileHeader",
            "INDupDelete",
            "Prepare",
            "RollbackStart",
            "RollbackEnd",
            "Matchpoint",
            "DEL_LN_TX",
            "DEL_LN",
            "INS_LN_TX",
            "INS_LN",
            "UPD_LN_TX",
            "UPD_LN",
            "NewBINDelta",
            "ImmutableFile",
            "RestoreRequired",
            "ReservedFileLN",
            "ExtinctScanLN_TX",
            "ExtinctScanLN",
            "Erased",
        ];
        NAMES.get(usize::from(self.0)).copied().unwrap_or("unknown")
    }
}

/// What stands before every entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHeader {
    /// Adler-32 of everything behind it.
    pub checksum: u32,
    /// What the entry is.
    pub kind: EntryType,
    /// As it is stored, up to version 6 with the version in the lower five bits.
    pub flags: u8,
    /// The offset of the entry before it in the same file.
    pub previous: u32,
    /// The length of the item, without this header.
    pub item_bytes: u32,
    /// The length of this header.
    pub header_bytes: usize,
}

impl EntryHeader {
    /// The part that all headers have.
    pub(crate) const LEAST_BYTES: usize = SHORT_HEADER_BYTES;

    /// Reads the part that all headers have. `None` if there are fewer than 14 bytes, or if the length is negative.
    pub(crate) fn read(bytes: &[u8], version: u32) -> Option<Self> {
        let mut fields = Fields::new(bytes.get(..SHORT_HEADER_BYTES)?);
        let checksum = u32::from_le_bytes(fields.fixed()?);
        let (kind, flags) = (EntryType(fields.byte()?), fields.byte()?);
        let previous = u32::from_le_bytes(fields.fixed()?);
        let item_bytes = u32::try_from(i32::from_le_bytes(fields.fixed()?)).ok()?;
        let long = if version <= 6 { REPLICATED } else { REPLICATED | VLSN_PRESENT };
        let header_bytes = if flags & long == 0 { SHORT_HEADER_BYTES } else { LONG_HEADER_BYTES };
        Some(EntryHeader { checksum, kind, flags, previous, item_bytes, header_bytes })
    }

    /// Header and item together.
    pub fn entry_bytes(&self) -> u64 {
        self.header_bytes as u64 + u64::from(self.item_bytes)
    }

    /// Whether a rollback of a replicated environment has taken it out, in place.
    pub fn is_invisible(&self, version: u32) -> bool {
        version > 6 && self.flags & INVISIBLE != 0
    }

    /// Whether kind and version bits are possible.
    pub(crate) fn is_possible(&self, version: u32) -> bool {
        let bits = u32::from(self.flags & VERSION_BITS);
        self.kind.is_in(version) && (version > 6 || bits == version)
    }

    /// Whether header and item have the checksum that the header says, using `sum`.
    pub(crate) fn is_sum_right(&self, entry: &[u8], version: u32, sum: &mut Adler32) -> bool {
        self.begin_sum(entry, version, sum);
        sum.finish() == self.checksum
    }

    /// Begins to sum up an entry with as many of its bytes as are given, the whole header at least.
    ///
    /// The invisible bit is set in place after the checksum was made, so that it counts as unset.
    pub(crate) fn begin_sum(&self, entry: &[u8], version: u32, sum: &mut Adler32) {
        sum.reset();
        let summed = entry.get(CHECKSUM_BYTES..).unwrap_or_default();
        match summed {
            [kind, flags, rest @ ..] if self.is_invisible(version) => {
                sum.write(&[*kind; FLAGS_AT - CHECKSUM_BYTES]);
                sum.write(&[flags & !INVISIBLE]);
                sum.write(rest);
            }
            _ => sum.write(summed),
        }
    }
}

/// The item of a file's first entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHeader {
    /// When the file was begun, in milliseconds since 1970. With the number it names the file in its time line: a
    /// number that is used again comes with another time.
    pub time_ms: i64,
    /// The number, the same as in the name.
    pub number: u32,
    /// Where the last entry of the file before it begins; 0 if there was none.
    pub last_in_previous: u64,
    /// The version of the log.
    pub version: u32,
}

impl FileHeader {
    /// Reads it from the first bytes of a file, its entry's header included, without looking at the checksum.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..FILE_HEADER_BYTES as usize)?;
        let mut fields = Fields::new(bytes);
        fields.fixed::<4>()?;
        let kind = EntryType(fields.byte()?);
        fields.fixed::<5>()?;
        let item_bytes = u32::from_le_bytes(fields.fixed()?);
        let time_ms = i64::from_le_bytes(fields.fixed()?);
        let number = u32::from_le_bytes(fields.fixed()?);
        let last_in_previous = u64::from_le_bytes(fields.fixed()?);
        let version = u32::from_le_bytes(fields.fixed()?);
        let is_one = kind == EntryType::FILE_HEADER && item_bytes as usize == bytes.len() - SHORT_HEADER_BYTES;
        is_one.then_some(FileHeader { time_ms, number, last_in_previous, version })
    }

    /// The version of the log that bytes at the place of a header claim.
    pub(crate) fn claimed_version(bytes: &[u8]) -> Option<u32> {
        let version = bytes.get(VERSION_AT..FILE_HEADER_BYTES as usize)?;
        Some(u32::from_le_bytes(version.try_into().ok()?))
    }
}

/// One entry of an unbroken part of the log.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The version of its file's log.
    pub version: u32,
    /// Where it begins.
    pub lsn: Lsn,
    /// What stands before it.
    pub header: EntryHeader,
    /// The item; empty if it is longer than a scanner holds.
    pub item: &'a [u8],
    /// Whether it lies behind a break, where JE would not read it.
    pub is_behind: bool,
}

impl Entry<'_> {
    /// Where the next entry begins.
    pub fn end(&self) -> u64 {
        u64::from(self.lsn.offset) + self.header.entry_bytes()
    }

    /// What the item says, if it is of a kind that this program reads.
    ///
    /// `None` also for an item that does not have the form of its kind; see [`Entry::is_malformed`].
    pub fn item(&self) -> Option<Item> {
        items::read(self.header.kind, self.item, self.version)
    }

    /// Whether it is of a kind that this program reads, and cannot be read.
    pub fn is_malformed(&self) -> bool {
        items::is_read(self.header.kind) && self.item().is_none()
    }
}
