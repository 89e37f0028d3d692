//! The environment variables that treering obeys.
//!
//! Owns: their names and their syntax; the only module that reads the environment.
//! Never: decides what beats what; `settings` does.
//! Invariant: an invalid value is an error, never ignored. An empty variable counts as one that is not set.

use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::args::values::{self, Compression};
use crate::exit::Failure;
use crate::selector::IdPrefix;

/// The most status lines or redraws a second that may be asked for.
const MAX_PROGRESS_FPS: f64 = 60.0;

/// What the environment says.
#[derive(Default)]
pub(crate) struct Environment {
    /// `TREERING_REPOSITORY`.
    pub(crate) repository: Option<OsString>,
    /// `TREERING_REPOSITORY_FILE`.
    pub(crate) repository_file: Option<PathBuf>,
    /// `TREERING_PASSWORD`.
    pub(crate) password: Option<Zeroizing<Vec<u8>>>,
    /// `TREERING_PASSWORD_FILE`.
    pub(crate) password_file: Option<PathBuf>,
    /// `TREERING_PASSWORD_COMMAND`.
    pub(crate) password_command: Option<String>,
    /// `TREERING_KEY_FILE`.
    pub(crate) key_file: Option<PathBuf>,
    /// `TREERING_KEY_HINT`.
    pub(crate) key_hint: Option<IdPrefix>,
    /// `TREERING_COMPRESSION`.
    pub(crate) compression: Option<Compression>,
    /// `TREERING_READ_CONCURRENCY`.
    pub(crate) read_concurrency: Option<NonZeroUsize>,
    /// `TREERING_HOST`.
    pub(crate) host: Option<String>,
    /// `TREERING_PROGRESS_FPS`.
    pub(crate) progress_fps: Option<f64>,
    /// `TREERING_CACHE_DIR`.
    pub(crate) cache_dir: Option<PathBuf>,
    /// `TREERING_IGNORE_CTIME`.
    pub(crate) ignore_ctime: bool,
    /// `TREERING_IGNORE_INODE`.
    pub(crate) ignore_inode: bool,
    /// `XDG_CACHE_HOME`, or `.cache` in `HOME`.
    pub(crate) user_cache_dir: Option<PathBuf>,
    /// `USER`, or `LOGNAME`.
    pub(crate) user_name: Option<String>,
    /// `TMPDIR`.
    pub(crate) temp_folder: Option<PathBuf>,
}

impl Environment {
    /// Reads the environment of this process.
    pub(crate) fn read() -> Result<Environment, Failure> {
        Environment::from_lookup(&|name| std::env::var_os(name))
    }

    /// Reads whatever the function knows.
    pub(crate) fn from_lookup(lookup: Lookup<'_>) -> Result<Environment, Failure> {
        let path = |name| value(lookup, name).map(PathBuf::from);
        Ok(Environment {
            repository: value(lookup, "TREERING_REPOSITORY"),
            repository_file: path("TREERING_REPOSITORY_FILE"),
            password: value(lookup, "TREERING_PASSWORD").map(|password| Zeroizing::new(password.into_vec())),
            password_file: path("TREERING_PASSWORD_FILE"),
            password_command: text(lookup, "TREERING_PASSWORD_COMMAND")?,
            key_file: path("TREERING_KEY_FILE"),
            key_hint: parsed(lookup, "TREERING_KEY_HINT", IdPrefix::parse)?,
            compression: parsed(lookup, "TREERING_COMPRESSION", str::parse)?,
            read_concurrency: parsed(lookup, "TREERING_READ_CONCURRENCY", values::read_concurrency)?,
            host: text(lookup, "TREERING_HOST")?,
            progress_fps: parsed(lookup, "TREERING_PROGRESS_FPS", parse_fps)?,
            cache_dir: path("TREERING_CACHE_DIR"),
            ignore_ctime: parsed(lookup, "TREERING_IGNORE_CTIME", parse_bool)?.unwrap_or(false),
            ignore_inode: parsed(lookup, "TREERING_IGNORE_INODE", parse_bool)?.unwrap_or(false),
            user_cache_dir: path("XDG_CACHE_HOME").or_else(|| path("HOME").map(|home| home.join(".cache"))),
            // Not ours to complain about.
            user_name: ["USER", "LOGNAME"].iter().find_map(|name| value(lookup, name)?.into_string().ok()),
            temp_folder: path("TMPDIR"),
        })
    }
}

