//! Snapshots that somebody with the key has crafted, each through everything that reads snapshots: restoring, listing,
//! finding, comparing, dumping, counting and checking. Each must end soon, without a panic, within bounded memory, and
//! with nothing outside the target touched; what cannot be must be found by a check and named by a restore.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use treering_chunk::{ChunkId, ChunkKind};
use treering_store::codec;

use super::build::*;
use crate::check::{CheckOptions, CheckReport, DataOptions, check};
use crate::error::SnapshotError;
use crate::list::{Flow, walk_tree};
use crate::node::{Node, NodeKind, Time};
use crate::progress::{Event, Progress, Silent};
use crate::record::{Snapshot, Statistics};
use crate::repair::{SnapshotRepairOptions, repair_snapshots};
use crate::stream::{Extent, Stream, any_chunk};
use crate::usage::{UsageMode, usage};

/// How long one case may take, on a busy machine.
const TIME_MOST: Duration = Duration::from_secs(60);
/// What the whole process of the tests may take.
const MEMORY_MOST_KIB: u64 = 2 << 20;
/// How many entries are looked at of a snapshot that has more than anybody could.
const ENTRIES_MOST: usize = 20_000;

fn chunk(id: ChunkId, bytes: u64) -> Extent {
    Extent::Chunk { id: *id.as_bytes(), bytes }
}

fn content(level: u8, extents: Vec<Extent>) -> Node {
    node("x", NodeKind::File { content: Stream { level, extents }, links: 0 })
}

fn hole(bytes: u64) -> Extent {
    Extent::Hole { bytes }
}

/// A folder of these nodes, as they are: nothing is sorted or looked at.
fn crude(home: &mut Home, nodes: &[Node]) -> Node {
    let bytes = nodes.iter().flat_map(|node| codec::encode(node, 64 << 20).unwrap()).collect::<Vec<_>>();
    raw(home, ChunkKind::Tree, &bytes)
}

/// A folder whose tree is this chunk.
fn raw(home: &mut Home, kind: ChunkKind, bytes: &[u8]) -> Node {
    let id = home.put(kind, bytes);
    let tree = Stream { level: 0, extents: vec![chunk(id, bytes.len() as u64)] };
    node("data", NodeKind::Folder { tree })
}

/// Takes so many bytes, and then no more.
struct Full(u64);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn examine(home: &Home) -> CheckReport {
    let options = CheckOptions { data: Some(DataOptions::default()), clock: &|| Duration::ZERO };
    check(&home.repository, &options, &Silent).unwrap()
}

/// Everything that reads snapshots. What a restore and a check found.
fn run(home: &mut Home, name: &str, data: Node) -> (u64, u64) {
    let began = Instant::now();
    let honest = home.file("honest", b"honest");
    let honest = home.folder("data", [honest]);
    let honest = home.snapshot(honest);
    let snapshot = home.snapshot(data);
    let mut reader = home.repository.reader().unwrap();
    let mut seen = 0;
    let walked = walk_tree(&mut reader, (&snapshot, &snapshot.root), Path::new("/"), |_, node| {
        let mut reader = home.repository.reader().unwrap();
        let _dumped = crate::restore::write_file(&mut reader, node, &mut Full(1 << 20));
        seen += 1;
        if seen < ENTRIES_MOST { Flow::Enter } else { Flow::Stop }
    });
    let _found = crate::tree::find(&mut reader, snapshot.root.tree().unwrap(), b"data");
    for (old, new) in [(&honest, &snapshot), (&snapshot, &honest)] {
        crate::diff::diff(&mut reader, ((old, &old.root), (new, &new.root)), Path::new("/"), true, |_| {}).unwrap();
    }
    drop(reader);
    let (summary, _) = home.restore(&snapshot, |options| options.verify = true);
    let failed = summary.map_or(1, |summary| summary.errors);
    let errors = examine(home).num_errors();
    assert!(began.elapsed() < TIME_MOST, "{name} took {:?}", began.elapsed());
    assert!(peak_memory_kib() < MEMORY_MOST_KIB, "{name}: {} KiB", peak_memory_kib());
    drop(walked.unwrap());
    (failed, errors)
}

/// Builds what is to be run.
type Make = fn(&mut Home) -> Node;

fn with(change: impl FnOnce(&mut Node)) -> Node {
    let mut node = node("x", NodeKind::Fifo);
    change(&mut node);
    node
}

