//! Everything a file system allows, in one folder.
//!
//! Owns: names, kinds, modes, times, links, holes and attributes that backup tools get wrong.
//! Never: leaves something out silently: [`create`] says what this user or file system could not make.
//! Invariant: what is made is a function of the options, so a second tree of the same options has the same
//! fingerprint where the first has.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid};

use crate::error::{Context, Error, Result};
use crate::files;
use crate::random::Random;

/// Names may have this many bytes on every common file system.
const LONGEST_NAME_BYTES: usize = 255;
/// Levels of the deepest folder. Its path stays below the 4,096 bytes that one system call takes.
const DEPTH: u32 = 80;
const SPARSE_BYTES: u64 = 4 << 20;
/// Holes begin and end where every file system's blocks do.
const SPARSE_PART_BYTES: u64 = 1 << 20;

/// What a tree is made from.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Names the random streams.
    pub seed: u64,
    /// How many files the crowded folder has.
    pub crowd: u32,
    /// Fifos, sockets, device nodes, foreign owners, attributes, ACLs and hard links, too.
    pub special: bool,
}

impl Options {
    /// Everything, with 2,000 files in the crowded folder.
    pub fn everything(seed: u64) -> Self {
        Self { seed, crowd: 2000, special: true }
    }

    /// Only files, folders and symbolic links, few of them.
    pub fn plain(seed: u64) -> Self {
        Self { seed, crowd: 50, special: false }
    }
}

/// Makes the tree in a new folder and gives the sentences that say what could not be made here.
pub fn create(folder: &Path, options: &Options) -> Result<Vec<String>> {
    let mut tree = Tree { root: folder, random: Random::named(options.seed, "tricky"), left_out: Vec::new() };
    files::create_folder(folder)?;
    tree.names()?;
    tree.contents()?;
    tree.nesting()?;
    tree.crowd(options.crowd)?;
    tree.symbolic_links()?;
    tree.sparse_files()?;
    if options.special {
        tree.hard_links()?;
        tree.special_files()?;
        tree.attributes()?;
        tree.owners()?;
    }
    tree.modes()?;
    tree.times(folder)?;
    Ok(tree.left_out)
}

struct Tree<'a> {
    root: &'a Path,
    random: Random,
    left_out: Vec<String>,
}

