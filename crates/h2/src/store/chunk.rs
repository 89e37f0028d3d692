//! Chunks: what one store operation has written.
//!
//! Source: `Chunk.java`, `SFChunk.java`. A chunk describes itself in its header, and the layout of later versions
//! describes it again, with what has died in it since.

use super::header::Format;
use super::text::Fields;

/// Everything in a file starts and ends at multiples of this.
pub const BLOCK_BYTES: u64 = 4096;
/// The last bytes of a chunk.
pub(crate) const FOOTER_BYTES: usize = 128;
/// The header of a chunk without pages, with room to grow.
const HOLLOW_HEADER_BYTES: usize = 512;
/// The longest header text.
pub(crate) const HEADER_TEXT_MOST_BYTES: usize = 1024;
/// A larger chunk is refused: whoever wrote it would have had to hold it in memory, and so does who reads it.
pub(crate) const CHUNK_MOST_BYTES: u64 = 1 << 30;
/// What the layout says of the place of a chunk that has lost it.
const NO_BLOCK: u64 = i64::MAX as u64;

/// A chunk, as its header or the layout describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its number; one more than that of the chunk before.
    pub id: u32,
    /// Where it starts, in blocks.
    pub block: u64,
    /// How long it is, in blocks.
    pub blocks: u64,
    /// The version that it completes.
    pub version: u64,
    /// Where the root of the layout of that version is; 0 in the layout's own words for older chunks of format 3.
    pub root: u64,
    /// When it was written, in milliseconds since the store was made.
    pub time_ms: u64,
    /// Where the next chunk was expected to go; 0: just behind it.
    pub next: u64,
    /// How many pages are in it.
    pub pages: u32,
    /// How many of them are still used.
    pub pages_live: u32,
    /// The sum of the lengths of its pages, rounded up as positions encode them …
    pub page_bytes: u64,
    /// … and of those that are still used.
    pub page_bytes_live: u64,
    /// Where its table of contents starts; 0: it has none.
    pub toc: u64,
    /// A bit for each page that is not used any more, the lowest bit of the first byte first.
    dead: Vec<u8>,
}

impl Chunk {
    /// From the text of a header or of an entry of the layout.
    pub(crate) fn of(fields: &Fields) -> Option<Self> {
        let id = fields.hex32("chunk", 0).filter(|id| *id > 0)?;
        // What is not used here makes a chunk none for H2 if it is no number.
        for unused in ["map", "pinCount", "unused", "unusedAtVersion"] {
            fields.hex(unused, 0)?;
        }
        let pages = fields.hex32("pages", 0)?;
        let page_bytes = fields.hex("max", 0)?;
        let chunk = Self {
            id,
            block: fields.hex("block", 0)?,
            blocks: fields.hex("len", 0)?,
            version: fields.hex("version", id.into())?,
            root: fields.hex("root", 0)?,
            time_ms: fields.hex("time", 0)?,
            next: fields.hex("next", 0)?,
            pages,
            pages_live: fields.hex32("livePages", pages)?,
            page_bytes,
            page_bytes_live: fields.hex("liveMax", page_bytes)?,
            toc: fields.hex("toc", 0)?,
            dead: fields.get("occupancy").map_or(Some(Vec::new()), bitset)?,
        };
        chunk.is_possible().then_some(chunk)
    }

    fn is_possible(&self) -> bool {
        let bytes = self.blocks.checked_mul(BLOCK_BYTES);
        let ends = self.block.checked_add(self.blocks).and_then(|end| end.checked_mul(BLOCK_BYTES));
        let fits = bytes.is_some_and(|bytes| bytes <= CHUNK_MOST_BYTES && self.toc <= bytes) && ends.is_some();
        !self.is_placed() || (fits && self.blocks > 0)
    }

    /// From a block that starts with a header, which says in formats 1 and 2 where it lies.
    pub(crate) fn at(start: &[u8], block: u64, format: Format) -> Option<Self> {
        let text = start.get(..start.len().min(HEADER_TEXT_MOST_BYTES))?;
        if !text.starts_with(b"chunk:") {
            return None;
        }
        let end = text.iter().position(|byte| *byte == b'\n')?;
        // Blanks are what Java trims: characters up to a space, no others.
        let mut fields = Fields::parse(super::text::latin1(text.get(..end)?).trim_matches(|c| c <= ' '))?;
        if format == Format::Three && fields.get("block").is_none() {
            fields.set_hex("block", block);
        }
        Self::of(&fields).filter(|chunk| chunk.block == block && chunk.is_placed())
    }

    /// Whether it still owns space: a dead chunk may have lost it and be listed all the same.
    pub fn is_placed(&self) -> bool {
        self.block != NO_BLOCK && self.block >= 2
    }

    /// Whether a page of it is used.
    pub fn is_live(&self) -> bool {
        self.pages_live > 0
    }

    /// Whether the page of this number is marked as not used.
    pub fn is_dead(&self, page: u32) -> bool {
        self.dead.get(page as usize / 8).is_some_and(|byte| byte & 1 << (page % 8) != 0)
    }

    /// How many pages are marked as not used.
    pub fn dead_pages(&self) -> u32 {
        self.dead.iter().map(|byte| byte.count_ones()).sum()
    }

    /// The same with all pages taken as used.
    pub(crate) fn with_all_pages(&self) -> Self {
        Self { dead: Vec::new(), ..self.clone() }
    }

