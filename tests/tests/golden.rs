//! Golden repositories: what a version has written is read for ever.
//!
//! Each golden is opened with today's code, every byte of every snapshot is read back, and all of it is compared with
//! the manifest that was taken from the original files.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

#[path = "../golden/manifest.rs"]
mod manifest;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use manifest::{Common, Manifest, escape};
use treering_chunk::ChunkKind;
use treering_snapshot::list::{Flow, walk_tree};
use treering_snapshot::record::Snapshot;
use treering_snapshot::stream::{Extent, Extents, Stream, StreamReader};
use treering_snapshot::tree::TreeReader;
use treering_snapshot::{Node, NodeKind};
use treering_store::storage::{Area, Folder, Storage};
use treering_store::{
    ChunkReader, FORMAT_VERSION, KeyFile, OsEntropy, PackCheck, RecordKind, Repository, StoreError, Unlock,
};

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// A golden, copied, because opening a repository writes its index.
struct Golden {
    _home: tempfile::TempDir,
    folder: PathBuf,
    storage: Arc<Folder>,
    cache: PathBuf,
}

impl Golden {
    fn copy(folder: PathBuf) -> Self {
        let home = tempfile::tempdir().unwrap();
        let storage = Folder::new(home.path().join("rings"));
        storage.create().unwrap();
        copy(&folder.join("repository"), &home.path().join("rings"));
        let cache = home.path().join("cache");
        Self { _home: home, folder, storage: Arc::new(storage), cache }
    }

    fn unlocks(&self) -> Vec<Unlock> {
        let read = |name| fs::read_to_string(self.folder.join(name)).ok();
        let passphrase = read("passphrase").map(|text| Unlock::Passphrase(text.trim_end().to_owned().into()));
        let key = read("key-file").map(|text| Unlock::KeyFile(KeyFile::parse(&text).unwrap()));
        let unlocks: Vec<_> = passphrase.into_iter().chain(key).collect();
        if unlocks.is_empty() { vec![Unlock::Nothing] } else { unlocks }
    }

    fn open(&self, unlock: &Unlock) -> Result<Repository, StoreError> {
        let storage: Arc<dyn Storage> = self.storage.clone();
        Repository::open(storage, unlock, Arc::new(OsEntropy), self.cache.clone())
    }

    /// The first is whole, each later one says what changed.
    fn manifests(&self) -> Vec<Manifest> {
        let version = self.folder.parent().unwrap();
        let read = |number| fs::read_to_string(version.join(format!("manifest-{number}.jsonl"))).ok();
        let mut manifests: Vec<Manifest> = Vec::new();
        for text in (1..).map_while(read) {
            let mut manifest = manifests.last().cloned().unwrap_or_default();
            for line in text.lines() {
                let (path, entry): (String, serde_json::Value) = serde_json::from_str(line).unwrap();
                drop(if entry.is_null() { manifest.remove(&path) } else { manifest.insert(path, entry) });
            }
            manifests.push(manifest);
        }
        manifests
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = entry.map(|e| (e.path(), to.join(e.file_name()))).unwrap();
        if path.is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&path, &target);
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_dir()).collect()
}

#[test]
fn every_version_has_goldens() {
    for version in 1..=FORMAT_VERSION {
        let folder = goldens().join(format!("v{version}"));
        let names: Vec<_> = folders(&folder).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        for needed in ["unencrypted", "passphrase", "key-file"] {
            assert!(names.iter().any(|name| name == needed), "version {version} has no golden \"{needed}\"");
        }
    }
}

#[test]
fn every_golden_is_read_exactly() {
    for folder in folders(&goldens()).iter().flat_map(|version| folders(version)) {
        let golden = Golden::copy(folder);
        for unlock in golden.unlocks() {
            let repository = golden.open(&unlock).unwrap();
            assert_sound(&repository);
            let all = Snapshot::read_all(&repository).unwrap();
            assert!(all.damaged.is_empty(), "{:?}", all.damaged);
            all.snapshots.iter().for_each(|(_, snapshot)| assert_counted(&repository, snapshot));
            let read: Vec<Manifest> =
                in_order(all.snapshots).iter().map(|snapshot| read_snapshot(&repository, snapshot)).collect();
            let expected = golden.manifests();
            assert_eq!(read.len(), expected.len(), "{}", golden.folder.display());
            for (read, expected) in read.iter().zip(&expected) {
                assert_eq!(manifest::to_text(read), manifest::to_text(expected), "{}", golden.folder.display());
            }
        }
    }
}

/// Parents first: the snapshots of a golden may stand for one moment.
fn in_order(snapshots: Vec<(treering_snapshot::SnapshotName, Snapshot)>) -> Vec<Snapshot> {
    let mut snapshots: Vec<_> = snapshots.into_iter().map(|(_, snapshot)| snapshot).collect();
    snapshots.sort_by_key(|snapshot| snapshot.parent.is_some());
    snapshots
}

#[test]
fn a_golden_opens_with_its_own_key_only() {
    let wrong = || Unlock::Passphrase("wrong".to_owned().into());
    for folder in folders(&goldens()).iter().flat_map(|version| folders(version)) {
        let is_plain = folder.ends_with("unencrypted");
        let opened = Golden::copy(folder).open(&wrong());
        assert!(match opened {
            Err(StoreError::KeyUnexpected { .. }) => is_plain,
            Err(StoreError::WrongKey { .. }) => !is_plain,
            _ => false,
        });
    }
}

