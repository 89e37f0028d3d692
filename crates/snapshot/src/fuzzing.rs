//! Entry points for fuzzing (feature `fuzzing`): what this crate decodes, and what users type that it parses.
//!
//! As in `treering_store::fuzzing`: any bytes, no panic, and what is accepted is encoded to the same bytes again.

#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "assertions are what this is for")]

use treering_store::fuzzing::Target;
use treering_store::{CHUNK_MOST_BYTES, RECORD_MOST_BYTES, codec};

use crate::check::fuzzing as ledger;
use crate::filter::{Case, Glob, PatternSet};
use crate::node::{Node, NodeKind, Time};
use crate::record::{AppEntry, NotCaptured, Owners, Snapshot, Statistics};
use crate::retention::{Count, Duration};
use crate::stream::{Extent, Stream, decode_list};

/// All of this crate.
pub const TARGETS: &[Target] = &[
    Target { name: "snapshot", run: snapshot, seeds: snapshot_seeds },
    Target { name: "tree", run: tree, seeds: tree_seeds },
    Target { name: "list", run: list, seeds: list_seeds },
    Target { name: "stat", run: stat, seeds: stat_seeds },
    Target { name: "ledger", run: ledger::run, seeds: ledger::seeds },
    Target { name: "pruned", run: pruned, seeds: pruned_seeds },
    Target { name: "patterns", run: patterns, seeds: patterns_seeds },
    Target { name: "duration", run: duration, seeds: || words(&["1y5m7d2h", "0d", "400d"]) },
    Target { name: "count", run: count, seeds: || words(&["7", "unlimited"]) },
];

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn chunk(number: u8, bytes: u64) -> Extent {
    Extent::Chunk { id: [number; 32], bytes }
}

fn node(name: &str, kind: NodeKind) -> Node {
    let modified = Time { seconds: -1, nanoseconds: 999_999_999 };
    let xattrs = vec![(b"user.a".to_vec(), b"b".to_vec())];
    Node {
        name: name.into(),
        kind,
        mode: 0o4755,
        uid: 1,
        gid: 70_000,
        modified,
        xattrs,
        extensions: vec![(3, vec![1])],
    }
}

fn folder(name: &str) -> Node {
    node(name, NodeKind::Folder { tree: Stream { level: 1, extents: vec![chunk(1, 1 << 40)] } })
}

fn snapshot(bytes: &[u8]) -> bool {
    let Ok(snapshot) = Snapshot::decode(bytes) else { return false };
    assert_eq!(snapshot.encode().ok().as_deref(), Some(bytes));
    snapshot.root.tree().expect("a folder").bytes();
    snapshot.time.timestamp();
    true
}

fn snapshot_seeds() -> Vec<Vec<u8>> {
    let text = |text: &str| text.to_owned();
    let application = AppEntry {
        kind: text("sqlite"),
        path: b"/data/a.db".to_vec(),
        scope: Some(text("essential")),
        verdict: text("consistent"),
        version: Some(text("3.51")),
        consistency_point: None,
        detail: text("copied"),
        bytes: 4096,
        extensions: vec![(1, vec![1; 77])],
    };
    let full = Snapshot {
        time: Time { seconds: 1_793_491_200, nanoseconds: 5 },
        offset_seconds: -3600,
        root: folder("root"),
        paths: vec![b"/data".to_vec(), b"/etc".to_vec()],
        host: text("host"),
        user: text("user"),
        uid: 0,
        gid: 1000,
        tags: vec![text("a"), text("b")],
        excludes: vec![text("*.tmp")],
        parent: Some([2; 32]),
        heads: vec![[3; 32]],
        stat: Some(Stream { level: 0, extents: vec![chunk(4, 100)] }),
        applications: vec![application],
        not_captured: vec![NotCaptured { kind: text("h2"), path: b"/data/b".to_vec(), detail: text("why") }],
        owners: Owners { users: vec![(0, text("root"))], groups: vec![(1, text("a")), (2, text("b"))] },
        statistics: Statistics { total_bytes: 1 << 40, ended_ms: 5, ..Statistics::default() },
        program: text("treering"),
        extensions: vec![(1, vec![9; 32])],
    };
    let mut least = full.clone();
    (least.parent, least.stat, least.owners) = (None, None, Owners::default());
    (least.applications, least.not_captured) = (Vec::new(), Vec::new());
    [full, least].map(|snapshot| snapshot.encode().expect("a snapshot")).to_vec()
}

