//! Recognising environments.
//!
//! Owns the decision what is claimed: by names, and by a look into what could be JE's own folders. Opens no file.
//! Invariant: everything in the folder that is JE's is claimed, what is yielded of it or not; `je.properties` and what is
//! somebody else's stay with the walk.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use treering_snapshot::capture::{Application, Capture, Folder};

use super::EnvironmentCapture;
use crate::Options;
use crate::log::Name;

/// How this kind of application is called, in snapshots and on the command line.
pub const KIND: &str = "je";

/// The application: environments of Berkeley DB Java Edition.
#[derive(Debug, Clone)]
pub struct Je {
    options: Options,
}

impl Je {
    /// Prepares captures with these options.
    pub fn new(options: Options) -> Self {
        Je { options }
    }
}

impl Application for Je {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn claim(&self, folder: &Folder<'_>) -> Vec<Box<dyn Capture>> {
        if !is_environment(folder) {
            return Vec::new();
        }
        let claimed = folder.names.iter().filter(|name| is_jes(folder, name)).map(PathBuf::from).collect();
        vec![Box::new(EnvironmentCapture::new(folder.path, claimed, self.options.clone()))]
    }
}

/// Whether this is an environment none of whose log files is excluded: of one that is taken in part by the user's own will,
/// nothing could be said.
fn is_environment(folder: &Folder<'_>) -> bool {
    let is_excluded = |name: &OsStr| is_log(name) && (folder.is_excluded)(&folder.path.join(name), false);
    has_environment(folder.path, || folder.names.iter()) && !folder.names.iter().any(is_excluded)
}

/// Whether this folder is that of an environment: JE's log is in it, or its data folders are.
///
/// # Errors
///
/// That it cannot be listed.
pub fn is_home(folder: &Path) -> io::Result<bool> {
    let names: Vec<OsString> = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    Ok(has_environment(folder, || names.iter().map(OsString::as_os_str)))
}

/// The log is in the folder itself, or in data folders. Of those any may be without a file just now, for the files go
/// round; and a disk that is not mounted leaves an empty one. So JE's lock or settings beside a data folder are enough.
/// Without them a log in any data folder is, unless that has a lock of its own, which JE makes in environments only.
fn has_environment<'n, N: Iterator<Item = &'n OsStr>>(folder: &Path, all: impl Fn() -> N) -> bool {
    if all().any(is_log) {
        return true;
    }
    let data = || all().filter(|name| is_data_folder(folder, name));
    match all().any(|name| matches!(Name::of(name), Name::Lock | Name::Properties)) {
        true => data().next().is_some(),
        false => data().any(|name| has_only_a_log(&folder.join(name))),
    }
}

fn is_log(name: &OsStr) -> bool {
    matches!(Name::of(name), Name::Log(_) | Name::Marker)
}

fn is_data_folder(folder: &Path, name: &OsStr) -> bool {
    matches!(Name::of(name), Name::DataFolder(_)) && folder.join(name).is_dir()
}

fn has_only_a_log(folder: &Path) -> bool {
    let names = names(folder);
    names.iter().any(|name| is_log(name)) && !names.iter().any(|name| Name::of(name) == Name::Lock)
}

fn is_jes(folder: &Folder<'_>, name: &OsStr) -> bool {
    let path = folder.path.join(name);
    match Name::of(name) {
        Name::Log(_) | Name::Marker | Name::Lock => true,
        Name::DataFolder(_) => is_data_folder(folder.path, name),
        Name::Leftover => is_leftover(&path, name),
        Name::Properties | Name::Lookalike | Name::Foreign => false,
    }
}

/// A folder of such a name may be the application's own.
fn is_leftover(path: &Path, name: &OsStr) -> bool {
    let all = |is_one: fn(&str) -> bool| names(path).iter().all(|name| name.to_str().is_some_and(is_one));
    match name.to_str() {
        Some("snapshots") => path.is_dir() && all(|name| name.len() == 8 && name.bytes().all(|b| b.is_ascii_digit())),
        Some("deleted") => path.is_dir() && all(|name| name.contains(".del")),
        _ => !path.is_dir(),
    }
}

/// A folder that cannot be listed has no names here; the capture will say why.
fn names(folder: &Path) -> Vec<OsString> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
}