    /// A chunk of this place and length whose pages are zeros: header and footer as H2 wants to see them. For one that
    /// is dead, none of whose pages is ever read again.
    pub(crate) fn hollow(&self, format: Format) -> Hollow {
        let Self { id, block, blocks, version, .. } = self;
        let place = if format == Format::Three { String::new() } else { format!("block:{block:x},") };
        let header = format!(
            "chunk:{id:x},{place}len:{blocks:x},map:0,max:{:x},pages:{:x},root:{:x},time:{:x},version:{version:x},toc:{:x}",
            self.page_bytes, self.pages, self.root, self.time_ms, self.toc
        );
        // H2 writes the header again within its length when it moves the chunk, perhaps with longer numbers.
        let header = format!("{header:<width$}\n", width = HOLLOW_HEADER_BYTES - 1);
        let covered = match format {
            Format::Three => format!("chunk:{id:x},len:{blocks:x},version:{version:x}"),
            _ => format!("chunk:{id:x},block:{block:x},version:{version:x}"),
        };
        let sum = super::text::fletcher32(covered.as_bytes());
        let footer = format!("{:<width$}\n", format!("{covered},fletcher:{sum:x}"), width = FOOTER_BYTES - 1);
        Hollow { header: header.into_bytes(), footer: footer.into_bytes() }
    }

    /// Where it starts, in bytes.
    pub fn start(&self) -> u64 {
        self.block.saturating_mul(BLOCK_BYTES)
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.blocks.saturating_mul(BLOCK_BYTES)
    }

    /// Where it ends, in bytes.
    pub fn end(&self) -> u64 {
        self.start().saturating_add(self.bytes())
    }
}

/// The ends of a chunk whose pages nobody needs; between them are zeros.
#[derive(Debug, Clone)]
pub(crate) struct Hollow {
    pub(crate) header: Vec<u8>,
    pub(crate) footer: Vec<u8>,
}

/// Hexadecimal digits as `java.util.BitSet` gives its bytes.
fn bitset(digits: &str) -> Option<Vec<u8>> {
    let (pairs, odd) = digits.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    odd.is_empty().then(|| pairs.iter().map(byte).collect()).flatten()
}

/// What stands at the end of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) id: u32,
    pub(crate) version: u64,
    /// Formats 1 and 2.
    block: Option<u64>,
    /// Format 3.
    blocks: Option<u64>,
}

impl Footer {
    /// From its bytes; `None` if they are none.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let fields = Fields::parse_checked(bytes)?;
        let number = |key| fields.get(key).map_or(Some(None), |text| u64::from_str_radix(text, 16).ok().map(Some));
        let id = fields.hex32("chunk", 0).filter(|id| *id > 0)?;
        Some(Self { id, version: fields.hex("version", id.into())?, block: number("block")?, blocks: number("len")? })
    }

    /// Whether it is the footer of this chunk.
    pub(crate) fn is_of(&self, chunk: &Chunk) -> bool {
        let same_place = self.block.is_none_or(|block| block == chunk.block);
        let same_length = self.blocks.is_none_or(|blocks| blocks == chunk.blocks);
        (self.id, self.version) == (chunk.id, chunk.version) && same_place && same_length
    }

    /// Where its chunk starts if it ends at this block.
    pub(crate) fn block(&self, end: u64) -> Option<u64> {
        self.block.or_else(|| end.checked_sub(self.blocks?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "chunk:1f,block:2,len:3,map:6,max:1c0,next:5,pages:a,root:7c0000000c,time:ff,version:20,toc:900";

    #[test]
    fn a_header_is_read_where_it_lies() {
        let start = format!("{TEXT}   \n").into_bytes();
        let chunk = Chunk::at(&start, 2, Format::Two).unwrap();
        assert_eq!((chunk.id, chunk.blocks, chunk.version, chunk.pages_live, chunk.end()), (31, 3, 32, 10, 5 * 4096));
        assert_eq!(Chunk::at(&start, 3, Format::Two), None);
        assert_eq!(Chunk::at(TEXT.as_bytes(), 2, Format::Two), None);
        for damaged in [format!("{TEXT}  \u{a0} \n"), TEXT.replace("map:6", "map:v") + "\n"] {
            let damaged: Vec<u8> = damaged.chars().map(|c| c as u8).collect();
            assert_eq!(Chunk::at(&damaged, 2, Format::Two), None);
        }
        let moved = TEXT.replace("block:2,", "") + "\n";
        assert_eq!(Chunk::at(moved.as_bytes(), 9, Format::Three).unwrap().block, 9);
        assert_eq!(Chunk::at(moved.as_bytes(), 9, Format::Two), None);
    }

    #[test]
    fn dead_pages_are_bits() {
        let fields = Fields::parse(&format!("{TEXT},livePages:7,occupancy:0902")).unwrap();
        let chunk = Chunk::of(&fields).unwrap();
        assert_eq!((0..10).filter(|page| chunk.is_dead(*page)).collect::<Vec<_>>(), [0, 3, 9]);
        assert_eq!((chunk.dead_pages(), chunk.pages_live), (3, 7));
    }

    #[test]
    fn a_hollow_chunk_has_header_and_footer() {
        let chunk = Chunk::of(&Fields::parse(TEXT).unwrap()).unwrap();
        for format in [Format::One, Format::Two, Format::Three] {
            let Hollow { header, footer } = chunk.hollow(format);
            let read = Chunk::at(&header, 2, format).unwrap();
            assert_eq!((read.id, read.blocks, read.toc), (chunk.id, chunk.blocks, chunk.toc));
            assert_eq!((header.len(), footer.len()), (HOLLOW_HEADER_BYTES, FOOTER_BYTES));
            assert!(Footer::of(&footer).unwrap().is_of(&read));
        }
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for (from, to) in
            [("len:3", "len:0"), ("len:3", "len:ffffffff"), ("toc:900", "toc:ffffff"), ("chunk:1f", "chunk:0")]
        {
            let fields = Fields::parse(&TEXT.replace(from, to)).unwrap();
            assert_eq!(Chunk::of(&fields), None, "{to}");
        }
    }
}
