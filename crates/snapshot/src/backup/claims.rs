//! What applications have claimed along the walk, and what their captures yield.
//!
//! Invariant: a claimed path is looked up here before anything else is done with it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use treering_chunk::CutPolicy;

use super::BackupOptions;
use crate::capture::{Capture, Content, Folder, PieceStore, TakenFile};
use crate::error::with_causes;
use crate::record::{AppEntry, STATE_TAG, Snapshot};
use crate::walk::OpenFolder;

/// A file that a capture yields.
pub(super) struct Taken {
    pub(super) capture: usize,
    /// Whose status and extended attributes it gets; `None`: it is virtual.
    pub(super) attributes: Option<PathBuf>,
    pub(super) content: Content,
    pub(super) cut: Option<CutPolicy>,
}

/// Captures that were started in a folder.
#[derive(Default)]
pub(super) struct Started {
    pub(super) captures: Vec<(Box<dyn Capture>, usize, &'static str, PathBuf)>,
    /// What could not be captured: its kind, its main file or folder, and why.
    pub(super) failures: Vec<(&'static str, PathBuf, String)>,
}

/// All claims of a walk.
#[derive(Default)]
pub(super) struct Claims<'a> {
    /// What captures left in the parent, by kind and path. Empty if the parent's content may be lost: then nothing is
    /// taken over from it, and captures start afresh.
    previous: HashMap<(&'a str, &'a [u8]), &'a [u8]>,
    claimed: HashSet<PathBuf>,
    taken: HashMap<PathBuf, Taken>,
    /// Names by the folder that they are in.
    names: HashMap<PathBuf, BTreeSet<Vec<u8>>>,
    captures: usize,
}

impl<'a> Claims<'a> {
    pub(super) fn new(parent: Option<&'a Snapshot>) -> Self {
        let known = parent.map_or(&[][..], |parent| &parent.applications).iter();
        let previous = known.filter_map(|app| Some(((app.kind.as_str(), &app.path[..]), state_of(app)?))).collect();
        Self { previous, ..Self::default() }
    }

    pub(super) fn is_claimed(&self, path: &Path) -> bool {
        !self.claimed.is_empty() && self.claimed.contains(path)
    }

    pub(super) fn take(&mut self, path: &Path) -> Option<Taken> {
        self.taken.remove(path)
    }

    /// Whether captures yield something in a folder that the walk has not come to.
    pub(super) fn has_names(&self, folder: &Path) -> bool {
        self.names.contains_key(folder)
    }

    /// Names that captures yield in a folder; those that are also listed come once.
    pub(super) fn added_names(&mut self, folder: &Path) -> Vec<Vec<u8>> {
        self.names.remove(folder).map(|names| names.into_iter().collect()).unwrap_or_default()
    }

    /// Shows a folder to the applications and starts what they claim.
    pub(super) fn claim(
        &mut self,
        options: &BackupOptions<'_>,
        folder: &OpenFolder,
        pieces: &mut dyn PieceStore,
    ) -> Started {
        let mut started = Started::default();
        let shown = Folder { path: &folder.path, names: folder.names(), is_excluded: options.is_excluded };
        for application in options.applications {
            for capture in application.claim(&shown) {
                self.start((application.kind(), &folder.path), capture, pieces, &mut started);
            }
        }
        started
    }

    fn start(
        &mut self,
        (kind, folder): (&'static str, &Path),
        mut capture: Box<dyn Capture>,
        pieces: &mut dyn PieceStore,
        started: &mut Started,
    ) {
        let claimed: Vec<PathBuf> = capture.claimed().iter().map(|path| folder.join(path)).collect();
        if claimed.iter().any(|path| self.claimed.contains(path)) {
            // Another application was quicker; the first in the list of applications wins.
            return;
        }
        self.claimed.extend(claimed.iter().cloned());
        let kind = capture.kind().unwrap_or(kind);
        // Joined with nothing, a folder would end in a slash.
        let path: PathBuf = folder.join(capture.name()).components().collect();
        let previous = self.previous.get(&(kind, path.as_os_str().as_bytes())).copied();
        match capture.take(previous, pieces) {
            Ok(files) => {
                self.captures += 1;
                for inside in capture.folders() {
                    self.names.entry(folder.join(inside)).or_default();
                }
                files.into_iter().for_each(|file| self.add(folder, file));
                started.captures.push((capture, self.captures, kind, path));
            }
            Err(error) if claimed.iter().any(|path| path.symlink_metadata().is_ok()) => {
                started.failures.push((kind, path, with_causes(&error)));
            }
            // Nothing is missing in the snapshot.
            Err(_) => {}
        }
    }

    fn add(&mut self, folder: &Path, file: TakenFile) {
        let TakenFile { path, attributes_of, content, cut } = file;
        let path = folder.join(path);
        let attributes = attributes_of.map(|path| folder.join(path));
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            self.names.entry(parent.to_owned()).or_default().insert(name.as_bytes().to_vec());
        }
        self.claimed.insert(path.clone());
        let capture = self.captures;
        self.taken.insert(path, Taken { capture, attributes, content, cut });
    }
}

fn state_of(app: &AppEntry) -> Option<&[u8]> {
    app.extensions.iter().find(|(tag, _)| *tag == STATE_TAG).map(|(_, state)| state.as_slice())
}
