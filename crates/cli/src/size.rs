//! Sizes as people type and read them.
//!
//! Owns: `10M` and `1.5G` (powers of 1024, as in restic), and `1.500 GiB` for eyes.
//! Never: rounds on reading more than a fraction of a byte, or wraps around.
//! Invariant: a letter means the same power of 1024 on the way in and on the way out.

use std::fmt;

/// Reads bytes: digits, perhaps a fraction, perhaps one of `B K M G T P` in either case, perhaps `iB` behind it.
///
/// `KB` and its like are refused, since half of the world means 1000 by them.
pub(crate) fn parse(text: &str) -> Result<u64, SizeError> {
    let error = || SizeError(text.to_owned());
    let trimmed = text.trim();
    let digits_end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, suffix) = trimmed.split_at(digits_end);
    let shift = shift_of(suffix.trim_start()).ok_or_else(error)?;
    scale(number, shift).ok_or_else(error)
}

fn shift_of(suffix: &str) -> Option<u32> {
    let (letter, rest) = match suffix.chars().next() {
        None => return Some(0),
        Some(letter) => (letter.to_ascii_uppercase(), &suffix[letter.len_utf8()..]),
    };
    match (letter, rest) {
        ('B', "") => Some(0),
        ('K' | 'M' | 'G' | 'T' | 'P', "" | "i" | "iB") => "KMGTP".find(letter).map(|at| 10 * (at as u32 + 1)),
        _ => None,
    }
}

/// The number times two to the power of `shift`, the rest of a byte cut off, without floating point.
fn scale(number: &str, shift: u32) -> Option<u64> {
    /// Digits behind the point that can matter: 2^50 has 16 digits.
    const MAX_FRACTION_DIGITS: usize = 18;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || fraction.len() > MAX_FRACTION_DIGITS || number.ends_with('.') {
        return None;
    }
    let whole = u128::from(whole.parse::<u64>().ok()?) << shift;
    let part = match fraction {
        "" => 0,
        digits => (digits.parse::<u128>().ok()? << shift) / 10_u128.pow(digits.len() as u32),
    };
    u64::try_from(whole + part).ok()
}

/// For eyes, as in restic: `17 B`, `1.500 KiB`, `3.000 GiB`.
pub(crate) fn show(bytes: u64) -> String {
    const UNITS: [(u32, &str); 5] = [(50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match UNITS.into_iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => format!("{:.3} {unit}", bytes as f64 / (1_u64 << shift) as f64),
        None => format!("{bytes} B"),
    }
}

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SizeError(String);

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a size: write bytes, or a number with K, M, G, T or P (powers of 1024)", self.0)
    }
}

impl std::error::Error for SizeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        let sizes = [
            ("0", 0),
            ("17", 17),
            ("17B", 17),
            ("10M", 10 << 20),
            ("10m", 10 << 20),
            ("1.5G", 3 << 29),
            ("1.5 GiB", 3 << 29),
            ("0.5k", 512),
            ("2Ti", 2 << 40),
            ("1P", 1 << 50),
            ("0.1K", 102),
        ];
        for (text, bytes) in sizes {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for bad in
            ["", "M", "-1", "+1", "1KB", "1MB", "1E", "1.2.3", "1.", ".5G", "1e3", "1 0", "0x10", "16384P", "1МB"]
        {
            assert_eq!(parse(bad), Err(SizeError(bad.to_owned())), "{bad}");
        }
        assert_eq!(parse("16383P"), Ok(16383 << 50));
    }

    #[test]
    fn sizes_for_eyes() {
        let shown = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.500 KiB"),
            (10 << 20, "10.000 MiB"),
            (3 << 29, "1.500 GiB"),
            (u64::MAX, "16384.000 PiB"),
        ];
        for (bytes, text) in shown {
            assert_eq!(show(bytes), text);
        }
    }
}