fn named(name: &[u8]) -> Node {
    with(|node| node.name = name.to_vec())
}

fn attributes(list: &[(&[u8], usize)]) -> Node {
    with(|node| node.xattrs = list.iter().map(|(name, bytes)| (name.to_vec(), vec![b'v'; *bytes])).collect())
}

fn target(target: &[u8]) -> Node {
    node("x", NodeKind::Symlink { target: target.to_vec() })
}

/// What no node, tree or stream can be: found by a check, named by a restore.
const IMPOSSIBLE: &[(&str, Make)] = &[
    ("the parent as a name", |h| crude(h, &[named(b"..")])),
    ("itself as a name", |h| crude(h, &[named(b".")])),
    ("no name", |h| crude(h, &[named(b"")])),
    ("a way out as a name", |h| crude(h, &[named(b"../outside/canary")])),
    ("a path as a name", |h| crude(h, &[named(b"a/b")])),
    ("an absolute path as a name", |h| crude(h, &[named(b"/etc/passwd")])),
    ("a slash", |h| crude(h, &[named(b"/")])),
    ("a NUL in a name", |h| crude(h, &[named(b"a\0b")])),
    ("a long name", |h| crude(h, &[named(&[b'x'; 256])])),
    ("a name twice", |h| crude(h, &[named(b"a"), named(b"a")])),
    ("a link and what lies in it", |h| {
        let inner = crude(h, &[named(b"canary")]);
        crude(h, &[Node { name: b"x".into(), ..target(b"../outside") }, Node { name: b"x".into(), ..inner }])
    }),
    ("names out of order", |h| crude(h, &[named(b"b"), named(b"a")])),
    ("a mode of file types", |h| crude(h, &[with(|node| node.mode = 0o10_644)])),
    ("too many nanoseconds", |h| crude(h, &[with(|node| node.modified.nanoseconds = 1_000_000_000)])),
    ("attributes out of order", |h| crude(h, &[attributes(&[(b"user.b", 1), (b"user.a", 1)])])),
    ("an attribute twice", |h| crude(h, &[attributes(&[(b"user.a", 1), (b"user.a", 1)])])),
    ("an attribute without a name", |h| crude(h, &[attributes(&[(b"", 1)])])),
    ("a NUL in an attribute's name", |h| crude(h, &[attributes(&[(b"user.\0", 1)])])),
    ("attributes of two megabytes", |h| crude(h, &[attributes(&[(b"user.a", 2 << 20)])])),
    ("extensions out of order", |h| crude(h, &[with(|node| node.extensions = vec![(2, vec![]), (1, vec![])])])),
    ("a link to nothing", |h| crude(h, &[target(b"")])),
    ("a link with a NUL", |h| crude(h, &[target(b"a\0b")])),
    ("a link of 4096 bytes", |h| crude(h, &[target(&[b'x'; 4096])])),
    ("a chunk of all bytes", |h| crude(h, &[content(0, vec![chunk(ChunkId::from_bytes([7; 32]), u64::MAX)])])),
    ("a hole of all bytes", |h| crude(h, &[content(0, vec![hole(u64::MAX)])])),
    ("a hole of 2^63", |h| crude(h, &[content(0, vec![hole(1 << 63)])])),
    ("two holes side by side", |h| crude(h, &[content(0, vec![hole(1), hole(1)])])),
    ("a hole of nothing", |h| crude(h, &[content(0, vec![hole(0)])])),
    ("bytes that overflow", |h| {
        let byte = h.data(b"x");
        crude(h, &[content(0, vec![hole(i64::MAX as u64), byte, hole(i64::MAX as u64)])])
    }),
    ("a hole above the data", |h| crude(h, &[content(1, vec![hole(5)])])),
    ("five levels", |h| crude(h, &[content(5, vec![chunk(ChunkId::from_bytes([7; 32]), 5)])])),
    ("255 levels", |h| crude(h, &[content(255, vec![chunk(ChunkId::from_bytes([7; 32]), 5)])])),
    ("a list of nothing", |h| crude(h, &[content(1, vec![])])),
    ("too many extents", |h| {
        let byte = h.data(b"x");
        crude(h, &[content(0, vec![byte; 1025])])
    }),
    ("a chunk that is longer than it says", |h| {
        let id = h.put(ChunkKind::Data, b"12345");
        crude(h, &[content(0, vec![chunk(id, 4)])])
    }),
    ("a chunk that is shorter than it says", |h| {
        let id = h.put(ChunkKind::Data, b"12345");
        crude(h, &[content(0, vec![chunk(id, 6)])])
    }),
    ("a chunk that is missing", |h| crude(h, &[content(0, vec![chunk(ChunkId::from_bytes([7; 32]), 5)])])),
    ("a tree as data", |h| {
        let id = h.put(ChunkKind::Tree, b"12345");
        crude(h, &[content(0, vec![chunk(id, 5)])])
    }),
    ("a list as data", |h| {
        let id = h.put(ChunkKind::List, b"12345");
        crude(h, &[content(0, vec![chunk(id, 5)])])
    }),
    ("a snapshot's copy as data", |h| {
        let id = h.put(ChunkKind::SnapshotCopy, b"12345");
        crude(h, &[content(0, vec![chunk(id, 5)])])
    }),
    ("data as a list", |h| {
        let list = codec::encode(&vec![chunk(ChunkId::from_bytes([7; 32]), 5)], 1000).unwrap();
        let id = h.put(ChunkKind::Data, &list);
        crude(h, &[content(1, vec![chunk(id, 5)])])
    }),
    ("data as a tree", |h| {
        let bytes = codec::encode(&named(b"a"), 1000).unwrap();
        raw(h, ChunkKind::Data, &bytes)
    }),
    ("noise as a tree", |h| raw(h, ChunkKind::Tree, &noise(1, 1000))),
    ("a count of attributes that nobody could hold", |h| {
        let mut bytes = codec::encode(&named(b"a"), 1000).unwrap();
        bytes.truncate(bytes.len() - 2);
        bytes.extend([253, 255, 255, 255, 255, 255, 255, 255, 127]);
        raw(h, ChunkKind::Tree, &bytes)
    }),
    ("a list whose lists say more than they hold", |h| {
        let byte = h.data(b"x");
        let list = codec::encode(&vec![byte; 1000], 1 << 20).unwrap();
        let id = h.put(ChunkKind::List, &list);
        crude(h, &[content(1, vec![chunk(id, 1 << 62)])])
    }),
    ("a list with a hole above the data", |h| {
        let list = codec::encode(&vec![hole(5)], 1000).unwrap();
        let id = h.put(ChunkKind::List, &list);
        crude(h, &[content(2, vec![chunk(id, 5)])])
    }),
    ("an empty list", |h| {
        let list = codec::encode(&Vec::<Extent>::new(), 1000).unwrap();
        let id = h.put(ChunkKind::List, &list);
        crude(h, &[content(1, vec![chunk(id, 5)])])
    }),
];