impl fmt::Debug for Environment {
    /// Says no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("repository", &self.repository).finish_non_exhaustive()
    }
}

/// Gives the value of a variable.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Any variable, for `$NAME` in a file of patterns.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn value(lookup: Lookup<'_>, name: &str) -> Option<OsString> {
    lookup(name).filter(|value| !value.is_empty())
}

fn text(lookup: Lookup<'_>, name: &str) -> Result<Option<String>, Failure> {
    let text = value(lookup, name).map(OsString::into_string).transpose();
    text.map_err(|_| Failure::usage(format!("the environment variable {name} is not UTF-8")))
}

fn parsed<T, E: std::error::Error + 'static>(
    lookup: Lookup<'_>,
    name: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, Failure> {
    let wrong =
        |error: E| Failure::usage(format!("the environment variable {name} has an invalid value")).because(&error);
    text(lookup, name)?.map(|text| parse(&text)).transpose().map_err(wrong)
}

fn parse_fps(text: &str) -> Result<f64, values::ValueError> {
    match text.parse() {
        Ok(fps) if fps > 0.0 && fps <= MAX_PROGRESS_FPS => Ok(fps),
        _ => Err(values::ValueError("give a number above 0 and up to 60")),
    }
}

/// The words that restic accepts.
fn parse_bool(text: &str) -> Result<bool, values::ValueError> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err(values::ValueError("use true or false")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::exit::Kind;

    /// An environment of these variables only.
    pub(crate) fn environment(variables: &[(&str, &str)]) -> Result<Environment, Failure> {
        Environment::from_lookup(&|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn an_empty_environment_says_nothing() {
        let empty = environment(&[("TREERING_REPOSITORY", ""), ("TREERING_COMPRESSION", "")]).unwrap();
        assert_eq!(empty.repository, None);
        assert_eq!(empty.compression, None);
        assert!(!empty.ignore_ctime);
    }

    #[test]
    fn values_are_parsed() {
        let read = environment(&[
            ("TREERING_COMPRESSION", "max"),
            ("TREERING_READ_CONCURRENCY", "4"),
            ("TREERING_PROGRESS_FPS", "0.5"),
            ("TREERING_IGNORE_INODE", "true"),
            ("TREERING_KEY_HINT", "3F9C2A71"),
            ("TREERING_PASSWORD", "secret"),
            ("HOME", "/home/u"),
        ])
        .unwrap();
        assert_eq!(read.compression, Some(Compression::Max));
        assert_eq!(read.read_concurrency.map(NonZeroUsize::get), Some(4));
        assert_eq!(read.progress_fps, Some(0.5));
        assert!(read.ignore_inode);
        assert_eq!(read.key_hint.as_ref().map(IdPrefix::as_str), Some("3f9c2a71"));
        assert_eq!(read.user_cache_dir.as_deref(), Some("/home/u/.cache".as_ref()));
        assert!(!format!("{read:?}").contains("secret"));
    }

    #[test]
    fn an_invalid_value_is_an_error_that_names_the_variable() {
        for (name, value) in [
            ("TREERING_COMPRESSION", "zip"),
            ("TREERING_READ_CONCURRENCY", "0"),
            ("TREERING_PROGRESS_FPS", "0"),
            ("TREERING_PROGRESS_FPS", "NaN"),
            ("TREERING_IGNORE_CTIME", "yes"),
            ("TREERING_KEY_HINT", "me"),
        ] {
            let failure = environment(&[(name, value)]).unwrap_err();
            assert_eq!(failure.kind, Kind::Usage);
            assert!(failure.message().contains(name), "{failure}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_an_error_in_a_variable_of_ours() {
        let lookup = |name: &str| (name == "TREERING_HOST").then(|| OsString::from_vec(vec![0xff]));
        assert_eq!(Environment::from_lookup(&lookup).unwrap_err().kind, Kind::Usage);
        let lookup = |name: &str| match name {
            "USER" => Some(OsString::from_vec(vec![0xff])),
            "LOGNAME" => Some("ann".into()),
            _ => None,
        };
        assert_eq!(Environment::from_lookup(&lookup).unwrap().user_name.as_deref(), Some("ann"));
    }
}
