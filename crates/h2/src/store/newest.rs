//! Which version of a store is the newest complete one, found as H2 finds it.
//!
//! Source: `MVStore.java` (`readStoreHeader`, `discoverChunk`, `findLastChunkWithCompleteValidChunkSet`). H2 goes back to
//! an older version without a word if a chunk of the newest one is damaged; here the difference is told.

use std::collections::BTreeMap;

use super::chunk::{BLOCK_BYTES, Chunk, FOOTER_BYTES, Footer, HEADER_TEXT_MOST_BYTES};
use super::header::{Format, Headers, StoreHeader};
use super::layout::Version;
use super::{Result, Source, StoreError, read_exact};

/// Blocks of the two headers.
const FIRST_BLOCK: u64 = 2;

/// The newest complete version and how it was found.
#[derive(Debug, Clone)]
pub struct Newest {
    /// The newer one of the headers.
    pub header: StoreHeader,
    /// Whether both headers are whole and agree.
    pub headers_agree: bool,
    /// The version that would be opened.
    pub version: Version,
    /// The newest version that a header or a whole chunk in the file claims.
    pub claimed: u64,
    /// Why newer versions were passed over.
    pub passed: Vec<String>,
}

/// Finds the version that H2 would open.
///
/// # Errors
///
/// If it is no store that is known, or no version in it is complete.
pub fn newest(source: &mut dyn Source) -> Result<Newest> {
    let headers = Headers::read(source)?;
    let mut search = Search { source, format: headers.best.format, chunks: BTreeMap::new() };
    let blocks = search.source.bytes()? / BLOCK_BYTES;
    let mut passed = Vec::new();
    let named = search.named(&headers.best)?;
    if named.is_none() {
        passed.push(format!("the chunk that the store header names ({}) is not there", headers.best.chunk));
    }
    let is_closed = headers.best.is_clean && headers.agree;
    let mut from = blocks;
    if named.is_none() || !is_closed {
        from = search.tail(blocks)?;
        search.follow(blocks)?;
    }
    let mut found = search.first_complete(&mut passed)?;
    if found.is_none() {
        search.scan(from)?;
        found = search.first_complete(&mut passed)?;
    }
    let version = found.ok_or(StoreError::NoVersion)?;
    let claimed = search.chunks.values().map(|chunk| chunk.version).max().unwrap_or_default();
    let claimed = claimed.max(headers.best.version);
    Ok(Newest { header: headers.best, headers_agree: headers.agree, version, claimed, passed })
}

/// Finds the newest version of a store that is being written: the one whose last chunk is visible whole. Everything
/// that it lists was written before.
///
/// # Errors
///
/// As for [`newest`]; also if the file changed while it was read.
pub fn newest_of_live(source: &mut dyn Source) -> Result<Newest> {
    let headers = Headers::read(source)?;
    let mut search = Search { source, format: headers.best.format, chunks: BTreeMap::new() };
    let blocks = search.source.bytes()? / BLOCK_BYTES;
    search.named(&headers.best)?;
    search.tail(blocks)?;
    search.follow(blocks)?;
    let last = search.newest_chunk().ok_or(StoreError::NoVersion)?;
    let version = Version::read(search.source, &last, headers.best.format)?;
    let claimed = version.last.version;
    Ok(Newest { header: headers.best, headers_agree: headers.agree, version, claimed, passed: Vec::new() })
}

/// The chunk that starts at a block, if its footer is at its end.
pub(crate) fn header_and_footer(source: &mut dyn Source, block: u64, format: Format) -> Result<Option<Chunk>> {
    let Some(chunk) = header(source, block, format)? else { return Ok(None) };
    let footer = footer(source, block.saturating_add(chunk.blocks))?;
    Ok(footer.is_some_and(|footer| footer.is_of(&chunk)).then_some(chunk))
}

fn header(source: &mut dyn Source, block: u64, format: Format) -> Result<Option<Chunk>> {
    let Some(at) = block.checked_mul(BLOCK_BYTES).filter(|_| block >= FIRST_BLOCK) else { return Ok(None) };
    let mut start = vec![0; HEADER_TEXT_MOST_BYTES];
    let got = source.read_at(&mut start, at)?;
    Ok(Chunk::at(start.get(..got).unwrap_or_default(), block, format))
}

/// The footer of the chunk that ends before this block.
fn footer(source: &mut dyn Source, end: u64) -> Result<Option<Footer>> {
    let at = end.checked_mul(BLOCK_BYTES).and_then(|end| end.checked_sub(FOOTER_BYTES as u64));
    let Some(at) = at else { return Ok(None) };
    Ok(read_exact(source, at, FOOTER_BYTES)?.and_then(|bytes| Footer::of(&bytes)))
}

