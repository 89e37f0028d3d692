//! Values as JSON, safe to show on a terminal.

use serde::Serialize;

use crate::escape;

/// The value on one line, with its line end.
pub(crate) fn line(value: &impl Serialize) -> String {
    // Only maps with keys that are no strings fail, and no message has one.
    let mut document = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    document.push('\n');
    escape::json(document)
}

/// The value on several lines, for people who read JSON (`cat`).
pub(crate) fn pretty(value: &impl Serialize) -> String {
    let mut document = serde_json::to_string_pretty(value).unwrap_or_else(|_| "null".to_owned());
    document.push('\n');
    escape::json(document)
}
