//! Places in the log.

use std::fmt;
use std::str::FromStr;

/// A place in the log: a file and an offset in it. Ordered as the log is written.
///
/// JE keeps it as one 64-bit number, the file in its upper half (`utilint/DbLsn.java`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn {
    /// The number of the file.
    pub file: u32,
    /// Bytes from its beginning.
    pub offset: u32,
}

impl Lsn {
    /// A place.
    pub fn new(file: u32, offset: u32) -> Self {
        Lsn { file, offset }
    }

    /// From the number that JE stores; -1 stands for no place.
    pub fn from_stored(stored: i64) -> Option<Self> {
        let number = stored as u64;
        (stored != -1).then_some(Lsn { file: (number >> 32) as u32, offset: number as u32 })
    }

    /// The number that JE stores.
    pub fn to_stored(self) -> i64 {
        ((u64::from(self.file) << 32) | u64::from(self.offset)) as i64
    }
}

/// As JE prints it: `0x5/0xb2481`.
impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}/{:#x}", self.file, self.offset)
    }
}

/// Reads `FILE/OFFSET`, each hexadecimal with `0x` before it or decimal without.
impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, ParseLsnError> {
        let (file, offset) = text.trim().split_once('/').ok_or(ParseLsnError)?;
        Ok(Lsn { file: number(file)?, offset: number(offset)? })
    }
}

fn number(text: &str) -> Result<u32, ParseLsnError> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, radix).ok().filter(|_| is_plain).ok_or(ParseLsnError)
}

/// A text that is no place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write FILE/OFFSET, as in 0x5/0xb2481 or 5/730241")]
pub struct ParseLsnError;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_shown() {
        let lsn = Lsn::new(5, 0xb2481);
        assert_eq!(lsn.to_string(), "0x5/0xb2481");
        assert_eq!("0x5/0xb2481".parse(), Ok(lsn));
        assert_eq!(" 5/730241 ".parse(), Ok(lsn));
        for bad in ["", "5", "5/", "/5", "0x/1", "-1/2", "+1/2", "b/1", "0x100000000/0", "1/2/3"] {
            assert_eq!(bad.parse::<Lsn>(), Err(ParseLsnError), "{bad}");
        }
    }

    #[test]
    fn stored_places() {
        assert_eq!(Lsn::from_stored(-1), None);
        assert_eq!(Lsn::from_stored(0x5_000b_2481), Some(Lsn::new(5, 0xb2481)));
        assert_eq!(Lsn::new(5, 0xb2481).to_stored(), 0x5_000b_2481);
        assert!(Lsn::new(1, 0) > Lsn::new(0, u32::MAX));
    }
}