/// What is strange and can be: a check finds nothing, and a restore does what it can.
const STRANGE: &[(&str, Make)] = &[
    ("the end of time", |h| h.folder("data", [with(|node| node.modified.seconds = i64::MAX)])),
    ("the beginning of time", |h| h.folder("data", [with(|node| node.modified.seconds = i64::MIN)])),
    ("all rights", |h| h.folder("data", [with(|node| node.mode = 0o7777)])),
    ("owners that stand for none", |h| h.folder("data", [with(|node| (node.uid, node.gid) = (u32::MAX, u32::MAX))])),
    ("a device that is none", |h| h.folder("data", [node("x", NodeKind::CharDevice { device: u64::MAX })])),
    ("a block device", |h| h.folder("data", [node("x", NodeKind::BlockDevice { device: 0x800 })])),
    ("capabilities", |h| h.folder("data", [attributes(&[(b"security.capability", 20)])])),
    ("attributes of the system", |h| h.folder("data", [attributes(&[(b"system.posix_acl_access", 3)])])),
    ("an attribute of no namespace", |h| h.folder("data", [attributes(&[(&[b'n'; 4000], 1)])])),
    ("a megabyte of attributes", |h| h.folder("data", [attributes(&[(b"user.a", (1 << 20) - 6)])])),
    ("a name that commands a terminal", |h| h.folder("data", [named(b"\x1b]0;owned\x07\x1b[2J\r\n")])),
    ("a link out of the target", |h| h.folder("data", [target(b"../../../outside/canary")])),
    ("a hole of 2^63 - 1", |h| h.folder("data", [content(0, vec![hole(i64::MAX as u64)])])),
    ("an unknown extension", |h| h.folder("data", [with(|node| node.extensions = vec![(65_535, vec![0; 1000])])])),
    ("one file of two sizes", |h| {
        let (one, two) = (h.data(b"one"), h.data(b"other"));
        let link = |name: &str, extent| {
            node(name, NodeKind::File { content: Stream { level: 0, extents: vec![extent] }, links: u64::MAX })
        };
        h.folder("data", [link("a", one), link("b", two)])
    }),
];

