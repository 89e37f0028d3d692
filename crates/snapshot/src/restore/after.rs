//! What is done when all files are there: further names, links, special files, deletions, folders' metadata.
//!
//! Owns the order. Never follows a link: each of these is one call on a name in an open folder.
//!
//! Invariant: no symbolic link of the snapshot exists in the target before the last file is written; folders get their
//! modes and times after everything in them has been done.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, linkat, mknodat, openat, readlinkat, renameat,
    symlinkat, syncfs, unlinkat,
};
use rustix::io::Errno;

use super::beneath::{Dirs, identity, kind_of, look};
use super::meta::{Meta, take_acl_off};
use super::plan::{Afterwards, Link, Mode as Walk, Other, is_to_be_left, kind_word};
use super::{WithheldKind, Work, add, apply, remove};
use crate::error::{Result, SnapshotError};
use crate::node::{Node, NodeKind};
use crate::progress::{Event, Outcome};

/// Does all of it.
pub(super) fn finish(work: &Work<'_>, rest: Afterwards) -> Result<()> {
    let mut last = Last { work, dirs: Dirs::new(&work.beneath, &work.folders) };
    for link in &rest.links {
        work.check_interrupted()?;
        let made = last.link(link);
        last.settle(link.folder, &link.name, made)?;
    }
    for other in &rest.others {
        work.check_interrupted()?;
        let made = last.other(other);
        last.settle(other.folder, &other.node.name, made)?;
    }
    for (folder, name) in &rest.deletions {
        let removed = last.delete(*folder, name);
        last.settle(*folder, name, removed)?;
    }
    if work.options.dry_run {
        return Ok(());
    }
    if work.options.verify {
        apply::run(work, Walk::Verify)?;
    }
    for id in rest.folders.iter().rev() {
        let finished = last.folder(*id);
        last.settle(*id, b"", finished)?;
    }
    last.sync()
}

/// Whether nobody is at work on an unfinished file.
fn is_left_behind(folder: &OwnedFd, name: &[u8]) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(fd) = openat(folder, name, flags, Mode::empty()) else { return false };
    fstat(&fd).is_ok_and(|stat| kind_of(&stat) == FileType::RegularFile && stat.st_nlink == 1)
        && flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Whether the same may use what is there.
fn has_rights_of(node: &Node, stat: &Stat) -> bool {
    (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) == (node.mode.into(), node.uid, node.gid)
}

struct Last<'a> {
    work: &'a Work<'a>,
    dirs: Dirs<'a>,
}

