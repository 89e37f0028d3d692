//! Taking numbers and strings from the front of a slice, as `DataUtils.java` writes them.

/// What is left of a slice; every taker gives `None` where it ends too soon.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Seven bits a byte, the lowest first; a number that Java would call negative is none.
    pub(crate) fn var_u32(&mut self) -> Option<u32> {
        let number = self.var(35)?;
        u32::try_from(number).ok().filter(|number| i32::try_from(*number).is_ok())
    }

    /// The same for a long.
    pub(crate) fn var_u64(&mut self) -> Option<u64> {
        self.var(63).filter(|number| i64::try_from(*number).is_ok())
    }

    fn var(&mut self, bits: u32) -> Option<u64> {
        let mut number = 0;
        for shift in (0..bits).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// A count of UTF-16 units, and each of them in one to three bytes. What is no character becomes U+FFFD.
    pub(crate) fn string(&mut self) -> Option<String> {
        let count = self.var_u32()? as usize;
        if count > self.0.len() {
            return None;
        }
        let mut units = Vec::with_capacity(count);
        for _ in 0..count {
            units.push(self.unit()?);
        }
        Some(String::from_utf16_lossy(&units))
    }

    fn unit(&mut self) -> Option<u16> {
        let first = u16::from(self.byte()?);
        let mut more = || self.byte().map(|byte| u16::from(byte & 0x3f));
        Some(match first {
            0..0x80 => first,
            0x80..0xe0 => (first & 0x1f) << 6 | more()?,
            _ => (first & 0xf) << 12 | more()? << 6 | more()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_they_should() {
        assert_eq!(Bytes(&[0x7f]).var_u32(), Some(127));
        assert_eq!(Bytes(&[0x80, 1]).var_u32(), Some(128));
        assert_eq!(Bytes(&[0xff, 0xff, 0xff, 0xff, 7]).var_u32(), Some(i32::MAX as u32));
        assert_eq!(Bytes(&[0xff, 0xff, 0xff, 0xff, 8]).var_u32(), None);
        assert_eq!(Bytes(&[0x80]).var_u64(), None);
        assert_eq!(Bytes(&[0xff; 20]).var_u64(), None);
    }

    #[test]
    fn strings_are_utf_16_in_disguise() {
        assert_eq!(Bytes(&[2, b'a', b'b']).string().unwrap(), "ab");
        assert_eq!(Bytes(&[1, 0xe5, 0x90, 0x8d]).string().unwrap(), "名");
        assert_eq!(Bytes(&[3, b'a']).string(), None);
    }
}
