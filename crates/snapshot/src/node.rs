//! A node: one entry of a folder, with what restoring it needs.
//!
//! Invariant: a decoded node has a possible name, and everything in it is within the limits below. What only change
//! detection needs (inode, ctime) is not here, so that an unchanged tree stays the same tree.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use treering_store::{Extensions, codec};

use crate::error::{Result, SnapshotError};
use crate::stream::Stream;

/// The longest name, as file systems have it.
pub const NAME_MOST_BYTES: usize = 255;
/// The longest target of a symbolic link.
pub const TARGET_MOST_BYTES: usize = 4095;
/// The most that all extended attributes of one entry may take.
pub const XATTRS_MOST_BYTES: usize = 1 << 20;
/// The longest encoded node.
pub const NODE_MOST_BYTES: usize = 2 << 20;

/// A moment, to the nanosecond, also before 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Time {
    /// Seconds since 1970, rounded down.
    pub seconds: i64,
    /// Nanoseconds after that, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Time {
    /// The same moment for a calendar; one that no calendar has becomes the nearest that it has.
    pub fn timestamp(self) -> Timestamp {
        let nearest = if self.seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
        let nanoseconds = i32::try_from(self.nanoseconds).unwrap_or(i32::MAX);
        Timestamp::new(self.seconds, nanoseconds).unwrap_or(nearest)
    }
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// One component: not empty, not `.` or `..`, without `/` and NUL.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: NodeKind,
    /// Permissions with set-uid, set-gid and sticky bit: the low twelve bits of `st_mode`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// When its content was changed last.
    pub modified: Time,
    /// Extended attributes, POSIX ACLs among them, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// What later versions add, sorted by tag.
    pub extensions: Extensions,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeKind {
    /// A folder.
    Folder {
        /// Its nodes.
        tree: Stream,
    },
    /// A regular file.
    File {
        /// Its bytes.
        content: Stream,
        /// Files of one snapshot with the same number other than 0 are hard links of each other. 0: no other.
        links: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, verbatim.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice {
        /// Its `st_rdev`.
        device: u64,
    },
    /// A block device.
    BlockDevice {
        /// Its `st_rdev`.
        device: u64,
    },
}

impl NodeKind {
    /// The word that listings use, as restic has them.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "dir",
            Self::File { .. } => "file",
            Self::Symlink { .. } => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::CharDevice { .. } => "chardev",
            Self::BlockDevice { .. } => "dev",
        }
    }
}

/// Whether a name can be an entry of a folder and nothing else.
pub fn is_possible_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && name.len() <= NAME_MOST_BYTES && !name.iter().any(|b| matches!(b, 0 | b'/'))
}

impl Node {
    /// The bytes of a file; 0 for anything else.
    pub fn size(&self) -> u64 {
        match &self.kind {
            NodeKind::File { content, .. } => content.bytes(),
            _ => 0,
        }
    }

    /// The stream of a folder.
    pub fn tree(&self) -> Option<&Stream> {
        match &self.kind {
            NodeKind::Folder { tree } => Some(tree),
            _ => None,
        }
    }

    /// The stream of a file.
    pub(crate) fn into_content(self) -> Option<Stream> {
        match self.kind {
            NodeKind::File { content, .. } => Some(content),
            _ => None,
        }
    }

    /// Appends its encoding.
    pub(crate) fn encode_into(&self, buffer: &mut Vec<u8>) -> Result<()> {
        self.check()?;
        Ok(codec::encode_into(self, buffer, NODE_MOST_BYTES)?)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let damaged = |detail: &str| {
            let name = String::from_utf8_lossy(&self.name).escape_debug().to_string();
            Err(SnapshotError::damaged(format!("the entry \"{name}\""), detail))
        };
        if !is_possible_name(&self.name) {
            return damaged("its name is impossible");
        }
        if self.mode > 0o7777 || self.modified.nanoseconds >= 1_000_000_000 {
            return damaged("its mode or time is impossible");
        }
        if self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > XATTRS_MOST_BYTES {
            return damaged("its extended attributes are too long");
        }
        if !self.xattrs.is_sorted_by(|a, b| a.0 < b.0) || !self.extensions.is_sorted_by(|a, b| a.0 < b.0) {
            return damaged("its attributes are not in order");
        }
        if self.xattrs.iter().any(|(name, _)| name.is_empty() || name.contains(&0)) {
            return damaged("an extended attribute has an impossible name");
        }
        match &self.kind {
            NodeKind::Symlink { target }
                if target.len() > TARGET_MOST_BYTES || target.contains(&0) || target.is_empty() =>
            {
                damaged("its target is impossible")
            }
            NodeKind::Folder { tree } => tree.check(),
            NodeKind::File { content, .. } => content.check(),
            _ => Ok(()),
        }
    }
}
