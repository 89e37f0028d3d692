//! The layout of a version: which chunks it consists of, and where each map's root is.
//!
//! Source: `MVStore.java` (`layout`, `meta`). In formats 2 and 3 map 0 is the layout and names the meta map; in format 1
//! one map is both. The last chunk of a version is not in its own layout: its header describes it.

use std::collections::{BTreeMap, BTreeSet};

use super::chunk::Chunk;
use super::header::Format;
use super::page::{LENGTH_BYTES, Page, Position};
use super::text::Fields;
use super::{Result, Source, StoreError, read_exact};

/// The map that the layout is.
pub(crate) const LAYOUT_MAP: u32 = 0;
/// Undo logs have names that start so (`TransactionStore.java`).
const UNDO_LOG: &str = "undoLog";

/// A complete version of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// How it is to be read.
    pub format: Format,
    /// The chunk that completes it.
    pub last: Chunk,
    /// All chunks that it lists and that own space, with the last one; dead ones as well.
    pub chunks: BTreeMap<u32, Chunk>,
    /// Roots of maps that are not empty.
    pub roots: BTreeMap<u32, u64>,
    /// The map that names maps.
    pub meta_map: u32,
    /// Names of maps.
    pub names: BTreeMap<u32, String>,
}

/// Entries of a map of strings.
pub(crate) type Entries = BTreeMap<String, String>;

impl Version {
    /// Reads the version that this chunk completes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if a page of its layout is not what it should be.
    pub(crate) fn read(source: &mut dyn Source, last: &Chunk, format: Format) -> Result<Self> {
        let mut reader = StringMap { source, format, chunks: BTreeMap::from([(last.id, last.clone())]) };
        let layout = reader.read(Position(last.root), LAYOUT_MAP)?;
        let mut version = Self::of_layout(last, format, &layout)?;
        let meta = match version.roots.get(&version.meta_map) {
            Some(root) if version.meta_map != LAYOUT_MAP => {
                reader.chunks.clone_from(&version.chunks);
                reader.read(Position(*root), version.meta_map)?
            }
            _ => layout,
        };
        version.name_maps(&meta);
        Ok(version)
    }

    fn of_layout(last: &Chunk, format: Format, layout: &Entries) -> Result<Self> {
        let mut chunks = BTreeMap::from([(last.id, last.clone())]);
        for (key, value) in prefixed(layout, "chunk.") {
            let chunk = chunk(key, value)?;
            if chunk.is_placed() && chunk.id != last.id {
                chunks.insert(chunk.id, chunk);
            }
        }
        let mut roots = BTreeMap::new();
        for (key, value) in prefixed(layout, "root.") {
            let root = u64::from_str_radix(value, 16).map_err(|_| wrong(key, value))?;
            roots.insert(map_id(key).ok_or_else(|| wrong(key, value))?, root);
        }
        let meta_map = layout.get("meta.id").map_or(Some(LAYOUT_MAP), |id| u32::from_str_radix(id, 16).ok());
        let meta_map =
            meta_map.ok_or_else(|| StoreError::damaged("the layout", "the number of the meta map is none"))?;
        Ok(Self { format, last: last.clone(), chunks, roots, meta_map, names: BTreeMap::new() })
    }

    /// Takes the names of maps from the meta map.
    pub(crate) fn name_maps(&mut self, meta: &Entries) {
        let named = prefixed(meta, "map.").filter_map(|(key, value)| {
            let name = Fields::parse(value)?.get("name")?.to_owned();
            Some((map_id(key)?, name))
        });
        self.names = named.collect();
    }

    /// Whether no transaction was open in it, as far as its undo logs say.
    pub fn is_quiet(&self) -> bool {
        !self.roots.keys().any(|map| self.names.get(map).is_some_and(|name| name.starts_with(UNDO_LOG)))
    }

    /// Whether all pages of a map must be kept as text while it is read: the layout and the meta map.
    pub(crate) fn is_text(&self, map: u32) -> bool {
        map == LAYOUT_MAP || map == self.meta_map
    }

    /// Where the file ends if nothing but this version is in it, in bytes.
    pub fn end(&self) -> u64 {
        self.chunks.values().map(Chunk::end).max().unwrap_or_default()
    }
}

