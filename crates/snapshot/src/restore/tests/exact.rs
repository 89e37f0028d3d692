//! What was stored is what is restored.

use std::path::Path;

use super::build::*;
use crate::error::SnapshotError;
use crate::node::{Node, NodeKind, Time};
use crate::restore::{Choice, layout, write_file};
use crate::stream::Extent;

fn linked(node: Node, name: &str, number: u64) -> Node {
    let NodeKind::File { content, .. } = node.kind else { panic!() };
    Node { name: name.into(), kind: NodeKind::File { content, links: number }, ..node }
}

fn everything(home: &mut Home) -> Node {
    let big = noise(1, 700_000);
    let one = home.file("one", b"one");
    let data = home.data(&noise(2, 4096));
    let holey = home.stream([Extent::Hole { bytes: 1 << 20 }, data, Extent::Hole { bytes: 3 << 20 }]);
    let odd = Node { name: vec![0xff, b'\n', 0x1b], ..home.file("x", b"odd") };
    let deep = [home.file("deep", &big), node("pipe", NodeKind::Fifo), node("socket", NodeKind::Socket), odd];
    let deep = Node { mode: 0o500, modified: Time { seconds: -5, nanoseconds: 1 }, ..home.folder("deep", deep) };
    let attributed = Node {
        xattrs: vec![(b"user.ring".to_vec(), b"tree\0".to_vec())],
        mode: 0o440,
        ..home.file("attributed", b"a")
    };
    let nodes = [
        linked(one.clone(), "link1", 7),
        linked(one, "link2", 7),
        attributed,
        home.file("empty", b""),
        home.cut("long", &big, 1000),
        home.cut("same", &big, 1000),
        node("holey", NodeKind::File { content: holey, links: 0 }),
        symlink("dangling", "/nowhere/at all"),
        symlink("up", "../outside"),
        deep,
        home.folder("bare", []),
    ];
    home.folder("data", nodes)
}

#[test]
fn everything_comes_back() {
    let mut home = home();
    let data = everything(&mut home);
    let snapshot = home.snapshot(data);
    let (summary, log) = home.restore(&snapshot, |options| options.verify = true);
    let summary = summary.unwrap();
    assert_eq!((summary.errors, log.failures()), (0, vec![]), "{:?}", log.failed.lock());
    assert_eq!((summary.total_files, summary.files_restored, summary.files_skipped), (13, 13, 0));
    assert_eq!(summary.files_verified, 9, "hard links are verified under each name");
    assert!(*log.bytes.lock() > summary.bytes_restored - (4 << 20) - (4 << 10));
    let seen = look(&home.target());
    let at = |path: &str| seen.get(Path::new(path)).unwrap();
    assert_eq!(at("long").content, noise(1, 700_000));
    assert!(at("long").content == at("same").content && at("deep/deep").content == at("long").content);
    assert_eq!((at("deep").mode, at("deep").modified), (0o500, Time { seconds: -5, nanoseconds: 1 }));
    assert_eq!(
        (at("").modified, at("bare").modified, at("empty").modified, at("up").modified),
        (THEN, THEN, THEN, THEN)
    );
    assert_eq!(at("link1").inode, at("link2").inode);
    assert_eq!((at("deep/pipe").kind, at("deep/socket").kind, at("deep/pipe").mode), ("fifo", "socket", 0o644));
    assert_eq!(at("up").content, b"../outside");
    assert_eq!(
        (at("attributed").mode, xattr::get(home.target().join("attributed"), "user.ring").unwrap().unwrap()),
        (0o440, b"tree\0".to_vec())
    );
    let holey = at("holey");
    assert_eq!((holey.content.len(), holey.blocks), ((4 << 20) + 4096, 8));
    assert_eq!(holey.content[1 << 20..][..4096], noise(2, 4096));
}

#[test]
fn a_dry_run_does_nothing_and_says_what_it_would() {
    let mut home = home();
    let data = everything(&mut home);
    let snapshot = home.snapshot(data);
    let (summary, log) = home.restore(&snapshot, |options| options.dry_run = true);
    let summary = summary.unwrap();
    assert_eq!((summary.files_restored, summary.errors), (13, 0), "{:?}", log.failed.lock());
    assert!(!home.target().exists());
}

#[test]
fn zeros_become_holes_where_that_is_asked_for() {
    let mut home = home();
    let mut bytes = vec![0; 1 << 20];
    bytes[300_000..300_010].fill(7);
    let nodes = [home.cut("small", &bytes, 1 << 20), home.cut("large", &bytes, 50_000)];
    let data = home.folder("data", nodes);
    let snapshot = home.snapshot(data);
    home.restore(&snapshot, |options| options.sparse = true).0.unwrap();
    for name in ["small", "large"] {
        let seen = look(&home.target()).remove(Path::new(name)).unwrap();
        assert!(seen.content == bytes && seen.blocks <= 16, "{name}: {}", seen.blocks);
    }
}

#[test]
fn what_is_selected_is_restored_and_folders_only_where_something_is_in_them() {
    let mut home = home();
    let wanted = home.file("wanted", b"w");
    let other = home.file("other", b"o");
    let a = home.folder("a", [wanted, other.clone()]);
    let b = home.folder("b", [other]);
    let data = home.folder("data", [a, b]);
    let snapshot = home.snapshot(data);
    let choose = |path: &Path, is_folder: bool| match (path.ends_with("wanted"), is_folder) {
        (true, _) => Choice::Take,
        (false, true) => Choice::Descend,
        _ => Choice::Skip,
    };
    let mut options = crate::restore::RestoreOptions::new(home.target(), home.roots(&snapshot));
    options.selection = &choose;
    let summary = crate::restore::restore(&home.repository, &snapshot, &options, &crate::progress::Silent).unwrap();
    assert_eq!((summary.total_files, summary.errors), (1, 0));
    let names: Vec<_> = look(&home.target()).into_keys().collect();
    assert_eq!(names, [Path::new(""), Path::new("a"), Path::new("a/wanted")]);
    assert_eq!(look(&home.target())[Path::new("a")].mode, 0o755);
}

