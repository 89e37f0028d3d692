//! The pages of a chunk, in short: what is needed to walk every map without reading the chunk again.
//!
//! Invariant: about forty bytes a page are kept, and the entries of the layout and the meta map.

use std::ops::Range;

use super::bytes::Bytes;
use super::chunk::{Chunk, HEADER_TEXT_MOST_BYTES};
use super::header::Format;
use super::page::{Page, Position};

/// What is wrong at an offset of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// In which chunk.
    pub chunk: u32,
    /// Where in it.
    pub offset: u32,
}

/// One page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fact {
    pub(crate) offset: u32,
    pub(crate) length: u32,
    pub(crate) map: u32,
    pub(crate) keys: u32,
    pub(crate) is_node: bool,
    /// Where its children, or the entries of a text, start; the next page's are behind them.
    first: u32,
    count: u32,
}

/// The pages of a chunk that are not marked as dead.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    facts: Vec<Fact>,
    children: Vec<(u64, u64)>,
    texts: Vec<(String, String)>,
}

impl Pages {
    /// Takes the pages of a whole chunk apart. `chunk` is what the layout says of it, `is_text` which maps hold strings
    /// that are wanted. What is wrong is told to `wrong`; such a page is as if it were not there.
    pub(crate) fn of(
        bytes: &[u8],
        chunk: &Chunk,
        format: Format,
        is_text: &dyn Fn(u32) -> bool,
        wrong: &mut dyn FnMut(Place, &'static str),
    ) -> Self {
        let mut pages = Self::default();
        let mut wrong = |offset, detail| wrong(Place { chunk: chunk.id, offset }, detail);
        for start in starts(bytes, chunk, format, &mut wrong) {
            if let Err(detail) = pages.add(bytes, chunk, format, start, is_text) {
                wrong(start.offset, detail);
            }
        }
        pages.facts.sort_unstable_by_key(|fact| fact.offset);
        pages
    }

    fn add(
        &mut self,
        bytes: &[u8],
        chunk: &Chunk,
        format: Format,
        start: Start,
        is_text: &dyn Fn(u32) -> bool,
    ) -> Result<(), &'static str> {
        let rest = bytes.get(start.offset as usize..).ok_or("it lies outside of its chunk")?;
        let page = Page::of(rest, chunk.id, start.offset, format)?;
        let listed = start.listed.is_none_or(|listed| {
            let fits = Position(listed).most_bytes().is_none_or(|most| u64::from(page.length) <= most);
            Position::of_toc(listed).0 == page.map && Position(listed).is_node() == page.is_node && fits
        });
        if !listed || page.number.is_some_and(|number| number != start.number) {
            return Err("the table of contents describes another page");
        }
        let wants_text = !page.is_node && is_text(page.map);
        let (first, count) = match (page.is_node, wants_text) {
            (true, _) => extend(&mut self.children, page.children.iter().copied()),
            (_, true) => extend(&mut self.texts, page.strings().ok_or("its strings are damaged")?),
            _ if page.is_compressed() => page.expanded().map(|_| (0, 0)).ok_or("it cannot be expanded")?,
            _ => (0, 0),
        };
        let Page { length, map, keys, is_node, .. } = page;
        self.facts.push(Fact { offset: start.offset, length, map, keys, is_node, first, count });
        Ok(())
    }

    /// The page that starts at an offset.
    pub(crate) fn at(&self, offset: u32) -> Option<&Fact> {
        let at = self.facts.binary_search_by_key(&offset, |fact| fact.offset).ok()?;
        self.facts.get(at)
    }

    /// The number of a page among those of its chunk, for who marks them.
    pub(crate) fn index(&self, offset: u32) -> Option<usize> {
        self.facts.binary_search_by_key(&offset, |fact| fact.offset).ok()
    }

    pub(crate) fn len(&self) -> usize {
        self.facts.len()
    }

    pub(crate) fn children(&self, fact: &Fact) -> &[(u64, u64)] {
        self.children.get(range(fact)).filter(|_| fact.is_node).unwrap_or_default()
    }

    pub(crate) fn texts(&self, fact: &Fact) -> &[(String, String)] {
        self.texts.get(range(fact)).filter(|_| !fact.is_node).unwrap_or_default()
    }

