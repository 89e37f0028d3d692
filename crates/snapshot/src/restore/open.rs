//! Applications that are open in the target, whether or not the snapshot holds them.
//!
//! What a snapshot holds of an application may be files like any others, or nothing: its capture failed, or was not wanted.
//! A restore of such a snapshot would write and delete under whoever has it open, so every application is asked first.
//!
//! Owns the look at what would be touched: the folders that are in the target and in the snapshot, and those that would be
//! deleted. Never changes anything, and never tells of damage: the restore itself does.
//!
//! Invariant: when this has found nothing, no name that the restore then writes, makes or deletes in a folder that was
//! there was anything of an open application, as far as that application's restorer can see.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FileType;
use treering_store::{ChunkReader, Repository};

use super::application::Place;
use super::beneath::{Beneath, Dirs, Folder, Folders, kind_of, list, look};
use super::mounts::is_mounted_on;
use super::own::Own;
use super::{Choice, Overwrite, RestoreOptions, Root, is_fatal, roots};
use crate::allowance::Allowance;
use crate::error::{Result, SnapshotError};
use crate::node::Node;
use crate::progress::Progress;
use crate::record::Snapshot;
use crate::stream::Stream;
use crate::tree::TreeReader;

/// Refuses a restore that would touch what somebody has open.
pub(super) fn refuse(
    repository: &Arc<Repository>,
    snapshot: &Snapshot,
    options: &RestoreOptions<'_>,
    progress: &dyn Progress,
) -> Result<()> {
    if options.applications.is_empty() {
        return Ok(());
    }
    let own = Own::of(repository);
    let (beneath, is_empty) = Beneath::open(&options.target, true, &own, &**repository.entropy())?;
    if is_empty {
        return Ok(());
    }
    let folders = Folders::new(&options.target, roots::base(&options.roots), found(0, &[], false));
    let (dirs, reader, allowance) = (Dirs::new(&beneath, &folders), repository.reader()?, Allowance::of(snapshot));
    let mut look = Look { options, progress, own, folders: &folders, dirs, reader, allowance, pending: Vec::new() };
    options.roots.iter().try_for_each(|root| look.root(root))
}

/// A folder of the target.
fn found(parent: u32, name: &[u8], is_elsewhere: bool) -> Folder {
    let (is_fresh, replaces, hands_down_acl, is_locked) = (false, false, false, false);
    Folder { parent, name: name.into(), is_fresh, replaces, hands_down_acl, is_locked, is_elsewhere, meta: None }
}

/// A folder of the target that is still to be looked at.
struct Pending {
    folder: u32,
    /// In the snapshot.
    path: PathBuf,
    /// What the snapshot has in it; `None` if it does not have the folder, which would be deleted.
    tree: Option<Stream>,
}

struct Look<'a> {
    options: &'a RestoreOptions<'a>,
    progress: &'a dyn Progress,
    own: Own,
    folders: &'a Folders,
    dirs: Dirs<'a>,
    reader: ChunkReader<'a>,
    allowance: Allowance,
    pending: Vec<Pending>,
}

