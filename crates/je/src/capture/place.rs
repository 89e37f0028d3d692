//! On what kind of file system an environment lies.
//!
//! Owns the list of those where what this machine reads need not be what another one has written, and where locks and
//! the order of writes mean nothing certain.

use std::path::Path;

/// The magic numbers of `statfs(2)` and their names.
const UNCERTAIN: [(u64, &str); 10] = [
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

/// The name of such a file system, if the folder lies on one.
pub(crate) fn uncertain(folder: &Path) -> Option<&'static str> {
    let found = rustix::fs::statfs(folder).ok()?.f_type as u64 & 0xffff_ffff;
    UNCERTAIN.iter().find(|(magic, _)| *magic == found).map(|(_, name)| *name)
}
