//! Comparing two folders of snapshots, entry by entry.
//!
//! Owns what counts as which change, with restic's letters, and the statistics. Trees that are the same stream are
//! passed without being read; otherwise both are read side by side, one chunk of each in memory.
//!
//! Invariant: entries come in the order of their names; a folder that is only on one side, also as something else on the
//! other, is told with all that is in it. What cannot be read is named, and the comparison goes on behind it.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use treering_store::ChunkReader;

use crate::allowance::Allowance;
use crate::error::{Result, SnapshotError};
use crate::known::unread;
use crate::list::{Flow, next_node, too_deep, walk_within};
use crate::node::{Node, NodeKind};
use crate::record::Snapshot;
use crate::stream::{Extents, Stream};
use crate::tree::{DEPTH_MOST, TreeReader};

/// A file of more chunks than this that changed is counted whole.
const EXTENTS_MOST: usize = if cfg!(test) { 5000 } else { 1 << 20 };

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It is only in the second.
    Added,
    /// It is only in the first.
    Removed,
    /// Its content differs: a file's bytes, where a link points, which device it is.
    Modified,
    /// Only mode, owner, time or extended attributes differ.
    MetadataChanged,
    /// It is of another type. What is in a folder on one side follows as removed or added.
    TypeChanged,
}

/// A difference.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Which entry.
    pub path: &'a Path,
    /// What happened to it.
    pub kind: ChangeKind,
    /// The bytes of a file differ although its length and time are the same: perhaps a disk that lies.
    pub is_suspicious: bool,
    /// As it was.
    pub before: Option<&'a Node>,
    /// As it is.
    pub after: Option<&'a Node>,
}

impl Change<'_> {
    /// As restic shows it.
    pub fn letters(&self) -> &'static str {
        match (self.kind, self.is_suspicious) {
            (ChangeKind::Added, _) => "+",
            (ChangeKind::Removed, _) => "-",
            (ChangeKind::Modified, false) => "M",
            (ChangeKind::Modified, true) => "M?",
            (ChangeKind::MetadataChanged, _) => "U",
            (ChangeKind::TypeChanged, _) => "T",
        }
    }
}

/// What was added or removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiffCounts {
    /// Regular files.
    pub files: u64,
    /// Folders.
    pub dirs: u64,
    /// Anything else.
    pub others: u64,
    /// Bytes of these files, of files that are of another type on the other side, and of the chunks of changed files that
    /// the other side's file does not have.
    pub bytes: u64,
}

impl DiffCounts {
    fn count(&mut self, node: &Node) {
        match node.kind {
            NodeKind::File { .. } => self.files += 1,
            NodeKind::Folder { .. } => self.dirs += 1,
            _ => self.others += 1,
        }
        self.bytes = self.bytes.saturating_add(node.size());
    }
}

/// What a comparison found.
#[derive(Debug, Default)]
pub struct DiffReport {
    /// Files whose bytes differ.
    pub changed_files: u64,
    /// What is only in the second.
    pub added: DiffCounts,
    /// What is only in the first.
    pub removed: DiffCounts,
    /// What could not be read, and why.
    pub damaged: Vec<(PathBuf, SnapshotError)>,
}