#[test]
fn one_path_goes_into_the_target_and_several_under_their_full_paths() {
    let mut home = home();
    let file = home.file("f", b"f");
    let one = home.folder("one", [file.clone()]);
    let two = home.folder("two", [file.clone()]);
    let srv = Node { mode: 0o711, ..home.folder("srv", [one, two, file]) };
    let root = home.folder("root", [srv]);
    let several = home.commit(root.clone(), &["/srv/one", "/srv/one/f", "/srv/two"]);
    home.restore_all(&several);
    let paths: Vec<_> = look(&home.target()).into_keys().map(|path| path.display().to_string()).collect();
    assert_eq!(paths, ["", "srv", "srv/one", "srv/one/f", "srv/two", "srv/two/f"]);
    assert_eq!(look(&home.target())[Path::new("srv")].mode, 0o711);
    let mut reader = home.repository.reader().unwrap();
    let mut lay = |sub: Option<&str>, full| layout(&several, &mut reader, sub.map(Path::new), full);
    let under = |roots: Vec<crate::restore::Root>| {
        roots.into_iter().map(|root| root.under.display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(under(lay(Some("/srv/one"), false).unwrap()), [""]);
    assert_eq!(under(lay(Some("srv/one/f"), false).unwrap()), ["f"]);
    assert_eq!(under(lay(Some("/srv/one/f/"), true).unwrap()), ["srv/one/f"]);
    assert!(matches!(lay(Some("/srv/none"), false), Err(SnapshotError::NoPath { .. })));
    std::fs::remove_dir_all(home.target()).unwrap();
    let roots = lay(Some("/srv/one/f"), false).unwrap();
    let (summary, log) = home.restore(&several, |options| options.roots = roots);
    assert_eq!((summary.unwrap().files_restored, log.outcome("/srv/one/f").is_some()), (1, true));
    assert_eq!(std::fs::read(home.target().join("f")).unwrap(), b"f");
}

#[test]
fn existing_folders_that_only_lead_somewhere_stay_as_they_are() {
    let mut home = home();
    let file = home.file("f", b"f");
    let one = home.folder("one", [file]);
    let srv = Node { mode: 0o700, ..home.folder("srv", [one]) };
    let root = home.folder("root", [srv]);
    let snapshot = home.commit(root, &["/srv/one"]);
    std::fs::create_dir_all(home.target().join("srv/kept")).unwrap();
    let roots = layout(&snapshot, &mut home.repository.reader().unwrap(), None, true).unwrap();
    let (summary, _) = home.restore(&snapshot, |options| {
        options.roots = roots;
        options.delete = true;
    });
    assert_eq!(summary.unwrap().files_deleted, 0);
    assert_eq!(look(&home.target())[Path::new("srv")].mode, 0o755);
    assert!(home.target().join("srv/kept").exists() && home.target().join("srv/one/f").exists());
}

#[test]
fn a_file_is_written_in_order() {
    let mut home = home();
    let bytes = noise(5, 300_000);
    let extents: Vec<_> = bytes.chunks(1000).map(|chunk| home.data(chunk)).collect();
    let content = home.stream(extents.into_iter().chain([Extent::Hole { bytes: 70_000 }]));
    let file = node("f", NodeKind::File { content, links: 0 });
    let data = home.folder("data", [file.clone()]);
    home.snapshot(data.clone());
    let mut out = Vec::new();
    write_file(&mut home.repository.reader().unwrap(), &file, &mut out).unwrap();
    assert!(out.len() == 370_000 && out[..300_000] == bytes && out[300_000..].iter().all(|byte| *byte == 0));
    assert!(write_file(&mut home.repository.reader().unwrap(), &data, &mut out).is_err());
}

#[test]
fn more_open_files_than_are_kept_open_and_more_pieces_than_a_window_holds() {
    let mut home = home();
    // Every file has a piece in each of two frames, so that all are begun before the first is finished.
    let chunks: Vec<_> = (0..1500).map(|seed| (home.data(&noise(seed, 100)), seed)).collect();
    let filler = noise(9999, 100_000);
    home.data(&filler);
    let last = home.data(&noise(10_000, 100));
    let mut nodes = Vec::new();
    for (first, seed) in &chunks {
        let content = home.stream([*first, last]);
        nodes.push(node(&format!("f{seed}"), NodeKind::File { content, links: 0 }));
    }
    let long = home.stream(std::iter::repeat_n(chunks[3].0, 30_000));
    nodes.push(node("long", NodeKind::File { content: long, links: 0 }));
    let data = home.folder("data", nodes);
    let snapshot = home.snapshot(data);
    let (summary, log) = home.restore(&snapshot, |options| options.verify = true);
    assert_eq!(summary.unwrap().errors, 0, "{:?}", log.failed.lock());
    let expected = [noise(77, 100), noise(10_000, 100)].concat();
    assert_eq!(std::fs::read(home.target().join("f77")).unwrap(), expected);
    assert_eq!(std::fs::read(home.target().join("long")).unwrap(), noise(3, 100).repeat(30_000));
}
