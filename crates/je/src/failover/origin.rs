//! Where the files of a standby come from: a home, while it is written or not, or a snapshot of it.
//!
//! Owns what tells one state of a file from every other: for a home what its captures go by, for a snapshot the names of
//! its chunks.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use treering_snapshot::capture::open_plain;
use treering_snapshot::stream::{Extent, Stream};
use treering_snapshot::{Node, NodeKind};

use super::FailoverError;
use super::record::hex;
use crate::capture::{Held, Pinned, PinnedFile, Stamp};
use crate::log::Listing;
use crate::moment::Contents;

/// JE's own settings of an environment, which belong to it.
pub(super) const SETTINGS: &str = "je.properties";
/// They are held in memory.
const SETTINGS_MOST_BYTES: u64 = 1 << 20;
/// Neither set-id bits nor the sticky one.
const PERMISSIONS: u32 = 0o777;
const READ_BYTES: usize = 256 << 10;

/// Where files come from.
pub(super) trait Origin {
    /// The environment, as people call it.
    fn path(&self) -> &Path;

    /// Its files.
    fn listing(&self) -> &Listing;

    /// How its folder looks.
    fn looks(&self) -> Result<Looks, FailoverError>;

    /// What tells this state of a file from every other.
    fn fingerprint(&self, number: u32) -> Result<String, FailoverError>;

    /// Writes a file, and says how it looks. What `to` itself fails with, it remembers.
    fn copy(&mut self, number: u32, to: &mut dyn Write) -> Result<Looks, FailoverError>;

    /// JE's settings, if there are any.
    fn settings(&mut self) -> Result<Option<(Vec<u8>, Looks)>, FailoverError>;
}

/// Owner and permissions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looks {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Looks {
    fn of(metadata: &Metadata) -> Self {
        Self { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & PERMISSIONS }
    }

    fn of_node(node: &Node) -> Self {
        Self { uid: node.uid, gid: node.gid, mode: u32::from(node.mode) & PERMISSIONS }
    }

    /// Gives a file or folder these looks; the owner where that is allowed.
    pub(super) fn put_on(self, file: &File) -> io::Result<()> {
        let now = file.metadata()?;
        if (now.uid(), now.gid()) != (self.uid, self.gid) {
            match fchown(file, Some(self.uid), Some(self.gid)) {
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
                _ => {}
            }
        }
        file.set_permissions(Permissions::from_mode(self.mode))
    }
}

/// A home whose files are fixed.
pub(super) struct Home {
    path: PathBuf,
    pinned: Pinned,
}

impl Home {
    pub(super) fn fix(home: &Path, lock_wait: Duration) -> Result<Self, FailoverError> {
        if !home.is_dir() {
            return Err(FailoverError::NoEnvironment { home: home.to_owned() });
        }
        let held = Held::reader(&home.join("je.lck"), lock_wait).ok();
        let pinned = Pinned::take(home, held.is_some())?;
        match pinned.needs_lock() {
            // Rare: more files than descriptors. They are read by name, which only the lock makes safe.
            true => {
                let limit = io::Error::other("raise the limit of open files");
                Err(FailoverError::io("hold all files open of", home)(limit))
            }
            false => Ok(Self { path: home.to_owned(), pinned }),
        }
    }

    fn file(&self, number: u32) -> Result<&PinnedFile, FailoverError> {
        let missing = || FailoverError::io("open a file of", &self.path)(io::ErrorKind::NotFound.into());
        self.pinned.files.get(&number).ok_or_else(missing)
    }
}

impl Origin for Home {
    fn path(&self) -> &Path {
        &self.path
    }

    fn listing(&self) -> &Listing {
        &self.pinned.listing
    }

    fn looks(&self) -> Result<Looks, FailoverError> {
        let metadata = fs::metadata(&self.path).map_err(FailoverError::io("look at", &self.path))?;
        Ok(Looks::of(&metadata))
    }

    fn fingerprint(&self, number: u32) -> Result<String, FailoverError> {
        let file = self.file(number)?;
        let fingerprint = file.fingerprint().map_err(FailoverError::io("read", &self.path.join(&file.path)))?;
        Ok(hex(&fingerprint))
    }