/// Nothing is damaged, the second copies are there, and each snapshot's is what the record says.
fn assert_sound(repository: &Repository) {
    assert_eq!(repository.check_config().unwrap(), []);
    let mut reader = repository.reader().unwrap();
    let mut copies = Vec::new();
    for (name, _) in repository.list_packs().unwrap() {
        assert_eq!(repository.check_pack(name, PackCheck::Data).unwrap(), []);
        for (id, kind, _) in repository.pack_contents(name).unwrap().chunks {
            if kind == ChunkKind::SnapshotCopy {
                copies.push(reader.get(kind, &id).unwrap());
            }
        }
    }
    for name in repository.list_records(Area::Snapshots).unwrap() {
        let record = repository.read_record(Area::Snapshots, name).unwrap();
        assert_eq!(record.kind, RecordKind::SNAPSHOT);
        let same = |copy: &Vec<u8>| repository.open_record(copy).is_ok_and(|copy| copy == record);
        assert!(copies.iter().any(same), "snapshot {name} has no second copy");
    }
    for name in repository.list_records(Area::Records).unwrap() {
        let record = repository.read_record(Area::Records, name).unwrap();
        assert_eq!(record.kind, RecordKind::FORGOTTEN);
        assert_eq!(repository.open_record(&record.body).unwrap().kind, RecordKind::SNAPSHOT);
    }
}

/// A record says how much there is, or it could be taken for a crafted one.
fn assert_counted(repository: &Repository, snapshot: &Snapshot) {
    let (mut reader, mut entries, mut bytes) = (repository.reader().unwrap(), 0, 0);
    let walked = walk_tree(&mut reader, (snapshot, &snapshot.root), Path::new("/"), |_, node| {
        (entries, bytes) = (entries + 1, bytes + node.size());
        Flow::Enter
    });
    let said = &snapshot.statistics;
    let said_entries = said.total_files + said.dirs_new + said.dirs_changed + said.dirs_unmodified;
    assert!(walked.unwrap().damaged.is_empty());
    assert_eq!((entries, bytes), (said_entries, said.total_bytes));
}

fn read_snapshot(repository: &Repository, snapshot: &Snapshot) -> Manifest {
    let mut reader = repository.reader().unwrap();
    let mut walk = Walk { manifest: Manifest::new(), links: HashMap::new(), lists: 0, holes: 0 };
    let top = find_top(&mut reader, snapshot);
    walk.entry(&mut reader, "", &top);
    assert!(walk.lists > 0 && walk.holes > 0, "a golden has an indirect stream and a hole");
    let stat = snapshot.stat.as_ref().unwrap();
    let mut stat = StreamReader::new(&mut reader, stat, ChunkKind::Stat);
    while stat.read_next().unwrap().is_some() {}
    walk.manifest
}

/// The folder that was backed up: its path's components, down from the root.
fn find_top(reader: &mut ChunkReader<'_>, snapshot: &Snapshot) -> Node {
    let [path] = &snapshot.paths[..] else { panic!("a golden has one path") };
    path.split(|byte| *byte == b'/').skip(1).fold(snapshot.root.clone(), |node, name| {
        treering_snapshot::tree::find(reader, node.tree().unwrap(), name).unwrap().unwrap()
    })
}

struct Walk {
    manifest: Manifest,
    links: HashMap<u64, String>,
    lists: usize,
    holes: usize,
}

impl Walk {
    fn entry(&mut self, reader: &mut ChunkReader<'_>, path: &str, node: &Node) {
        let mut entry = Common {
            kind: node.kind.as_str(),
            mode: node.mode.into(),
            owner: (node.uid, node.gid),
            modified: (node.modified.seconds, node.modified.nanoseconds),
            xattrs: node.xattrs.clone(),
        }
        .to_json();
        match &node.kind {
            NodeKind::File { content, links } => {
                let (bytes, hash) = self.content(reader, content);
                entry["bytes"] = bytes.into();
                entry["blake3"] = hash.into();
                if *links != 0 {
                    entry["same_as"] = self.links.entry(*links).or_insert_with(|| path.to_owned()).clone().into();
                }
            }
            NodeKind::Symlink { target } => entry["target"] = escape(target).into(),
            _ => {}
        }
        self.manifest.insert(path.to_owned(), entry);
        if let Some(tree) = node.tree() {
            self.folder(reader, path, tree);
        }
    }

    fn folder(&mut self, reader: &mut ChunkReader<'_>, path: &str, tree: &Stream) {
        let mut nodes = TreeReader::new(tree);
        while let Some(node) = nodes.read_next(reader).unwrap() {
            let name = escape(&node.name);
            let below = if path.is_empty() { name } else { format!("{path}/{name}") };
            self.entry(reader, &below, &node);
        }
    }

    fn content(&mut self, reader: &mut ChunkReader<'_>, content: &Stream) -> (u64, String) {
        self.lists += usize::from(content.level > 0);
        let (mut extents, mut hasher, mut length) = (Extents::of(content), blake3::Hasher::new(), 0);
        while let Some(extent) = extents.read_next(reader).unwrap() {
            let bytes = match extent {
                Extent::Chunk { .. } => reader.get(ChunkKind::Data, &extent.chunk().unwrap()).unwrap(),
                Extent::Hole { bytes } => vec![0; bytes as usize],
            };
            self.holes += usize::from(extent.chunk().is_none());
            assert_eq!(bytes.len() as u64, extent.bytes());
            hasher.update(&bytes);
            length += extent.bytes();
        }
        assert_eq!(length, content.bytes());
        (length, hasher.finalize().to_hex().to_string())
    }
}
