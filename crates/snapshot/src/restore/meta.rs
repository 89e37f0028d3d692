//! Owners, modes, times and extended attributes: what is put on an entry when its content is complete.
//!
//! Owns the rule of what an unprivileged restore withholds: what lends rights and is not there yet. Never follows a link:
//! everything goes through an open descriptor, or names one entry of one.
//!
//! Invariant: the owner is set before attributes and mode, because changing it takes capabilities and set-id bits off;
//! set-id bits are set only where the owner is the one that the snapshot names. What is withheld is never put on an entry,
//! nor are others let at one that has it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat, fchmod, fchown,
    fgetxattr, flistxattr, fremovexattr, fsetxattr, futimens, lgetxattr, lsetxattr, removexattr, setxattr, utimensat,
};
use rustix::io::Errno;

use super::{Withheld, WithheldKind};
use crate::node::{Node, NodeKind, Time};

const SET_UID: u16 = 0o4000;
const SET_GID: u16 = 0o2000;
/// The longest attribute and list of attributes that the kernel has.
const XATTR_MOST_BYTES: usize = 64 << 10;
const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// What is put on an entry.
#[derive(Debug, Clone)]
pub(super) struct Meta {
    pub(super) mode: u16,
    /// `None` leaves it to whoever restores.
    pub(super) owner: Option<(u32, u32)>,
    pub(super) modified: Time,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    rights: Rights,
}

/// What lends rights, and is therefore withheld.
#[derive(Debug, Clone, Default)]
struct Rights {
    /// Set-id bits.
    bits: u16,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Owner and group for the kernel. The largest number is nobody's: to the kernel it means "leave it as it is", so that a
/// set-id bit would come on a file of whoever restores.
fn ids((uid, gid): (u32, u32)) -> rustix::io::Result<(Option<Uid>, Option<Gid>)> {
    match uid == u32::MAX || gid == u32::MAX {
        true => Err(Errno::INVAL),
        false => Ok((Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))),
    }
}

impl Meta {
    /// Of a node, without what is withheld.
    pub(super) fn of(node: &Node, ownership: bool, privileged: bool) -> Self {
        let (mut rights, mut mode, mut xattrs) = (Rights::default(), node.mode, node.xattrs.clone());
        if !privileged {
            // On a folder the set-gid bit lends no rights; it says which group new entries get.
            let taken = if node.tree().is_some() { SET_UID } else { SET_UID | SET_GID };
            if !matches!(node.kind, NodeKind::Symlink { .. }) {
                rights.bits = mode & taken;
            }
            mode &= !taken;
            let lends =
                |(name, _): &mut (Vec<u8>, Vec<u8>)| name.starts_with(b"security.") || name.starts_with(b"trusted.");
            rights.xattrs = xattrs.extract_if(.., lends).collect();
        }
        let owner = ownership.then_some((node.uid, node.gid));
        Self { mode, owner, modified: node.modified, xattrs, rights }
    }

    /// What is withheld.
    pub(super) fn withheld(&self) -> Vec<WithheldKind> {
        let attribute = |(name, _): &(Vec<u8>, Vec<u8>)| WithheldKind::Attribute { name: name.clone() };
        let bits = (self.rights.bits != 0).then_some(WithheldKind::SetId);
        bits.into_iter().chain(self.rights.xattrs.iter().map(attribute)).collect()
    }

    /// Whether anything is.
    pub(super) fn withholds(&self) -> bool {
        self.rights.bits != 0 || !self.rights.xattrs.is_empty()
    }

    /// The same for an entry that stays: what lends rights and is there, as it is in the snapshot, is not taken away, nor
    /// is it withheld. Only if nothing but the time differs: nobody else comes to be let at it.
    pub(super) fn of_existing(&self, fd: BorrowedFd<'_>, stat: &Stat) -> Self {
        let mut meta = self.clone();
        let is_same = self.withholds()
            && self.owner.is_none_or(|owner| owner == (stat.st_uid, stat.st_gid))
            && stat.st_mode & 0o7777 == u32::from(self.mode | self.rights.bits)
            && !self.attributes_differ(fd);
        if is_same {
            meta.mode |= meta.rights.bits;
            meta.rights.bits = 0;
            meta.rights.xattrs.retain(|(name, value)| attribute(fd, name).as_ref() != Some(value));
            // Setting even the same one takes rights off.
            meta.owner = None;
        }
        meta
    }

    /// The memory for its attributes.
    pub(super) fn bytes(&self) -> usize {
        let xattrs = self.xattrs.iter().chain(&self.rights.xattrs);
        xattrs.map(|(name, value)| name.len() + value.len() + 48).sum()
    }

    fn times(&self) -> Timestamps {
        let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let last_modification = Timespec { tv_sec: self.modified.seconds, tv_nsec: self.modified.nanoseconds.into() };
        Timestamps { last_access, last_modification }
    }

