//! A folder as a POSIX tar archive (pax).
//!
//! Owns: what of a node goes into which header. Names, times and attributes that a plain header cannot hold exactly go
//! into a pax header before it, attributes as GNU tar and bsdtar read them (`SCHILY.xattr.`), ACLs in words as well
//! (`SCHILY.acl.`), which is what both take with `--acls`.
//! Invariant: a name with several hard links has its content once, at its first name. What an archive cannot hold is
//! named.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tar::{Builder, EntryType, Header};
use treering_snapshot::list::{Flow, walk_tree};
use treering_snapshot::record::{Owners, Snapshot};
use treering_snapshot::restore::write_file;
use treering_snapshot::{Node, NodeKind};
use treering_store::{ChunkReader, Repository};

use super::acl::Acl;
use super::explained;
use crate::exit::Failure;

/// Content is padded to blocks of this size.
const BLOCK_BYTES: u64 = 512;
/// The longest name or link target of a plain header.
const NAME_MOST_BYTES: usize = 100;

/// The attributes that hold ACLs, and what they are called in archives.
const ACLS: [(&[u8], &str); 2] =
    [(b"system.posix_acl_access", "SCHILY.acl.access"), (b"system.posix_acl_default", "SCHILY.acl.default")];

/// What all entries share.
pub(super) struct Archive<'a> {
    pub(super) repository: &'a Repository,
    pub(super) snapshot: &'a Snapshot,
    /// Names in the archive are relative to this folder.
    pub(super) base: &'a Path,
}

impl Archive<'_> {
    /// Writes a folder and everything in it; returns what was left out.
    pub(super) fn write(
        &self,
        reader: &mut ChunkReader<'_>,
        (path, node): (&Path, &Node),
        out: &mut dyn Write,
    ) -> Result<Vec<String>, Failure> {
        let mut contents = self.repository.reader()?;
        let mut writer = Writer::new(self, &mut contents, out);
        let mut outcome = if path == self.base { Ok(()) } else { writer.entry(path, node) };
        let walked = walk_tree(reader, (self.snapshot, node), path, |path, node| {
            outcome = writer.entry(path, node);
            if outcome.is_ok() { Flow::Enter } else { Flow::Stop }
        });
        outcome?;
        // An archive that lacks a folder without saying so would be worse than none.
        if let Some((_, error)) = walked?.damaged.into_iter().next() {
            return Err(error.into());
        }
        let Writer { mut builder, skipped, .. } = writer;
        builder.finish().map_err(|error| Failure::stdout(&error))?;
        Ok(skipped)
    }
}

/// The archive under way.
struct Writer<'a, 'r, 'o> {
    archive: &'a Archive<'a>,
    contents: &'a mut ChunkReader<'r>,
    builder: Builder<&'o mut dyn Write>,
    /// By the number of the hard links: the name that has the content.
    first_names: HashMap<u64, Vec<u8>>,
    skipped: Vec<String>,
}

impl<'a, 'r, 'o> Writer<'a, 'r, 'o> {
    fn new(archive: &'a Archive<'a>, contents: &'a mut ChunkReader<'r>, out: &'o mut dyn Write) -> Self {
        let (builder, first_names, skipped) = (Builder::new(out), HashMap::new(), Vec::new());
        Writer { archive, contents, builder, first_names, skipped }
    }

    fn entry(&mut self, path: &Path, node: &Node) -> Result<(), Failure> {
        let mut name = path.strip_prefix(self.archive.base).unwrap_or(path).as_os_str().as_bytes().to_vec();
        if node.tree().is_some() {
            name.push(b'/');
        }
        let link = match &node.kind {
            NodeKind::File { links, .. } if *links != 0 => self.first_names.get(links).cloned(),
            NodeKind::Symlink { target } => Some(target.clone()),
            _ => None,
        };
        let Some(kind) = entry_type(&node.kind, link.is_some()) else {
            self.skipped.push(format!("{}: an archive cannot hold a socket", path.display()));
            return Ok(());
        };
        if let NodeKind::File { links: links @ 1.., .. } = node.kind {
            self.first_names.entry(links).or_insert_with(|| name.clone());
        }
        self.skipped.extend(unnamed_attributes(path, node));
        let has_content = kind == EntryType::Regular;
        let written = self.headers(kind, &name, link.as_deref(), node);
        written.map_err(|error| Failure::stdout(&error))?;
        if has_content { self.content(node) } else { Ok(()) }
    }

