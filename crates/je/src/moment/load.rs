//! Snapshots read as images.
//!
//! Owns how much of the files is read: from the newest file back to the one with the last checkpoint and a commit before
//! it, and to the one that the image before it ends in. A file that several snapshots share is read once.
//! Never: knows where snapshots are kept; [`Contents`] shows the bytes.
//!
//! Invariant: of one history every commit is held once, however many snapshots show it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use treering_snapshot::{Node, NodeKind, SnapshotError, Stream};

use super::{Image, Position};
use crate::log::{Commit, Entry, FileSummary, Scanner};

/// Shows what a repository holds.
pub trait Contents {
    /// Writes all bytes of a file, in order. A failure of the writer ends it.
    ///
    /// # Errors
    ///
    /// Damage, and failures of the writer.
    fn read(&mut self, file: &Node, out: &mut dyn Write) -> Result<(), SnapshotError>;
}

/// One snapshot of an environment: the files of its log by their numbers.
#[derive(Debug, Clone)]
pub struct Copied {
    /// The files.
    pub files: BTreeMap<u32, Node>,
    /// When it was taken, in milliseconds since 1970.
    pub taken_ms: i64,
}

/// What was found in one file: its commits are the first so many of those of a longer state of it.
#[derive(Debug, Clone, Default)]
struct Scan {
    summary: FileSummary,
    commits: Arc<Vec<Commit>>,
    count: usize,
}

impl Scan {
    fn commits(&self) -> &[Commit] {
        self.commits.get(..self.count).unwrap_or_default()
    }
}

/// Reads snapshots as images. Keeps what it has found in files, by their numbers and contents.
#[derive(Debug, Default)]
pub struct Loader {
    known: BTreeMap<u32, Vec<(Stream, Scan)>>,
}

impl Loader {
    /// The images of these snapshots of one environment, which are in the order in which they were taken.
    ///
    /// # Errors
    ///
    /// If a file cannot be read. Damage of the log is none: a proof that would need the file does not hold.
    pub fn load(&mut self, contents: &mut dyn Contents, copies: &[Copied]) -> Result<Vec<Image>, SnapshotError> {
        let mut images: Vec<Image> = Vec::with_capacity(copies.len());
        for (at, copied) in copies.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|before| Some((images.get(before)?.end?, copies.get(before)?)));
            let mut image = self.image(contents, copied, before.map(|(end, _)| end))?;
            if let Some((end, older)) = before {
                image.continues = is_continued(contents, older, copied, end)?;
                // The image before has the others.
                image.commits.retain(|commit| !image.continues || Position::of(commit) >= end);
            }
            images.push(image);
        }
        Ok(images)
    }

    fn image(
        &mut self,
        contents: &mut dyn Contents,
        copied: &Copied,
        before: Option<Position>,
    ) -> Result<Image, SnapshotError> {
        let files = copied.files.keys().copied().collect();
        let mut image = Image { files, taken_ms: copied.taken_ms, continues: true, ..Image::default() };
        let mut parts: Vec<Scan> = Vec::new();
        for (number, node) in copied.files.iter().rev() {
            let scan = self.scan(contents, *number, node)?;
            take_in(&mut image, *number, &scan.summary);
            parts.push(scan);
            let is_before = before.is_none_or(|end| *number <= end.file);
            if is_before && has_base(&image, &parts) {
                break;
            }
        }
        image.commits = parts.iter().rev().flat_map(|part| part.commits()).copied().collect();
        Ok(image)
    }

    fn scan(&mut self, contents: &mut dyn Contents, number: u32, node: &Node) -> Result<Scan, SnapshotError> {
        let NodeKind::File { content, .. } = &node.kind else {
            return Ok(Scan::default());
        };
        let known = self.known.entry(number).or_default();
        if let Some((_, scan)) = known.iter().find(|(stream, _)| stream == content) {
            return Ok(scan.clone());
        }
        let mut scanning = Scanning { scanner: Scanner::new(number, Some(content.bytes())), commits: Vec::new() };
        contents.read(node, &mut scanning)?;
        let scan = scanning.finish();
        let shorter = known.last().filter(|(_, last)| scan.commits.starts_with(last.commits()));
        if let Some(shared) = shorter.map(|(_, last)| Arc::clone(&last.commits)) {
            let alike = known.iter_mut().filter(|(_, one)| Arc::ptr_eq(&one.commits, &shared));
            alike.for_each(|(_, one)| one.commits = Arc::clone(&scan.commits));
        }
        known.push((content.clone(), scan.clone()));
        Ok(scan)
    }
}