impl Tree<'_> {
    fn names(&mut self) -> Result<()> {
        let names: [&[u8]; 16] = [
            b"latin-\xe9\xff",
            b"\xf0\x28\x8c\x28",
            b"line\nfeed",
            b"tab\tand\x1b[31mescape",
            b" leading",
            b"trailing ",
            b"trailing.",
            b"...",
            b"-rf",
            b"*?[a-z]",
            b"quote\"'`",
            b"back\\slash",
            b"\xe4\xb8\xad\xe6\x96\x87",
            b"a\xcc\x88-decomposed",
            b"\xc3\xa4-composed",
            b"\x7f\x01",
        ];
        for name in names {
            self.file(Path::new("names").join(OsString::from_vec(name.to_vec())), 40)?;
        }
        for letter in [b'n', 0xfe] {
            self.file(Path::new("names").join(OsString::from_vec(vec![letter; LONGEST_NAME_BYTES])), 40)?;
        }
        let case = ["Case", "case", "CASE"].map(|name| Path::new("names").join(name));
        case.into_iter().try_for_each(|path| self.file(path, 10))
    }

    /// Sizes around the borders that matter to block and chunk sizes, and the same bytes twice.
    fn contents(&mut self) -> Result<()> {
        for length in [0, 1, 4095, 4096, 4097, 65_535, 65_536, 1_000_003] {
            self.file(Path::new("contents").join(format!("{length}-bytes")), length)?;
        }
        let zeros = self.root.join("contents/zeros");
        files::write(&zeros, vec![0; 300_000], 0)?;
        let repeated = self.random.bytes(200_000);
        files::write(&self.root.join("contents/twice-1"), &repeated, 0)?;
        files::write(&self.root.join("contents/twice-2"), &repeated, 0)
    }

    fn nesting(&mut self) -> Result<()> {
        let mut path = PathBuf::from("deep");
        for level in 0..DEPTH {
            path.push(format!("level-{level:02}-{:016x}", self.random.next_u64()));
        }
        self.file(path.join("bottom"), 100)?;
        files::create_folder(&self.root.join("empty"))?;
        files::create_folder(&self.root.join("empty-inside/empty"))
    }

    fn crowd(&mut self, count: u32) -> Result<()> {
        for number in 0..count {
            let length = self.random.below(200) as usize;
            self.file(Path::new("crowd").join(format!("{number:06}")), length)?;
        }
        Ok(())
    }

    fn symbolic_links(&self) -> Result<()> {
        let links = [
            ("to-file", "../contents/1-bytes"),
            ("to-folder", "../empty"),
            ("dangling", "no/such/place"),
            ("absolute", "/etc/passwd"),
            ("to-itself", "to-itself"),
            ("upwards", "../../../../.."),
            ("odd", "a b\nc/./../d//e"),
        ];
        files::create_folder(&self.root.join("links"))?;
        for (name, target) in links {
            self.link(name, OsString::from(target))?;
        }
        self.link("not-text", OsString::from_vec(b"\xff\xfe".to_vec()))?;
        self.link("long", OsString::from("x/".repeat(1500)))
    }

    fn link(&self, name: &str, target: OsString) -> Result<()> {
        let path = self.root.join("links").join(name);
        std::os::unix::fs::symlink(target, &path).context("link", &path)
    }

    /// Parts of 1 MiB: `d` is data, `.` is a hole.
    fn sparse_files(&mut self) -> Result<()> {
        files::create_folder(&self.root.join("sparse"))?;
        for pattern in ["....", "...d", "d...", ".d..", "d..d", ".dd.", "dddd"] {
            let path = self.root.join("sparse").join(pattern.replace('.', "-"));
            let file = File::create(&path).context("create", &path)?;
            file.set_len(SPARSE_BYTES).context("size", &path)?;
            for (part, _) in pattern.bytes().enumerate().filter(|(_, kind)| *kind == b'd') {
                let bytes = self.random.bytes(SPARSE_PART_BYTES as usize);
                file.write_all_at(&bytes, part as u64 * SPARSE_PART_BYTES).context("write", &path)?;
            }
        }
        Ok(())
    }

    /// One file with names in three folders, another with two beside each other.
    fn hard_links(&mut self) -> Result<()> {
        self.file(PathBuf::from("hard/a/shared"), 5000)?;
        self.file(PathBuf::from("hard/pair-1"), 10)?;
        for (from, to) in [("a/shared", "b/other-name"), ("a/shared", "z/shared"), ("pair-1", "pair-2")] {
            let (from, to) = (self.root.join("hard").join(from), self.root.join("hard").join(to));
            files::create_folder(to.parent().unwrap_or(self.root))?;
            fs::hard_link(&from, &to).context("link", &to)?;
        }
        Ok(())
    }

    fn special_files(&mut self) -> Result<()> {
        files::create_folder(&self.root.join("special"))?;
        let (null, disk) = (rustix::fs::makedev(1, 3), rustix::fs::makedev(7, 200));
        for (name, kind, device) in [
            ("fifo", FileType::Fifo, 0),
            ("socket", FileType::Socket, 0),
            ("character-device", FileType::CharacterDevice, null),
            ("block-device", FileType::BlockDevice, disk),
        ] {
            let path = self.root.join("special").join(name);
            let made = rustix::fs::mknodat(CWD, &path, kind, Mode::from_raw_mode(0o640), device);
            self.or_leave_out(name, made.context("create", &path))?;
        }
        Ok(())
    }

    fn attributes(&mut self) -> Result<()> {
        self.file(PathBuf::from("attributes/file"), 10)?;
        files::create_folder(&self.root.join("attributes/folder"))?;
        let binary = self.random.bytes(200);
        for (path, name, value) in [
            ("file", "user.text", b"plain".as_slice()),
            ("file", "user.empty", b""),
            ("file", "user.binary", &binary),
            ("folder", "user.folder", b"on a folder"),
            ("file", "system.posix_acl_access", &acl()),
            ("folder", "system.posix_acl_default", &acl()),
        ] {
            let path = self.root.join("attributes").join(path);
            let set = xattr::set(&path, name, value).context("set an attribute of", &path);
            self.or_leave_out(name, set)?;
        }
        Ok(())
    }

    fn owners(&mut self) -> Result<()> {
        for (name, owner, group) in [("user", 1000, 1000), ("nobody", 65_534, 65_534), ("huge", 3_000_000_000, 7)] {
            let path = PathBuf::from("owners").join(name);
            self.file(path.clone(), 10)?;
            let full = self.root.join(path);
            let (user, group) = (Uid::from_raw(owner), Gid::from_raw(group));
            let set = rustix::fs::chownat(CWD, &full, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW);
            self.or_leave_out("an owner", set.context("change the owner of", &full))?;
        }
        Ok(())
    }

    /// Only root can read back what nobody may read.
    fn modes(&mut self) -> Result<()> {
        let root_only: &[u32] = if rustix::process::geteuid().is_root() { &[0, 0o111, 0o222] } else { &[] };
        for mode in [0o400, 0o600, 0o644, 0o755, 0o777, 0o4755, 0o2755, 0o1644].iter().chain(root_only) {
            let path = PathBuf::from(format!("modes/{mode:04o}"));
            self.file(path.clone(), 10)?;
            files::set_mode(&self.root.join(path), *mode)?;
        }
        for mode in [0o700, 0o755, 0o1777, 0o2775] {
            let path = self.root.join(format!("modes/folder-{mode:04o}"));
            files::create_folder(&path)?;
            files::set_mode(&path, mode)?;
        }
        Ok(())
    }

    /// Dates everything, children before their folder, because making a child dates its folder.
    fn times(&mut self, path: &Path) -> Result<()> {
        if fs::symlink_metadata(path).context("read the metadata of", path)?.is_dir() {
            for child in files::list(path)? {
                self.times(&child)?;
            }
        }
        let time = self.time();
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).context("set the time of", path)
    }

    /// Mostly recent; some before 1970, some beyond what 32 bits can say.
    fn time(&mut self) -> Timespec {
        let tv_sec = match self.random.below(10) {
            0 => -(self.random.below(2_000_000_000) as i64),
            1 => 2_200_000_000 + self.random.below(1_000_000_000) as i64,
            2 => 0,
            _ => 1_600_000_000 + self.random.below(100_000_000) as i64,
        };
        Timespec { tv_sec, tv_nsec: self.random.below(1_000_000_000) as i64 }
    }

    fn file(&mut self, path: PathBuf, length: usize) -> Result<()> {
        files::write(&self.root.join(path), self.random.bytes(length), 0)
    }

    /// What the user may not do, or the file system cannot, is reported and not a failure.
    fn or_leave_out(&mut self, what: &str, made: Result<()>) -> Result<()> {
        use rustix::io::Errno;
        let refusals = [Errno::PERM, Errno::ACCESS, Errno::OPNOTSUPP, Errno::INVAL];
        match made {
            Err(Error::Io { source, .. })
                if refusals.iter().any(|no| source.raw_os_error() == Some(no.raw_os_error())) =>
            {
                self.left_out.push(format!("{what}: {source}"));
                Ok(())
            }
            other => other,
        }
    }
}

