//! How a file that somebody else writes is opened.
//!
//! Never takes a lock, never waits for anybody.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

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
        assert!(open_plain(&path("file")).unwrap().metadata().unwrap().is_file());
    }
}