    /// Puts everything on an open file or folder. What fails is told to `failed` with a verb; the rest goes on.
    pub(super) fn put_on(
        &self,
        fd: BorrowedFd<'_>,
        inherits_acl: bool,
        failed: &mut dyn FnMut(&'static str, io::Error),
    ) {
        let mut mode = self.mode;
        if let Some(owner) = self.owner
            && let Err(e) = ids(owner).and_then(|(uid, gid)| fchown(fd, uid, gid))
        {
            failed("set the owner of", e.into());
            mode &= !(SET_UID | SET_GID);
        }
        if inherits_acl {
            for name in [ACL_ACCESS, ACL_DEFAULT] {
                // Most have none.
                let _absent = fremovexattr(fd, name);
            }
        }
        for (name, value) in &self.xattrs {
            fsetxattr(fd, name.as_slice(), value, XattrFlags::empty())
                .unwrap_or_else(|e| failed("set an extended attribute of", e.into()));
        }
        fchmod(fd, Mode::from_raw_mode(mode.into())).unwrap_or_else(|e| failed("set the mode of", e.into()));
        futimens(fd, &self.times()).unwrap_or_else(|e| failed("set the time of", e.into()));
    }

    /// Puts everything on what an `O_PATH` descriptor stands for: a pipe, a socket, a device, a folder without rights.
    pub(super) fn put_on_path(&self, fd: &OwnedFd, failed: &mut dyn FnMut(&'static str, io::Error)) {
        let (path, mut mode) = (format!("/proc/self/fd/{}", fd.as_raw_fd()), self.mode);
        if let Some(owner) = self.owner
            && let Err(e) = ids(owner).and_then(|(uid, gid)| chownat(fd, "", uid, gid, AtFlags::EMPTY_PATH))
        {
            failed("set the owner of", e.into());
            mode &= !(SET_UID | SET_GID);
        }
        for (name, value) in &self.xattrs {
            setxattr(&path, name.as_slice(), value, XattrFlags::empty())
                .unwrap_or_else(|e| failed("set an extended attribute of", e.into()));
        }
        let mode = Mode::from_raw_mode(mode.into());
        chmodat(CWD, &path, mode, AtFlags::empty()).unwrap_or_else(|e| failed("set the mode of", e.into()));
        utimensat(CWD, &path, &self.times(), AtFlags::empty()).unwrap_or_else(|e| failed("set the time of", e.into()));
    }

    /// Puts everything that a link has on one.
    pub(super) fn put_on_link(&self, folder: &OwnedFd, name: &[u8], failed: &mut dyn FnMut(&'static str, io::Error)) {
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        if let Some(owner) = self.owner {
            ids(owner)
                .and_then(|(uid, gid)| chownat(folder, name, uid, gid, nofollow))
                .unwrap_or_else(|e| failed("set the owner of", e.into()));
        }
        let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        for (name, value) in &self.xattrs {
            lsetxattr(path.as_slice(), name.as_slice(), value, XattrFlags::empty())
                .unwrap_or_else(|e| failed("set an extended attribute of", e.into()));
        }
        utimensat(folder, name, &self.times(), nofollow).unwrap_or_else(|e| failed("set the time of", e.into()));
    }

    /// Whether an existing file looks different.
    pub(super) fn differs(&self, fd: BorrowedFd<'_>, stat: &Stat) -> bool {
        let owner = self.owner.is_some_and(|owner| owner != (stat.st_uid, stat.st_gid));
        owner
            || stat.st_mode & 0o7777 != u32::from(self.mode)
            || self.modified != modified(stat)
            || self.attributes_differ(fd)
    }

    fn attributes_differ(&self, fd: BorrowedFd<'_>) -> bool {
        let there = attribute_names(fd);
        let wanted = |name: &[u8]| self.xattrs.iter().any(|(wanted, _)| wanted == name);
        there.iter().any(|name| is_removable(name) && !wanted(name))
            || self.xattrs.iter().any(|(name, value)| attribute(fd, name).as_ref() != Some(value))
    }

    /// Takes off what the snapshot does not have.
    pub(super) fn take_off(&self, fd: BorrowedFd<'_>) {
        for name in attribute_names(fd) {
            if is_removable(&name) && !self.xattrs.iter().any(|(wanted, _)| *wanted == name) {
                // It may be gone; if it cannot be removed, it was not ours to remove.
                let _absent = fremovexattr(fd, name.as_slice());
            }
        }
    }
}

/// Attributes of a user. Labels and capabilities are the system's.
fn is_removable(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name == ACL_ACCESS || name == ACL_DEFAULT
}

fn attribute_names(fd: BorrowedFd<'_>) -> Vec<Vec<u8>> {
    // Nearly all files have none or short ones.
    let mut buffer = vec![0; 1024];
    let length = flistxattr(fd, buffer.as_mut_slice()).or_else(|_| {
        buffer.resize(XATTR_MOST_BYTES, 0);
        flistxattr(fd, buffer.as_mut_slice())
    });
    buffer.truncate(length.unwrap_or(0));
    buffer.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
}

fn attribute(fd: BorrowedFd<'_>, name: &[u8]) -> Option<Vec<u8>> {
    let mut buffer = vec![0; XATTR_MOST_BYTES];
    let length = fgetxattr(fd, name, buffer.as_mut_slice()).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

/// Whether new entries of a folder are given an ACL.
pub(super) fn hands_down_acl(parent: &OwnedFd, name: &[u8]) -> bool {
    let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    // It is longer than this, if there is one. An empty buffer would be given nothing, not even the length.
    let mut first = [0; 1];
    matches!(lgetxattr(path.as_slice(), ACL_DEFAULT, first.as_mut_slice()), Ok(1..) | Err(Errno::RANGE))
}

/// Takes off a folder what it was given when it was made.
pub(super) fn take_acl_off(fd: &OwnedFd) {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    for name in [ACL_ACCESS, ACL_DEFAULT] {
        // Most have none.
        let _absent = removexattr(&path, name);
    }
}

pub(super) fn modified(stat: &Stat) -> Time {
    Time { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 }
}

impl Withheld {
    pub(super) fn add(&mut self, path: &std::path::Path, kinds: Vec<WithheldKind>) {
        for kind in kinds {
            self.count += 1;
            if self.named.len() < super::WITHHELD_NAMED_MOST {
                self.named.push((path.to_owned(), kind));
            }
        }
    }
}
