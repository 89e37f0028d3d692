//! Small repositories for the tests of what reads them.

use std::path::PathBuf;
use std::sync::Arc;

use treering_chunk::{ChunkKind, CutSizes};
use treering_store::storage::{Area, Folder, Storage};
use treering_store::{
    Compression, DerivationCost, Encryption, InitOptions, KeyFile, OsEntropy, Repository, Session, SessionMode, Sink,
    Unlock,
};

use crate::node::{Node, NodeKind, Time};
use crate::record::{AppEntry, Owners, Snapshot, SnapshotName, Statistics};
use crate::stream::{Extent, Stream, StreamBuilder};
use crate::tree::TreeBuilder;

/// The length of the chunks that files are cut into here.
const CUT_BYTES: usize = 1000;

/// An entry to be made.
pub(crate) enum Item {
    File(Node, Vec<u8>),
    Folder(Node, Vec<Item>),
    Other(Node),
}

pub(crate) fn node(name: &str, kind: NodeKind) -> Node {
    let modified = Time { seconds: 1_000_000, nanoseconds: 0 };
    let (name, mode) = (name.as_bytes().to_vec(), 0o644);
    Node { name, kind, mode, uid: 0, gid: 0, modified, xattrs: Vec::new(), extensions: Vec::new() }
}

pub(crate) fn file(name: &str, bytes: &[u8]) -> Item {
    Item::File(node(name, NodeKind::File { content: Stream::default(), links: 0 }), bytes.to_vec())
}

pub(crate) fn dir(name: &str, items: Vec<Item>) -> Item {
    Item::Folder(node(name, NodeKind::Folder { tree: Stream::default() }), items)
}

pub(crate) fn symlink(name: &str, target: &str) -> Item {
    Item::Other(node(name, NodeKind::Symlink { target: target.as_bytes().to_vec() }))
}

impl Item {
    /// Changes what its node says.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Node)) -> Self {
        let (Self::File(node, _) | Self::Folder(node, _) | Self::Other(node)) = &mut self;
        change(node);
        self
    }
}

/// Bytes that do not compress.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// What an honest record says of these entries.
fn add(statistics: &mut Statistics, items: &[Item]) {
    for item in items {
        match item {
            Item::Folder(_, items) => {
                statistics.dirs_new += 1;
                add(statistics, items);
            }
            Item::File(_, bytes) => {
                statistics.total_files += 1;
                statistics.total_bytes += bytes.len() as u64;
            }
            Item::Other(_) => statistics.total_files += 1,
        }
    }
}

/// A snapshot of nothing.
pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        time: Time::default(),
        offset_seconds: 0,
        root: node("root", NodeKind::Folder { tree: Stream::default() }),
        paths: vec![b"/data".to_vec()],
        host: "host".into(),
        user: "user".into(),
        uid: 0,
        gid: 0,
        tags: Vec::new(),
        excludes: Vec::new(),
        parent: None,
        heads: Vec::new(),
        stat: None,
        applications: Vec::new(),
        not_captured: Vec::new(),
        owners: Owners::default(),
        statistics: Statistics::default(),
        program: "test".into(),
        extensions: Vec::new(),
    }
}

/// An application that was captured and is consistent.
pub(crate) fn application(kind: &str, path: &str, scope: Option<&str>) -> AppEntry {
    AppEntry {
        kind: kind.into(),
        path: path.as_bytes().to_vec(),
        scope: scope.map(str::to_owned),
        verdict: "consistent".into(),
        version: None,
        consistency_point: None,
        detail: String::new(),
        bytes: 0,
        extensions: Vec::new(),
    }
}