/// Takes in what one file says; the newest comes first.
fn take_in(image: &mut Image, number: u32, summary: &FileSummary) {
    let is_last = image.end.is_none();
    if is_last && summary.is_only_header() {
        image.files.remove(&number);
        return;
    }
    if is_last {
        image.end = Some(Position { file: number, offset: summary.valid_end });
    }
    let is_damaged = !is_last && !summary.is_whole();
    if is_damaged || summary.erased > 0 || summary.invisible > 0 {
        image.overwritten.insert(number);
    }
    // Behind a damaged file no checkpoint is known to be the last one.
    let is_reached = image.overwritten.iter().any(|broken| *broken > number);
    if let Some(checkpoint) = summary.checkpoint.as_ref().filter(|_| image.checkpoint_end.is_none() && !is_reached) {
        image.checkpoint_end = Some(Position { file: number, offset: checkpoint.end });
    }
}

/// Whether the commit before the checkpoint is known.
fn has_base(image: &Image, parts: &[Scan]) -> bool {
    image.checkpoint_end.is_some_and(|end| {
        parts.last().is_some_and(|part| part.commits().first().is_some_and(|commit| Position::after(commit) <= end))
    })
}

/// A file that is scanned as its bytes come.
struct Scanning {
    scanner: Scanner,
    commits: Vec<Commit>,
}

impl Scanning {
    fn finish(mut self) -> Scan {
        let commits = &mut self.commits;
        let summary = self.scanner.finish(&mut |entry| commits.extend(commit(entry)));
        Scan { summary, count: self.commits.len(), commits: Arc::new(self.commits) }
    }
}

impl Write for Scanning {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { scanner, commits } = self;
        scanner.push(bytes, &mut |entry| commits.extend(commit(entry)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn commit(entry: &Entry<'_>) -> Option<Commit> {
    Some(entry).filter(|entry| !entry.is_behind).and_then(Commit::of)
}

/// Whether the newer copy of the file that the older one ends in begins with the older one's bytes.
fn is_continued(
    contents: &mut dyn Contents,
    older: &Copied,
    newer: &Copied,
    end: Position,
) -> Result<bool, SnapshotError> {
    let (Some(old), Some(new)) = (older.files.get(&end.file), newer.files.get(&end.file)) else {
        // What is between is missing, so nothing will be put together; whether it is one history, the numbers say.
        return Ok(newer.files.last_key_value().is_some_and(|(last, _)| *last >= end.file));
    };
    if old.kind == new.kind {
        return Ok(true);
    }
    let (old, new) = (prefix(contents, old, end.offset)?, prefix(contents, new, end.offset)?);
    Ok(old.is_some() && old == new)
}

/// The hash of the first bytes of a file; `None` if it is shorter.
fn prefix(contents: &mut dyn Contents, file: &Node, bytes: u64) -> Result<Option<blake3::Hash>, SnapshotError> {
    let mut prefix = Prefix { left: bytes, hasher: blake3::Hasher::new() };
    match contents.read(file, &mut prefix) {
        // It has seen enough.
        Err(_) if prefix.left == 0 => {}
        read => read?,
    }
    Ok((prefix.left == 0).then(|| prefix.hasher.finalize()))
}

struct Prefix {
    left: u64,
    hasher: blake3::Hasher,
}

impl Write for Prefix {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::Other.into());
        }
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.hasher.update(bytes.get(..taken).unwrap_or_default());
        self.left -= taken as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
