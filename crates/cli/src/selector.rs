//! How a snapshot is named on the command line.
//!
//! Owns: the grammar `ID`, `latest`, `latest~N`, each with an optional `:/sub/path`.
//! Never: looks anything up; whether the snapshot exists is the repository's to say.
//! Invariant: a [`Selector`] that exists is well formed: an id is 4 to 64 lower-case hex digits, a sub-path has no
//! empty, `.` or `..` component.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// The fewest digits of an id that are accepted. What is printed as a short id has [`SHORT_ID_LEN`].
pub(crate) const MIN_ID_LEN: usize = 4;
/// The digits of a short id, as in restic.
pub(crate) const SHORT_ID_LEN: usize = 8;
/// The digits of a full id: 32 bytes.
pub(crate) const FULL_ID_LEN: usize = 64;

/// The full or shortened hexadecimal id of a snapshot, key, pack or other object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdPrefix(String);

impl IdPrefix {
    /// Reads 4 to 64 hexadecimal digits; capital letters are accepted.
    pub(crate) fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(SelectorError::NotAnId(text.to_owned()));
        }
        match text.len() {
            MIN_ID_LEN..=FULL_ID_LEN => Ok(IdPrefix(text.to_ascii_lowercase())),
            0..MIN_ID_LEN => Err(SelectorError::TooShort(text.to_owned())),
            _ => Err(SelectorError::TooLong(text.to_owned())),
        }
    }

    /// The digits, in lower case.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an id, as 64 lower-case digits, starts like this.
    pub(crate) fn matches(&self, full_id: &str) -> bool {
        full_id.starts_with(&self.0)
    }
}

impl fmt::Display for IdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SnapshotRef {
    /// By its id.
    Id(IdPrefix),
    /// By its age: `back` snapshots before the newest of those that the filters leave.
    Latest {
        /// 0 is the newest itself.
        back: u32,
    },
}

/// A snapshot, and perhaps a folder or file in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    /// Which snapshot.
    pub(crate) snapshot: SnapshotRef,
    /// What follows the colon, cleaned, starting with `/`. Any bytes but NUL.
    pub(crate) sub_path: Option<Vec<u8>>,
}

impl Selector {
    /// Reads a selector as it was typed.
    pub(crate) fn parse(typed: &OsStr) -> Result<Self, SelectorError> {
        let bytes = typed.as_bytes();
        let (snapshot, rest) = match bytes.iter().position(|byte| *byte == b':') {
            Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
            None => (bytes, None),
        };
        let sub_path = rest.filter(|rest| !rest.is_empty()).map(clean).transpose()?;
        Ok(Selector { snapshot: SnapshotRef::parse(snapshot)?, sub_path })
    }

    /// For clap's `try_map`.
    pub(crate) fn from_typed(typed: OsString) -> Result<Self, SelectorError> {
        Selector::parse(&typed)
    }
}

impl fmt::Display for SnapshotRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotRef::Id(prefix) => write!(f, "{prefix}"),
            SnapshotRef::Latest { back: 0 } => f.write_str("latest"),
            SnapshotRef::Latest { back } => write!(f, "latest~{back}"),
        }
    }
}

impl SnapshotRef {
    fn parse(bytes: &[u8]) -> Result<Self, SelectorError> {
        let text = String::from_utf8_lossy(bytes);
        let Some(rest) = text.strip_prefix("latest") else {
            return IdPrefix::parse(&text).map(SnapshotRef::Id).map_err(|error| match error {
                SelectorError::NotAnId(text) => SelectorError::NotASnapshot(text),
                other => other,
            });
        };
        let back = match (rest, rest.strip_prefix('~')) {
            ("", _) => Some(0),
            (_, Some(digits)) => parse_count(digits),
            _ => None,
        };
        back.map(|back| SnapshotRef::Latest { back }).ok_or_else(|| SelectorError::BadLatest(text.into_owned()))
    }
}

/// `parse` alone would accept a sign.
fn parse_count(digits: &str) -> Option<u32> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn clean(path: &[u8]) -> Result<Vec<u8>, SelectorError> {
    let mut cleaned = Vec::with_capacity(path.len() + 1);
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(SelectorError::ParentComponent),
            component => {
                cleaned.push(b'/');
                cleaned.extend_from_slice(component);
            }
        }
    }
    if cleaned.is_empty() {
        cleaned.push(b'/');
    }
    Ok(cleaned)
}

