//! Listing: every entry beneath a folder, in order.
//!
//! Owns the way through a tree for those who only look: listing, searching, dumping, counting. Holds one chunk of each
//! folder on the way down in memory, and never goes deeper than [`DEPTH_MOST`] nor further than the snapshot's own record
//! says that there is something.
//!
//! Invariant: a folder comes before its entries, and entries in the order of their names' bytes. What of a folder
//! cannot be read is named, and the walk goes on behind it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use treering_store::ChunkReader;

use crate::allowance::Allowance;
use crate::error::{Result, SnapshotError};
use crate::known::unread;
use crate::node::Node;
use crate::record::Snapshot;
use crate::stream::Stream;
use crate::tree::{DEPTH_MOST, TreeReader};

/// How a walk goes on after an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Into it, if it is a folder.
    Enter,
    /// To the next one beside it.
    Skip,
    /// Not at all.
    Stop,
}

/// What became of a walk.
#[derive(Debug, Default)]
pub struct Walked {
    /// Folders that could not be read to their end, and why.
    pub damaged: Vec<(PathBuf, SnapshotError)>,
    /// Whether the visitor stopped it.
    pub is_stopped: bool,
}

/// Visits the entries beneath `root`, which is of this snapshot, not `root` itself; `base` is its path. Beneath a file
/// there is nothing.
///
/// # Errors
///
/// [`SnapshotError::MoreThanSaid`], and what is not damage: an index that can neither be read nor made anew.
pub fn walk_tree(
    reader: &mut ChunkReader<'_>,
    (snapshot, root): (&Snapshot, &Node),
    base: &Path,
    visitor: impl FnMut(&Path, &Node) -> Flow,
) -> Result<Walked> {
    walk_within(reader, &mut Allowance::of(snapshot), root, base, visitor)
}

/// The same as a part of a longer walk.
pub(crate) fn walk_within(
    reader: &mut ChunkReader<'_>,
    allowance: &mut Allowance,
    root: &Node,
    base: &Path,
    mut visitor: impl FnMut(&Path, &Node) -> Flow,
) -> Result<Walked> {
    let (mut walked, mut path) = (Walked::default(), base.to_owned());
    let mut stack: Vec<TreeReader> = root.tree().map(TreeReader::new).into_iter().collect();
    while let Some(tree) = stack.last_mut() {
        let Some(node) = next_node(reader, allowance, tree, &path, &mut walked.damaged)? else {
            stack.pop();
            leave(&mut path, stack.is_empty());
            continue;
        };
        path.push(OsStr::from_bytes(&node.name));
        match (visitor(&path, &node), node.tree()) {
            (Flow::Stop, _) => {
                walked.is_stopped = true;
                break;
            }
            (Flow::Enter, Some(tree)) => enter(&mut stack, tree, &mut path, &mut walked.damaged),
            _ => drop(path.pop()),
        }
    }
    Ok(walked)
}

fn enter(stack: &mut Vec<TreeReader>, tree: &Stream, path: &mut PathBuf, damaged: &mut Vec<(PathBuf, SnapshotError)>) {
    if stack.len() < DEPTH_MOST {
        stack.push(TreeReader::new(tree));
        return;
    }
    damaged.push((path.clone(), too_deep()));
    path.pop();
}

fn leave(path: &mut PathBuf, is_root: bool) {
    if !is_root {
        path.pop();
    }
}

pub(crate) fn too_deep() -> SnapshotError {
    SnapshotError::Limit { what: "the depth of folders", limit: DEPTH_MOST as u64 }
}

/// The next node of a tree; the rest of a tree that cannot be read on is given up.
pub(crate) fn next_node(
    reader: &mut ChunkReader<'_>,
    allowance: &mut Allowance,
    tree: &mut TreeReader,
    path: &Path,
    damaged: &mut Vec<(PathBuf, SnapshotError)>,
) -> Result<Option<Node>> {
    match allowance.read_next(tree, reader) {
        Ok(node) => Ok(node),
        Err(e) => {
            let detail = unread(e)?;
            damaged.push((path.to_owned(), SnapshotError::damaged(path.display().to_string(), detail)));
            *tree = TreeReader::new(&Stream::default());
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Home, dir, file};

    #[test]
    fn entries_come_in_order_and_folders_first() {
        let home = Home::new();
        let many: Vec<_> = (0..700).map(|i| file(&format!("n{i:04}"), b"x")).collect();
        let (_, snapshot) = home.commit(vec![
            dir("a", vec![file("one", b"1"), dir("two", vec![])]),
            dir("many", many),
            file("z", b"2"),
        ]);
        let mut reader = home.repository.reader().unwrap();
        let mut seen = Vec::new();
        let walked = walk_tree(&mut reader, (&snapshot, &snapshot.root), Path::new("/"), |path, _| {
            seen.push(path.to_str().unwrap().to_owned());
            Flow::Enter
        });
        let walked = walked.unwrap();
        assert!(walked.damaged.is_empty() && !walked.is_stopped);
        assert_eq!(seen[..5], ["/a", "/a/one", "/a/two", "/many", "/many/n0000"]);
        assert_eq!((seen.len(), seen.last().unwrap().as_str()), (705, "/z"));
    }

    #[test]
    fn the_visitor_skips_and_stops() {
        let home = Home::new();
        let (_, snapshot) = home.commit(vec![dir("a", vec![file("one", b"1")]), file("b", b"2"), file("c", b"3")]);
        let mut reader = home.repository.reader().unwrap();
        let mut seen = Vec::new();
        let walked = walk_tree(&mut reader, (&snapshot, &snapshot.root), Path::new("/base"), |path, _| {
            seen.push(path.to_owned());
            if path.ends_with("b") { Flow::Stop } else { Flow::Skip }
        });
        assert!(walked.unwrap().is_stopped);
        assert_eq!(seen, [Path::new("/base/a"), Path::new("/base/b")]);
    }

    #[test]
    fn a_damaged_folder_is_named_and_passed() {
        let home = Home::new();
        let (_, mut snapshot) = home.commit(vec![file("a", b"1")]);
        let broken = Stream { level: 0, extents: vec![crate::stream::Extent::Chunk { id: [7; 32], bytes: 5 }] };
        snapshot.root.kind = crate::NodeKind::Folder { tree: broken };
        let mut reader = home.repository.reader().unwrap();
        let walked = walk_tree(&mut reader, (&snapshot, &snapshot.root), Path::new("/x"), |_, _| Flow::Enter).unwrap();
        assert_eq!(walked.damaged.len(), 1);
        assert_eq!(walked.damaged[0].0, Path::new("/x"));
    }
}