/// The version that this chunk completes and this layout describes, without names.
pub(crate) fn layout_of(last: &Chunk, format: Format, layout: &Entries) -> Result<Version> {
    Version::of_layout(last, format, layout)
}

fn prefixed<'e>(entries: &'e Entries, prefix: &'e str) -> impl Iterator<Item = (&'e str, &'e str)> {
    let from = entries.range(prefix.to_owned()..);
    from.take_while(move |(key, _)| key.starts_with(prefix)).map(|(key, value)| (key.as_str(), value.as_str()))
}

fn map_id(key: &str) -> Option<u32> {
    u32::from_str_radix(key.split_once('.')?.1, 16).ok()
}

/// A chunk that the layout lists. One that has lost its space may say anything of its length.
fn chunk(key: &str, value: &str) -> Result<Chunk> {
    let chunk = Fields::parse(value).and_then(|fields| Chunk::of(&fields));
    chunk.filter(|chunk| map_id(key) == Some(chunk.id)).ok_or_else(|| wrong(key, value))
}

fn wrong(key: &str, value: &str) -> StoreError {
    StoreError::damaged("the layout", format!("the entry {key} is impossible: {value}"))
}

/// Reads a map of strings page by page.
struct StringMap<'s> {
    source: &'s mut dyn Source,
    format: Format,
    /// Where pages may lie. Grows while the layout itself is read: a page of it lies in a chunk that the last one or a
    /// page that was written later lists, so that every one of them is found in the end.
    chunks: BTreeMap<u32, Chunk>,
}

impl StringMap<'_> {
    fn read(&mut self, root: Position, map: u32) -> Result<Entries> {
        let (mut entries, mut waiting, mut seen) = (Entries::new(), vec![root], BTreeSet::from([root]));
        while !waiting.is_empty() {
            let (ready, later): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|page| self.chunks.contains_key(&page.chunk()));
            if ready.is_empty() {
                return Err(StoreError::damaged(name(later.first()), "its chunk is not listed"));
            }
            waiting = later;
            for position in ready {
                let children = self.page(position, map, &mut entries)?;
                waiting.extend(children.into_iter().filter(|child| child.0 != 0 && seen.insert(*child)));
            }
        }
        Ok(entries)
    }

    /// Reads one page; gives the children of a node.
    fn page(&mut self, position: Position, map: u32, entries: &mut Entries) -> Result<Vec<Position>> {
        let damaged = |detail: &str| StoreError::damaged(name(Some(&position)), detail);
        let bytes = self.page_bytes(position)?;
        let page = Page::of(&bytes, position.chunk(), position.offset(), self.format).map_err(damaged)?;
        if page.map != map || page.is_node != position.is_node() {
            return Err(damaged("it belongs to another map"));
        }
        let children = page.children.iter().map(|(child, _)| Position(*child)).collect();
        for (key, value) in
            if page.is_node { Vec::new() } else { page.strings().ok_or_else(|| damaged("it is no text"))? }
        {
            if map == LAYOUT_MAP && key.starts_with("chunk.") {
                let chunk = chunk(&key, &value)?;
                if chunk.is_placed() {
                    self.chunks.entry(chunk.id).or_insert(chunk);
                }
            }
            entries.insert(key, value);
        }
        Ok(children)
    }

    fn page_bytes(&mut self, position: Position) -> Result<Vec<u8>> {
        let damaged = |detail: &str| StoreError::damaged(name(Some(&position)), detail);
        let chunk = self.chunks.get(&position.chunk()).ok_or_else(|| damaged("its chunk is not listed"))?;
        let at = chunk.start().saturating_add(position.offset().into());
        let room = chunk.end().checked_sub(at).ok_or_else(|| damaged("it lies outside of its chunk"))?;
        let length = match position.most_bytes() {
            Some(most) => most,
            None => {
                let start = read_exact(self.source, at, LENGTH_BYTES)?.and_then(|bytes| bytes.try_into().ok());
                u64::from(start.map(u32::from_be_bytes).ok_or_else(|| damaged("the file ends before it"))?)
            }
        };
        let mut bytes = vec![0; length.min(room) as usize];
        let got = self.source.read_at(&mut bytes, at)?;
        bytes.truncate(got);
        Ok(bytes)
    }
}

fn name(position: Option<&Position>) -> String {
    position.map_or_else(String::new, |p| format!("the page at {} of chunk {}", p.offset(), p.chunk()))
}
