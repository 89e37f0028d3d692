//! Why a snapshot is kept, in restic's words where the meaning is the same.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Duration, Period};

/// One thing that keeps a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It has all of these tags; an empty list: it has none.
    Tags(Vec<String>),
    /// It is less than this older than the newest.
    Within(Duration),
    /// It is among the newest ones.
    Last,
    /// It is the newest one of a period.
    Newest(Period),
    /// It is the oldest one, and the count of periods was not used up.
    Oldest(Period),
    /// It is the newest one of a period, and less than this older than the newest.
    NewestWithin(Period, Duration),
    /// It is the last good one of an application.
    LastGood {
        /// Which application.
        kind: String,
        /// Its main file or folder: an absolute path.
        path: Vec<u8>,
    },
}

impl fmt::Display for Reason {
    /// `daily snapshot`, `within 7d`; bytes that are not UTF-8 become U+FFFD.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tags(tags) if tags.is_empty() => f.write_str("has no tags"),
            Self::Tags(tags) => write!(f, "has tags {}", tags.join(",")),
            Self::Within(duration) => write!(f, "within {duration}"),
            Self::Last => f.write_str("last snapshot"),
            Self::Newest(period) => write!(f, "{} snapshot", period.adverb()),
            Self::Oldest(period) => write!(f, "oldest {} snapshot", period.adverb()),
            Self::NewestWithin(period, duration) => write!(f, "{} within {duration}", period.adverb()),
            Self::LastGood { kind, path } => {
                write!(f, "last good snapshot of {kind} {}", Path::new(OsStr::from_bytes(path)).display())
            }
        }
    }
}