impl Look<'_> {
    fn root(&mut self, root: &Root) -> Result<()> {
        let (mut folder, mut path) = (0, self.folders.shown(0, b""));
        for (name, _) in root.leading() {
            path.push(OsStr::from_bytes(&name));
            let Some(fd) = self.open(folder) else { return Ok(()) };
            if kind(&fd, &name) != Some(FileType::Directory) {
                return Ok(());
            }
            folder = self.folders.add(found(folder, &name, false));
        }
        match (root.last(), root.node.tree()) {
            (Some(name), _) => {
                let Some(fd) = self.open(folder) else { return Ok(()) };
                let node = Node { name: name.to_vec(), ..root.node.clone() };
                let mut touched = Vec::new();
                self.node(folder, &fd, &path, &node, &mut touched);
                self.ask(folder, &fd, &touched)?;
            }
            (None, Some(tree)) if (self.options.selection)(&root.path, true) != Choice::Skip => {
                self.pending.push(Pending { folder, path: root.path.clone(), tree: Some(tree.clone()) });
            }
            _ => {}
        }
        while let Some(pending) = self.pending.pop() {
            self.folder(&pending)?;
        }
        Ok(())
    }

    /// What cannot be opened cannot be written to either.
    fn open(&mut self, folder: u32) -> Option<Arc<OwnedFd>> {
        self.dirs.open(folder).ok()
    }

    fn folder(&mut self, pending: &Pending) -> Result<()> {
        if self.progress.is_interrupted() {
            return Err(SnapshotError::Interrupted);
        }
        let Some(fd) = self.open(pending.folder) else { return Ok(()) };
        let deletes = self.options.delete && self.folders.get(pending.folder).is_some_and(|found| !found.is_elsewhere);
        let names = if deletes { list(&fd).unwrap_or_default() } else { Vec::new() };
        let (mut extra, mut touched): (HashSet<_>, _) = (names.into_iter().collect(), Vec::new());
        if let Some(tree) = &pending.tree {
            let mut nodes = TreeReader::new(tree);
            loop {
                match self.allowance.read_next(&mut nodes, &mut self.reader) {
                    Ok(Some(node)) => {
                        extra.remove(&node.name);
                        self.node(pending.folder, &fd, &pending.path, &node, &mut touched);
                    }
                    Ok(None) => break,
                    Err(e) if is_fatal(&e) => return Err(e),
                    Err(_) => {
                        extra.clear();
                        break;
                    }
                }
            }
        }
        for name in extra {
            self.extra(pending, &fd, name, &mut touched);
        }
        self.ask(pending.folder, &fd, &touched)
    }

    /// An entry of the snapshot.
    fn node(&mut self, folder: u32, fd: &OwnedFd, parent: &Path, node: &Node, touched: &mut Vec<OsString>) {
        let (name, options) = (node.name.as_slice(), self.options);
        let path = parent.join(OsStr::from_bytes(name));
        let choice = (options.selection)(&path, node.tree().is_some());
        if choice == Choice::Skip || (choice == Choice::Descend && node.tree().is_none()) {
            return;
        }
        match (kind(fd, name), node.tree()) {
            (Some(FileType::Directory), Some(tree)) => self.enter(folder, fd, name, path, Some(tree.clone())),
            (Some(FileType::Directory), None) if options.delete && options.overwrite.replaces_kinds() => {
                self.enter(folder, fd, name, path, None);
            }
            (Some(FileType::Directory), None) => return,
            (Some(_), _) if options.overwrite == Overwrite::Never => return,
            _ => {}
        }
        if choice == Choice::Take {
            touched.push(OsString::from_vec(name.to_vec()));
        }
    }

    /// An entry of the target that the snapshot does not have.
    fn extra(&mut self, pending: &Pending, fd: &OwnedFd, name: Vec<u8>, touched: &mut Vec<OsString>) {
        let (path, is_folder) =
            (pending.path.join(OsStr::from_bytes(&name)), kind(fd, &name) == Some(FileType::Directory));
        let choice = (self.options.selection)(&path, is_folder);
        if is_folder && choice != Choice::Skip {
            self.enter(pending.folder, fd, &name, path, None);
        }
        if choice == Choice::Take {
            touched.push(OsString::from_vec(name));
        }
    }

    fn enter(&mut self, parent: u32, fd: &OwnedFd, name: &[u8], path: PathBuf, tree: Option<Stream>) {
        // Nothing in the repository itself is touched; and this process has its index open.
        if look(fd, name).ok().flatten().is_some_and(|stat| self.own.at(&stat).is_some()) {
            return;
        }
        let is_elsewhere = self.options.delete
            && !roots::leads(&self.options.roots, &path)
            && (self.folders.get(parent).is_some_and(|parent| parent.is_elsewhere)
                || is_mounted_on(fd, name).unwrap_or(true));
        if tree.is_some() || !is_elsewhere {
            let folder = self.folders.add(found(parent, name, is_elsewhere));
            self.pending.push(Pending { folder, path, tree });
        }
    }

    fn ask(&self, folder: u32, fd: &OwnedFd, touched: &[OsString]) -> Result<()> {
        if touched.is_empty() {
            return Ok(());
        }
        let path = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let shown = self.folders.placed(folder, b"");
        for restorer in self.options.applications {
            let asked = restorer.refuse_open(&Place { path: &path, shown: &shown }, touched);
            asked.map_err(|refusal| refusal.of(restorer.kind(), &shown))?;
        }
        Ok(())
    }
}

fn kind(folder: &OwnedFd, name: &[u8]) -> Option<FileType> {
    look(folder, name).ok().flatten().map(|stat| kind_of(&stat))
}
