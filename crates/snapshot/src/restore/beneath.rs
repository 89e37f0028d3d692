//! The target as a tree of descriptors: every path below it is walked without following a link.
//!
//! Owns the target's descriptor, the table of folders being restored, and the only functions that turn a name into
//! something open. Never hands an absolute path or a path with more than one component to a call that follows links.
//!
//! Invariant: a descriptor that comes from here was reached from the target through real folders only, whoever changes
//! the target meanwhile; what is made through it lies beneath the target.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, openat, openat2, statat};
use rustix::io::Errno;
use treering_store::Entropy;

use super::meta::Meta;
use super::own::Own;
use crate::error::{Result, SnapshotError};

/// How the name of an unfinished file begins and ends; between them are 24 hexadecimal digits.
const TEMPORARY: (&str, &str) = (".treering-", ".tmp");
/// Folder descriptors that one worker keeps.
const OPEN_FOLDERS_MOST: usize = 48;
/// Paths longer than this are walked in pieces: the kernel refuses 4096 bytes.
const PIECE_MOST_BYTES: usize = 3800;

pub(super) const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder in the table. Number 0 is the target itself.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) parent: u32,
    pub(super) name: Box<[u8]>,
    /// Nothing was in it when the restore came to it.
    pub(super) is_fresh: bool,
    /// Something that is no folder stands in its place and is to be unlinked first.
    pub(super) replaces: bool,
    /// Whoever makes something in it must take off the ACL that the new entry is given.
    pub(super) hands_down_acl: bool,
    /// Its owner cannot write into it as it is.
    pub(super) is_locked: bool,
    /// It is on a file system that is mounted beneath a root of the restore. Only looked at where things are deleted.
    pub(super) is_elsewhere: bool,
    /// What it is to look like in the end; `None` leaves it as it is.
    pub(super) meta: Option<Meta>,
}

/// All folders being restored, parents before their children.
#[derive(Debug)]
pub(super) struct Folders {
    table: RwLock<Vec<Arc<Folder>>>,
    /// The path in the snapshot of what goes into the target itself.
    base: PathBuf,
    target: PathBuf,
}

impl Folders {
    pub(super) fn new(target: &Path, base: PathBuf, root: Folder) -> Self {
        Self { table: RwLock::new(vec![Arc::new(root)]), base, target: target.to_owned() }
    }

    pub(super) fn get(&self, id: u32) -> Option<Arc<Folder>> {
        self.table.read().get(id as usize).map(Arc::clone)
    }

    pub(super) fn add(&self, folder: Folder) -> u32 {
        let mut table = self.table.write();
        table.push(Arc::new(folder));
        (table.len() - 1) as u32
    }

    /// Replaces what is known of the target itself.
    pub(super) fn set_root(&self, folder: Folder) {
        if let Some(slot) = self.table.write().first_mut() {
            *slot = Arc::new(folder);
        }
    }

    fn join(&self, base: &Path, id: u32, name: &[u8]) -> PathBuf {
        let (table, mut names, mut at) = (self.table.read(), Vec::new(), id);
        while let Some(folder) = table.get(at as usize).filter(|_| at != 0) {
            names.push(&folder.name);
            at = folder.parent;
        }
        let mut path = base.to_owned();
        path.extend(names.iter().rev().map(|name| OsStr::from_bytes(name)));
        if !name.is_empty() {
            path.push(OsStr::from_bytes(name));
        }
        path
    }

    /// An entry's path in the snapshot, for people.
    pub(super) fn shown(&self, id: u32, name: &[u8]) -> PathBuf {
        self.join(&self.base, id, name)
    }

    /// An entry's path in the target, for people.
    pub(super) fn placed(&self, id: u32, name: &[u8]) -> PathBuf {
        self.join(&self.target, id, name)
    }
}

/// The target.
#[derive(Debug)]
pub(super) struct Beneath {
    root: Option<Arc<OwnedFd>>,
    has_openat2: AtomicBool,
    stem: String,
    counter: AtomicU64,
}

impl Beneath {
    /// Opens the target, which the user named and which may be a link; makes it unless this is a dry run. Says also
    /// whether nothing is in it. One that belongs to the repository is refused before it is made.
    pub(super) fn open(target: &Path, dry_run: bool, own: &Own, entropy: &dyn Entropy) -> Result<(Self, bool)> {
        own.refuse(target)?;
        let mut random = [0; 8];
        entropy.fill(&mut random)?;
        let stem = format!("{}{:016x}", TEMPORARY.0, u64::from_le_bytes(random));
        let root = match open_target(target) {
            Err(Errno::NOENT) if dry_run => None,
            Err(Errno::NOENT) if target.is_symlink() => {
                let found = "symbolic link that leads nowhere";
                return Err(SnapshotError::Blocked { path: target.to_owned(), found });
            }
            Err(Errno::NOENT) => {
                std::fs::create_dir_all(target).map_err(SnapshotError::io("make", target))?;
                Some(open_target(target).map_err(io::Error::from).map_err(SnapshotError::io("open", target))?)
            }
            opened => Some(opened.map_err(io::Error::from).map_err(SnapshotError::io("open", target))?),
        };
        if let Some(root) = &root {
            let copy = root.try_clone().map_err(SnapshotError::io("open", target))?;
            own.refuse_in(copy, target)?;
        }
        let root = root.map(Arc::new);
        let is_empty = match &root {
            Some(root) => list(root).map_err(SnapshotError::io("list", target))?.is_empty(),
            None => true,
        };
        let (has_openat2, counter) = (AtomicBool::new(true), AtomicU64::new(0));
        Ok((Self { root, has_openat2, stem, counter }, is_empty))
    }

