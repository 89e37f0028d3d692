//! Writing a snapshot again without what is lost.
//!
//! Only folders with losses in them are written again; everything else is taken over as it is. Invariant: what the new
//! snapshot holds is whole.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use treering_chunk::Namer;
use treering_store::{ChunkReader, Sink};

use super::torn::{Losses, TornTree};
use crate::capture::Verdict;
use crate::error::{Result, SnapshotError};
use crate::node::{Node, NodeKind};
use crate::record::{AppEntry, REPAIRED_FROM_TAG, STATE_TAG, Snapshot, SnapshotName};
use crate::tree::TreeBuilder;

/// What repaired snapshots are tagged with.
const TAG: &str = "repaired";

struct Frame {
    tree: TornTree,
    builder: TreeBuilder,
    node: Node,
}

/// The root without what is lost. Its trees are stored, but for those that stay as they are.
pub(super) fn rewrite(
    reader: &mut ChunkReader<'_>,
    sink: &mut Sink,
    namer: &Namer,
    root: &Node,
    losses: &Losses,
) -> Result<Node> {
    let touched: HashSet<&Path> = losses.touched();
    let (mut path, mut stack) = (PathBuf::from("/"), Vec::new());
    if !touched.contains(path.as_path()) {
        return Ok(root.clone());
    }
    stack.extend(frame(root.clone()));
    while let Some(open) = stack.last_mut() {
        let Some(node) = open.tree.read_next(reader)? else {
            let Some(Frame { builder, mut node, .. }) = stack.pop() else { break };
            node.kind = NodeKind::Folder { tree: builder.finish(sink)? };
            path.pop();
            match stack.last_mut() {
                Some(above) => above.builder.push(sink, namer, &node)?,
                None => return Ok(node),
            }
            continue;
        };
        let entry = path.join(OsStr::from_bytes(&node.name));
        if losses.files.contains(&entry) {
            continue;
        }
        match touched.contains(entry.as_path()).then(|| frame(node.clone())).flatten() {
            Some(below) => {
                stack.push(below);
                path = entry;
            }
            None => open.builder.push(sink, namer, &node)?,
        }
    }
    Err(SnapshotError::WorkerLost)
}

fn frame(node: Node) -> Option<Frame> {
    let tree = TornTree::new(node.tree()?);
    Some(Frame { tree, builder: TreeBuilder::default(), node })
}

/// What the new snapshot says: what the original said, and what it lacks.
pub(super) fn describe(name: SnapshotName, original: &Snapshot, root: Node, losses: &Losses) -> Snapshot {
    let mut snapshot = Snapshot { root, stat: None, ..original.clone() };
    snapshot.tags.push(TAG.to_owned());
    snapshot.tags.sort_unstable();
    snapshot.tags.dedup();
    let statistics = &mut snapshot.statistics;
    statistics.errors = statistics.errors.saturating_add(losses.lost_paths() as u64);
    statistics.total_files = statistics.total_files.saturating_sub(losses.files.len() as u64);
    statistics.total_bytes = statistics.total_bytes.saturating_sub(losses.bytes);
    for app in &mut snapshot.applications {
        if let Some(path) = affecting(app, losses) {
            app.detail = format!("a repair left out {} ({})", path.display(), app.detail);
            app.verdict = Verdict::Torn.as_str().to_owned();
            // The next capture must not take for unchanged what is no longer there.
            app.extensions.retain(|(tag, _)| *tag != STATE_TAG);
        }
    }
    snapshot.extensions.retain(|(tag, _)| *tag != REPAIRED_FROM_TAG);
    snapshot.extensions.push((REPAIRED_FROM_TAG, name.as_bytes().to_vec()));
    snapshot.extensions.sort_by_key(|(tag, _)| *tag);
    snapshot
}

/// What is lost of an application: its main file or folder, what is in it, what lies beside it and begins with its name
/// as logs do, or perhaps something in a folder above it.
fn affecting<'l>(app: &AppEntry, losses: &'l Losses) -> Option<&'l Path> {
    let main = app.place();
    let is_of = |path: &&PathBuf| path.as_os_str().as_bytes().starts_with(&app.path);
    let file = losses.files.iter().find(is_of);
    file.or_else(|| losses.folders.iter().find(|folder| main.starts_with(folder) || is_of(folder)))
        .map(PathBuf::as_path)
}