fn tree(bytes: &[u8]) -> bool {
    let mut last = None;
    let Ok(nodes) = crate::tree::decode_chunk(bytes, &mut last) else { return false };
    assert_eq!(last.as_ref(), nodes.last().map(|node| &node.name));
    let mut again = Vec::new();
    for node in &nodes {
        assert!(crate::node::is_possible_name(&node.name));
        node.encode_into(&mut again).expect("a node that was decoded");
        node.modified.timestamp();
        assert!(node.size() <= i64::MAX as u64);
    }
    assert_eq!(again, bytes);
    true
}

fn tree_seeds() -> Vec<Vec<u8>> {
    let content = Stream { level: 0, extents: vec![chunk(1, 1000), Extent::Hole { bytes: 1 << 60 }, chunk(2, 1)] };
    let nodes = [
        node("a", NodeKind::File { content, links: 7 }),
        node("b", NodeKind::Symlink { target: b"../x".to_vec() }),
        node("c", NodeKind::Fifo),
        node("d", NodeKind::Socket),
        node("e", NodeKind::CharDevice { device: 0x103 }),
        node("f", NodeKind::BlockDevice { device: 0x800 }),
        folder("g"),
    ];
    let encode = |nodes: &[Node]| {
        let mut bytes = Vec::new();
        nodes.iter().for_each(|node| node.encode_into(&mut bytes).expect("a node"));
        bytes
    };
    nodes.iter().map(|node| encode(std::slice::from_ref(node))).chain([encode(&nodes)]).collect()
}

/// A list; its first byte is the level.
fn list(bytes: &[u8]) -> bool {
    let Some((level, encoded)) = bytes.split_first() else { return false };
    let Ok(list) = decode_list(encoded, *level) else { return false };
    assert_eq!(codec::encode(&list.extents, CHUNK_MOST_BYTES).ok().as_deref(), Some(encoded));
    let sum: u128 = list.extents.iter().map(|extent| u128::from(extent.bytes())).sum();
    assert_eq!(u128::from(list.bytes()), sum);
    true
}

fn list_seeds() -> Vec<Vec<u8>> {
    let lists = [
        (0, vec![chunk(1, 5), Extent::Hole { bytes: 1 << 62 }, chunk(2, 8 << 20)]),
        (0, Vec::new()),
        (3, vec![chunk(1, 1 << 40), chunk(2, 1)]),
    ];
    let encode = |(level, list)| [&[level][..], &codec::encode(&list, CHUNK_MOST_BYTES).expect("a list")].concat();
    lists.map(encode).to_vec()
}

fn stat(bytes: &[u8]) -> bool {
    crate::stat::decode_chunk(bytes).is_ok()
}

fn stat_seeds() -> Vec<Vec<u8>> {
    vec![crate::stat::sample()]
}

fn pruned(bytes: &[u8]) -> bool {
    let Ok(ids) = crate::prune::decode_pruned(bytes) else { return false };
    let ids: Vec<_> = ids.map(|id| *id.as_bytes()).collect();
    assert_eq!(codec::encode(&ids, RECORD_MOST_BYTES).ok().as_deref(), Some(bytes));
    true
}

fn pruned_seeds() -> Vec<Vec<u8>> {
    let lists: [&[[u8; 32]]; 2] = [&[], &[[1; 32], [2; 32]]];
    lists.map(|list| codec::encode(&list, RECORD_MOST_BYTES).expect("a list")).to_vec()
}

/// Patterns, one a line; the last line is the path.
fn patterns(bytes: &[u8]) -> bool {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let path = lines.pop().unwrap_or_default();
    for case in [Case::Sensitive, Case::Insensitive] {
        let Ok(set) = PatternSet::parse(&lines, case) else { return false };
        assert_eq!(set.matches(path), set.verdict(path).matched, "the two ways to ask agree");
    }
    let _alone = lines.first().map(|line| Glob::parse(line));
    true
}

fn patterns_seeds() -> Vec<Vec<u8>> {
    words(&["*.tmp\n/a/b.tmp", "/a/**/c\n!/a/b/c\n/a/b/c", "[a-z]?\\*\n[^x]*\n/b*/q", "/data/*/x\n/data/a/x/y"])
}

fn duration(bytes: &[u8]) -> bool {
    let Ok(Ok(duration)) = std::str::from_utf8(bytes).map(str::parse::<Duration>) else { return false };
    let shown = duration.to_string();
    assert_eq!(shown.parse::<Duration>().expect("what is shown").to_string(), shown);
    true
}

fn count(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.parse::<Count>().is_ok())
}