impl Last<'_> {
    fn settle(&self, folder: u32, name: &[u8], result: Result<()>) -> Result<()> {
        self.work.settle(|| self.work.folders.shown(folder, name), result)
    }

    fn failure(&self, folder: u32, name: &[u8], action: &'static str) -> impl FnOnce(Errno) -> SnapshotError + use<> {
        let path = self.work.folders.placed(folder, name);
        move |e| SnapshotError::io(action, path)(e.into())
    }

    fn look(&self, fd: &OwnedFd, folder: u32, name: &[u8]) -> Result<Option<Stat>> {
        look(fd, name).map_err(|e| SnapshotError::io("look at", self.work.folders.placed(folder, name))(e))
    }

    fn done(&self, folder: u32, name: &[u8], outcome: Outcome, bytes: u64) {
        let tally = &self.work.tally;
        let unmodified = outcome == Outcome::Unmodified;
        add(if unmodified { &tally.files_skipped } else { &tally.files_restored }, 1);
        add(if unmodified { &tally.bytes_skipped } else { &tally.bytes_restored }, bytes);
        let path = self.work.folders.shown(folder, name);
        self.work.progress.event(Event::Bytes { bytes });
        self.work.progress.event(Event::Done { path: &path, is_folder: false, outcome, bytes });
    }

    /// A further name of a file that was restored.
    fn link(&mut self, link: &Link) -> Result<()> {
        let (head_folder, head_name) = (link.head.0, &*link.head.1);
        let lost = || SnapshotError::LinkLost { path: self.work.folders.shown(head_folder, head_name) };
        if self.work.left_out.has(&self.work.folders.shown(head_folder, head_name)) {
            return Err(lost());
        }
        if self.work.options.dry_run {
            let there = self.there(link.folder, &link.name)?;
            let is_left =
                there.as_ref().is_some_and(|stat| is_to_be_left(self.work.options.overwrite, link.modified, stat));
            if !is_left {
                self.would_clear(link.folder, &link.name, there.as_ref())?;
            }
            self.done(link.folder, &link.name, Outcome::New, link.bytes);
            return Ok(());
        }
        let (from, to) = (self.dirs.open(head_folder)?, self.dirs.open(link.folder)?);
        let head = look(&from, head_name)
            .ok()
            .flatten()
            .filter(|stat| kind_of(stat) == FileType::RegularFile)
            .ok_or_else(lost)?;
        let there = self.look(&to, link.folder, &link.name)?;
        let outcome = match &there {
            Some(stat) if identity(stat) == identity(&head) => Outcome::Unmodified,
            Some(stat) if is_to_be_left(self.work.options.overwrite, link.modified, stat) => {
                self.work.left_out.add(&self.work.folders.shown(link.folder, &link.name));
                Outcome::Unmodified
            }
            there => {
                let make = |name: &[u8]| linkat(&from, head_name, &to, name, AtFlags::empty());
                self.place(&to, link.folder, &link.name, there.as_ref(), &make, Some(identity(&head)))?;
                if there.is_some() { Outcome::Changed } else { Outcome::New }
            }
        };
        self.done(link.folder, &link.name, outcome, link.bytes);
        Ok(())
    }

    /// Makes something under a temporary name and renames it over what is there, or makes it where nothing is.
    /// `is` refuses what is not this very inode.
    fn place(
        &self,
        fd: &Arc<OwnedFd>,
        folder: u32,
        name: &[u8],
        there: Option<&Stat>,
        make: &dyn Fn(&[u8]) -> Result<(), Errno>,
        is: Option<(u64, u64)>,
    ) -> Result<()> {
        if there.is_some_and(|stat| kind_of(stat) == FileType::Directory) {
            remove::clear_folder(self.work, fd, folder, name)?;
        }
        let temporary = self.work.beneath.temporary_name().into_bytes();
        make(&temporary).map_err(self.failure(folder, name, "make"))?;
        let sound =
            is.is_none_or(|is| look(fd, &temporary).is_ok_and(|stat| stat.is_some_and(|stat| identity(&stat) == is)));
        let renamed = if sound { renameat(fd, temporary.as_slice(), fd, name) } else { Err(Errno::LOOP) };
        if renamed.is_err() {
            // It keeps its temporary name if even this fails.
            let _left = unlinkat(fd, temporary.as_slice(), AtFlags::empty());
        }
        renamed.map_err(self.failure(folder, name, "name"))
    }

    /// Says what else would go, in a dry run.
    fn would_clear(&mut self, folder: u32, name: &[u8], there: Option<&Stat>) -> Result<()> {
        if there.is_none_or(|stat| kind_of(stat) != FileType::Directory) {
            return Ok(());
        }
        let fd = self.dirs.open(folder)?;
        remove::clear_folder(self.work, &fd, folder, name)
    }

    /// A link, a pipe, a socket, a device.
    fn other(&mut self, other: &Other) -> Result<()> {
        let (work, node, name) = (self.work, &other.node, other.node.name.as_slice());
        let shown = work.folders.shown(other.folder, name);
        let there = self.there(other.folder, name)?;
        if matches!(node.kind, NodeKind::CharDevice { .. } | NodeKind::BlockDevice { .. }) && !work.options.privileged {
            match there.filter(|stat| self.is_same(other, Some(stat)) && has_rights_of(node, stat)) {
                Some(_) => self.done(other.folder, name, Outcome::Unmodified, 0),
                None => work.withheld.lock().add(&shown, vec![WithheldKind::Device]),
            }
            return Ok(());
        }
        if let Some(stat) = &there
            && is_to_be_left(work.options.overwrite, node.modified, stat)
        {
            self.done(other.folder, name, Outcome::Unmodified, 0);
            return Ok(());
        }
        let meta = Meta::of(node, work.options.ownership, work.options.privileged);
        work.withheld.lock().add(&shown, meta.withheld());
        let is_same = self.is_same(other, there.as_ref());
        match work.options.dry_run {
            true => self.would_clear(other.folder, name, there.as_ref())?,
            false => self.make(other, there.as_ref(), is_same, &meta)?,
        }
        let outcome = if is_same {
            Outcome::Unmodified
        } else if there.is_some() {
            Outcome::Changed
        } else {
            Outcome::New
        };
        self.done(other.folder, name, outcome, 0);
        Ok(())
    }

    fn there(&mut self, folder: u32, name: &[u8]) -> Result<Option<Stat>> {
        if self.work.options.dry_run && self.work.folders.get(folder).is_none_or(|folder| folder.is_fresh) {
            return Ok(None);
        }
        let fd = self.dirs.open(folder)?;
        self.look(&fd, folder, name)
    }

    fn is_same(&mut self, other: &Other, there: Option<&Stat>) -> bool {
        let (Some(stat), Ok(fd)) = (there, self.dirs.open(other.folder)) else { return false };
        match (&other.node.kind, kind_of(stat)) {
            (NodeKind::Symlink { target }, FileType::Symlink) => {
                readlinkat(&fd, other.node.name.as_slice(), Vec::new())
                    .is_ok_and(|there| there.as_bytes() == target.as_slice())
            }
            (NodeKind::Fifo, FileType::Fifo) | (NodeKind::Socket, FileType::Socket) => stat.st_nlink == 1,
            (NodeKind::CharDevice { device }, FileType::CharacterDevice)
            | (NodeKind::BlockDevice { device }, FileType::BlockDevice) => {
                stat.st_nlink == 1 && stat.st_rdev == *device
            }
            _ => false,
        }
    }

    fn make(&mut self, other: &Other, there: Option<&Stat>, is_same: bool, meta: &Meta) -> Result<()> {
        let (node, name, folder) = (&other.node, other.node.name.as_slice(), other.folder);
        let fd = self.dirs.open(folder)?;
        let own = Mode::RUSR | Mode::WUSR;
        let make = |at: &[u8]| match &node.kind {
            NodeKind::Symlink { target } => symlinkat(target.as_slice(), &fd, at),
            NodeKind::Fifo => mknodat(&fd, at, FileType::Fifo, own, 0),
            NodeKind::Socket => mknodat(&fd, at, FileType::Socket, own, 0),
            NodeKind::CharDevice { device } => mknodat(&fd, at, FileType::CharacterDevice, own, *device),
            NodeKind::BlockDevice { device } => mknodat(&fd, at, FileType::BlockDevice, own, *device),
            NodeKind::File { .. } | NodeKind::Folder { .. } => Err(Errno::INVAL),
        };
        match there {
            _ if is_same => {}
            None => make(name).map_err(self.failure(folder, name, "make"))?,
            there => self.place(&fd, folder, name, there, &make, None)?,
        }
        self.put_meta(other, &fd, meta)
    }

    fn put_meta(&self, other: &Other, fd: &OwnedFd, meta: &Meta) -> Result<()> {
        let (work, name) = (self.work, other.node.name.as_slice());
        let mut failed = |action, e: io::Error| {
            let error = SnapshotError::io(action, work.folders.placed(other.folder, name))(e);
            work.tell(&work.folders.shown(other.folder, name), "restore", &error);
        };
        if matches!(other.node.kind, NodeKind::Symlink { .. }) {
            meta.put_on_link(fd, name, &mut failed);
            return Ok(());
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(fd, name, flags, Mode::empty()).map_err(self.failure(other.folder, name, "open"))?;
        let stat = fstat(&made).map_err(self.failure(other.folder, name, "look at"))?;
        // Exchanged since it was made: nothing is put on what is not ours.
        if stat.st_nlink != 1
            || matches!(kind_of(&stat), FileType::Symlink | FileType::RegularFile | FileType::Directory)
        {
            let path = work.folders.placed(other.folder, name);
            return Err(SnapshotError::Blocked { path, found: kind_word(&stat) });
        }
        if work.folders.get(other.folder).is_some_and(|folder| folder.hands_down_acl) {
            take_acl_off(&made);
        }
        meta.put_on_path(&made, &mut failed);
        Ok(())
    }

    fn delete(&mut self, folder: u32, name: &[u8]) -> Result<()> {
        let fd = self.dirs.open(folder)?;
        if !self.work.options.delete && !is_left_behind(&fd, name) {
            return Ok(());
        }
        remove::remove(self.work, &fd, name, &self.work.folders.shown(folder, name)).map(|_| ())
    }

    fn folder(&mut self, id: u32) -> Result<()> {
        let Some(folder) = self.work.folders.get(id) else { return Ok(()) };
        let Some(meta) = &folder.meta else { return Ok(()) };
        let fd = self.dirs.open(id)?;
        let (work, path) = (self.work, self.work.folders.shown(id, b""));
        let mut failed = |action, e: io::Error| {
            work.tell(&path, "restore", &SnapshotError::io(action, work.folders.placed(id, b""))(e));
        };
        match openat(&fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(open) => {
                // What is right already may be somebody else's, who alone could set it.
                if folder.is_fresh || !fstat(&open).is_ok_and(|stat| !meta.differs(open.as_fd(), &stat)) {
                    meta.take_off(open.as_fd());
                    meta.put_on(open.as_fd(), folder.hands_down_acl && folder.is_fresh, &mut failed);
                }
            }
            Err(_) => meta.put_on_path(&fd, &mut failed),
        }
        let outcome = if folder.is_fresh { Outcome::New } else { Outcome::Unmodified };
        work.progress.event(Event::Done { path: &path, is_folder: true, outcome, bytes: 0 });
        Ok(())
    }

    /// Makes everything durable, with one call for each file system that a root is on. What lies on those that are
    /// mounted beneath a root is not covered.
    fn sync(&self) -> Result<()> {
        let target = &self.work.options.target;
        let top = self.work.beneath.root().map_err(SnapshotError::io("open", target))?;
        let mut synced = HashSet::new();
        for under in self.work.options.roots.iter().map(|root| root.under.as_path()) {
            let synced = self.sync_at(&top, under, &mut synced);
            synced.map_err(io::Error::from).map_err(SnapshotError::io("sync", target.join(under)))?;
        }
        Ok(())
    }

    /// Syncs the file system of a folder, or of the nearest one above that can be opened.
    fn sync_at(&self, top: &OwnedFd, under: &Path, synced: &mut HashSet<u64>) -> Result<(), Errno> {
        let readable =
            |fd: &OwnedFd| openat(fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let open =
            |path: &Path| self.work.beneath.open_below(top, path.as_os_str().as_bytes()).and_then(|fd| readable(&fd));
        let mut folders = under.ancestors().filter(|path| !path.as_os_str().is_empty());
        let nearest = folders.find_map(|path| open(path).ok());
        let nearest = nearest.map_or_else(|| readable(top), Ok)?;
        match synced.insert(fstat(&nearest)?.st_dev) {
            true => syncfs(nearest),
            false => Ok(()),
        }
    }
}
