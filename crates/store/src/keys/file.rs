//! Key files: one line of text that this program generates and nothing else is accepted as.
//!
//! `treering-key-1 <64 hexadecimal digits> <8 hexadecimal digits>`, the last being the first four bytes of the BLAKE3
//! of the key: a mistyped or truncated key is refused as such, not reported as a wrong one. The same text serves as the
//! recovery key that `init` prints.

use std::fmt;

use zeroize::Zeroizing;

use super::Secret;
use crate::entropy::{Entropy, random};
use crate::error::Result;

const WORD: &str = "treering-key-1";

/// A key of 256 random bits. It needs no slow derivation: nobody can guess it.
#[derive(Clone)]
pub struct KeyFile(Secret);

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFile(hidden)")
    }
}

impl KeyFile {
    /// A new one.
    ///
    /// # Errors
    ///
    /// If there is no randomness.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self> {
        Ok(Self::from_bytes(random(entropy)?))
    }

    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The line, with its newline.
    pub fn to_text(&self) -> Zeroizing<String> {
        let check = blake3::hash(&self.0[..]);
        Zeroizing::new(format!("{WORD} {} {}\n", *hex(&self.0[..]), *hex(&check.as_bytes()[..4])))
    }

    /// Reads the line; surrounding white space does not matter.
    ///
    /// # Errors
    ///
    /// What is wrong with it, never a part of it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut words = text.split_whitespace();
        if words.next() != Some(WORD) {
            return Err("it does not start with \"treering-key-1\"; a passphrase goes into --password-file");
        }
        let (Some(digits), Some(check), None) = (words.next(), words.next(), words.next()) else {
            return Err("it is cut short or has something behind it");
        };
        let key = treering_chunk::ChunkId::from_hex(digits).map_err(|_| "its key is not 64 hexadecimal digits")?;
        if !check.eq_ignore_ascii_case(&hex(&blake3::hash(key.as_bytes()).as_bytes()[..4])) {
            return Err("its check does not fit: some of it was mistyped or damaged");
        }
        Ok(Self::from_bytes(*key.as_bytes()))
    }
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_refusals() {
        let text = KeyFile::from_bytes([0xa5; 32]).to_text();
        assert_eq!(KeyFile::parse(&text).unwrap().bytes(), &[0xa5; 32]);
        assert_eq!(KeyFile::parse(&format!("\n {}\r\n", text.trim())).unwrap().bytes(), &[0xa5; 32]);
        for bad in ["", "correct horse", &text[..40], &text.replacen("a5", "a4", 1), &format!("{} x", *text)] {
            assert!(KeyFile::parse(bad).is_err(), "{bad}");
        }
    }
}
