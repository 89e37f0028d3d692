//! The snapshots of one environment, in the order in which they were taken, read as images of its log.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use treering_je::KIND;
use treering_je::moment::{Contents, Copied, Image, Loader};
use treering_je::restore::path_of;
use treering_snapshot::record::AllSnapshots;
use treering_snapshot::restore::write_file;
use treering_snapshot::select::{Filter, Named};
use treering_snapshot::{Node, SnapshotError, SnapshotName};
use treering_store::ChunkReader;

use super::source::environment_of;
use crate::context::Opened;
use crate::exit::Failure;

/// One environment of one host.
#[derive(Debug, Clone)]
pub(crate) struct History {
    /// Its folder.
    pub(crate) path: PathBuf,
    /// Its host.
    pub(crate) host: String,
    /// The snapshots that have it, oldest first.
    pub(crate) snapshots: Vec<Named>,
}

/// The histories in these snapshots, by host and path. A path that is given is the environment's, or lies above it where a
/// host has no environment at the path itself.
pub(crate) fn histories(all: &AllSnapshots, filter: &Filter, paths: &[PathBuf]) -> Vec<History> {
    let mut hosts: BTreeMap<&str, BTreeMap<PathBuf, Vec<&Named>>> = BTreeMap::new();
    for named in all.snapshots.iter().filter(|(_, snapshot)| filter.matches(snapshot)) {
        for path in environments(named) {
            hosts.entry(&named.1.host).or_default().entry(path).or_default().push(named);
        }
    }
    let mut found = Vec::new();
    for (host, environments) in &hosts {
        let is_meant = |path: &Path| {
            paths.iter().any(|named| path == named || path.starts_with(named) && !environments.contains_key(named))
        };
        for (path, snapshots) in environments.iter().filter(|(path, _)| paths.is_empty() || is_meant(path)) {
            let mut snapshots: Vec<Named> = snapshots.iter().copied().cloned().collect();
            snapshots.sort_by_key(|(name, snapshot)| (snapshot.statistics.started_ms, *name));
            found.push(History { path: path.clone(), host: (*host).to_owned(), snapshots });
        }
    }
    found
}

/// The environments of a snapshot.
pub(crate) fn environments((_, snapshot): &Named) -> Vec<PathBuf> {
    snapshot.applications.iter().filter(|app| app.kind == KIND).map(path_of).collect()
}

impl History {
    /// What each snapshot has of the log.
    pub(crate) fn images(&self, opened: &Opened) -> Result<Vec<Image>, Failure> {
        self.images_with(opened, &mut Loader::default(), |_| true)
    }

    /// The same of some snapshots only, by a loader that may know files already.
    pub(crate) fn images_with(
        &self,
        opened: &Opened,
        loader: &mut Loader,
        is_wanted: impl Fn(&SnapshotName) -> bool,
    ) -> Result<Vec<Image>, Failure> {
        let mut reader = opened.repository.reader()?;
        let wanted = self.snapshots.iter().filter(|(name, _)| is_wanted(name));
        let copies = wanted.map(|named| copied(&mut reader, named, &self.path));
        let copies = copies.collect::<Result<Vec<_>, Failure>>()?;
        Ok(loader.load(&mut Chunks(reader), &copies)?)
    }
}

/// The files of the log in one snapshot.
fn copied(reader: &mut ChunkReader<'_>, named: &Named, path: &Path) -> Result<Copied, Failure> {
    Ok(Copied { files: files(reader, named, path)?, taken_ms: named.1.statistics.started_ms })
}

/// The files of the log of an environment in a snapshot, by their numbers.
pub(crate) fn files(reader: &mut ChunkReader<'_>, named: &Named, path: &Path) -> Result<BTreeMap<u32, Node>, Failure> {
    Ok(environment_of(reader, named, path.to_owned())?.files)
}

/// Files out of the repository.
pub(crate) struct Chunks<'r>(pub(crate) ChunkReader<'r>);

impl Contents for Chunks<'_> {
    fn read(&mut self, file: &Node, out: &mut dyn Write) -> Result<(), SnapshotError> {
        write_file(&mut self.0, file, out)
    }
}
