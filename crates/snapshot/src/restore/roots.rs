//! What goes where: which part of a snapshot is restored, and under which path of the target.
//!
//! Owns the rule that a user sees. Never looks at the target.
//!
//! Invariant: no root lies inside another one, so nothing is restored twice.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use treering_store::ChunkReader;

use crate::error::{Result, SnapshotError};
use crate::node::Node;
use crate::record::Snapshot;
use crate::tree;

/// A part of a snapshot that is restored.
#[derive(Debug, Clone)]
pub struct Root {
    /// Its path in the snapshot, absolute.
    pub path: PathBuf,
    /// A folder, whose content goes to `under`; or anything else, which becomes `under`.
    pub node: Node,
    /// A path relative to the target; empty for the target itself, which only a folder can be.
    pub under: PathBuf,
    /// The folders of the snapshot that `under` consists of, outermost first, without the last component of `under`.
    /// They are made where they are missing; those that exist are left as they are.
    pub ancestors: Vec<Node>,
}

/// Says what of a snapshot goes where.
///
/// A snapshot of one path restores that path's content into the target; one of several paths restores each under its
/// full path. A sub-path picks one folder, whose content goes into the target, or anything else, which goes there under
/// its name. `full_paths` restores under full paths always.
///
/// # Errors
///
/// [`SnapshotError::NoPath`] if nothing is there; damage of the trees that lead there.
pub fn layout(
    snapshot: &Snapshot,
    reader: &mut ChunkReader<'_>,
    sub_path: Option<&Path>,
    full_paths: bool,
) -> Result<Vec<Root>> {
    let wanted = match sub_path {
        Some(path) => vec![absolute(path)],
        None => outermost(&snapshot.paths),
    };
    let full_paths = full_paths || wanted.len() != 1;
    let mut roots = Vec::new();
    for path in &wanted {
        match find(snapshot, reader, path)? {
            Some((ancestors, node)) => roots.push(root(path, node, ancestors, full_paths)),
            // A path that could not be read when the snapshot was made.
            None if sub_path.is_none() => {}
            None => return Err(no_path(path)),
        }
    }
    if roots.is_empty() { Err(no_path(wanted.first().map_or(Path::new("/"), PathBuf::as_path))) } else { Ok(roots) }
}

fn no_path(path: &Path) -> SnapshotError {
    SnapshotError::NoPath { path: path.to_owned(), snapshot: "that was asked for".into() }
}

/// Without what lies inside another one.
fn outermost(paths: &[Vec<u8>]) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = paths.iter().map(|path| absolute(Path::new(OsStr::from_bytes(path)))).collect();
    paths.sort();
    paths.dedup();
    let all = paths.clone();
    paths.retain(|path| !all.iter().any(|other| other != path && path.starts_with(other)));
    paths
}

/// From the root down, normal components only.
fn absolute(path: &Path) -> PathBuf {
    let names = path.components().filter(|component| matches!(component, Component::Normal(_)));
    Path::new("/").join(names.collect::<PathBuf>())
}

fn names(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

/// The folders that lead to a path, without the root, and what is there.
fn find(snapshot: &Snapshot, reader: &mut ChunkReader<'_>, path: &Path) -> Result<Option<(Vec<Node>, Node)>> {
    let (mut ancestors, mut node) = (Vec::new(), snapshot.root.clone());
    for (depth, name) in names(path).enumerate() {
        let Some(tree) = node.tree() else { return Ok(None) };
        let Some(next) = tree::find(reader, tree, name.as_bytes())? else { return Ok(None) };
        let before = std::mem::replace(&mut node, next);
        if depth > 0 {
            ancestors.push(before);
        }
    }
    Ok(Some((ancestors, node)))
}

fn root(path: &Path, node: Node, ancestors: Vec<Node>, full_paths: bool) -> Root {
    if full_paths {
        return Root { path: path.to_owned(), node, under: names(path).collect(), ancestors };
    }
    let under = if node.tree().is_some() {
        PathBuf::new()
    } else {
        PathBuf::from(std::ffi::OsString::from_vec(node.name.clone()))
    };
    Root { path: path.to_owned(), node, under, ancestors: Vec::new() }
}

/// The path in the snapshot of what goes into the target itself.
pub(super) fn base(roots: &[Root]) -> PathBuf {
    let Some(root) = roots.first() else { return PathBuf::from("/") };
    let depth = names(&root.under).count();
    root.path.ancestors().nth(depth).unwrap_or(Path::new("/")).to_owned()
}

/// Whether a folder of the snapshot is a root or leads to one, so that it is where the user has pointed.
pub(super) fn leads(roots: &[Root], folder: &Path) -> bool {
    roots.iter().any(|root| root.path.starts_with(folder))
}

impl Root {
    /// The components of `under` that are folders leading to it, each with the node that it is made after.
    pub(super) fn leading(&self) -> Vec<(Vec<u8>, Option<&Node>)> {
        let all: Vec<_> = names(&self.under).map(|name| name.as_bytes().to_vec()).collect();
        let leading = all.len().saturating_sub(1);
        all.into_iter().take(leading).enumerate().map(|(at, name)| (name, self.ancestors.get(at))).collect()
    }

    /// The last component of `under`.
    pub(super) fn last(&self) -> Option<&[u8]> {
        names(&self.under).last().map(OsStr::as_bytes)
    }
}