#[test]
fn what_cannot_be_is_found_and_named() {
    assert!(IMPOSSIBLE.len() + STRANGE.len() >= 40);
    for (name, make) in IMPOSSIBLE {
        let mut home = home();
        let data = make(&mut home);
        let (failed, errors) = run(&mut home, name, data);
        assert!(failed > 0 && errors > 0, "{name}: a restore named {failed}, a check found {errors}");
    }
}

#[test]
fn what_is_strange_is_restored_as_far_as_it_can_be() {
    for (name, make) in STRANGE {
        let mut home = home();
        let data = make(&mut home);
        let (_, errors) = run(&mut home, name, data);
        assert_eq!(errors, 0, "{name}");
    }
}

#[test]
fn an_owner_that_is_none_is_named_and_lends_nothing() {
    let mut home = home();
    let file = home.file("f", b"f");
    let owned = |name: &str, uid, gid| Node { name: name.into(), mode: 0o6755, uid, gid, ..file.clone() };
    let data = home.folder("data", [owned("a", u32::MAX, 0), owned("b", 0, u32::MAX)]);
    let snapshot = home.snapshot(data);
    let (summary, log) = home.restore(&snapshot, |options| options.privileged = true);
    assert!(summary.unwrap().errors > 0);
    assert_eq!(log.failures(), ["/data/a", "/data/b"]);
    for name in ["a", "b"] {
        assert_eq!(look(&home.target())[Path::new(name)].mode, 0o755, "no set-id bits");
    }
}

/// Stops after so many events.
struct Patience(std::sync::atomic::AtomicUsize);

impl Progress for Patience {
    fn event(&self, _: Event<'_>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn is_interrupted(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed) > 3000
    }
}

/// A folder that holds another twice, forty times over: 2^40 times this entry, in a few chunks.
fn folder_bomb(home: &mut Home, entry: Node) -> Node {
    let mut inner = entry;
    for _ in 0..40 {
        let [a, b] = ["a", "b"].map(|name| Node { name: name.into(), ..inner.clone() });
        inner = home.folder("data", [a, b]);
    }
    inner
}

/// A file of lists that all are the same list: 2^40 bytes of one chunk.
fn file_bomb(home: &mut Home, byte: u8) -> Stream {
    let mut extent = home.data(&[byte]);
    for _ in 0..4 {
        let list = vec![extent; 1024];
        let bytes = list.iter().map(Extent::bytes).sum();
        let encoded = codec::encode(&list, 1 << 20).unwrap();
        extent = chunk(home.put(ChunkKind::List, &encoded), bytes);
    }
    Stream { level: 4, extents: vec![extent] }
}

fn file(content: Stream) -> Node {
    node("x", NodeKind::File { content, links: 0 })
}

/// What the record of a snapshot says that holds an honest file.
fn modest() -> Statistics {
    Statistics { total_files: 1, total_bytes: 6, dirs_new: 1, ..Statistics::default() }
}

#[track_caller]
fn assert_ended<T: std::fmt::Debug>(result: Result<T, SnapshotError>, expected: &str) {
    assert!(matches!(result, Err(SnapshotError::MoreThanSaid { what, .. }) if what == expected), "{result:?}");
}

