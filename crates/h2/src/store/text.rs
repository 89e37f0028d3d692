//! The texts `key:value,key:value` of headers, footers and the layout.
//!
//! Source: `DataUtils.java` (`parseMap`, `parseChecksummedMap`, `appendMap`, `getFletcher32`). Numbers are lower-case
//! hexadecimal. A value with a comma or a quotation mark is quoted, with `\` before a quotation mark.

use std::collections::BTreeMap;
use std::fmt::Write;

const FLETCHER: &str = "fletcher";

/// A text taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Takes a text apart; `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (mut fields, mut rest) = (BTreeMap::new(), text);
        while !rest.is_empty() {
            let (key, behind) = rest.split_once(':')?;
            let (value, behind) = value(behind)?;
            fields.insert(key.to_owned(), value);
            rest = behind;
        }
        Some(Self(fields))
    }

    /// Takes a text with blanks around it apart that ends in its own checksum; `None` if that is wrong or missing.
    pub(crate) fn parse_checked(bytes: &[u8]) -> Option<Self> {
        let start = bytes.iter().position(|byte| *byte > b' ')?;
        let end = bytes.iter().rposition(|byte| *byte > b' ')?;
        let bytes = bytes.get(start..=end)?;
        let (mut fields, text) = (BTreeMap::new(), latin1(bytes));
        let mut rest = text.as_str();
        while let Some((key, behind)) = rest.split_once(':') {
            let (value, behind) = value(behind)?;
            if key == FLETCHER {
                // Every character is a byte of the original, so they are counted, not measured.
                let covered = text.chars().count().checked_sub(rest.chars().count() + 1)?;
                let sum = u32::from_str_radix(&value, 16).ok()?;
                return (fletcher32(bytes.get(..covered)?) == sum).then_some(Self(fields));
            }
            fields.insert(key.to_owned(), value);
            rest = behind;
        }
        None
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// A hexadecimal number; `missing` if there is none of this name, `None` if it is no number.
    pub(crate) fn hex(&self, key: &str, missing: u64) -> Option<u64> {
        self.get(key).map_or(Some(missing), |text| u64::from_str_radix(text, 16).ok())
    }

    /// The same for a number that fits 32 bits.
    pub(crate) fn hex32(&self, key: &str, missing: u32) -> Option<u32> {
        u32::try_from(self.hex(key, missing.into())?).ok()
    }

    pub(crate) fn set_hex(&mut self, key: &str, number: u64) {
        self.0.insert(key.to_owned(), format!("{number:x}"));
    }

    /// The text with its checksum and a line feed, keys in order, as a store header is written.
    pub(crate) fn to_checked(&self) -> Vec<u8> {
        let mut text = String::new();
        for (key, value) in &self.0 {
            append(&mut text, key, value);
        }
        let sum = fletcher32(&text.chars().map(|c| c as u8).collect::<Vec<_>>());
        append(&mut text, FLETCHER, &format!("{sum:x}"));
        text.push('\n');
        text.chars().map(|c| c as u8).collect()
    }
}

fn append(text: &mut String, key: &str, value: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    // Writing to a string cannot fail.
    let _ = match value.contains([',', '"']) {
        true => write!(text, "{key}:\"{}\"", value.replace('"', "\\\"")),
        false => write!(text, "{key}:{value}"),
    };
}

/// A value, and what comes behind the comma that ends it.
fn value(text: &str) -> Option<(String, &str)> {
    let (mut value, mut quoted, mut chars) = (String::new(), false, text.chars());
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => value.push(chars.next()?),
            ',' if !quoted => return Some((value, chars.as_str())),
            _ => value.push(c),
        }
    }
    Some((value, ""))
}

pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Fletcher's checksum over big-endian words; sums are folded every 360 words, as H2 does it.
pub(crate) fn fletcher32(bytes: &[u8]) -> u32 {
    let fold = |sum: u32| (sum & 0xffff) + (sum >> 16);
    let (mut first, mut second) = (0xffff_u32, 0xffff_u32);
    let (words, odd) = bytes.as_chunks::<2>();
    for words in words.chunks(360) {
        for word in words {
            first = first.wrapping_add(u16::from_be_bytes(*word).into());
            second = second.wrapping_add(first);
        }
        (first, second) = (fold(first), fold(second));
    }
    if let [last] = odd {
        first = first.wrapping_add(u32::from(*last) << 8);
        second = second.wrapping_add(first);
    }
    fold(second) << 16 | fold(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_values_keep_commas() {
        let fields = Fields::parse("name:\"a,\\\"b\",id:1f").unwrap();
        assert_eq!((fields.get("name"), fields.hex("id", 0)), (Some("a,\"b"), Some(0x1f)));
        assert_eq!(Fields::parse("nothing"), None);
        assert_eq!(fields.hex("missing", 7), Some(7));
    }

    #[test]
    fn a_checked_text_is_what_was_written() {
        let mut fields = Fields::parse("H:2,created:18b,name:\"x,y\"").unwrap();
        fields.set_hex("version", 255);
        let mut bytes = fields.to_checked();
        assert_eq!(Fields::parse_checked(&bytes), Some(fields));
        bytes.extend([0; 40]);
        assert!(Fields::parse_checked(&bytes).is_some());
        bytes[3] ^= 1;
        assert_eq!(Fields::parse_checked(&bytes), None);
        assert_eq!(Fields::parse_checked(&[]), None);
    }
}
