//! Who has a database open, and whether its file system can be trusted to show writes in order.
//!
//! H2 locks the whole file with a POSIX lock (`FileStore.java`, `FileChannel.tryLock`), which the kernel drops with the
//! process. Never takes a lock: H2 would fail to start.

use std::fs::File;
use std::io;

use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};

/// Somebody who holds a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Their process, if it can be seen from here: not from within another container.
    pub(crate) process: Option<Pid>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.process {
            Some(process) => write!(f, "process {}", process.as_raw_nonzero()),
            None => f.write_str("a process that cannot be seen from here"),
        }
    }
}

/// Who holds it.
pub(crate) fn holder(file: &File) -> io::Result<Option<Holder>> {
    let lock = fcntl_getlk(file, &Flock::from(FlockType::WriteLock))?;
    Ok(lock.filter(|lock| lock.typ != FlockType::Unlocked).map(|lock| Holder { process: lock.pid }))
}

/// File systems that do not show writes of another machine at once and in order (`statfs(2)`, `magic.h`).
const NETWORK: [(u64, &str); 7] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "SMB"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
];

/// The name of the network file system that it lies on, if it does.
pub(crate) fn network(file: &File) -> io::Result<Option<&'static str>> {
    let found = rustix::fs::fstatfs(file)?.f_type as u64 & 0xffff_ffff;
    Ok(NETWORK.iter().find(|(magic, _)| *magic == found).map(|(_, name)| *name))
}
