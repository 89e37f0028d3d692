//! File systems that other machines may write to.
//!
//! Owns which they are. Never decides what follows from it.

use std::io;
use std::os::fd::AsFd;

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

/// The name of such a file system, if the open file or folder lies on one.
///
/// # Errors
///
/// If the system does not say.
pub fn foreign_file_system(file: impl AsFd) -> io::Result<Option<&'static str>> {
    Ok(name_of(rustix::fs::fstatfs(file)?.f_type as u64))
}

/// Its name by what `statfs` says. It may have its sign extended, so only the lower half counts.
pub(super) fn name_of(file_system: u64) -> Option<&'static str> {
    let found = file_system & 0xffff_ffff;
    FOREIGN.iter().find(|(magic, _)| *magic == found).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_other_machines_may_write_to_is_foreign() {
        assert_eq!(
            [0x6969, 0x0bd0_0bd0, 0xffff_ffff_ff53_4d42].map(name_of),
            [Some("NFS"), Some("Lustre"), Some("CIFS")]
        );
        assert_eq!([0xef53, 0x5846_5342, 0x0102_1994].map(name_of), [None; 3]);
        assert_eq!(foreign_file_system(std::fs::File::open("/proc/self/maps").unwrap()).unwrap(), None);
    }
}
