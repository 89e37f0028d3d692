//! Builds snapshots by hand, sound ones and others, and looks at what became of them.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use treering_chunk::{ChunkId, ChunkKind, CutSizes};
use treering_store::storage::Folder;
use treering_store::{
    Compression, DerivationCost, Encryption, InitOptions, OsEntropy, Repository, Session, SessionMode, Sink,
};

use crate::error::Result;
use crate::node::{Node, NodeKind, Time};
use crate::progress::{Event, Outcome, Progress};
use crate::record::{Snapshot, Statistics};
use crate::restore::{RestoreOptions, RestoreSummary, Root, layout, restore};
use crate::stream::{Extent, Stream, StreamBuilder};
use crate::tree::TreeBuilder;

/// Of a record that says more than there is: most tests are about something else.
fn plenty() -> Statistics {
    Statistics { total_files: 1 << 20, total_bytes: u64::MAX, ..Statistics::default() }
}

pub(super) struct Home {
    pub(super) folder: tempfile::TempDir,
    pub(super) repository: Arc<Repository>,
    session: Option<Session>,
    sink: Option<Sink>,
}

/// When everything that says nothing else was changed.
pub(super) const THEN: Time = Time { seconds: 1_700_000_000, nanoseconds: 123_456_789 };

pub(super) fn home() -> Home {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(Folder::new(folder.path().join("rings")));
    let options = InitOptions {
        encryption: Encryption::None,
        unlocks: Vec::new(),
        cost: DerivationCost::FLOOR,
        created: 0,
        cut_sizes: CutSizes::new(64 << 10, 8 << 10).unwrap(),
        frame_bytes: 64 << 10,
    };
    let cache = folder.path().join("cache");
    let repository = Arc::new(Repository::init(storage, &options, Arc::new(OsEntropy), cache).unwrap());
    let session = Session::start(&repository, None, Compression::DEFAULT, SessionMode::Store).unwrap();
    let sink = session.sink().unwrap();
    std::fs::create_dir(folder.path().join("outside")).unwrap();
    std::fs::write(folder.path().join("outside/canary"), b"alive").unwrap();
    Home { folder, repository, session: Some(session), sink: Some(sink) }
}

pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(super) fn node(name: &str, kind: NodeKind) -> Node {
    let mode = if matches!(kind, NodeKind::Folder { .. }) { 0o755 } else { 0o644 };
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    Node { name: name.into(), kind, mode, uid, gid, modified: THEN, xattrs: Vec::new(), extensions: Vec::new() }
}

pub(super) fn symlink(name: &str, target: &str) -> Node {
    Node { mode: 0o777, ..node(name, NodeKind::Symlink { target: target.into() }) }
}

impl Home {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn target(&self) -> PathBuf {
        self.path("target")
    }

    pub(super) fn put(&mut self, kind: ChunkKind, bytes: &[u8]) -> ChunkId {
        self.sink.as_mut().unwrap().put(kind, bytes).unwrap().id
    }

    pub(super) fn data(&mut self, bytes: &[u8]) -> Extent {
        Extent::Chunk { id: *self.put(ChunkKind::Data, bytes).as_bytes(), bytes: bytes.len() as u64 }
    }

    pub(super) fn stream(&mut self, extents: impl IntoIterator<Item = Extent>) -> Stream {
        let (mut builder, sink) = (StreamBuilder::default(), self.sink.as_mut().unwrap());
        extents.into_iter().for_each(|extent| builder.push(sink, extent).unwrap());
        builder.finish(sink).unwrap()
    }

    /// A file in chunks of this many bytes.
    pub(super) fn cut(&mut self, name: &str, bytes: &[u8], chunk_bytes: usize) -> Node {
        let extents: Vec<_> = bytes.chunks(chunk_bytes).map(|chunk| self.data(chunk)).collect();
        let content = self.stream(extents);
        node(name, NodeKind::File { content, links: 0 })
    }

    pub(super) fn file(&mut self, name: &str, bytes: &[u8]) -> Node {
        self.cut(name, bytes, 4096)
    }

    pub(super) fn folder(&mut self, name: &str, nodes: impl IntoIterator<Item = Node>) -> Node {
        let mut nodes: Vec<Node> = nodes.into_iter().collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let (mut builder, sink) = (TreeBuilder::default(), self.sink.as_mut().unwrap());
        let repository = &self.repository;
        nodes.iter().for_each(|node| builder.push(sink, repository.namer(), node).unwrap());
        node(name, NodeKind::Folder { tree: builder.finish(sink).unwrap() })
    }

    /// A snapshot of the path `/data`, which is this folder.
    pub(super) fn snapshot(&mut self, data: Node) -> Snapshot {
        self.snapshot_saying(data, plenty())
    }

    /// The same, with a record that says so much of itself.
    pub(super) fn snapshot_saying(&mut self, data: Node, statistics: Statistics) -> Snapshot {
        let root = self.folder("root", [Node { name: b"data".to_vec(), ..data }]);
        self.commit_saying(root, &["/data"], statistics)
    }

    pub(super) fn commit(&mut self, root: Node, paths: &[&str]) -> Snapshot {
        self.commit_saying(root, paths, plenty())
    }

