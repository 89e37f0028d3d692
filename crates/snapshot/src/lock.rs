//! Locks of open file descriptions, by which programs that lock parts of their files keep each other out.
//!
//! Unlike record locks of the process they do not die with another descriptor of the file, and like those they conflict
//! with Java's and end with the process.
//!
//! Never waits, never writes.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Who else may have a lock of the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Whoever shares it too; the file must be open for reading.
    Shared,
    /// Nobody; the file must be open for writing.
    Alone,
}

/// Locks so many bytes of a file from `start` on, 0 for all to its end wherever that comes to be, until the file is closed.
/// `false`: somebody else has a lock in the way.
///
/// # Errors
///
/// If the system does not lock such a file.
pub fn try_lock(file: &File, lock: Lock, start: i64, bytes: i64) -> io::Result<bool> {
    let kind = match lock {
        Lock::Shared => libc::F_RDLCK,
        Lock::Alone => libc::F_WRLCK,
    };
    let region = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: bytes,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&region)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_bytes_keep_out_who_wants_them_alone_until_the_file_is_closed() {
        let kept = tempfile::NamedTempFile::new().unwrap();
        let open = || File::options().read(true).write(true).open(kept.path()).unwrap();
        let (one, two, three) = (open(), open(), open());
        assert!(try_lock(&one, Lock::Shared, 1, 1).unwrap() && try_lock(&two, Lock::Shared, 1, 1).unwrap());
        assert!(try_lock(&three, Lock::Alone, 0, 1).unwrap());
        assert!(!try_lock(&three, Lock::Alone, 0, 2).unwrap() && !try_lock(&three, Lock::Alone, 0, 0).unwrap());
        // Another descriptor of the file that is closed takes no lock away.
        drop(open());
        drop(one);
        assert!(!try_lock(&three, Lock::Alone, 0, 2).unwrap());
        drop(two);
        assert!(try_lock(&three, Lock::Alone, 0, 0).unwrap());
    }
}
