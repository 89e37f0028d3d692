//! Walking the maps of a version over what was noted of its pages.
//!
//! Invariant: no page is visited twice, whatever the positions say, so that every walk ends.

use std::collections::BTreeMap;

use super::{Findings, MapInfo};
use crate::store::{Fact, Pages, Position, Result, Version, layout_of};

/// Deeper than any map that fits on a disk.
const DEPTH_MOST: usize = 64;

pub(super) struct Walk<'a> {
    version: &'a Version,
    pages: &'a BTreeMap<u32, Pages>,
    findings: &'a mut Findings,
    /// For each chunk which of its pages were visited.
    visited: BTreeMap<u32, Vec<bool>>,
    live_bytes: u64,
}

/// A node that the walk is in.
struct Frame<'a> {
    position: Position,
    children: &'a [(u64, u64)],
    next: usize,
    /// Entries counted beneath it so far, and how many there should be.
    counted: u64,
    expected: Option<u64>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(version: &'a Version, pages: &'a BTreeMap<u32, Pages>, findings: &'a mut Findings) -> Self {
        let visited = pages.iter().map(|(chunk, pages)| (*chunk, vec![false; pages.len()])).collect();
        Self { version, pages, findings, visited, live_bytes: 0 }
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Walks the layout, compares it with what the version was read from, then walks every map.
    pub(super) fn all(&mut self) -> Result<Vec<MapInfo>> {
        let version = self.version;
        let (mut maps, mut layout) = (Vec::new(), BTreeMap::new());
        maps.push(self.map(0, version.last.root, &mut |key, value| drop(layout.insert(key.into(), value.into()))));
        self.compare(&layout);
        for (map, root) in version.roots.iter().filter(|(map, _)| **map != 0) {
            maps.push(self.map(*map, *root, &mut |_, _| {}));
            if *map != version.meta_map && !version.names.is_empty() && !version.names.contains_key(map) {
                self.findings.push(format!("map {map}"), "the meta map does not name it");
            }
        }
        Ok(maps)
    }

    /// The layout as the chunks hold it must be the one that the version was chosen by.
    fn compare(&mut self, layout: &BTreeMap<String, String>) {
        let same = layout_of(&self.version.last, self.version.format, layout);
        let is_same = same.is_ok_and(|same| same.chunks == self.version.chunks && same.roots == self.version.roots);
        if !is_same {
            self.findings.push("the layout", "it changed while it was read, or a page of it is damaged");
        }
    }

    fn map(&mut self, map: u32, root: u64, text: &mut dyn FnMut(&str, &str)) -> MapInfo {
        let (mut entries, mut pages, mut stack) = (0, 0, Vec::new());
        self.enter(map, Position(root), None, &mut stack, (&mut entries, &mut pages), text);
        while let Some(frame) = stack.last_mut() {
            let Some((child, expected)) = frame.children.get(frame.next).copied() else {
                self.leave(map, &mut stack, &mut entries);
                continue;
            };
            frame.next += 1;
            match child {
                0 if expected > 0 => self.findings.push(name(map, frame.position), "a child of it is missing"),
                0 => {}
                _ => self.enter(map, Position(child), Some(expected), &mut stack, (&mut entries, &mut pages), text),
            }
        }
        MapInfo { id: map, name: self.version.names.get(&map).cloned(), entries, pages }
    }

    /// Visits a page: a leaf is counted, a node is entered.
    fn enter(
        &mut self,
        map: u32,
        position: Position,
        expected: Option<u64>,
        stack: &mut Vec<Frame<'a>>,
        (entries, pages): (&mut u64, &mut u64),
        text: &mut dyn FnMut(&str, &str),
    ) {
        let Some((of, fact)) = self.visit(map, position) else { return };
        *pages += 1;
        self.live_bytes += u64::from(fact.length);
        if fact.is_node {
            if stack.len() >= DEPTH_MOST {
                self.findings.push(name(map, position), "the map is deeper than it can be");
                return;
            }
            stack.push(Frame { position, children: of.children(fact), next: 0, counted: 0, expected });
            return;
        }
        of.texts(fact).iter().for_each(|(key, value)| text(key, value));
        let counted = u64::from(fact.keys);
        self.check_count(map, position, counted, expected);
        account(stack, entries, counted);
    }

    fn leave(&mut self, map: u32, stack: &mut Vec<Frame<'a>>, entries: &mut u64) {
        let Some(Frame { position, counted, expected, .. }) = stack.pop() else { return };
        self.check_count(map, position, counted, expected);
        account(stack, entries, counted);
    }

    fn check_count(&mut self, map: u32, position: Position, counted: u64, expected: Option<u64>) {
        if let Some(expected) = expected.filter(|expected| *expected != counted) {
            let detail = format!("it has {counted} entries, its parent says {expected}");
            self.findings.push(name(map, position), detail);
        }
    }

    /// The page, if it is there, of this map, and was not visited before.
    fn visit(&mut self, map: u32, position: Position) -> Option<(&'a Pages, &'a Fact)> {
        match self.find(map, position) {
            Ok(found) => Some(found),
            Err(detail) => {
                self.findings.push(name(map, position), detail);
                None
            }
        }
    }

    fn find(&mut self, map: u32, position: Position) -> Result<(&'a Pages, &'a Fact), &'static str> {
        let pages: &'a Pages = self.pages.get(&position.chunk()).ok_or("its chunk is not there")?;
        let number = pages.index(position.offset()).ok_or("it is damaged or marked as dead")?;
        let fact = pages.at(position.offset()).ok_or("it is not there")?;
        if fact.map != map {
            return Err("it belongs to another map");
        }
        if fact.is_node != position.is_node() || position.most_bytes().is_some_and(|most| u64::from(fact.length) > most)
        {
            return Err("it is not what its position says");
        }
        let visited = self.visited.get_mut(&position.chunk()).and_then(|visited| visited.get_mut(number));
        let is_new = visited.is_some_and(|visited| !std::mem::replace(visited, true));
        if is_new { Ok((pages, fact)) } else { Err("it is used twice") }
    }
}

fn name(map: u32, position: Position) -> String {
    format!("map {map}, chunk {}, page at {}", position.chunk(), position.offset())
}

/// Adds to the node that the walk is in, or to the map.
fn account(stack: &mut [Frame<'_>], entries: &mut u64, counted: u64) {
    let sum = stack.last_mut().map_or(entries, |frame| &mut frame.counted);
    *sum = sum.saturating_add(counted);
}