    /// Two pages that claim the same bytes.
    pub(crate) fn overlap(&self) -> Option<u32> {
        let pairs = self.facts.iter().zip(self.facts.iter().skip(1));
        let ends = |fact: &Fact| u64::from(fact.offset) + u64::from(fact.length);
        pairs.into_iter().find(|(one, two)| ends(one) > two.offset.into()).map(|(_, two)| two.offset)
    }
}

fn range(fact: &Fact) -> Range<usize> {
    fact.first as usize..(fact.first + fact.count) as usize
}

fn extend<T>(list: &mut Vec<T>, more: impl IntoIterator<Item = T>) -> (u32, u32) {
    let first = list.len();
    list.extend(more);
    (first as u32, (list.len() - first) as u32)
}

/// Where a page should be.
#[derive(Debug, Clone, Copy)]
struct Start {
    offset: u32,
    number: u32,
    /// What the table of contents says.
    listed: Option<u64>,
}

/// Where the pages that are not dead start.
fn starts(bytes: &[u8], chunk: &Chunk, format: Format, wrong: &mut dyn FnMut(u32, &'static str)) -> Vec<Start> {
    if format == Format::One {
        return starts_in_a_row(bytes, chunk, wrong);
    }
    let Some(toc) = toc(bytes, chunk) else {
        wrong(0, "the table of contents lies outside of the chunk");
        return Vec::new();
    };
    let numbered = toc.into_iter().zip(0..).filter(|(_, number)| !chunk.is_dead(*number));
    numbered.map(|(entry, number)| Start { offset: Position(entry).offset(), number, listed: Some(entry) }).collect()
}

/// Without a table of contents one page leads to the next. Dead ones are among them.
fn starts_in_a_row(bytes: &[u8], chunk: &Chunk, wrong: &mut dyn FnMut(u32, &'static str)) -> Vec<Start> {
    let mut starts = Vec::new();
    let Some(mut offset) = first_page(bytes) else { return starts };
    for number in 0..chunk.pages {
        let length = bytes.get(offset..).and_then(|rest| Bytes(rest).u32());
        let next = length.filter(|length| *length > 6).and_then(|length| offset.checked_add(length as usize));
        let Some(next) = next.filter(|next| *next <= bytes.len()) else {
            wrong(offset as u32, "the pages behind it cannot be found");
            break;
        };
        starts.push(Start { offset: offset as u32, number, listed: None });
        offset = next;
    }
    starts
}

fn first_page(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..bytes.len().min(HEADER_TEXT_MOST_BYTES))?;
    header.iter().position(|byte| *byte == b'\n').map(|end| end + 1)
}

fn toc(bytes: &[u8], chunk: &Chunk) -> Option<Vec<u64>> {
    let rest = bytes.get(usize::try_from(chunk.toc).ok()?..)?;
    let entries = rest.get(..(chunk.pages as usize).checked_mul(8)?)?;
    (chunk.toc > 0 || chunk.pages == 0).then(|| entries.as_chunks().0.iter().map(|e| u64::from_be_bytes(*e)).collect())
}

/// The bytes of the pages that are marked as dead, neighbours joined.
///
/// A page ends where the next one starts, and the last one where the table of contents does: that is how they are
/// written. None if the table does not say so.
pub(crate) fn dead_ranges(bytes: &[u8], chunk: &Chunk, format: Format) -> Vec<Range<usize>> {
    if format == Format::One || chunk.dead_pages() == 0 {
        return Vec::new();
    }
    let Some(toc) = toc(bytes, chunk) else { return Vec::new() };
    let offsets: Vec<usize> = toc.iter().map(|entry| Position(*entry).offset() as usize).collect();
    let ends = offsets.iter().skip(1).copied().chain([chunk.toc as usize]);
    let pages: Vec<Range<usize>> = offsets.iter().copied().zip(ends).map(|(start, end)| start..end).collect();
    let begins = first_page(bytes).unwrap_or(usize::MAX);
    if pages.iter().any(|page| page.is_empty() || page.start < begins || page.end > bytes.len()) {
        return Vec::new();
    }
    let mut dead: Vec<Range<usize>> = Vec::new();
    for page in pages.into_iter().zip(0..).filter(|(_, number)| chunk.is_dead(*number)).map(|(page, _)| page) {
        match dead.last_mut() {
            Some(last) if last.end == page.start => last.end = page.end,
            _ => dead.push(page),
        }
    }
    dead
}
