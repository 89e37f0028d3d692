//! Verifying a store: that a version is whole and that every map in it can be walked.
//!
//! Owns: what is checked, and what is told. Each chunk is looked at once, in any order, by `Verifier::chunk`; then
//! `Verifier::finish` walks the maps over what was noted. Nothing is read twice, so that a capture can verify what
//! flows through it, and memory holds some forty bytes a page.
//!
//! What no check of a store can see, because H2 writes no checksum for it: changed bytes within keys and values.
//!
//! Invariant: damage is a [`Finding`]; only what makes it impossible to go on is an error.

mod walk;

use std::collections::BTreeMap;

use crate::store::{Chunk, Newest, Pages, Place, Result, Source, StoreError, Version, newest, read_exact};

/// Findings of one kind that are kept; further ones are only counted.
const FINDINGS_MOST: usize = 100;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where: a chunk, a page, a map.
    pub place: String,
    /// What is wrong.
    pub detail: String,
}

/// A map of the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapInfo {
    /// Its number.
    pub id: u32,
    /// Its name; tables and indexes are called `table.N`.
    pub name: Option<String>,
    /// How many entries it has.
    pub entries: u64,
    /// How many pages.
    pub pages: u64,
}

/// What is known of a store.
#[derive(Debug, Clone)]
pub struct Report {
    /// The version that H2 would open, and how it was found.
    pub newest: Newest,
    /// How long the file is.
    pub file_bytes: u64,
    /// The maps that have entries.
    pub maps: Vec<MapInfo>,
    /// Bytes of pages that a map of this version reaches.
    pub live_bytes: u64,
    /// Bytes of the chunks that the version lists.
    pub listed_bytes: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How many more findings there were.
    pub more_findings: u64,
}

impl Report {
    /// The moment that the data stand for, in milliseconds since 1970: when the last chunk was written.
    pub fn time_ms(&self) -> u64 {
        time_ms(&self.newest)
    }

    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
}

pub(crate) fn time_ms(newest: &Newest) -> u64 {
    newest.header.created_ms.saturating_add(newest.version.last.time_ms)
}

/// Verifies the newest version of a store that nobody writes to.
///
/// # Errors
///
/// If it is no store that is known, if no version in it is complete, or if reading fails.
pub fn verify(source: &mut dyn Source) -> Result<Report> {
    let newest = newest(source)?;
    let mut verifier = Verifier::new(newest);
    let mut chunks: Vec<Chunk> = verifier.version().chunks.values().cloned().collect();
    chunks.sort_unstable_by_key(|chunk| chunk.block);
    for chunk in &chunks {
        match read_exact(source, chunk.start(), usize::try_from(chunk.bytes()).unwrap_or(usize::MAX))? {
            Some(bytes) => verifier.chunk(chunk, &bytes),
            None if verifier.is_needed(chunk) => verifier.find(&name_of(chunk.id), "the file ends before it does"),
            None => {}
        }
    }
    verifier.finish(source.bytes()?)
}

/// Says what a store is without looking at all of it.
///
/// # Errors
///
/// As for [`verify`].
pub fn look(source: &mut dyn Source) -> Result<Newest> {
    newest(source)
}

fn name_of(chunk: u32) -> String {
    format!("chunk {chunk}")
}

/// A verification under way.
#[derive(Debug)]
pub(crate) struct Verifier {
    newest: Newest,
    pages: BTreeMap<u32, Pages>,
    findings: Findings,
}

#[derive(Debug, Default)]
struct Findings {
    list: Vec<Finding>,
    more: u64,
}

impl Findings {
    fn push(&mut self, place: impl Into<String>, detail: impl Into<String>) {
        match self.list.len() < FINDINGS_MOST {
            true => self.list.push(Finding { place: place.into(), detail: detail.into() }),
            false => self.more += 1,
        }
    }
}

impl Verifier {
    pub(crate) fn new(newest: Newest) -> Self {
        let mut verifier = Self { newest, pages: BTreeMap::new(), findings: Findings::default() };
        verifier.check_choice();
        verifier.check_places();
        verifier
    }

    pub(crate) fn version(&self) -> &Version {
        &self.newest.version
    }