    fn headers(&mut self, kind: EntryType, name: &[u8], link: Option<&[u8]>, node: &Node) -> io::Result<()> {
        let records = pax_records(name, link, node);
        if !records.is_empty() {
            let records = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
            self.builder.append_pax_extensions(records)?;
        }
        let mut header = header(kind, node, &self.archive.snapshot.owners);
        put(&mut header.as_old_mut().name, name);
        put(&mut header.as_old_mut().linkname, link.unwrap_or_default());
        header.set_cksum();
        self.builder.get_mut().write_all(header.as_bytes())
    }

    fn content(&mut self, node: &Node) -> Result<(), Failure> {
        let out = self.builder.get_mut();
        write_file(self.contents, node, out).map_err(explained)?;
        let padding = (BLOCK_BYTES - node.size() % BLOCK_BYTES) % BLOCK_BYTES;
        let zeros = [0; BLOCK_BYTES as usize];
        let padded = out.write_all(zeros.get(..padding as usize).unwrap_or_default());
        padded.map_err(|error| Failure::stdout(&error))
    }
}

/// `None` for what an archive cannot hold.
fn entry_type(kind: &NodeKind, has_link: bool) -> Option<EntryType> {
    Some(match kind {
        NodeKind::Folder { .. } => EntryType::Directory,
        NodeKind::File { .. } if has_link => EntryType::Link,
        NodeKind::File { .. } => EntryType::Regular,
        NodeKind::Symlink { .. } => EntryType::Symlink,
        NodeKind::Fifo => EntryType::Fifo,
        NodeKind::CharDevice { .. } => EntryType::Char,
        NodeKind::BlockDevice { .. } => EntryType::Block,
        NodeKind::Socket => return None,
    })
}

/// All but the names. Numbers too large for octal digits are stored as GNU tar does it.
fn header(kind: EntryType, node: &Node, owners: &Owners) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    // Where there is an ACL, its mask stands in the place of the group's rights: who does not read it must not give those to
    // the group.
    let acl = access_acl(node);
    header.set_mode(acl.map_or(u32::from(node.mode), |acl| acl.mode_without(u32::from(node.mode))));
    header.set_uid(u64::from(node.uid));
    header.set_gid(u64::from(node.gid));
    header.set_mtime(u64::try_from(node.modified.seconds).unwrap_or(0));
    header.set_size(if kind == EntryType::Regular { node.size() } else { 0 });
    let name = |names: &[(u32, String)], id| names.iter().find(|(known, _)| *known == id).map(|(_, name)| name.clone());
    // A name that is too long is left out; the number stands beside it.
    let _ = header.set_username(&name(&owners.users, node.uid).unwrap_or_default());
    let _ = header.set_groupname(&name(&owners.groups, node.gid).unwrap_or_default());
    if let NodeKind::CharDevice { device } | NodeKind::BlockDevice { device } = node.kind {
        // Only headers of the old format have no place for these.
        let _ = header.set_device_major(rustix::fs::major(device));
        let _ = header.set_device_minor(rustix::fs::minor(device));
    }
    header
}

/// What the plain header cannot say exactly.
fn pax_records(name: &[u8], link: Option<&[u8]>, node: &Node) -> Vec<(String, Vec<u8>)> {
    let mut records: Vec<(String, Vec<u8>)> = Vec::new();
    let names = [("path", Some(name)), ("linkpath", link)];
    for (key, value) in names.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        // A short name of other bytes than UTF-8 stands in the plain header, where every tar takes it as it is.
        let is_foreign = !value.is_ascii() && std::str::from_utf8(value).is_ok();
        if value.len() > NAME_MOST_BYTES || is_foreign {
            records.push((key.to_owned(), value.to_vec()));
        }
    }
    if records.iter().any(|(_, value)| std::str::from_utf8(value).is_err()) {
        records.insert(0, ("hdrcharset".to_owned(), b"BINARY".to_vec()));
    }
    if node.modified.nanoseconds != 0 || node.modified.seconds < 0 {
        records.push(("mtime".to_owned(), decimal(node.modified).into_bytes()));
    }
    for (name, value) in &node.xattrs {
        let key = ACLS.iter().find(|(attribute, _)| *attribute == name.as_slice()).map(|(_, key)| *key);
        if let (Some(key), Some(acl)) = (key, Acl::decode(value)) {
            records.push((key.to_owned(), acl.to_string().into_bytes()));
        }
        if let Ok(name) = std::str::from_utf8(name) {
            // A key ends at its first `=`; this is how GNU tar writes one that is part of it.
            let name = name.replace('%', "%25").replace('=', "%3D");
            records.push((format!("SCHILY.xattr.{name}"), value.clone()));
        }
    }
    records
}

