//! Recognising environments.
//!
//! Owns the decision what is claimed: by names, and by a look into what could be JE's own folders. Opens no file.
//! Invariant: everything in the folder that is JE's is claimed, what is yielded of it or not; `je.properties` and what is
//! somebody else's stay with the walk.

use std::ffi::{OsStr, OsString};
use std::fs;
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

/// Whether there are log files, here or in data folders, and none of them is excluded: of an environment that is taken in
/// part by the user's own will, nothing could be said.
fn is_environment(folder: &Folder<'_>) -> bool {
    let mut logs = folder.names.iter().filter(|name| matches!(Name::of(name), Name::Log(_) | Name::Marker)).peekable();
    let has_logs = logs.peek().is_some();
    let is_whole = logs.all(|name| !(folder.is_excluded)(&folder.path.join(name), false));
    let first = OsStr::new("data001");
    let has_data = || folder.names.has(first) && names(&folder.path.join(first)).iter().any(is_log);
    is_whole && (has_logs || has_data())
}

fn is_log(name: &OsString) -> bool {
    matches!(Name::of(name), Name::Log(_))
}

fn is_jes(folder: &Folder<'_>, name: &OsStr) -> bool {
    let path = folder.path.join(name);
    match Name::of(name) {
        Name::Log(_) | Name::Marker | Name::Lock => true,
        Name::DataFolder(_) => path.is_dir(),
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