/// Compares two entries, folders or not, each of its snapshot; `base` is the path of both. Of two folders themselves only
/// what is in them is compared. With `metadata`, entries whose metadata alone differs are told too.
///
/// # Errors
///
/// [`SnapshotError::MoreThanSaid`], and what is not damage: an index that can neither be read nor made anew.
pub fn diff(
    reader: &mut ChunkReader<'_>,
    ((old, before), (new, after)): ((&Snapshot, &Node), (&Snapshot, &Node)),
    base: &Path,
    metadata: bool,
    visitor: impl FnMut(&Change<'_>),
) -> Result<DiffReport> {
    let (path, report, stack) = (base.to_owned(), DiffReport::default(), Vec::new());
    let allowances = [Allowance::of(old), Allowance::of(new)];
    let mut differ = Differ { reader, allowances, metadata, visitor, path, report, stack };
    match (before.tree(), after.tree()) {
        (Some(_), Some(_)) => {
            differ.enter(before, after);
        }
        _ => differ.both(before, after)?,
    }
    differ.run()?;
    Ok(differ.report)
}

/// One side of a pair of trees, one node ahead.
#[derive(Debug)]
struct Side {
    tree: TreeReader,
    next: Option<Node>,
}

impl Side {
    fn new(node: &Node) -> Self {
        Self { tree: TreeReader::new(node.tree().unwrap_or(&Stream::default())), next: None }
    }
}

struct Differ<'a, 'r, V> {
    reader: &'a mut ChunkReader<'r>,
    /// Of the side before and the side after.
    allowances: [Allowance; 2],
    metadata: bool,
    visitor: V,
    path: PathBuf,
    report: DiffReport,
    stack: Vec<(Side, Side)>,
}

impl<V: FnMut(&Change<'_>)> Differ<'_, '_, V> {
    /// Goes into a folder of both sides, unless it is the same; the path is theirs.
    fn enter(&mut self, before: &Node, after: &Node) -> bool {
        let differs = before.tree() != after.tree();
        if differs && self.stack.len() >= DEPTH_MOST {
            self.report.damaged.push((self.path.clone(), too_deep()));
            return false;
        }
        if differs {
            self.stack.push((Side::new(before), Side::new(after)));
        }
        differs
    }

    fn run(&mut self) -> Result<()> {
        while let Some(pair) = self.next_pair()? {
            match pair {
                (None, None) => {
                    self.stack.pop();
                    self.leave();
                }
                (before, after) => self.pair(before, after)?,
            }
        }
        Ok(())
    }

    fn leave(&mut self) {
        if !self.stack.is_empty() {
            self.path.pop();
        }
    }

    /// The next entry by name, from the side or sides that have it; nothing at the end of both.
    fn next_pair(&mut self) -> Result<Option<(Option<Node>, Option<Node>)>> {
        let Some((before, after)) = self.stack.last_mut() else { return Ok(None) };
        for (side, allowance) in [&mut *before, &mut *after].into_iter().zip(&mut self.allowances) {
            if side.next.is_none() {
                let damaged = &mut self.report.damaged;
                side.next = next_node(self.reader, allowance, &mut side.tree, &self.path, damaged)?;
            }
        }
        let order = match (&before.next, &after.next) {
            (Some(before), Some(after)) => before.name.cmp(&after.name),
            (Some(_), None) => Ordering::Less,
            _ => Ordering::Greater,
        };
        Ok(Some(match order {
            Ordering::Less => (before.next.take(), None),
            Ordering::Equal => (before.next.take(), after.next.take()),
            Ordering::Greater => (None, after.next.take()),
        }))
    }

    fn pair(&mut self, before: Option<Node>, after: Option<Node>) -> Result<()> {
        let Some(node) = before.as_ref().or(after.as_ref()) else { return Ok(()) };
        self.path.push(OsStr::from_bytes(&node.name));
        match (&before, &after) {
            (Some(before), Some(after)) => {
                self.both(before, after)?;
                if before.tree().is_some() && after.tree().is_some() && self.enter(before, after) {
                    return Ok(());
                }
            }
            _ => self.one(node, before.is_some())?,
        }
        self.path.pop();
        Ok(())
    }

    /// An entry that only one side has, with all that is in it.
    fn one(&mut self, node: &Node, is_removed: bool) -> Result<()> {
        let counts = if is_removed { &mut self.report.removed } else { &mut self.report.added };
        tell_one(counts, &mut self.visitor, (&self.path, node), is_removed);
        self.contents(node, is_removed)
    }

    /// What is in an entry that is a folder on one side only.
    fn contents(&mut self, node: &Node, is_removed: bool) -> Result<()> {
        let (report, visitor, [old, new]) = (&mut self.report, &mut self.visitor, &mut self.allowances);
        let (counts, allowance) = if is_removed { (&mut report.removed, old) } else { (&mut report.added, new) };
        let walked = walk_within(self.reader, allowance, node, &self.path, |path, node| {
            tell_one(counts, visitor, (path, node), is_removed);
            Flow::Enter
        })?;
        report.damaged.extend(walked.damaged);
        Ok(())
    }

    fn both(&mut self, before: &Node, after: &Node) -> Result<()> {
        let Some(kind) = compare(before, after).filter(|kind| self.metadata || *kind != ChangeKind::MetadataChanged)
        else {
            return Ok(());
        };
        let mut is_suspicious = false;
        if let (NodeKind::File { content: old, .. }, NodeKind::File { content: new, .. }, ChangeKind::Modified) =
            (&before.kind, &after.kind, kind)
        {
            self.report.changed_files += 1;
            is_suspicious = before.modified == after.modified && old.bytes() == new.bytes();
            self.count_bytes(old, new)?;
        }
        (self.visitor)(&Change { path: &self.path, kind, is_suspicious, before: Some(before), after: Some(after) });
        if kind == ChangeKind::TypeChanged {
            self.report.removed.bytes = self.report.removed.bytes.saturating_add(before.size());
            self.report.added.bytes = self.report.added.bytes.saturating_add(after.size());
            self.contents(before, true)?;
            self.contents(after, false)?;
        }
        Ok(())
    }

    fn count_bytes(&mut self, old: &Stream, new: &Stream) -> Result<()> {
        match differing_bytes(self.reader, old, new) {
            Ok((removed, added)) => {
                self.report.removed.bytes += removed;
                self.report.added.bytes += added;
            }
            Err(e) => {
                let what = self.path.display().to_string();
                self.report.damaged.push((self.path.clone(), SnapshotError::damaged(what, unread(e)?)));
            }
        }
        Ok(())
    }
}

/// Counts an entry that only one side has, and tells of it.
fn tell_one(
    counts: &mut DiffCounts,
    visitor: &mut impl FnMut(&Change<'_>),
    (path, node): (&Path, &Node),
    is_removed: bool,
) {
    counts.count(node);
    let (kind, before, after) = match is_removed {
        true => (ChangeKind::Removed, Some(node), None),
        false => (ChangeKind::Added, None, Some(node)),
    };
    visitor(&Change { path, kind, is_suspicious: false, before, after });
}

fn compare(before: &Node, after: &Node) -> Option<ChangeKind> {
    let (is_same_type, is_same_content) = match (&before.kind, &after.kind) {
        (NodeKind::Folder { .. }, NodeKind::Folder { .. }) => (true, true),
        // Numbers of hard links mean nothing outside their snapshot.
        (NodeKind::File { content: old, .. }, NodeKind::File { content: new, .. }) => (true, old == new),
        (old, new) => (old.as_str() == new.as_str(), old == new),
    };
    let is_same_metadata = (before.mode, before.uid, before.gid, before.modified)
        == (after.mode, after.uid, after.gid, after.modified)
        && before.xattrs == after.xattrs
        && before.extensions == after.extensions;
    match (is_same_type, is_same_content, is_same_metadata) {
        (false, ..) => Some(ChangeKind::TypeChanged),
        (true, false, _) => Some(ChangeKind::Modified),
        (true, true, false) => Some(ChangeKind::MetadataChanged),
        (true, true, true) => None,
    }
}

/// Bytes of chunks that only the old or only the new content has.
fn differing_bytes(reader: &mut ChunkReader<'_>, old: &Stream, new: &Stream) -> Result<(u64, u64)> {
    let (Some(in_old), Some(in_new)) = (prefixes(reader, old)?, prefixes(reader, new)?) else {
        return Ok((old.bytes(), new.bytes()));
    };
    Ok((bytes_outside(reader, old, &in_new)?, bytes_outside(reader, new, &in_old)?))
}

/// The beginnings of the ids of all chunks; `None` if they are too many.
fn prefixes(reader: &mut ChunkReader<'_>, stream: &Stream) -> Result<Option<HashSet<u64>>> {
    let (mut extents, mut found, mut count) = (Extents::of(stream), HashSet::new(), 0);
    while let Some(extent) = extents.read_next(reader)? {
        found.extend(extent.chunk().map(|id| id.prefix()));
        count += 1;
        if count > EXTENTS_MOST {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

fn bytes_outside(reader: &mut ChunkReader<'_>, stream: &Stream, other: &HashSet<u64>) -> Result<u64> {
    let (mut extents, mut bytes) = (Extents::of(stream), 0);
    while let Some(extent) = extents.read_next(reader)? {
        if extent.chunk().is_some_and(|id| !other.contains(&id.prefix())) {
            bytes += extent.bytes();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Snapshot;
    use crate::testing::{Home, Item, dir, file, noise, symlink};

    fn compare_all(home: &Home, old: &Snapshot, new: &Snapshot, metadata: bool) -> (Vec<String>, DiffReport) {
        let (mut lines, mut reader) = (Vec::new(), home.repository.reader().unwrap());
        let report = diff(&mut reader, ((old, &old.root), (new, &new.root)), Path::new("/"), metadata, |change| {
            lines.push(format!("{} {}", change.letters(), change.path.display()));
        });
        (lines, report.unwrap())
    }

    fn at(second: i64) -> impl FnOnce(&mut Node) {
        move |node| node.modified.seconds = second
    }

    fn items(new: bool) -> Vec<Item> {
        let mut big = noise(1, 50_000);
        big[30_500] ^= u8::from(new);
        let only = if new { "only-new" } else { "only-old" };
        vec![
            dir("changed", vec![file("big", &big).with(at(i64::from(new))), file("same", b"same")]),
            file("meta", b"m").with(move |node| node.mode = if new { 0o600 } else { 0o644 }),
            dir(only, vec![file("f", b"12345"), symlink("s", "t")]),
            file("rot", if new { b"1" } else { b"2" }),
            dir("same", vec![file("f", b"f")]),
            symlink("turned", if new { "a" } else { "b" }),
            if new { file("type", b"") } else { symlink("type", "x") },
        ]
    }

    #[test]
    fn every_change_has_its_letter_and_is_counted() {
        let home = Home::new();
        let ((_, old), (_, new)) = (home.commit(items(false)), home.commit(items(true)));
        let (lines, report) = compare_all(&home, &old, &new, true);
        let expected = [
            "M /changed/big",
            "U /meta",
            "+ /only-new",
            "+ /only-new/f",
            "+ /only-new/s",
            "- /only-old",
            "- /only-old/f",
            "- /only-old/s",
            "M? /rot",
            "M /turned",
            "T /type",
        ];
        assert_eq!(lines, expected);
        assert_eq!(report.changed_files, 2);
        let counts = DiffCounts { files: 1, dirs: 1, others: 1, bytes: 5 + 1000 + 1 };
        assert_eq!((report.added, report.removed), (counts, counts));
        let (without, _) = compare_all(&home, &old, &new, false);
        assert_eq!(
            without,
            expected.iter().filter(|line| !line.starts_with('U')).map(|s| (*s).to_owned()).collect::<Vec<_>>()
        );
    }

    #[test]
    fn what_is_in_a_folder_that_is_something_else_on_the_other_side_is_told() {
        let home = Home::new();
        let folder = || dir("t", vec![dir("c", vec![file("d", b"123")]), symlink("s", "x")]);
        let with = home.commit(vec![folder(), file("z", b"z")]);
        let without = home.commit(vec![file("t", b"12345"), file("z", b"z")]);
        let within = DiffCounts { files: 1, dirs: 1, others: 1, bytes: 3 };
        let file = DiffCounts { bytes: 5, ..DiffCounts::default() };
        let (lines, report) = compare_all(&home, &with.1, &without.1, false);
        assert_eq!(lines, ["T /t", "- /t/c", "- /t/c/d", "- /t/s"]);
        assert_eq!((report.removed, report.added), (within, file));
        let (lines, report) = compare_all(&home, &without.1, &with.1, false);
        assert_eq!(lines, ["T /t", "+ /t/c", "+ /t/c/d", "+ /t/s"]);
        assert_eq!((report.removed, report.added), (file, within));
        // The same, if it is these that were asked for.
        let mut reader = home.repository.reader().unwrap();
        let mut node = |named| crate::select::resolve_path(&mut reader, named, Path::new("/t")).unwrap();
        let (before, after) = (node(&with), node(&without));
        let (mut paths, mut reader) = (Vec::new(), home.repository.reader().unwrap());
        diff(&mut reader, ((&with.1, &before), (&without.1, &after)), Path::new("/"), false, |change| {
            paths.push(format!("{} {}", change.letters(), change.path.display()));
        })
        .unwrap();
        assert_eq!(paths, ["T /", "- /c", "- /c/d", "- /s"]);
    }

    #[test]
    fn what_is_the_same_is_not_read() {
        let home = Home::new();
        let ((_, old), (_, new)) = (home.commit(items(false)), home.commit(items(false)));
        for entry in std::fs::read_dir(home.folder.path().join("rings/packs")).unwrap() {
            std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        let (lines, report) = compare_all(&home, &old, &new, true);
        assert!(lines.is_empty() && report.damaged.is_empty());
    }

    #[test]
    fn damage_is_named_and_the_rest_compared() {
        let home = Home::new();
        let ((_, old), (_, mut new)) = (home.commit(items(false)), home.commit(items(true)));
        let broken = Stream { level: 0, extents: vec![crate::stream::Extent::Chunk { id: [7; 32], bytes: 5 }] };
        new.root.kind = NodeKind::Folder { tree: broken };
        let (lines, report) = compare_all(&home, &old, &new, true);
        assert_eq!(report.damaged.len(), 1);
        assert!(lines.iter().all(|line| line.starts_with('-')), "{lines:?}");
    }
}