fn access_acl(node: &Node) -> Option<Acl> {
    let [(name, _), _] = ACLS;
    node.xattrs.iter().find(|(attribute, _)| attribute.as_slice() == name).and_then(|(_, value)| Acl::decode(value))
}

/// Attributes whose names are not UTF-8, as keys of pax headers must be.
fn unnamed_attributes(path: &Path, node: &Node) -> Vec<String> {
    let names = node.xattrs.iter().map(|(name, _)| name).filter(|name| std::str::from_utf8(name).is_err());
    let said = |name: &Vec<u8>| {
        format!("{}: an archive cannot hold its attribute {}", path.display(), String::from_utf8_lossy(name))
    };
    names.map(said).collect()
}

/// Seconds since 1970 with their fraction; stored moments count the fraction upwards, also before 1970.
fn decimal(moment: treering_snapshot::Time) -> String {
    match (moment.seconds, moment.nanoseconds) {
        (seconds, 0) => seconds.to_string(),
        (seconds @ 0.., nanoseconds) => format!("{seconds}.{nanoseconds:09}"),
        (seconds, nanoseconds) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
    }
}

/// As much as fits; what does not fit is in the pax header.
fn put(field: &mut [u8], value: &[u8]) {
    for (to, from) in field.iter_mut().zip(value) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use treering_snapshot::Time;

    use super::*;

    fn fifo(mode: u16, xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Node {
        let (kind, modified) = (NodeKind::Fifo, Time { seconds: 0, nanoseconds: 0 });
        Node { name: b"n".to_vec(), kind, mode, uid: 0, gid: 0, modified, xattrs, extensions: vec![] }
    }

    #[test]
    fn an_acl_is_there_in_words_and_its_mask_is_no_right_of_the_group() {
        let entries = [(1, 7, u32::MAX), (2, 7, 1234), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 4, u32::MAX)];
        let mut value = 2_u32.to_le_bytes().to_vec();
        for (tag, rights, id) in entries {
            value.extend([u16::to_le_bytes(tag), u16::to_le_bytes(rights)].concat());
            value.extend(u32::to_le_bytes(id));
        }
        let node = fifo(0o2774, vec![(ACLS[0].0.to_vec(), value.clone()), (ACLS[1].0.to_vec(), value.clone())]);
        let words = b"user::rwx,user:1234:rwx,group::r-x,mask::rwx,other::r--".to_vec();
        let expected = [
            ("SCHILY.acl.access".to_owned(), words.clone()),
            ("SCHILY.xattr.system.posix_acl_access".to_owned(), value.clone()),
            ("SCHILY.acl.default".to_owned(), words),
            ("SCHILY.xattr.system.posix_acl_default".to_owned(), value),
        ];
        assert_eq!(pax_records(b"n", None, &node), expected);
        assert_eq!(header(EntryType::Fifo, &node, &Owners::default()).mode().unwrap(), 0o2754);
    }

    #[test]
    fn attributes_of_any_name_are_held_or_named() {
        let xattrs = [b"user.a=b%".to_vec(), b"user.\xff".to_vec()].map(|name| (name, b"value".to_vec())).to_vec();
        let node = fifo(0, xattrs);
        let records = pax_records(b"n", None, &node);
        assert_eq!(records, [("SCHILY.xattr.user.a%3Db%25".to_owned(), b"value".to_vec())]);
        let said = unnamed_attributes(Path::new("/n"), &node);
        assert_eq!(said, ["/n: an archive cannot hold its attribute user.\u{fffd}"]);
    }

    #[test]
    fn fractions_before_1970_are_counted_downwards() {
        let decimal = |seconds, nanoseconds| decimal(Time { seconds, nanoseconds });
        assert_eq!(decimal(5, 0), "5");
        assert_eq!(decimal(5, 250_000_000), "5.250000000");
        assert_eq!(decimal(-1, 250_000_000), "-0.750000000");
        assert_eq!(decimal(-2, 0), "-2");
    }
}
