//! What is said when something fails.

use serde::Serialize;

use crate::exit::Failure;

/// The last message of a command that failed, on standard error. restic's fields, then ours.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "message_type", rename = "exit_error")]
pub(crate) struct ExitError {
    /// The exit code.
    pub(crate) code: u8,
    /// What happened.
    pub(crate) message: String,
    /// What is safe in spite of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) safe: Option<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

impl From<&Failure> for ExitError {
    fn from(failure: &Failure) -> Self {
        ExitError {
            code: failure.kind.code(),
            message: failure.message(),
            safe: failure.safe.clone(),
            next: failure.next.clone(),
        }
    }
}

/// Something that should be known and is no failure. Not restic's.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Warning {
    /// What it is.
    pub(crate) message: String,
}

/// One item failed, and the command went on.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ItemError {
    /// What happened.
    pub(crate) error: ErrorObject,
    /// What was being done: `scan`, `archival`, `restore`, `check`.
    pub(crate) during: &'static str,
    /// The path, or the id of what is damaged.
    pub(crate) item: String,
    /// The exact path if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) item_raw: Option<String>,
}

/// restic wraps the message.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ErrorObject {
    /// What happened.
    pub(crate) message: String,
}

impl ItemError {
    /// An error about a path or an id of any bytes.
    pub(crate) fn new(during: &'static str, item: &[u8], message: impl Into<String>) -> Self {
        ItemError {
            error: ErrorObject { message: message.into() },
            during,
            item: crate::escape::lossy(item),
            item_raw: crate::escape::raw(item),
        }
    }

    /// For people, not yet neutralised. Most messages name the path by themselves.
    pub(crate) fn text(&self) -> String {
        match self.error.message.contains(&self.item) {
            true => self.error.message.clone(),
            false => format!("{}: {}", self.item_raw.as_ref().unwrap_or(&self.item), self.error.message),
        }
    }
}