pub(crate) struct Home {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) repository: Arc<Repository>,
    key: KeyFile,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyFile::generate(&OsEntropy).unwrap();
        let options = InitOptions {
            encryption: Encryption::Aes256Gcm,
            unlocks: vec![(Unlock::KeyFile(key.clone()), "test".into())],
            cost: DerivationCost::FLOOR,
            created: 0,
            cut_sizes: CutSizes::new(64 << 10, 8 << 10).unwrap(),
            frame_bytes: 64 << 10,
        };
        let storage: Arc<dyn Storage> = Arc::new(Folder::new(folder.path().join("rings")));
        let repository = Repository::init(storage, &options, Arc::new(OsEntropy), folder.path().join("cache")).unwrap();
        Self { folder, repository: Arc::new(repository), key }
    }

    /// The repository as another process sees it.
    pub(crate) fn reopen(&self) -> Arc<Repository> {
        let storage: Arc<dyn Storage> = Arc::new(Folder::new(self.folder.path().join("rings")));
        let (unlock, cache) = (Unlock::KeyFile(self.key.clone()), self.folder.path().join("cache"));
        Arc::new(Repository::open(storage, &unlock, Arc::new(OsEntropy), cache).unwrap())
    }

    /// Backs these entries of `/` up.
    pub(crate) fn commit(&self, items: Vec<Item>) -> (SnapshotName, Snapshot) {
        self.commit_with(items, |_, _| {})
    }

    /// The same, with changes to the snapshot before it is written. Its record's second copy gets a pack of its own.
    pub(crate) fn commit_with(
        &self,
        items: Vec<Item>,
        change: impl FnOnce(&mut Snapshot, &mut Sink),
    ) -> (SnapshotName, Snapshot) {
        let session = Session::start(&self.repository, None, Compression::DEFAULT, SessionMode::Store).unwrap();
        let (mut sink, mut made) = (session.sink().unwrap(), snapshot());
        add(&mut made.statistics, &items);
        made.root.kind = NodeKind::Folder { tree: self.store_tree(&mut sink, items) };
        change(&mut made, &mut sink);
        sink.flush().unwrap();
        session.flush().unwrap();
        let name = session.commit(made.encode().unwrap()).unwrap();
        (name, made)
    }

    fn store_tree(&self, sink: &mut Sink, items: Vec<Item>) -> Stream {
        let mut tree = TreeBuilder::default();
        for item in items {
            let node = match item {
                Item::Other(node) => node,
                Item::File(mut node, bytes) => {
                    let NodeKind::File { links, .. } = node.kind else { panic!() };
                    node.kind = NodeKind::File { content: store_stream(sink, ChunkKind::Data, &bytes), links };
                    node
                }
                Item::Folder(mut node, items) => {
                    node.kind = NodeKind::Folder { tree: self.store_tree(sink, items) };
                    node
                }
            };
            tree.push(sink, self.repository.namer(), &node).unwrap();
        }
        tree.finish(sink).unwrap()
    }

    /// The file of an object.
    pub(crate) fn path_of(&self, area: Area, name: &str) -> PathBuf {
        let root = self.folder.path().join("rings");
        match area {
            Area::Config => root.join(name),
            Area::ConfigCopy => root.join("copy").join(name),
            Area::Keys => root.join("keys").join(name),
            Area::KeysCopy => root.join("copy/keys").join(name),
            Area::Packs => root.join("packs").join(&name[..2]).join(name),
            Area::Snapshots => root.join("snapshots").join(name),
            Area::Records => root.join("records").join(name),
            Area::Replaced => root.join("replaced").join(name),
        }
    }

    /// Flips a bit of an object, counted from its start or, if negative, from its end.
    pub(crate) fn flip(&self, area: Area, name: &str, at: i64) {
        let path = self.path_of(area, name);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = if at < 0 { bytes.len() - at.unsigned_abs() as usize } else { at as usize };
        bytes[at] ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
}

/// Stores bytes in chunks of one length.
pub(crate) fn store_stream(sink: &mut Sink, kind: ChunkKind, bytes: &[u8]) -> Stream {
    let mut stream = StreamBuilder::default();
    for piece in bytes.chunks(CUT_BYTES) {
        let stored = sink.put(kind, piece).unwrap();
        stream.push(sink, Extent::Chunk { id: *stored.id.as_bytes(), bytes: piece.len() as u64 }).unwrap();
    }
    stream.finish(sink).unwrap()
}
