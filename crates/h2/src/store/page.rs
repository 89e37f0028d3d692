//! Pages, as far as they can be read without knowing the types of keys and values.
//!
//! Source: `Page.java` (`read`, `write`), `DataUtils.java` (positions, check values). Children and their counts stand
//! before the keys and are never compressed.

use super::bytes::Bytes;
use super::compress::{Compression, expand};
use super::header::Format;

const KIND_NODE: u8 = 1;
const KIND_COMPRESSED: u8 = 2;
const KIND_COMPRESSED_HIGH: u8 = 6;
/// The length code that only says: longer than all others.
const CODE_LARGE: u32 = 31;
/// Enough of a page to know its length.
pub(crate) const LENGTH_BYTES: usize = 4;

/// Where a page lies: chunk, offset, a code for its length, and whether it is a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position(pub(crate) u64);

impl Position {
    pub(crate) fn chunk(self) -> u32 {
        (self.0 >> 38) as u32
    }

    pub(crate) fn offset(self) -> u32 {
        (self.0 >> 6) as u32
    }

    pub(crate) fn is_node(self) -> bool {
        self.0 & 1 != 0
    }

    fn code(self) -> u32 {
        (self.0 >> 1) as u32 & 31
    }

    /// The longest that the page can be; `None`: its first bytes say it.
    pub(crate) fn most_bytes(self) -> Option<u64> {
        (self.code() != CODE_LARGE).then(|| (2 + u64::from(self.code() & 1)) << ((self.code() >> 1) + 4))
    }

    /// In a table of contents the number of the map stands where a position has that of the chunk.
    pub(crate) fn of_toc(entry: u64) -> (u32, Self) {
        (Self(entry).chunk(), Self(entry))
    }
}

/// A page taken apart.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    pub(crate) length: u32,
    /// Formats 2 and 3.
    pub(crate) number: Option<u32>,
    pub(crate) map: u32,
    pub(crate) keys: u32,
    pub(crate) is_node: bool,
    /// Positions of a node's children, and how many entries are beneath each.
    pub(crate) children: Vec<(u64, u64)>,
    compression: Option<Compression>,
    rest: &'a [u8],
}

impl<'a> Page<'a> {
    /// The page at the start of these bytes, which lies at this offset of this chunk; or what is wrong with it.
    pub(crate) fn of(bytes: &'a [u8], chunk: u32, offset: u32, format: Format) -> Result<Self, &'static str> {
        let mut front = Bytes(bytes);
        let length = front.u32().ok_or("it has no length")?;
        let whole = bytes.get(..length as usize).filter(|whole| whole.len() > LENGTH_BYTES + 2);
        let mut rest = Bytes(whole.ok_or("its length is impossible")?);
        let sum = check(chunk) ^ check(offset) ^ check(length);
        if rest.u32().is_none() || rest.u16() != Some(sum) {
            return Err("its check value is wrong");
        }
        Self::body(length, rest, format).ok_or("it ends too soon")
    }

    fn body(length: u32, mut rest: Bytes<'a>, format: Format) -> Option<Self> {
        let number = if format == Format::One { None } else { Some(rest.var_u32()?) };
        let (map, keys, kind) = (rest.var_u32()?, rest.var_u32()?, rest.byte()?);
        let is_node = kind & KIND_NODE != 0;
        let children = if is_node { children(&mut rest, keys)? } else { Vec::new() };
        let compression = match kind & KIND_COMPRESSED_HIGH {
            0 => None,
            KIND_COMPRESSED => Some(Compression::Lzf),
            KIND_COMPRESSED_HIGH => Some(Compression::Deflate),
            _ => return None,
        };
        Some(Self { length, number, map, keys, is_node, children, compression, rest: rest.0 })
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.compression.is_some()
    }

    /// Keys and values as they were before they were compressed.
    pub(crate) fn expanded(&self) -> Option<Vec<u8>> {
        let Some(how) = self.compression else { return Some(self.rest.to_vec()) };
        let mut rest = Bytes(self.rest);
        let saved = rest.var_u32()? as usize;
        expand(how, rest.0, rest.0.len().checked_add(saved)?)
    }

    /// The entries of a leaf that maps strings to strings: all keys, then all values.
    pub(crate) fn strings(&self) -> Option<Vec<(String, String)>> {
        let expanded = self.expanded()?;
        let mut rest = Bytes(&expanded);
        let mut take = || (0..self.keys).map(|_| rest.string()).collect::<Option<Vec<_>>>();
        let (keys, values) = (take()?, take()?);
        Some(keys.into_iter().zip(values).collect())
    }
}

fn children(rest: &mut Bytes<'_>, keys: u32) -> Option<Vec<(u64, u64)>> {
    let count = keys as usize + 1;
    // Eight bytes and at least one each.
    if rest.0.len() / 9 < count {
        return None;
    }
    let mut children = Vec::with_capacity(count);
    for _ in 0..count {
        children.push((rest.u64()?, 0));
    }
    for child in &mut children {
        child.1 = rest.var_u64()?;
    }
    Some(children)
}

fn check(number: u32) -> u16 {
    (number >> 16) as u16 ^ number as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A leaf of map 5 with one entry, at offset 100 of chunk 3.
    fn leaf(format: Format) -> Vec<u8> {
        let mut body = if format == Format::One { vec![] } else { vec![9] };
        body.extend([5, 1, 0, 1, b'k', 2, b'v', b'w']);
        let length = body.len() as u32 + 6;
        let mut page = length.to_be_bytes().to_vec();
        page.extend((check(3) ^ check(100) ^ check(length)).to_be_bytes());
        page.extend(body);
        page
    }

    #[test]
    fn a_leaf_is_read_in_its_own_place_only() {
        for format in [Format::One, Format::Two, Format::Three] {
            let bytes = leaf(format);
            let page = Page::of(&bytes, 3, 100, format).unwrap();
            assert_eq!((page.map, page.keys, page.is_node, page.length as usize), (5, 1, false, bytes.len()));
            assert_eq!(page.number, (format != Format::One).then_some(9));
            assert_eq!(page.strings().unwrap(), [("k".to_owned(), "vw".to_owned())]);
            assert!(Page::of(&bytes, 3, 101, format).is_err());
            assert!(Page::of(&bytes[..bytes.len() - 1], 3, 100, format).is_err());
        }
    }

    #[test]
    fn positions_hold_what_they_hold() {
        let position = Position(31 << 38 | 4711 << 6 | 7 << 1 | 1);
        assert_eq!((position.chunk(), position.offset(), position.is_node()), (31, 4711, true));
        assert_eq!(position.most_bytes(), Some(384));
        assert_eq!(Position(62).most_bytes(), None);
        assert_eq!((Position(0).most_bytes(), Position(60).most_bytes()), (Some(32), Some(1 << 20)));
    }
}
