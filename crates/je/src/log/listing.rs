//! The files of an environment, found by their names.
//!
//! Owns which file of the log lies where, with one folder or with data folders. Never opens a file.
//! Invariant: a number is listed once; what else claims it is remarked upon.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use super::{Name, data_folder, data_folder_name, file_name};

/// The files of an environment at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The files of the log, by their numbers.
    pub files: BTreeMap<u32, Listed>,
    /// The numbers of the data folders that are there, in order; empty without any.
    pub data_folders: Vec<u32>,
    /// Whether there is the marker of a network restore that has not ended.
    pub has_marker: bool,
    /// Whether there is a `je.lck`.
    pub has_lock: bool,
    /// Whether there is a `je.properties`.
    pub has_properties: bool,
    /// What JE left and does not need: cleaned files, statistics, its own snapshots. Relative to the environment.
    pub leftovers: Vec<PathBuf>,
    /// What belongs to somebody else. Relative to the environment.
    pub foreign: Vec<PathBuf>,
    /// What is wrong with names and places.
    pub remarks: Vec<Remark>,
}

/// One file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its place relative to the environment: `00000005.jdb` or `data003/00000005.jdb`.
    pub path: PathBuf,
}

/// Something wrong with names and places.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Remark {
    /// A name that JE may take for a file of the log.
    #[error("{}: JE may take it for a file of the log, and it is none; move it away", .path.display())]
    Lookalike {
        /// It.
        path: PathBuf,
    },
    /// A file lies in another data folder than its number says.
    #[error("{} belongs into {}; JE will not find it", .path.display(), .expected.display())]
    Misplaced {
        /// Where it is.
        path: PathBuf,
        /// Where it should be.
        expected: PathBuf,
    },
    /// A number is there twice.
    #[error("{} has a number that {} has too", .path.display(), .other.display())]
    Twice {
        /// The one that is left out.
        path: PathBuf,
        /// The one that is taken.
        other: PathBuf,
    },
    /// The data folders are not numbered from 1 without a gap. JE refuses to open such an environment.
    #[error("data folder {missing:03} is missing; JE will not open the environment")]
    DataFolderMissing {
        /// The first that is missing.
        missing: u32,
    },
}

impl Listing {
    /// Lists the folder of an environment and its data folders, following links to those.
    ///
    /// # Errors
    ///
    /// That a folder cannot be read.
    pub fn read(environment: &Path) -> io::Result<Listing> {
        let mut listing = Listing::of_names(names(environment)?.iter().map(OsString::as_os_str));
        for number in listing.data_folders.clone() {
            let names = names(&environment.join(data_folder_name(number)))?;
            listing.add_data_folder(number, names.iter().map(OsString::as_os_str));
        }
        Ok(listing.checked())
    }

    /// Whether there is anything of JE's at all.
    pub fn is_environment(&self) -> bool {
        let has_files = self.has_marker || self.has_lock || self.has_properties || !self.leftovers.is_empty();
        has_files || !self.files.is_empty() || !self.data_folders.is_empty()
    }

    /// The listing of an environment's own folder. Data folders follow by [`Listing::add_data_folder`], then
    /// [`Listing::checked`].
    pub fn of_names<'n>(names: impl IntoIterator<Item = &'n OsStr>) -> Listing {
        let mut listing = Listing::default();
        for name in names {
            listing.add(Path::new(""), name);
        }
        listing.data_folders.sort_unstable();
        listing
    }

    /// Adds the names in a data folder.
    pub fn add_data_folder<'n>(&mut self, number: u32, names: impl IntoIterator<Item = &'n OsStr>) {
        let folder = data_folder_name(number);
        for name in names {
            self.add(&folder, name);
        }
    }

    /// Looks whether everything is in its place.
    #[must_use]
    pub fn checked(mut self) -> Listing {
        let folders = self.data_folders.len() as u32;
        if let Some((missing, _)) = (1..).zip(&self.data_folders).find(|(expected, found)| expected != *found) {
            self.remarks.push(Remark::DataFolderMissing { missing });
        }
        for (number, file) in &self.files {
            let expected = expected_path(*number, folders);
            if file.path != expected {
                self.remarks.push(Remark::Misplaced { path: file.path.clone(), expected });
            }
        }
        self
    }

    /// The number of the last file.
    pub fn last(&self) -> Option<u32> {
        self.files.last_key_value().map(|(number, _)| *number)
    }

    fn add(&mut self, folder: &Path, name: &OsStr) {
        let path = folder.join(name);
        let is_top = folder.as_os_str().is_empty();
        match Name::of(name) {
            Name::Log(number) => self.add_file(number, path),
            Name::Marker => self.has_marker = true,
            Name::Lock if is_top => self.has_lock = true,
            Name::Properties if is_top => self.has_properties = true,
            Name::DataFolder(number) if is_top => self.data_folders.push(number),
            Name::Leftover => self.leftovers.push(path),
            Name::Lookalike => self.remarks.push(Remark::Lookalike { path }),
            _ => self.foreign.push(path),
        }
    }

    fn add_file(&mut self, number: u32, path: PathBuf) {
        match self.files.get(&number) {
            Some(known) => self.remarks.push(Remark::Twice { path, other: known.path.clone() }),
            None => {
                self.files.insert(number, Listed { path });
            }
        }
    }
}

/// Where a file lies in an environment with so many data folders.
fn expected_path(number: u32, folders: u32) -> PathBuf {
    data_folder(number, folders).unwrap_or_default().join(file_name(number))
}

fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names<'n>(names: &'n [&str]) -> impl Iterator<Item = &'n OsStr> {
        names.iter().map(OsStr::new)
    }

    #[test]
    fn one_folder() {
        let listing = Listing::of_names(names(&["00000001.jdb", "00000000.jdb", "je.lck", "00000000.del", "my.txt"]));
        let listing = listing.checked();
        assert_eq!(listing.files.keys().copied().collect::<Vec<_>>(), [0, 1]);
        assert!(listing.has_lock && !listing.has_marker && listing.remarks.is_empty());
        assert_eq!(listing.leftovers, [PathBuf::from("00000000.del")]);
        assert_eq!(listing.foreign, [PathBuf::from("my.txt")]);
    }

    #[test]
    fn data_folders() {
        let mut listing = Listing::of_names(names(&["data002", "data001", "je.lck"]));
        listing.add_data_folder(1, names(&["00000000.jdb", "00000002.jdb"]));
        listing.add_data_folder(2, names(&["00000001.jdb", "00000000.jdb", "00000004.jdb"]));
        let listing = listing.checked();
        assert_eq!(listing.files[&2].path, PathBuf::from("data001/00000002.jdb"));
        let twice = Remark::Twice { path: "data002/00000000.jdb".into(), other: "data001/00000000.jdb".into() };
        let misplaced =
            Remark::Misplaced { path: "data002/00000004.jdb".into(), expected: "data001/00000004.jdb".into() };
        assert_eq!(listing.remarks, [twice, misplaced]);
    }

    #[test]
    fn what_jes_own_rules_refuse() {
        let listing = Listing::of_names(names(&["data001", "data003", "00000000.JDB"])).checked();
        let lookalike = Remark::Lookalike { path: "00000000.JDB".into() };
        assert_eq!(listing.remarks, [lookalike, Remark::DataFolderMissing { missing: 2 }]);
    }
}