/// An access control list in the kernel's form: version 2, then tag, permissions and id of each entry.
fn acl() -> Vec<u8> {
    const NO_ID: u32 = u32::MAX;
    let mut bytes = 2u32.to_le_bytes().to_vec();
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 6, NO_ID), // owner
        (0x02, 4, 1234),  // a named user
        (0x04, 4, NO_ID), // owning group
        (0x10, 4, NO_ID), // mask
        (0x20, 0, NO_ID), // others
    ];
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::fingerprint;

    #[test]
    fn the_same_options_give_the_same_tree() {
        let temp = tempfile::tempdir().unwrap();
        let options = Options { crowd: 30, ..Options::everything(5) };
        let made = ["one", "two"].map(|name| {
            let left_out = create(&temp.path().join(name), &options).unwrap();
            (left_out, fingerprint(&temp.path().join(name)).unwrap())
        });
        assert_eq!(made[0], made[1]);
    }

    #[test]
    fn everything_is_in_the_fingerprint() {
        let temp = tempfile::tempdir().unwrap();
        let left_out = create(temp.path(), &Options { crowd: 3, ..Options::everything(1) }).unwrap();
        let all = fingerprint(temp.path()).unwrap();
        let entry = |path: &str| all.get(Path::new(path)).unwrap_or_else(|| panic!("{path}"));
        assert!(entry("hard/b/other-name").contains("same-as=\"hard/a/shared\""));
        assert!(entry("sparse/d--d").contains("holes=[(1048576, 3145728)]"), "{}", entry("sparse/d--d"));
        assert!(entry("special/fifo").starts_with("fifo mode=0"));
        assert!(entry("links/dangling").contains("link to=\"no/such/place\""));
        assert!(all.values().any(|entry| entry.contains("mtime=-")));
        if !left_out.iter().any(|what| what.starts_with("user.")) {
            assert!(entry("attributes/file").contains("user.text=plain"));
        }
        if !left_out.iter().any(|what| what.starts_with("system.")) {
            assert!(entry("attributes/file").contains("system.posix_acl_access=\\x02"));
        }
        if left_out.is_empty() {
            assert!(entry("special/block-device").contains("block-device number=0x7c8"));
            assert!(entry("owners/huge").contains("owner=3000000000:7"));
        }
    }
}