/// Whoever goes through the entries of such a snapshot stops where its own record says that there is nothing more. A
/// check looks at each tree and list once.
#[test]
fn more_than_a_record_says_is_not_walked() {
    type Bomb = fn(&mut Home, u8) -> Node;
    let bombs: [(&str, Bomb); 2] = [
        ("entries", |home, byte| {
            let entry = home.file("f", &[byte]);
            folder_bomb(home, entry)
        }),
        ("bytes", |home, byte| {
            let content = file_bomb(home, byte);
            home.folder("data", [file(content)])
        }),
    ];
    for (what, bomb) in bombs {
        let (began, mut home) = (Instant::now(), home());
        let honest = home.file("honest", b"honest");
        let honest = home.folder("data", [honest]);
        let honest = home.snapshot_saying(honest, modest());
        let [snapshot, other] = [b'x', b'y'].map(|byte| {
            let data = bomb(&mut home, byte);
            home.snapshot_saying(data, modest())
        });
        assert_eq!(examine(&home).num_errors(), 0);
        let mut reader = home.repository.reader().unwrap();
        let root = Path::new("/");
        assert_ended(walk_tree(&mut reader, (&snapshot, &snapshot.root), root, |_, _| Flow::Enter), what);
        for (old, new) in [(&honest, &snapshot), (&snapshot, &honest), (&snapshot, &other)] {
            assert_ended(
                crate::diff::diff(&mut reader, ((old, &old.root), (new, &new.root)), root, true, |_| {}),
                what,
            );
        }
        let named = [(crate::SnapshotName::from_bytes([1; 32]), snapshot.clone())];
        assert_ended(usage(&home.repository, &named, UsageMode::RestoreSize, &Silent), what);
        for dry_run in [true, false] {
            assert_ended(home.restore(&snapshot, |options| options.dry_run = dry_run).0, what);
        }
        assert!(began.elapsed() < TIME_MOST && peak_memory_kib() < MEMORY_MOST_KIB, "{:?}", began.elapsed());
    }
}

/// A file alone is no walk, but its length is known before the first byte.
#[test]
fn a_file_longer_than_a_record_says_is_not_opened() {
    let mut home = home();
    let content = file_bomb(&mut home, b'x');
    let data = home.folder("data", [file(content)]);
    let snapshot = home.snapshot_saying(data, modest());
    let mut reader = home.repository.reader().unwrap();
    let roots = crate::restore::layout(&snapshot, &mut reader, Some(Path::new("/data/x")), false).unwrap();
    let options = crate::restore::RestoreOptions::new(home.target(), roots);
    assert_ended(crate::restore::restore(&home.repository, &snapshot, &options, &Silent), "bytes");
    let named = (crate::SnapshotName::from_bytes([1; 32]), snapshot);
    assert_ended(crate::select::resolve_path(&mut reader, &named, Path::new("/data/x")), "bytes");
}

/// What is lost is named path by path.
#[test]
fn what_is_lost_of_more_than_a_record_says_is_not_listed() {
    let mut home = home();
    let torn = content(0, vec![chunk(ChunkId::from_bytes([7; 32]), 5)]);
    let data = folder_bomb(&mut home, torn);
    home.snapshot_saying(data, modest());
    let (only, compression) = (Vec::new(), treering_store::Compression::DEFAULT);
    let options = SnapshotRepairOptions { only, compression, dry_run: true };
    assert_ended(repair_snapshots(&home.repository, &options, &Silent), "entries");
}

/// If the record says as much, nobody can tell the snapshot from one that somebody made: whoever lists or restores it can
/// stop it, in bounded memory.
#[test]
fn a_tree_of_more_files_than_anybody_has_can_be_checked_and_stopped() {
    let mut home = home();
    let entry = home.file("f", b"x");
    let data = folder_bomb(&mut home, entry);
    let began = Instant::now();
    let snapshot = home.snapshot(data);
    let report = examine(&home);
    assert_eq!((report.num_errors(), report.tree_chunks), (0, 41), "each tree is read once");
    let mut seen = 0;
    let mut reader = home.repository.reader().unwrap();
    let walked = walk_tree(&mut reader, (&snapshot, &snapshot.root), Path::new("/"), |_, _| {
        seen += 1;
        if seen < ENTRIES_MOST { Flow::Enter } else { Flow::Stop }
    });
    assert!(walked.unwrap().is_stopped);
    let options = crate::restore::RestoreOptions::new(home.target(), home.roots(&snapshot));
    let patience = Patience(0.into());
    let stopped = crate::restore::restore(&home.repository, &snapshot, &options, &patience);
    assert!(matches!(stopped, Err(SnapshotError::Interrupted)), "{stopped:?}");
    assert!(began.elapsed() < TIME_MOST && peak_memory_kib() < MEMORY_MOST_KIB, "{:?}", began.elapsed());
}

