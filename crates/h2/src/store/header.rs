//! The store header, which a file has twice, in its first two blocks.
//!
//! Source: `MVStore.java` (`readStoreHeader`, `writeStoreHeader`). It names a chunk that was the last one when it was
//! written, not necessarily the last one now: H2 does not rewrite it at each commit.

use super::chunk::BLOCK_BYTES;
use super::text::Fields;
use super::{Result, Source, StoreError};

/// Both headers.
pub const HEADER_BYTES: usize = 2 * BLOCK_BYTES as usize;
const ENCRYPTED: &[u8] = b"H2encrypt\n";

/// A format that this program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// H2 1.4.200 and before: one map for layout and meta, no table of contents.
    One,
    /// H2 2.0 and 2.1.
    Two,
    /// H2 2.2 to 2.4: a chunk's header does not say where it lies.
    Three,
}

impl Format {
    fn of(number: u64) -> Option<Self> {
        [Self::One, Self::Two, Self::Three].into_iter().find(|format| u64::from(format.number()) == number)
    }

    /// As the header has it.
    pub fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }

    /// Which releases of H2 write it.
    pub fn releases(self) -> &'static str {
        match self {
            Self::One => "H2 1.4",
            Self::Two => "H2 2.0 and 2.1",
            Self::Three => "H2 2.2 to 2.4",
        }
    }
}

/// What the headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHeader {
    /// How the file is to be read.
    pub format: Format,
    /// The chunk that it names.
    pub chunk: u32,
    /// The first block of that chunk.
    pub block: u64,
    /// The version of that chunk.
    pub version: u64,
    /// When the store was made, in milliseconds since 1970; times of chunks count from here.
    pub created_ms: u64,
    /// Whether the store was closed, and nothing written since.
    pub is_clean: bool,
    fields: Fields,
}

/// The headers of a file.
#[derive(Debug, Clone)]
pub(crate) struct Headers {
    /// The newer one of those that are whole.
    pub(crate) best: StoreHeader,
    /// Whether each of them is whole, and all of them agree on the version.
    pub(crate) agree: bool,
}

impl Headers {
    /// Reads both.
    pub(crate) fn read(source: &mut dyn Source) -> Result<Self> {
        let mut both = vec![0; HEADER_BYTES];
        let got = source.read_at(&mut both, 0)?;
        Self::parse(both.get(..got).unwrap_or_default())
    }

    fn parse(both: &[u8]) -> Result<Self> {
        if both.starts_with(ENCRYPTED) {
            return Err(StoreError::Encrypted);
        }
        let blocks = both.chunks(BLOCK_BYTES as usize).take(2);
        let fields: Vec<Option<Fields>> = blocks.map(Fields::parse_checked).collect();
        let whole = fields.iter().flatten().map(StoreHeader::of).collect::<Result<Vec<_>>>()?;
        let agree =
            whole.len() == 2 && whole.iter().all(|header| Some(header.version) == whole.first().map(|h| h.version));
        let best = whole.into_iter().rev().max_by_key(|header| header.version).ok_or(StoreError::NoHeader)?;
        Ok(Self { best, agree })
    }
}

impl StoreHeader {
    fn of(fields: &Fields) -> Result<Self> {
        let number = |key: &str, missing| {
            let number = fields.hex(key, missing);
            number.ok_or_else(|| StoreError::damaged("store header", format!("{key} is no number")))
        };
        let unknown = |what: String| StoreError::Format { what };
        if fields.get("H").is_none() {
            return Err(StoreError::NoHeader);
        }
        let format = number("format", 1)?;
        let (read, block_bytes) = (number("formatRead", format)?, number("blockSize", BLOCK_BYTES)?);
        let known = Format::of(format).filter(|_| read == format);
        let known = known.ok_or_else(|| unknown(format!("format {format}, readable as {read}")))?;
        if block_bytes != BLOCK_BYTES {
            return Err(unknown(format!("blocks of {block_bytes} bytes")));
        }
        Ok(Self {
            format: known,
            chunk: fields.hex32("chunk", 0).ok_or_else(|| StoreError::damaged("store header", "chunk is no number"))?,
            block: number("block", 2)?,
            version: number("version", 0)?,
            created_ms: number("created", 0)?,
            is_clean: number("clean", 0)? != 0,
            fields: fields.clone(),
        })
    }

    /// Both headers as H2 writes them when it closes a store whose last chunk is this one.
    pub(crate) fn closed_at(&self, chunk: u32, block: u64, version: u64) -> Vec<u8> {
        let mut fields = self.fields.clone();
        for (key, number) in [("chunk", chunk.into()), ("block", block), ("version", version), ("clean", 1)] {
            fields.set_hex(key, number);
        }
        let mut one = fields.to_checked();
        one.resize(BLOCK_BYTES as usize, 0);
        one.repeat(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Vec<u8> {
        let mut bytes = Fields::parse(text).unwrap().to_checked();
        bytes.resize(BLOCK_BYTES as usize, 0);
        bytes
    }

    const TEXT: &str = "H:2,block:2,blockSize:1000,chunk:1,created:18b,format:2,version:5";

    #[test]
    fn the_newer_header_wins() {
        let old = block(TEXT);
        let new = block(&TEXT.replace("version:5", "version:6"));
        let headers = Headers::parse(&[old.clone(), new.clone()].concat()).unwrap();
        assert_eq!((headers.best.version, headers.agree), (6, false));
        let headers = Headers::parse(&[old.clone(), old.clone()].concat()).unwrap();
        assert_eq!((headers.best.version, headers.agree, headers.best.is_clean), (5, true, false));
        assert!(!Headers::parse(&[vec![0; 4096], new].concat()).unwrap().agree);
        assert!(matches!(Headers::parse(&[0; HEADER_BYTES]), Err(StoreError::NoHeader)));
    }

    #[test]
    fn closing_changes_what_it_must() {
        let header = Headers::parse(&block(TEXT).repeat(2)).unwrap().best;
        let closed = Headers::parse(&header.closed_at(9, 7, 77)).unwrap();
        let best = closed.best;
        assert!(closed.agree && best.is_clean);
        assert_eq!((best.chunk, best.block, best.version, best.created_ms), (9, 7, 77, 0x18b));
    }

    #[test]
    fn what_is_not_known_is_said() {
        let is_unknown = |text: &str| matches!(Headers::parse(&block(text)), Err(StoreError::Format { .. }));
        assert!(is_unknown(&TEXT.replace("format:2", "format:4")));
        assert!(is_unknown(&TEXT.replace("blockSize:1000", "blockSize:2000")));
        assert!(matches!(Headers::parse(ENCRYPTED), Err(StoreError::Encrypted)));
    }
}