    fn copy(&mut self, number: u32, to: &mut dyn Write) -> Result<Looks, FailoverError> {
        let file = self.file(number)?;
        let path = self.path.join(&file.path);
        let may_grow = self.pinned.last().is_some_and(|last| last.number == number);
        let mut read = || -> io::Result<Looks> {
            io::copy(&mut BufReader::with_capacity(READ_BYTES, file.reader()?), to)?;
            let now = file.open()?.metadata()?;
            match may_grow || file.stamp.is_same_content(&Stamp::of(&now)) {
                true => Ok(Looks::of(&now)),
                false => Err(io::Error::other("it was changed while it was read, which JE does in a rollback")),
            }
        };
        read().map_err(FailoverError::io("copy", &path))
    }

    fn settings(&mut self) -> Result<Option<(Vec<u8>, Looks)>, FailoverError> {
        let path = self.path.join(SETTINGS);
        let read = || -> io::Result<_> {
            let file = open_plain(&path)?;
            let (mut bytes, metadata) = (Vec::new(), file.metadata()?);
            is_short(metadata.len())?;
            file.take(SETTINGS_MOST_BYTES).read_to_end(&mut bytes)?;
            Ok((bytes, Looks::of(&metadata)))
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(FailoverError::io("read", &path)),
        }
    }
}

fn is_short(bytes: u64) -> io::Result<()> {
    match bytes <= SETTINGS_MOST_BYTES {
        true => Ok(()),
        false => Err(io::Error::other(format!("it is longer than {SETTINGS_MOST_BYTES} bytes"))),
    }
}

/// An environment in a snapshot.
#[derive(Debug, Clone)]
pub struct InSnapshot {
    /// Its path there.
    pub path: PathBuf,
    /// Its folder.
    pub folder: Node,
    /// Its files by their names.
    pub listing: Listing,
    /// The nodes of those that are in the listing.
    pub files: BTreeMap<u32, Node>,
    /// `je.properties`, if it has that.
    pub settings: Option<Node>,
}

/// The same, with the bytes at hand.
pub(super) struct Stored<'a> {
    pub(super) snapshot: &'a InSnapshot,
    pub(super) contents: &'a mut dyn Contents,
}

impl Stored<'_> {
    fn node(&self, number: u32) -> Result<&Node, FailoverError> {
        let missing = || FailoverError::io("find a file of", &self.snapshot.path)(io::ErrorKind::NotFound.into());
        self.snapshot.files.get(&number).ok_or_else(missing)
    }
}

impl Origin for Stored<'_> {
    fn path(&self) -> &Path {
        &self.snapshot.path
    }

    fn listing(&self) -> &Listing {
        &self.snapshot.listing
    }

    fn looks(&self) -> Result<Looks, FailoverError> {
        Ok(Looks::of_node(&self.snapshot.folder))
    }

    fn fingerprint(&self, number: u32) -> Result<String, FailoverError> {
        Ok(match &self.node(number)?.kind {
            NodeKind::File { content, .. } => fingerprint(content),
            // Reading it will fail.
            _ => String::new(),
        })
    }

    fn copy(&mut self, number: u32, to: &mut dyn Write) -> Result<Looks, FailoverError> {
        let node = self.node(number)?.clone();
        self.contents.read(&node, to)?;
        Ok(Looks::of_node(&node))
    }

    fn settings(&mut self) -> Result<Option<(Vec<u8>, Looks)>, FailoverError> {
        let Some(node) = &self.snapshot.settings else { return Ok(None) };
        is_short(node.size()).map_err(FailoverError::io("read", &self.snapshot.path.join(SETTINGS)))?;
        let mut bytes = Vec::new();
        self.contents.read(node, &mut bytes)?;
        Ok(Some((bytes, Looks::of_node(node))))
    }
}

/// Chunks are named by what is in them, so the list of them tells one content from every other.
fn fingerprint(content: &Stream) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(&[content.level]);
    for extent in &content.extents {
        match extent {
            Extent::Chunk { id, bytes } => hash.update(id).update(&bytes.to_le_bytes()),
            Extent::Hole { bytes } => hash.update(&[0; 32]).update(&bytes.to_le_bytes()),
        };
    }
    hash.finalize().to_hex().to_string()
}
