//! A snapshot whose folders hold each other, twice each and forty deep: more than anybody has, in a few chunks. Its own
//! record says that there is one small file, and every command that goes through its entries ends at that by itself.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::path::Path;
use std::sync::Arc;

use treering_chunk::ChunkKind;
use treering_snapshot::stream::Extent;
use treering_snapshot::{Node, NodeKind, Snapshot, SnapshotName, Stream};
use treering_store::storage::Folder;
use treering_store::{
    Compression, KeyFile, OsEntropy, RECORD_MOST_BYTES, Repository, Session, SessionMode, Sink, Unlock, codec,
};
use treering_tests::{Treering, name, run};

/// More than any record is taken to be wrong by.
const FILE_BYTES: u64 = 1 << 40;

fn open(treering: &Treering, folder: &Path) -> Arc<Repository> {
    let key = KeyFile::parse(&std::fs::read_to_string(folder.join("key")).unwrap()).unwrap();
    let storage = Arc::new(Folder::new(treering.repository()));
    let (unlock, cache) = (Unlock::KeyFile(key), treering.cache().to_owned());
    Arc::new(Repository::open(storage, &unlock, Arc::new(OsEntropy), cache).unwrap())
}

/// A folder of these nodes.
fn folder(sink: &mut Sink, like: &Node, nodes: &[Node]) -> Node {
    let bytes: Vec<u8> = nodes.iter().flat_map(|node| codec::encode(node, 1 << 20).unwrap()).collect();
    let id = *sink.put(ChunkKind::Tree, &bytes).unwrap().id.as_bytes();
    let tree = Stream { level: 0, extents: vec![Extent::Chunk { id, bytes: bytes.len() as u64 }] };
    Node { kind: NodeKind::Folder { tree }, ..like.clone() }
}

/// Commits what `honest` says of itself with another tree.
fn plant(repository: &Arc<Repository>, honest: &Snapshot) -> SnapshotName {
    let session = Session::start(repository, None, Compression::DEFAULT, SessionMode::Store).unwrap();
    let (mut sink, named) =
        (session.sink().unwrap(), |name: &str, node: &Node| Node { name: name.into(), ..node.clone() });
    let content = Stream { level: 0, extents: vec![Extent::Hole { bytes: FILE_BYTES }] };
    let mut inner = Node { kind: NodeKind::File { content, links: 0 }, ..honest.root.clone() };
    for _ in 0..40 {
        inner = folder(&mut sink, &honest.root, &[named("a", &inner), named("b", &inner)]);
    }
    sink.flush().unwrap();
    session.flush().unwrap();
    let bomb = Snapshot { root: inner, paths: vec![b"/a".to_vec()], stat: None, ..honest.clone() };
    session.commit(codec::encode(&bomb, RECORD_MOST_BYTES).unwrap()).unwrap()
}

#[test]
fn every_command_ends_at_what_the_record_says() {
    let home = tempfile::tempdir().unwrap();
    let (treering, source) = (Treering::init(home.path()), home.path().join("source"));
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), b"honest").unwrap();
    let honest = name(&treering.backup(&source)["snapshot_id"]);
    let repository = open(&treering, home.path());
    let bomb = plant(&repository, &Snapshot::read(&repository, honest).unwrap()).to_string();
    drop(repository);
    let (honest, target) = (honest.to_string(), home.path().join("target"));
    let target = target.to_str().unwrap();
    let commands: [(&str, &[&str]); 8] = [
        ("ls", &[&bomb]),
        ("find", &["nothing", "--snapshot", &bomb]),
        ("diff", &[&honest, &bomb]),
        ("diff", &[&bomb, &honest]),
        ("dump", &[&bomb, "/"]),
        ("stats", &[&bomb]),
        ("restore", &["--snapshot", &bomb, "--target", target]),
        ("restore", &["--snapshot", &bomb, "--target", target, "--dry-run"]),
    ];
    for (verb, arguments) in commands {
        let ran = run(treering.command(verb).args(arguments)).expect(5);
        assert!(ran.stderr.contains("its own record says"), "{}: {}", ran.shown, ran.stderr);
    }
    treering.restore(&honest, &home.path().join("restored"));
    treering.check();
}