    pub(crate) fn header(&self) -> &crate::store::StoreHeader {
        &self.newest.header
    }

    pub(crate) fn find(&mut self, place: &str, detail: impl Into<String>) {
        self.findings.push(place, detail);
    }

    /// H2 goes back in silence; here it is told.
    fn check_choice(&mut self) {
        let (found, claimed) = (self.newest.version.last.version, self.newest.claimed);
        if found < claimed {
            let why = self.newest.passed.join("; ");
            let detail = format!("version {claimed} cannot be opened, H2 would go back to version {found}: {why}");
            self.findings.push("the newest version", detail);
        }
    }

    /// No two chunks own the same space.
    fn check_places(&mut self) {
        let mut chunks: Vec<&Chunk> = self.newest.version.chunks.values().collect();
        chunks.sort_unstable_by_key(|chunk| chunk.block);
        let pairs = chunks.iter().zip(chunks.iter().skip(1));
        let overlapping = pairs.filter(|(one, two)| one.block + one.blocks > two.block);
        let places: Vec<String> = overlapping.map(|(one, two)| format!("chunks {} and {}", one.id, two.id)).collect();
        for place in places {
            self.findings.push(place, "they overlap");
        }
    }

    /// A dead chunk may have lost its place to another one after a crash. But where a store was closed H2 looks at all
    /// that are listed, and does not trust the store if one is not there (`MVStore.java`, `readStoreHeader`).
    fn is_needed(&self, chunk: &Chunk) -> bool {
        chunk.is_live() || (self.newest.header.is_clean && self.newest.headers_agree)
    }

    /// Looks at the bytes of a chunk of the version, from its header to its footer.
    pub(crate) fn chunk(&mut self, chunk: &Chunk, bytes: &[u8]) {
        let version = &self.newest.version;
        if !is_whole(bytes, chunk, version) {
            if self.is_needed(chunk) {
                self.findings.push(name_of(chunk.id), "its header or footer is damaged");
            }
            return;
        }
        let (findings, is_text) = (&mut self.findings, |map| version.is_text(map));
        let mut wrong = |place: Place, detail: &str| {
            findings.push(format!("chunk {}, page at {}", place.chunk, place.offset), detail);
        };
        let pages = Pages::of(bytes, chunk, version.format, &is_text, &mut wrong);
        if let Some(offset) = pages.overlap() {
            self.findings.push(format!("chunk {}, page at {offset}", chunk.id), "it overlaps the page before it");
        }
        self.pages.insert(chunk.id, pages);
    }

    /// Takes over what was noted of a chunk when it was looked at before.
    pub(crate) fn noted(&mut self, chunk: u32, pages: Pages) {
        self.pages.insert(chunk, pages);
    }

    /// Walks the maps.
    pub(crate) fn finish(mut self, file_bytes: u64) -> Result<Report> {
        let listed_bytes = self.newest.version.chunks.values().map(Chunk::bytes).sum();
        let mut walk = walk::Walk::new(&self.newest.version, &self.pages, &mut self.findings);
        let maps = walk.all()?;
        let live_bytes = walk.live_bytes();
        let Findings { list: findings, more: more_findings } = self.findings;
        Ok(Report { newest: self.newest, file_bytes, maps, live_bytes, listed_bytes, findings, more_findings })
    }
}

/// Whether header and footer are those of the chunk.
pub(crate) fn is_whole(bytes: &[u8], chunk: &Chunk, version: &Version) -> bool {
    use crate::store::{FOOTER_BYTES, Footer};
    let header = Chunk::at(bytes, chunk.block, version.format);
    let footer = bytes.len().checked_sub(FOOTER_BYTES).and_then(|at| Footer::of(bytes.get(at..)?));
    let same = |there: &Chunk| {
        (there.id, there.version, there.blocks) == (chunk.id, chunk.version, chunk.blocks)
            && footer.is_some_and(|footer| footer.is_of(there))
    };
    bytes.len() as u64 == chunk.bytes() && header.as_ref().is_some_and(same)
}

impl From<StoreError> for Finding {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged { place, detail } => Self { place, detail },
            other => Self { place: "the store".into(), detail: other.to_string() },
        }
    }
}