struct Search<'s> {
    source: &'s mut dyn Source,
    format: Format,
    /// Whole chunks that were met, by their blocks.
    chunks: BTreeMap<u64, Chunk>,
}

impl Search<'_> {
    fn newest_chunk(&self) -> Option<Chunk> {
        // Of two copies the first in the file is the later one.
        self.chunks.values().rev().max_by_key(|chunk| chunk.version).cloned()
    }

    /// The chunk that a header names.
    fn named(&mut self, header: &StoreHeader) -> Result<Option<u64>> {
        let found = header_and_footer(self.source, header.block, self.format)?;
        let found = found.filter(|chunk| chunk.id == header.chunk);
        Ok(found.map(|chunk| {
            self.chunks.insert(chunk.block, chunk.clone());
            chunk.version
        }))
    }

    /// The last whole chunk of the file. Says where it starts.
    fn tail(&mut self, blocks: u64) -> Result<u64> {
        Ok(match self.discover(blocks)? {
            Some(chunk) => {
                let block = chunk.block;
                self.chunks.insert(block, chunk);
                block
            }
            None => FIRST_BLOCK,
        })
    }

    /// From the newest chunk to the one behind it that it predicted, and on.
    fn follow(&mut self, blocks: u64) -> Result<()> {
        let Some(mut newest) = self.newest_chunk() else { return Ok(()) };
        while newest.next != 0 && newest.next < blocks {
            let next = header_and_footer(self.source, newest.next, self.format)?;
            let is_next = |chunk: &Chunk| chunk.id == newest.id.wrapping_add(1) && chunk.version > newest.version;
            let Some(next) = next.filter(is_next) else { break };
            self.chunks.insert(next.block, next.clone());
            newest = next;
        }
        Ok(())
    }

    /// All whole chunks that end at or before this block.
    fn scan(&mut self, mut end: u64) -> Result<()> {
        while let Some(chunk) = self.discover(end)? {
            end = chunk.block;
            self.chunks.insert(end, chunk);
        }
        Ok(())
    }

    /// The last chunk that ends at or before this block: header and footer that belong together, with neither another
    /// header nor another footer between them.
    fn discover(&mut self, end: u64) -> Result<Option<Chunk>> {
        let (mut candidate, mut block): (Option<Chunk>, u64) = (None, end);
        while block > FIRST_BLOCK {
            if let Some(chunk) = candidate.take_if(|chunk| chunk.block == block) {
                return Ok(Some(chunk));
            }
            if let Some(footer) = footer(self.source, block)? {
                candidate = None;
                let start = footer.block(block).filter(|start| *start < block);
                if let Some(start) = start {
                    let found = header(self.source, start, self.format)?;
                    candidate = found.filter(|chunk| footer.is_of(chunk) && chunk.block + chunk.blocks == block);
                }
            }
            block -= 1;
            let inside = candidate.as_ref().is_some_and(|chunk| block > chunk.block);
            if inside && header(self.source, block, self.format)?.is_some() {
                candidate = None;
            }
        }
        Ok(candidate.filter(|chunk| chunk.block == block))
    }

    /// The newest of the versions whose last chunks were met that is complete.
    fn first_complete(&mut self, passed: &mut Vec<String>) -> Result<Option<Version>> {
        let mut candidates: Vec<Chunk> = self.chunks.values().cloned().collect();
        candidates.sort_by(|one, two| two.version.cmp(&one.version).then(one.block.cmp(&two.block)));
        for last in candidates {
            match self.complete(&last) {
                Ok(version) => return Ok(Some(version)),
                Err(StoreError::Io(error)) => return Err(error.into()),
                Err(error) => passed.push(format!("version {}: {error}", last.version)),
            }
        }
        Ok(None)
    }

    /// A version if every chunk of it that is used is in its place.
    fn complete(&mut self, last: &Chunk) -> Result<Version> {
        let version = Version::read(self.source, last, self.format)?;
        for chunk in version.chunks.values().filter(|chunk| chunk.is_live()) {
            let there = header_and_footer(self.source, chunk.block, self.format)?;
            if there.is_none_or(|there| (there.id, there.version) != (chunk.id, chunk.version)) {
                return Err(StoreError::damaged(format!("chunk {}", chunk.id), "it is not in its place"));
            }
        }
        Ok(version)
    }
}