/// Where trailers are lost, nothing but what refers to a chunk says what it is. Each is looked at once all the same.
#[test]
fn a_tree_of_more_files_than_anybody_has_is_checked_without_trailers_too() {
    let mut home = home();
    let entry = home.file("f", b"x");
    let data = folder_bomb(&mut home, entry);
    home.snapshot(data);
    for pack in home.packs() {
        let mut bytes = std::fs::read(&pack).unwrap();
        let at = bytes.len() - 110;
        bytes[at] ^= 1;
        std::fs::write(&pack, bytes).unwrap();
    }
    let began = Instant::now();
    let report = examine(&home);
    assert_eq!((report.num_errors(), report.tree_chunks), (home.packs().len() as u64, 41), "{:#?}", report.findings);
    assert!(began.elapsed() < TIME_MOST && peak_memory_kib() < MEMORY_MOST_KIB, "{:?}", began.elapsed());
}

#[test]
fn a_file_of_more_chunks_than_anybody_has_can_be_stopped() {
    let mut home = home();
    let content = file_bomb(&mut home, b'x');
    let [snapshot, other] = [&content, &file_bomb(&mut home, b'y')].map(|content| {
        let data = home.folder("data", [file(content.clone())]);
        home.snapshot(data)
    });
    let began = Instant::now();
    assert_eq!(examine(&home).num_errors(), 0);
    assert!(began.elapsed() < TIME_MOST, "each list is read once: {:?}", began.elapsed());
    let mut reader = home.repository.reader().unwrap();
    assert!(crate::restore::write_file(&mut reader, &file(content.clone()), &mut Full(100_000)).is_err());
    let mut asked = 0;
    let found = any_chunk(&mut reader, &content, ChunkKind::Data, |_, _, _| {
        asked += 1;
        Ok(false)
    });
    assert_eq!((found.unwrap(), asked), (false, 4 + 1024), "each list is asked for once");
    let sides = ((&snapshot, &snapshot.root), (&other, &other.root));
    let report = crate::diff::diff(&mut reader, sides, Path::new("/"), true, |_| {}).unwrap();
    assert_eq!((report.changed_files, report.added.bytes), (1, 1 << 40), "too many chunks to be compared one by one");
    drop(reader);
    let options = crate::restore::RestoreOptions::new(home.target(), home.roots(&snapshot));
    let _stopped = crate::restore::restore(&home.repository, &snapshot, &options, &Patience(3000.into()));
    assert!(began.elapsed() < TIME_MOST && peak_memory_kib() < MEMORY_MOST_KIB, "{:?}", began.elapsed());
}

/// Records that no backup writes.
#[test]
fn records_that_cannot_be_are_refused() {
    let mut home = home();
    let file = home.file("f", b"f");
    let data = home.folder("data", [file.clone()]);
    let sound = home.snapshot(data);
    type Change = fn(&mut Snapshot, &Node);
    let lies: &[(&str, Change)] = &[
        ("a file as the root", |s, file| s.root = file.clone()),
        ("paths out of order", |s, _| s.paths = vec![b"b".to_vec(), b"a".to_vec()]),
        ("a tag twice", |s, _| s.tags = vec!["a".into(), "a".into()]),
        ("owners out of order", |s, _| s.owners.users = vec![(2, "b".into()), (1, "a".into())]),
        ("too many nanoseconds", |s, _| s.time = Time { seconds: 0, nanoseconds: u32::MAX }),
        ("extensions out of order", |s, _| s.extensions = vec![(2, vec![]), (1, vec![])]),
        ("an impossible stat stream", |s, _| s.stat = Some(Stream { level: 9, extents: vec![] })),
        ("an impossible root", |s, _| s.root.name = b"../..".to_vec()),
    ];
    for (name, lie) in lies {
        let mut snapshot = sound.clone();
        lie(&mut snapshot, &file);
        let bytes = snapshot.encode().unwrap();
        assert!(Snapshot::decode(&bytes).is_err(), "{name}");
        assert!(Snapshot::decode(&[&sound.encode().unwrap()[..], b"x"].concat()).is_err());
    }
    // A path of the record that leads out is only looked up in the trees.
    let mut out = sound.clone();
    out.paths = vec![b"/../outside".to_vec()];
    let layout = crate::restore::layout(&out, &mut home.repository.reader().unwrap(), None, false);
    assert!(layout.is_err() || layout.is_ok_and(|roots| roots.is_empty()));
}
