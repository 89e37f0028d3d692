//! What the names in an environment's folder mean.
//!
//! Owns the rules of `log/FileManager.java` and `log/JEFileFilter.java`. Never looks at a file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The number of the file that says that a network restore has not ended (`log/RestoreMarker.java`).
pub const MARKER_FILE: u32 = 0x7fff_ffff;

/// As many data folders as can be named.
const DATA_FOLDERS_MOST: u32 = 999;

/// What a name in the folder of an environment stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// A file of the log, by its number.
    Log(u32),
    /// The marker of a network restore that has not ended.
    Marker,
    /// `je.lck`.
    Lock,
    /// `je.properties`: configuration that JE reads at each opening.
    Properties,
    /// A data folder, `data001` and so on, by its number from 1.
    DataFolder(u32),
    /// What JE leaves and does not need again: cleaned files, broken last files moved aside, statistics, its own
    /// snapshots, rests of network restores.
    Leftover,
    /// JE may take it for a file of the log, and it is none.
    Lookalike,
    /// Nothing of JE's.
    Foreign,
}

impl Name {
    /// What this name stands for.
    pub fn of(name: &OsStr) -> Name {
        let Some(name) = name.to_str() else { return Name::Foreign };
        match name {
            "je.lck" => Name::Lock,
            "je.properties" => Name::Properties,
            "je.stat.csv" | "je.config.csv" | "snapshots" | "deleted" => Name::Leftover,
            _ if is_info(name) => Name::Leftover,
            _ => numbered(name),
        }
    }
}

/// `je.info.0`, `je.info.0.lck`, and rotated statistics as `je.stat.0.csv`.
fn is_info(name: &str) -> bool {
    let rotated = |rest: &str| rest.split('.').next().is_some_and(is_digits);
    ["je.info.", "je.stat.", "je.config."].iter().any(|prefix| name.strip_prefix(prefix).is_some_and(rotated))
}

fn numbered(name: &str) -> Name {
    if let Some(number) = name.strip_prefix("data").filter(|rest| rest.len() == 3 && is_digits(rest)) {
        return number.parse().ok().filter(|number| *number > 0).map_or(Name::Foreign, Name::DataFolder);
    }
    let Some((stem, suffix)) = name.split_once('.') else { return Name::Foreign };
    match (file_number(stem), suffix) {
        (Some(MARKER_FILE), "jdb") => Name::Marker,
        (Some(number), "jdb") => Name::Log(number),
        (Some(_), _) if is_leftover(suffix) => Name::Leftover,
        _ if is_lookalike(stem, suffix) => Name::Lookalike,
        _ => Name::Foreign,
    }
}

/// `del`, `bad`, `tmp`, `bup`, and `del.1` and the like where the first name was taken.
fn is_leftover(suffix: &str) -> bool {
    let (kind, number) = suffix.split_once('.').unwrap_or((suffix, "0"));
    let numbered_in_place = kind.strip_prefix("bup").is_some_and(is_digits);
    (matches!(kind, "del" | "bad" | "tmp" | "bup") || numbered_in_place) && is_digits(number)
}

/// JE compares the suffix in any case, takes capital digits, and takes `NNNNNNNN.jdb.<number>` too.
fn is_lookalike(stem: &str, suffix: &str) -> bool {
    let (kind, number) = suffix.split_once('.').unwrap_or((suffix, "0"));
    kind.eq_ignore_ascii_case("jdb") && i64::from_str_radix(stem, 16).is_ok() && number.parse::<i32>().is_ok()
}

/// Eight hexadecimal digits in lower case.
fn file_number(stem: &str) -> Option<u32> {
    let is_plain = stem.len() == 8 && stem.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_plain.then(|| u32::from_str_radix(stem, 16).ok()).flatten()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The name of a file of the log.
pub fn file_name(number: u32) -> String {
    format!("{number:08x}.jdb")
}

/// The number of the file of the log at this path, relative to its environment: what lies elsewhere beneath it is none of it.
pub fn log_number(path: &Path) -> Option<u32> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let is_placed = folder.as_os_str().is_empty() || matches!(Name::of(folder.as_os_str()), Name::DataFolder(_));
    match Name::of(path.file_name()?) {
        Name::Log(number) if is_placed => Some(number),
        _ => None,
    }
}

/// In which data folder a file lies, where there are `folders` of them: `data00N`, N being its number modulo their
/// count, plus one (`FileManager.java`, `getFullFileName`).
pub fn data_folder(number: u32, folders: u32) -> Option<PathBuf> {
    let folders = Some(folders).filter(|folders| (1..=DATA_FOLDERS_MOST).contains(folders))?;
    Some(data_folder_name(number % folders + 1))
}

/// The name of a data folder, by its number from 1.
pub fn data_folder_name(number: u32) -> PathBuf {
    PathBuf::from(format!("data{number:03}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let cases = [
            ("00000000.jdb", Name::Log(0)),
            ("000000ff.jdb", Name::Log(255)),
            ("7fffffff.jdb", Name::Marker),
            ("je.lck", Name::Lock),
            ("je.properties", Name::Properties),
            ("data001", Name::DataFolder(1)),
            ("data000", Name::Foreign),
            ("data0001", Name::Foreign),
            ("dataabc", Name::Foreign),
            ("00000001.del", Name::Leftover),
            ("00000001.del.1", Name::Leftover),
            ("00000001.bad", Name::Leftover),
            ("00000001.bup0", Name::Leftover),
            ("00000001.tmp", Name::Leftover),
            ("je.info.0", Name::Leftover),
            ("je.info.0.lck", Name::Leftover),
            ("je.stat.csv", Name::Leftover),
            ("je.stat.0.csv", Name::Leftover),
            ("snapshots", Name::Leftover),
            ("00000001.JDB", Name::Lookalike),
            ("0000000A.jdb", Name::Lookalike),
            ("00000001.jdb.3", Name::Lookalike),
            ("1.jdb", Name::Lookalike),
            ("00000001.jdb.old", Name::Foreign),
            ("readme.jdb", Name::Foreign),
            ("je.information", Name::Foreign),
            ("", Name::Foreign),
        ];
        for (name, expected) in cases {
            assert_eq!(Name::of(OsStr::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn files_go_round_the_data_folders() {
        assert_eq!((file_name(0x1f), data_folder(5, 0)), ("0000001f.jdb".to_owned(), None));
        assert_eq!(data_folder(1, 3), Some(PathBuf::from("data002")));
        assert_eq!(data_folder(5, 3), Some(PathBuf::from("data003")));
        assert_eq!(data_folder(u32::MAX, 1), Some(PathBuf::from("data001")));
    }
}
