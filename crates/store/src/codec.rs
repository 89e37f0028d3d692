//! The one codec for variable structures: bincode 1.3.3 with variable-length integers.
//!
//! The crate is unmaintained (RUSTSEC-2025-0141) and complete; it is pinned, and no other module names it.
//! `docs/format.md` describes the bytes, not the crate: integers below 251 are one byte, then 251, 252 or 253 followed
//! by 2, 4 or 8 bytes little-endian; signed ones are zigzagged first; sequences start with their length; an option is
//! one byte; an enum is its number.
//!
//! Invariant: every value has exactly one encoding that is accepted. Decoding has a limit, refuses trailing bytes, and
//! encodes what it got again to compare.

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Result, StoreError};

fn options(limit_bytes: usize) -> impl Options {
    bincode::DefaultOptions::new().with_varint_encoding().with_limit(limit_bytes as u64).reject_trailing_bytes()
}

/// Encodes a value.
///
/// # Errors
///
/// If the encoding is longer than `limit_bytes`.
pub fn encode<T: Serialize>(value: &T, limit_bytes: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    encode_into(value, &mut bytes, limit_bytes)?;
    Ok(bytes)
}

/// Appends the encoding of a value to a buffer.
///
/// # Errors
///
/// If the encoding is longer than `limit_bytes`; then nothing is appended.
pub fn encode_into<T: Serialize>(value: &T, buffer: &mut Vec<u8>, limit_bytes: usize) -> Result<()> {
    let before = buffer.len();
    // With a limit of its own, bincode would walk every value twice.
    let options = bincode::DefaultOptions::new().with_varint_encoding();
    let encoded = options.serialize_into(&mut *buffer, value);
    if encoded.is_err() || buffer.len() - before > limit_bytes {
        buffer.truncate(before);
        return Err(StoreError::Limit { what: "an encoded structure", limit: limit_bytes as u64 });
    }
    Ok(())
}

/// Decodes a value that fills `bytes` exactly and canonically.
///
/// # Errors
///
/// Damage, naming `what`, if the bytes are anything but the encoding of a value.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], limit_bytes: usize, what: &str) -> Result<T> {
    let value = options(limit_bytes).deserialize(bytes).map_err(|e| StoreError::damaged(what, e.to_string()))?;
    if encode(&value, limit_bytes)? != bytes {
        return Err(StoreError::damaged(what, "its encoding is not the canonical one"));
    }
    Ok(value)
}

/// Decodes a value from the front of `bytes` and returns it with the number of bytes it took.
///
/// The caller compares encodings where that matters: a sequence is compared as a whole, once.
///
/// # Errors
///
/// Damage, naming `what`.
pub fn decode_front<T: DeserializeOwned>(bytes: &[u8], limit_bytes: usize, what: &str) -> Result<(T, usize)> {
    let mut rest = bytes;
    let value = bincode::DefaultOptions::new()
        .with_varint_encoding()
        .with_limit(limit_bytes as u64)
        .allow_trailing_bytes()
        .deserialize_from(&mut rest)
        .map_err(|e| StoreError::damaged(what, e.to_string()))?;
    Ok((value, bytes.len() - rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Dot,
        Line(u64),
        Box { name: Vec<u8>, at: i64 },
    }

    #[test]
    fn bytes_are_as_documented() {
        let value = (250u64, 251u64, -1i64, 70_000u32, Some(Shape::Box { name: b"ab".to_vec(), at: 1 }), Shape::Dot);
        let bytes = encode(&value, 100).unwrap();
        assert_eq!(bytes, [250, 251, 251, 0, 1, 252, 112, 17, 1, 0, 1, 2, 2, b'a', b'b', 2, 0]);
    }

    #[test]
    fn other_encodings_are_refused() {
        assert_eq!(decode::<u64>(&[7], 100, "n").unwrap(), 7);
        for (bad, why) in [
            (&[251, 7, 0][..], "longer than need be"),
            (&[7, 0], "trailing"),
            (&[], "cut short"),
            (&[253, 1], "cut short"),
            (&[254], "16 bytes"),
        ] {
            assert!(decode::<u64>(bad, 100, "n").is_err(), "{why}");
        }
        assert!(decode::<Vec<u8>>(&[253, 0, 0, 0, 0, 0, 1, 0, 0], 1000, "v").is_err());
        assert!(encode(&vec![0u8; 200], 100).is_err());
        let mut buffer = vec![7];
        assert!(encode_into(&vec![0u8; 200], &mut buffer, 200).is_err() && buffer == [7]);
    }

    proptest! {
        #[test]
        fn round_trip(a: u64, b: i64, name: Vec<u8>) {
            let value = vec![Shape::Line(a), Shape::Box { name, at: b }, Shape::Dot];
            let bytes = encode(&value, 10_000).unwrap();
            prop_assert_eq!(decode::<Vec<Shape>>(&bytes, 10_000, "shapes").unwrap(), value.clone());
            let (front, used) = decode_front::<Vec<Shape>>(&[&bytes[..], &[9]].concat(), 10_000, "shapes").unwrap();
            prop_assert_eq!((front, used), (value, bytes.len()));
        }
    }
}
