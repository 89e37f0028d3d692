//! What every capture needs to know of a file that somebody else writes: how it is opened, and whether its file system
//! shows this machine what another one has written.
//!
//! Never takes a lock, never waits for anybody.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// File systems that do not show writes of another machine at once and in order, and whose locks need not be seen there:
/// their magic numbers (`statfs(2)`) and names.
const FOREIGN: [(u64, &str); 10] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xfe53_4d42, "SMB2"),
    (0xff53_4d42, "CIFS"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0102_1997, "9P"),
    (0x6573_5546, "FUSE"),
    (0x4750_4653, "GPFS"),
];

/// How a file that is somebody else's is opened: not through a link, and without waiting for a pipe.
pub fn plain() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32);
    options
}

/// Opens a file for reading; not through a link, and without waiting for a pipe.
///
/// # Errors
///
/// Those of the system; also that it is a link.
pub fn open_plain(path: &Path) -> io::Result<File> {
    plain().read(true).open(path)
}

/// The name of such a file system, if the open file or folder lies on one that other machines may write to.
///
/// # Errors
///
/// If the system does not say.
pub fn foreign_file_system(file: &File) -> io::Result<Option<&'static str>> {
    let found = rustix::fs::fstatfs(file)?.f_type as u64 & 0xffff_ffff;
    Ok(FOREIGN.iter().find(|(magic, _)| *magic == found).map(|(_, name)| *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_not_followed_and_pipes_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        assert!(open_plain(&path("link")).is_err());
        assert!(!open_plain(&path("pipe")).unwrap().metadata().unwrap().is_file());
        let file = open_plain(&path("file")).unwrap();
        assert_eq!(foreign_file_system(&file).unwrap(), None);
    }
}
