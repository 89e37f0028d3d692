//! Numbers and texts in the items of entries.
//!
//! Owns the packed form of `util/PackedInteger.java`: the first byte, signed, is the value itself between -119 and 119;
//! beyond that it says how many little-endian bytes follow, and the value counts from ±119.
//! Never reads behind its bytes; every method is `None` there.

const DIRECT_MOST: i64 = 119;

/// Takes fields off the front of an item.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Fields(bytes)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// A packed `int` or `long`: they look alike.
    pub(crate) fn packed(&mut self) -> Option<i64> {
        let first = i64::from(self.byte()?.cast_signed());
        let bytes = first.abs().saturating_sub(DIRECT_MOST);
        if bytes <= 0 {
            return Some(first);
        }
        let magnitude = self.little_endian(bytes)?.checked_add(DIRECT_MOST);
        magnitude.and_then(|value| value.checked_mul(first.signum()))
    }

    /// Passes over so many packed numbers.
    pub(crate) fn skip_packed(&mut self, count: usize) -> Option<()> {
        (0..count).try_for_each(|_| self.packed().map(|_| ()))
    }

    /// Bytes behind their packed length; before version 9 in the platform's character set.
    pub(crate) fn text(&mut self) -> Option<String> {
        let bytes = usize::try_from(self.packed()?).ok()?;
        Some(String::from_utf8_lossy(self.take(bytes)?).into_owned())
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn little_endian(&mut self, bytes: i64) -> Option<i64> {
        let mut wide = [0; 8];
        let taken = self.take(usize::try_from(bytes).ok()?)?;
        wide.get_mut(..taken.len())?.copy_from_slice(taken);
        i64::try_from(u64::from_le_bytes(wide)).ok()
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_numbers() {
        let cases: [(&[u8], Option<i64>); 10] = [
            (&[0], Some(0)),
            (&[119], Some(119)),
            (&[0x89], Some(-119)),
            (&[120, 1], Some(120)),
            (&[0x88, 1], Some(-120)),
            (&[121, 0, 1], Some(256 + 119)),
            (&[127, 0, 0, 0, 0, 0, 0, 0, 0x80], None),
            (&[127, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], Some(i64::MAX)),
            (&[121, 0], None),
            (&[], None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Fields::new(bytes).packed(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn texts_end_where_they_say() {
        let mut fields = Fields::new(&[2, b'o', b'k', 7]);
        assert_eq!((fields.text().as_deref(), fields.byte(), fields.byte()), (Some("ok"), Some(7), None));
        assert_eq!(Fields::new(&[3, b'o', b'k']).text(), None);
        assert_eq!(Fields::new(&[0xff]).text(), None);
    }
}