/// Why a selector cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SelectorError {
    /// Something else than hexadecimal digits.
    NotAnId(String),
    /// Neither hexadecimal digits nor `latest`.
    NotASnapshot(String),
    /// Fewer than [`MIN_ID_LEN`] digits.
    TooShort(String),
    /// More than [`FULL_ID_LEN`] digits.
    TooLong(String),
    /// `latest` followed by something else than `~N`.
    BadLatest(String),
    /// `..` in a sub-path.
    ParentComponent,
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SelectorError::NotAnId(_) => write!(f, "an id has hexadecimal digits only"),
            SelectorError::NotASnapshot(_) => {
                write!(f, "an id has hexadecimal digits only; `latest` and `latest~N` name snapshots by age")
            }
            SelectorError::TooShort(id) => write!(f, "`{id}` is too short: at least {MIN_ID_LEN} digits are needed"),
            SelectorError::TooLong(_) => write!(f, "an id has at most {FULL_ID_LEN} digits"),
            SelectorError::BadLatest(_) => {
                write!(f, "after `latest` only `~N` may follow, as in `latest~2`")
            }
            SelectorError::ParentComponent => {
                write!(f, "the path after the colon must not contain `..`")
            }
        }
    }
}

impl std::error::Error for SelectorError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Selector, SelectorError> {
        Selector::parse(OsStr::new(text))
    }

    fn id(digits: &str) -> SnapshotRef {
        SnapshotRef::Id(IdPrefix(digits.to_owned()))
    }

    #[test]
    fn ids_full_short_and_in_capitals() {
        assert_eq!(parse("3f9c2a71").unwrap(), Selector { snapshot: id("3f9c2a71"), sub_path: None });
        assert_eq!(parse("3F9C").unwrap().snapshot, id("3f9c"));
        let full = "ab".repeat(32);
        assert_eq!(parse(&full).unwrap().snapshot, id(&full));
        assert!(IdPrefix::parse("abab").unwrap().matches(&full));
        assert!(!IdPrefix::parse("abaa").unwrap().matches(&full));
    }

    #[test]
    fn latest_and_those_before() {
        assert_eq!(parse("latest").unwrap().snapshot, SnapshotRef::Latest { back: 0 });
        assert_eq!(parse("latest~0").unwrap().snapshot, SnapshotRef::Latest { back: 0 });
        assert_eq!(parse("latest~12").unwrap().snapshot, SnapshotRef::Latest { back: 12 });
        for bad in ["latest~", "latest~-1", "latest~+1", "latest2", "latest~x", "latest~99999999999"] {
            assert!(matches!(parse(bad), Err(SelectorError::BadLatest(_))), "{bad}");
        }
    }

    #[test]
    fn sub_paths_are_cleaned() {
        let sub_path = |text: &str| parse(text).unwrap().sub_path.map(|path| String::from_utf8(path).unwrap());
        assert_eq!(sub_path("latest:/srv/je").as_deref(), Some("/srv/je"));
        assert_eq!(sub_path("latest~1:srv//./je/").as_deref(), Some("/srv/je"));
        assert_eq!(sub_path("3f9c2a71:/").as_deref(), Some("/"));
        assert_eq!(sub_path("3f9c2a71:/a:b").as_deref(), Some("/a:b"));
        assert_eq!(sub_path("3f9c2a71:"), None);
        assert_eq!(parse("latest:/a/../b"), Err(SelectorError::ParentComponent));
    }

    #[test]
    fn sub_paths_may_hold_any_bytes() {
        let selector = Selector::parse(OsStr::from_bytes(b"latest:/caf\xe9")).unwrap();
        assert_eq!(selector.sub_path.as_deref(), Some(b"/caf\xe9".as_slice()));
    }

    #[test]
    fn what_is_no_id_is_refused_with_a_reason() {
        assert!(matches!(parse("3f9"), Err(SelectorError::TooShort(_))));
        assert!(matches!(parse(&"a".repeat(65)), Err(SelectorError::TooLong(_))));
        for bad in ["", ":/x", "newest", "Latest", "3f9g", "\u{ff11}234", "3f9c 2a71"] {
            assert!(matches!(parse(bad), Err(SelectorError::NotASnapshot(_))), "{bad}");
        }
        assert_eq!(IdPrefix::parse("zz").unwrap_err().to_string(), "an id has hexadecimal digits only");
    }
}
