//! Makes bytes that somebody else chose safe to show.
//!
//! Owns: the list of characters that a terminal obeys or that reorder text, for plain output and for JSON.
//! Never: shortens, colours or quotes; it does not know what the bytes mean.
//! Invariant: what [`terminal`] returns holds no control character (C0, DEL, C1), no character that changes the
//! direction or the lines of text, and is valid UTF-8, whatever went in. Paths, hosts, tags and error messages come
//! out of a repository that may be hostile; every one of them passes through here on its way to a terminal.

use std::borrow::Cow;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The text of any bytes, with everything dangerous spelled out: `\n`, `\x1b`, `\u{202e}`, `\xff` for a stray byte.
///
/// This is for eyes: a backslash is left as it is, so the result is not meant to be read back.
pub(crate) fn terminal(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(is_dangerous) => Cow::Borrowed(text),
        _ => Cow::Owned(spell_out(bytes)),
    }
}

/// [`terminal`] for text.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    terminal(text.as_bytes())
}

/// [`terminal`] for a path.
pub(crate) fn path(path: &Path) -> Cow<'_, str> {
    terminal(path.as_os_str().as_bytes())
}

/// Whether a terminal might obey this character, or show the text around it in another order or on another line.
pub(crate) fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

fn spell_out(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_char(&mut out, c));
        chunk.invalid().iter().for_each(|byte| push_byte(&mut out, *byte));
    }
    out
}

fn push_char(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if !is_dangerous(c) => out.push(c),
        c if c.is_ascii() => push_byte(out, c as u8),
        c => out.extend(c.escape_unicode()),
    }
}

fn push_byte(out: &mut String, byte: u8) {
    // Writing into a `String` cannot fail.
    let _ = write!(out, "\\x{byte:02x}");
}

/// The text of a name for a JSON field: bytes that are not UTF-8 become U+FFFD, see [`raw`].
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The exact bytes for the `*_raw` field beside a [`lossy`] one: percent-encoded (RFC 3986 with `/` kept).
///
/// `None` if the bytes are UTF-8, for then the plain field is exact already and the raw one is left out.
pub(crate) fn raw(bytes: &[u8]) -> Option<String> {
    match std::str::from_utf8(bytes) {
        Ok(_) => None,
        Err(_) => Some(percent(bytes)),
    }
}

/// [`raw`] for a list: `None` if all of them are UTF-8, otherwise every one of them is encoded.
pub(crate) fn raw_list<'a>(list: impl IntoIterator<Item = &'a [u8]> + Clone) -> Option<Vec<String>> {
    let exact = list.clone().into_iter().all(|bytes| std::str::from_utf8(bytes).is_ok());
    (!exact).then(|| list.into_iter().map(percent).collect())
}

fn percent(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 8);
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(*byte as char),
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Escapes within a finished JSON document what `serde_json` leaves as it is and a terminal may obey.
///
/// All of these characters can only stand within strings of the document, and all are below U+10000, so `\uXXXX`
/// says the same to a parser.
pub(crate) fn json(document: String) -> String {
    if !document.chars().any(is_dangerous_in_json) {
        return document;
    }
    let mut out = String::with_capacity(document.len() + 16);
    for c in document.chars() {
        if is_dangerous_in_json(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Line feeds may stand between the tokens of a document; within strings `serde_json` has escaped them.
fn is_dangerous_in_json(c: char) -> bool {
    c != '\n' && is_dangerous(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_left_alone_and_not_copied() {
        for plain in ["", "/home/анна/日本語 & co.txt", "a\\b", "e\u{301}", "🌲"] {
            assert!(matches!(text(plain), Cow::Borrowed(same) if same == plain));
        }
    }

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(terminal(b"a\x1b[31mred"), "a\\x1b[31mred");
        assert_eq!(terminal(b"\n\r\t\0\x07\x08\x7f"), "\\n\\r\\t\\x00\\x07\\x08\\x7f");
        assert_eq!(text("\u{9b}31m"), "\\u{9b}31m");
    }

    #[test]
    fn bidirectional_controls_are_spelled_out() {
        for code in (0x202a..=0x202e).chain(0x2066..=0x2069).chain([0x200e, 0x200f, 0x61c, 0x2028, 0x2029, 0xfeff]) {
            let c = char::from_u32(code).unwrap();
            assert_eq!(text(&format!("x{c}y")), format!("x\\u{{{code:x}}}y"));
        }
    }

    #[test]
    fn invalid_utf8_shows_its_bytes() {
        assert_eq!(terminal(b"caf\xe9"), "caf\\xe9");
        // A C1 control as a bare byte, which an 8-bit terminal obeys.
        assert_eq!(terminal(b"\x9b31m"), "\\x9b31m");
        assert_eq!(terminal(b"\xe2\x82"), "\\xe2\\x82");
    }

    #[test]
    fn every_pair_of_bytes_comes_out_harmless() {
        for pair in 0..=u16::MAX {
            let shown = terminal(&pair.to_be_bytes()).into_owned();
            assert!(!shown.chars().any(is_dangerous), "{pair:04x} became {shown:?}");
        }
    }

    #[test]
    fn json_strings_keep_the_exact_bytes_beside() {
        assert_eq!(raw("/tmp/été".as_bytes()), None);
        assert_eq!(lossy(b"/tmp/\xe9 a"), "/tmp/\u{fffd} a");
        assert_eq!(raw(b"/tmp/\xe9 a").as_deref(), Some("/tmp/%E9%20a"));
        assert_eq!(raw_list([b"/a".as_slice(), b"/b"]), None);
        assert_eq!(raw_list([b"/a".as_slice(), b"\xff"]), Some(vec!["/a".to_owned(), "%FF".to_owned()]));
    }

    #[test]
    fn json_documents_are_safe_to_show_and_mean_the_same() {
        let value = serde_json::json!({ "path": "a\u{1b}\u{7f}\u{9b}\u{202e}\u{feff}\n" });
        let document = json(serde_json::to_string_pretty(&value).unwrap());
        assert!(!document.replace('\n', "").chars().any(is_dangerous));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&document).unwrap(), value);
    }
}
