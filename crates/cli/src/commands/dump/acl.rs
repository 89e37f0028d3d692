//! POSIX ACLs: from the attribute in which Linux keeps them to the words that archives have.
//!
//! Invariant: an ACL that was decoded has only entries that the kernel knows, each with its rights and, if it is of
//! somebody, the number of that user or group.

use std::fmt;

/// The one version of the attribute.
const VERSION: u32 = 2;
const ENTRY_BYTES: usize = 8;

/// Whose rights an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Owner,
    User(u32),
    OwningGroup,
    Group(u32),
    Mask,
    Other,
}

/// An ACL of a file, or the one that a folder hands down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Acl(Vec<(Whose, u16)>);

impl Acl {
    /// `None` if it is none that is known.
    pub(super) fn decode(attribute: &[u8]) -> Option<Self> {
        let (version, entries) = attribute.split_first_chunk()?;
        let (entries, rest) = entries.as_chunks::<ENTRY_BYTES>();
        let is_known = u32::from_le_bytes(*version) == VERSION && rest.is_empty() && !entries.is_empty();
        if !is_known {
            return None;
        }
        entries.iter().map(decode_entry).collect::<Option<_>>().map(Self)
    }

    /// The mode for those who do not read the ACL: in that of the file itself the mask stands where the rights of the
    /// owning group belong.
    pub(super) fn mode_without(&self, mode: u32) -> u32 {
        let rights = |whose| self.0.iter().find(|(who, _)| *who == whose).map(|(_, rights)| u32::from(*rights));
        match (rights(Whose::OwningGroup), rights(Whose::Mask)) {
            (Some(group), Some(mask)) => mode & !0o070 | (group & mask) << 3,
            _ => mode,
        }
    }
}

fn decode_entry(entry: &[u8; ENTRY_BYTES]) -> Option<(Whose, u16)> {
    let [a, b, c, d, id @ ..] = *entry;
    let (tag, rights, id) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]), u32::from_le_bytes(id));
    let whose = match tag {
        0x01 => Whose::Owner,
        0x02 => Whose::User(id),
        0x04 => Whose::OwningGroup,
        0x08 => Whose::Group(id),
        0x10 => Whose::Mask,
        0x20 => Whose::Other,
        _ => return None,
    };
    (rights <= 7).then_some((whose, rights))
}

/// The short form of `getfacl`, with numbers: names may mean somebody else where the archive is unpacked.
impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (whose, rights)) in self.0.iter().enumerate() {
            f.write_str(if at > 0 { "," } else { "" })?;
            match whose {
                Whose::Owner => f.write_str("user::"),
                Whose::User(id) => write!(f, "user:{id}:"),
                Whose::OwningGroup => f.write_str("group::"),
                Whose::Group(id) => write!(f, "group:{id}:"),
                Whose::Mask => f.write_str("mask::"),
                Whose::Other => f.write_str("other::"),
            }?;
            let right = |bit: u16, letter| if rights & bit != 0 { letter } else { '-' };
            write!(f, "{}{}{}", right(4, 'r'), right(2, 'w'), right(1, 'x'))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_acl_is_none() {
        let entry = |tag: u16, rights: u16| [tag.to_le_bytes(), rights.to_le_bytes(), [1, 0], [0, 0]].concat();
        let attribute = |entry: &[u8]| [&VERSION.to_le_bytes()[..], entry].concat();
        assert_eq!(Acl::decode(&attribute(&entry(8, 5))).unwrap().to_string(), "group:1:r-x");
        assert_eq!(Acl::decode(&attribute(&entry(8, 5))).unwrap().mode_without(0o644), 0o644);
        for none in [entry(3, 5), entry(8, 8), entry(8, 5)[..7].to_vec(), vec![]] {
            assert_eq!(Acl::decode(&attribute(&none)), None);
        }
        for none in [&[][..], &[2, 0, 0], &[&[3, 0, 0, 0][..], &entry(8, 5)].concat()] {
            assert_eq!(Acl::decode(none), None);
        }
    }
}
