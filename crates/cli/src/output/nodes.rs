//! Entries of snapshots, for eyes and for JSON, in restic's shapes.
//!
//! Invariant: every name is neutralised in lines and lossy with its exact bytes beside it in JSON.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use jiff::tz::TimeZone;
use treering_snapshot::stream::Extent;
use treering_snapshot::{Node, NodeKind};

use super::messages::{FindMatch, NodeMessage};
use super::objects;
use crate::{escape, size, time};

/// How a line shows an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    /// Mode, owner, size and time as well.
    pub(crate) long: bool,
    /// Sizes with units.
    pub(crate) human_readable: bool,
    /// In which times are shown.
    pub(crate) zone: &'a TimeZone,
}

/// One line, with its line end.
pub(crate) fn line(path: &Path, node: &Node, look: Look<'_>) -> String {
    let path = escape::path(path);
    if !look.long {
        return format!("{path}\n");
    }
    let size = match look.human_readable {
        true => size::show(node.size()),
        false => node.size().to_string(),
    };
    let time = time::show(objects::timestamp(node.modified), look.zone);
    let target = match &node.kind {
        NodeKind::Symlink { target } => format!(" -> {}", escape::terminal(target)),
        _ => String::new(),
    };
    format!("{} {:>5} {:>5} {size:>12} {time} {path}{target}\n", permissions(node), node.uid, node.gid)
}

/// A line of `ls --json`.
pub(crate) fn message(path: &Path, node: &Node, zone: &TimeZone) -> NodeMessage {
    let path = path.as_os_str().as_bytes();
    let target = match &node.kind {
        NodeKind::Symlink { target } => Some(target.as_slice()),
        _ => None,
    };
    NodeMessage {
        name: escape::lossy(path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()),
        node_type: node.kind.as_str(),
        path: escape::lossy(path),
        path_raw: escape::raw(path),
        uid: node.uid,
        gid: node.gid,
        size: file_size(node),
        mode: go_mode(node),
        permissions: permissions(node),
        mtime: objects::rfc3339(node.modified, zone),
        linktarget: target.map(escape::lossy),
        linktarget_raw: target.and_then(escape::raw),
        sparse: is_sparse(node),
    }
}

/// An entry of `find --json`.
pub(crate) fn found(path: &Path, node: &Node, zone: &TimeZone) -> FindMatch {
    let path = path.as_os_str().as_bytes();
    FindMatch {
        path: escape::lossy(path),
        path_raw: escape::raw(path),
        permissions: permissions(node),
        node_type: node.kind.as_str(),
        mode: go_mode(node),
        mtime: objects::rfc3339(node.modified, zone),
        uid: node.uid,
        gid: node.gid,
        size: file_size(node),
    }
}

/// `-rwxr-xr-x`, with `s`, `S`, `t` and `T` as ls(1) has them.
pub(crate) fn permissions(node: &Node) -> String {
    let mode = node.mode;
    let mut text = String::from(type_letter(&node.kind));
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn type_letter(kind: &NodeKind) -> char {
    match kind {
        NodeKind::Folder { .. } => 'd',
        NodeKind::File { .. } => '-',
        NodeKind::Symlink { .. } => 'l',
        NodeKind::Fifo => 'p',
        NodeKind::Socket => 's',
        NodeKind::CharDevice { .. } => 'c',
        NodeKind::BlockDevice { .. } => 'b',
    }
}

/// The numbers of Go's `os.FileMode`, which restic prints.
fn go_mode(node: &Node) -> u32 {
    const DEVICE: u32 = 1 << 26;
    let kind = match &node.kind {
        NodeKind::Folder { .. } => 1 << 31,
        NodeKind::File { .. } => 0,
        NodeKind::Symlink { .. } => 1 << 27,
        NodeKind::Fifo => 1 << 25,
        NodeKind::Socket => 1 << 24,
        NodeKind::CharDevice { .. } => DEVICE | 1 << 21,
        NodeKind::BlockDevice { .. } => DEVICE,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special.into_iter().filter(|(bit, _)| node.mode & bit != 0).map(|(_, go)| go).sum::<u32>();
    kind | special | u32::from(node.mode & 0o777)
}

fn file_size(node: &Node) -> Option<u64> {
    matches!(node.kind, NodeKind::File { .. }).then(|| node.size())
}

/// As far as it shows without reading lists of extents.
fn is_sparse(node: &Node) -> bool {
    match &node.kind {
        NodeKind::File { content, .. } => content.extents.iter().any(|extent| matches!(extent, Extent::Hole { .. })),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use treering_snapshot::{Stream, Time};

    use super::*;

    fn node(kind: NodeKind, mode: u16) -> Node {
        let modified = Time { seconds: 0, nanoseconds: 0 };
        Node { name: b"n".to_vec(), kind, mode, uid: 1, gid: 2, modified, xattrs: vec![], extensions: vec![] }
    }

    #[test]
    fn permissions_as_ls_shows_them_and_modes_as_go_numbers_them() {
        let file = |mode| node(NodeKind::File { content: Stream::default(), links: 0 }, mode);
        assert_eq!((permissions(&file(0o4755)).as_str(), go_mode(&file(0o4755))), ("-rwsr-xr-x", 0o755 | 1 << 23));
        assert_eq!(permissions(&file(0o2640)), "-rw-r-S---");
        let folder = node(NodeKind::Folder { tree: Stream::default() }, 0o1777);
        assert_eq!((permissions(&folder).as_str(), go_mode(&folder)), ("drwxrwxrwt", 2_148_532_735));
        assert_eq!(permissions(&node(NodeKind::CharDevice { device: 1 }, 0)), "c---------");
    }

    #[test]
    fn lines_are_neutralised() {
        let look = Look { long: true, human_readable: false, zone: &TimeZone::UTC };
        let link = node(NodeKind::Symlink { target: b"\x1b[2J".to_vec() }, 0o777);
        let line = line(Path::new("/a\n"), &link, look);
        assert_eq!(line, "lrwxrwxrwx     1     2            0 1970-01-01 00:00:00 /a\\n -> \\x1b[2J\n");
    }
}