    pub(super) fn root(&self) -> io::Result<Arc<OwnedFd>> {
        self.root.as_ref().map(Arc::clone).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A name that nobody else uses.
    pub(super) fn temporary_name(&self) -> String {
        format!("{}{:08x}{}", self.stem, self.counter.fetch_add(1, Ordering::Relaxed), TEMPORARY.1)
    }

    /// Whether a name is one that another restore has given to an unfinished file.
    pub(super) fn is_temporary_of_another(&self, name: &[u8]) -> bool {
        let digits =
            name.strip_prefix(TEMPORARY.0.as_bytes()).and_then(|rest| rest.strip_suffix(TEMPORARY.1.as_bytes()));
        digits.is_some_and(|digits| digits.len() == 24 && digits.iter().all(u8::is_ascii_hexdigit))
            && !name.starts_with(self.stem.as_bytes())
    }

    /// Opens a folder below another one, through folders only.
    pub(super) fn open_below(&self, base: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
        if self.has_openat2.load(Ordering::Relaxed) {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            match openat2(base, path, FOLDER, Mode::empty(), resolve) {
                // Older kernels, and sandboxes that know no such call.
                Err(Errno::NOSYS | Errno::PERM) => self.has_openat2.store(false, Ordering::Relaxed),
                // What a link in the way is called here and below.
                Err(Errno::LOOP) => return Err(Errno::NOTDIR),
                opened => return opened,
            }
        }
        open_by_steps(base, path)
    }
}

fn open_target(target: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, target, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn open_by_steps(base: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut at: Option<OwnedFd> = None;
    for name in path.split(|byte| *byte == b'/') {
        at = Some(openat(at.as_ref().unwrap_or(base), name, FOLDER, Mode::empty())?);
    }
    at.ok_or(Errno::NOENT)
}

/// The names in a folder.
pub(super) fn list(folder: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let readable = openat(folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::new(readable)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// What an entry is; never what it points to.
pub(super) fn look(folder: &OwnedFd, name: &[u8]) -> io::Result<Option<Stat>> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

pub(super) fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The device and inode that prove that two descriptors are of one file.
pub(super) fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// One thread's open folders.
#[derive(Debug)]
pub(super) struct Dirs<'a> {
    beneath: &'a Beneath,
    folders: &'a Folders,
    open: VecDeque<(u32, Arc<OwnedFd>)>,
}

impl<'a> Dirs<'a> {
    pub(super) fn new(beneath: &'a Beneath, folders: &'a Folders) -> Self {
        Self { beneath, folders, open: VecDeque::new() }
    }

    /// The descriptor of a folder, for names in it; it cannot be read or written itself.
    pub(super) fn open(&mut self, id: u32) -> Result<Arc<OwnedFd>> {
        self.find(id).map_err(|e| SnapshotError::io("open", self.folders.placed(id, b""))(e))
    }

    fn known(&self, id: u32) -> Option<Arc<OwnedFd>> {
        self.open.iter().rev().find(|(known, _)| *known == id).map(|(_, fd)| Arc::clone(fd))
    }

    fn find(&mut self, id: u32) -> io::Result<Arc<OwnedFd>> {
        if let Some(fd) = self.known(id) {
            return Ok(fd);
        }
        let (mut names, mut at) = (Vec::new(), id);
        let mut base = loop {
            if at == 0 {
                break self.beneath.root()?;
            }
            if let Some(fd) = self.known(at) {
                break fd;
            }
            let folder = self.folders.get(at).ok_or(io::ErrorKind::NotFound)?;
            let parent = folder.parent;
            names.push((at, folder));
            at = parent;
        };
        // What lies on the way is kept too: who comes back from the depth asks for each of the folders above.
        for (id, piece) in pieces(&names) {
            base = Arc::new(self.beneath.open_below(&base, &piece)?);
            self.keep(id, &base);
        }
        Ok(base)
    }

    fn keep(&mut self, id: u32, fd: &Arc<OwnedFd>) {
        if self.open.len() >= OPEN_FOLDERS_MOST {
            self.open.pop_front();
        }
        self.open.push_back((id, Arc::clone(fd)));
    }
}

/// Joins names, the innermost first, to paths that the kernel takes, each with the number of the folder it leads to.
fn pieces(names: &[(u32, Arc<Folder>)]) -> Vec<(u32, Vec<u8>)> {
    let mut pieces: Vec<(u32, Vec<u8>)> = Vec::new();
    for (id, folder) in names.iter().rev() {
        match pieces.last_mut() {
            Some((leads_to, piece)) if piece.len() + folder.name.len() < PIECE_MOST_BYTES => {
                piece.push(b'/');
                piece.extend_from_slice(&folder.name);
                *leads_to = *id;
            }
            _ => pieces.push((*id, folder.name.to_vec())),
        }
    }
    pieces
}
