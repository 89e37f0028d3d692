//! Expanding compressed pages.
//!
//! Source: `CompressLZF.java`, `CompressDeflate.java`. LZF is short enough to be read here; the library for it is not
//! kept any more.

use std::io::Read;

use flate2::read::ZlibDecoder;

/// A page that would become longer is refused.
const EXPANDED_MOST_BYTES: usize = 64 << 20;
/// Below it a control byte counts literals.
const LITERALS: u8 = 32;

/// How a page is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Lzf,
    Deflate,
}

/// Exactly `length` bytes, or `None`.
pub(crate) fn expand(how: Compression, data: &[u8], length: usize) -> Option<Vec<u8>> {
    if length > EXPANDED_MOST_BYTES {
        return None;
    }
    match how {
        Compression::Lzf => expand_lzf(data, length),
        Compression::Deflate => inflate(data, length),
    }
}

fn inflate(data: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut expanded = Vec::new();
    ZlibDecoder::new(data).take(length as u64 + 1).read_to_end(&mut expanded).ok()?;
    (expanded.len() == length).then_some(expanded)
}

fn expand_lzf(mut data: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(length.min(data.len().saturating_mul(8)));
    while out.len() < length {
        let control = take(&mut data)?;
        if control < LITERALS {
            let (literals, rest) = data.split_at_checked(usize::from(control) + 1)?;
            out.extend_from_slice(literals);
            data = rest;
        } else {
            repeat(&mut out, &mut data, control, length)?;
        }
    }
    (out.len() == length).then_some(out)
}

/// Three bits of length, continued in another byte, and thirteen of distance.
fn repeat(out: &mut Vec<u8>, data: &mut &[u8], control: u8, most: usize) -> Option<()> {
    let mut length = usize::from(control >> 5);
    if length == 7 {
        length += usize::from(take(data)?);
    }
    length += 2;
    let distance = (usize::from(control & 0x1f) << 8) + usize::from(take(data)?) + 1;
    let start = out.len().checked_sub(distance)?;
    if out.len() + length > most {
        return None;
    }
    for at in start..start + length {
        out.push(*out.get(at)?);
    }
    Some(())
}

fn take(data: &mut &[u8]) -> Option<u8> {
    let (first, rest) = data.split_first()?;
    *data = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lzf_repeats_what_it_has() {
        // "abc", then 7 bytes from 3 back, then "x".
        let data = [2, b'a', b'b', b'c', 5 << 5, 2, 0, b'x'];
        assert_eq!(expand(Compression::Lzf, &data, 11).unwrap(), b"abcabcabcax");
        assert_eq!(expand(Compression::Lzf, &data, 12), None);
        assert_eq!(expand(Compression::Lzf, &[5 << 5, 2], 7), None);
        assert_eq!(expand(Compression::Lzf, &data, usize::MAX), None);
    }

    #[test]
    fn deflate_is_zlib() {
        use std::io::Write;
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(&[7; 1000]).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(expand(Compression::Deflate, &packed, 1000).unwrap(), [7; 1000]);
        assert_eq!(expand(Compression::Deflate, &packed, 999), None);
    }
}