    fn commit_saying(&mut self, root: Node, paths: &[&str], statistics: Statistics) -> Snapshot {
        let paths = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        let snapshot = Snapshot { time: THEN, root, paths, statistics, ..crate::testing::snapshot() };
        self.sink.as_mut().unwrap().flush().unwrap();
        self.session.as_ref().unwrap().commit(snapshot.encode().unwrap()).unwrap();
        snapshot
    }

    pub(super) fn roots(&self, snapshot: &Snapshot) -> Vec<Root> {
        layout(snapshot, &mut self.repository.reader().unwrap(), None, false).unwrap()
    }

    /// Restores and looks whether anything outside was touched, or a temporary file left.
    pub(super) fn restore(
        &self,
        snapshot: &Snapshot,
        change: impl FnOnce(&mut RestoreOptions<'_>),
    ) -> (Result<RestoreSummary>, Log) {
        let mut options = RestoreOptions::new(self.target(), self.roots(snapshot));
        change(&mut options);
        let log = Log::default();
        let summary = restore(&self.repository, snapshot, &options, &log);
        assert_eq!(std::fs::read(self.path("outside/canary")).unwrap(), b"alive");
        assert_eq!(std::fs::read_dir(self.path("outside")).unwrap().count(), 1, "something was made outside");
        if self.target().exists() {
            let left = look(&self.target());
            assert!(!left.keys().any(|path| path.to_string_lossy().contains(".treering-")), "{left:?}");
        }
        (summary, log)
    }

    pub(super) fn restore_all(&self, snapshot: &Snapshot) -> (RestoreSummary, Log) {
        let (summary, log) = self.restore(snapshot, |_| {});
        (summary.unwrap(), log)
    }

    /// Publishes what was put so far in packs of its own.
    pub(super) fn snapshot_flush(&mut self) {
        self.sink.as_mut().unwrap().flush().unwrap();
        self.session.as_ref().unwrap().flush().unwrap();
    }

    pub(super) fn packs(&self) -> Vec<PathBuf> {
        let all = look(&self.path("rings/packs"));
        all.into_iter()
            .filter(|(_, what)| what.kind == "file")
            .map(|(path, _)| self.path("rings/packs").join(path))
            .collect()
    }
}

/// What was told.
#[derive(Default)]
pub(super) struct Log {
    pub(super) failed: Mutex<Vec<(PathBuf, String)>>,
    pub(super) done: Mutex<Vec<(PathBuf, Outcome)>>,
    pub(super) bytes: Mutex<u64>,
}

impl Progress for Log {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Failed { path, error, .. } => self.failed.lock().push((path.to_owned(), error.to_string())),
            Event::Done { path, outcome, is_folder: false, .. } => self.done.lock().push((path.to_owned(), outcome)),
            Event::Bytes { bytes } => {
                let mut sum = self.bytes.lock();
                *sum = sum.saturating_add(bytes);
            }
            _ => {}
        }
    }
}

impl Log {
    pub(super) fn failures(&self) -> Vec<String> {
        let mut failed: Vec<_> = self.failed.lock().iter().map(|(path, _)| path.display().to_string()).collect();
        failed.sort();
        failed
    }

    pub(super) fn outcome(&self, path: &str) -> Option<Outcome> {
        self.done.lock().iter().find(|(done, _)| done == Path::new(path)).map(|(_, outcome)| *outcome)
    }
}

/// An entry as it lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) kind: &'static str,
    pub(super) mode: u32,
    pub(super) modified: Time,
    pub(super) inode: u64,
    pub(super) blocks: u64,
    pub(super) content: Vec<u8>,
}

/// Everything below a folder, with itself as the empty path.
pub(super) fn look(folder: &Path) -> BTreeMap<PathBuf, Seen> {
    let (mut all, mut waiting) = (BTreeMap::new(), vec![PathBuf::new()]);
    while let Some(path) = waiting.pop() {
        let full = folder.join(&path);
        let metadata = std::fs::symlink_metadata(&full).unwrap();
        let kind = metadata.file_type();
        let (word, content) = if kind.is_dir() {
            waiting.extend(std::fs::read_dir(&full).unwrap().map(|entry| path.join(entry.unwrap().file_name())));
            ("folder", Vec::new())
        } else if kind.is_symlink() {
            ("symlink", std::fs::read_link(&full).unwrap().into_os_string().into_encoded_bytes())
        } else if kind.is_file() {
            ("file", if metadata.len() < 64 << 20 { std::fs::read(&full).unwrap() } else { Vec::new() })
        } else {
            (
                if kind.is_fifo() {
                    "fifo"
                } else if kind.is_socket() {
                    "socket"
                } else {
                    "device"
                },
                Vec::new(),
            )
        };
        let modified = Time { seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() as u32 };
        let mode = metadata.permissions().mode() & 0o7777;
        all.insert(
            path,
            Seen { kind: word, mode, modified, inode: metadata.ino(), blocks: metadata.blocks(), content },
        );
    }
    all
}

/// Breaks every frame of a pack, and leaves its header and its trailer as they are.
pub(super) fn damage(pack: &Path) {
    let mut bytes = std::fs::read(pack).unwrap();
    let end = bytes.len() * 9 / 10;
    bytes[4500.min(end - 1)..end].iter_mut().step_by(100).for_each(|byte| *byte ^= 0x55);
    std::fs::set_permissions(pack, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(pack, bytes).unwrap();
}
