//! Snapshots that no honest program wrote, and targets that somebody else changes. Nothing outside the target may be
//! touched: `Home::restore` looks after every restore.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink as make_symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use treering_chunk::{ChunkId, ChunkKind};

use super::build::*;
use crate::error::SnapshotError;
use crate::node::{Node, NodeKind, Time};
use crate::progress::Outcome;
use crate::restore::{Overwrite, WithheldKind};
use crate::stream::{Extent, Stream};

fn file_of(name: &str, content: Stream) -> Node {
    node(name, NodeKind::File { content, links: 0 })
}

fn chunk(id: ChunkId, bytes: u64) -> Extent {
    Extent::Chunk { id: *id.as_bytes(), bytes }
}

#[test]
fn links_in_the_place_of_folders_are_never_followed() {
    let mut home = home();
    let file = home.file("canary", b"replaced");
    let inner = home.folder("inner", [file.clone()]);
    let data = home.folder("data", [inner, file]);
    let snapshot = home.snapshot(data);
    for rule in [Overwrite::Always, Overwrite::IfChanged, Overwrite::IfNewer, Overwrite::Never] {
        let _fresh = fs::remove_dir_all(home.target());
        fs::create_dir(home.target()).unwrap();
        make_symlink(home.path("outside"), home.target().join("inner")).unwrap();
        make_symlink(home.path("outside/canary"), home.target().join("canary")).unwrap();
        let (summary, log) = home.restore(&snapshot, |options| {
            options.overwrite = rule;
            options.delete = true;
        });
        let summary = summary.unwrap();
        let seen = look(&home.target());
        if matches!(rule, Overwrite::Always | Overwrite::IfChanged) {
            assert_eq!(
                (summary.errors, seen[Path::new("inner/canary")].content.as_slice()),
                (0, b"replaced".as_slice())
            );
        } else {
            assert_eq!((summary.errors, log.failures()), (1, vec!["/data/inner".to_owned()]));
            assert_eq!(seen[Path::new("inner")].kind, "symlink");
        }
    }
}

#[test]
fn links_of_the_snapshot_are_made_after_its_files() {
    let mut home = home();
    let file = home.file("canary", b"replaced");
    let through = home.folder("b", [file]);
    let outside = home.path("outside");
    // A folder and a link of the same name cannot be in one tree; a second root of the same place can name both.
    let links = home.folder("data", [symlink("b", outside.to_str().unwrap())]);
    let folders = home.folder("data", [through]);
    let snapshot = home.snapshot(links);
    let mut roots = home.roots(&snapshot);
    roots.extend(roots.clone());
    roots[1].node = folders.clone();
    home.snapshot(folders);
    for order in [false, true] {
        let _fresh = fs::remove_dir_all(home.target());
        let mut roots = roots.clone();
        if order {
            roots.reverse();
        }
        let (summary, log) = home.restore(&snapshot, |options| options.roots = roots);
        assert_eq!((summary.unwrap().errors, log.failures()), (1, vec!["/data/b".to_owned()]));
        assert_eq!(fs::read(home.target().join("b/canary")).unwrap(), b"replaced");
    }
}

#[test]
fn a_racing_thread_that_swaps_folders_for_links_leads_nothing_outside() {
    let mut home = home();
    let files: Vec<_> = (0..40).map(|n| home.cut(&format!("f{n}"), &noise(n, 3000), 1000)).collect();
    let deep = home.folder("deep", files.clone());
    let linked = ["l1", "l2"].map(|name| Node {
        kind: NodeKind::Symlink { target: b"../../outside".to_vec() },
        ..node(name, NodeKind::Fifo)
    });
    let swapped = home.folder("swapped", files.into_iter().chain([deep]).chain(linked));
    let data = home.folder("data", [swapped]);
    let snapshot = home.snapshot(data);
    fs::create_dir(home.target()).unwrap();
    let stop = AtomicBool::new(false);
    let (target, outside) = (home.target(), home.path("outside"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let path = target.join(if round % 3 == 0 { "swapped/deep" } else { "swapped" });
                let aside = target.join(format!("aside{round}"));
                let _raced = fs::rename(&path, &aside);
                let _raced = make_symlink(&outside, &path);
                std::thread::yield_now();
                let _raced = fs::remove_file(&path);
                let _raced = fs::rename(&aside, &path);
                let _raced = fs::remove_dir_all(&aside);
            }
        });
        let began = std::time::Instant::now();
        let mut rounds = 0;
        while began.elapsed() < std::time::Duration::from_secs(3) {
            let mut options = crate::restore::RestoreOptions::new(&target, home.roots(&snapshot));
            options.delete = rounds % 2 == 0;
            options.overwrite = if rounds % 3 == 0 { Overwrite::Always } else { Overwrite::IfChanged };
            let _raced = crate::restore::restore(&home.repository, &snapshot, &options, &crate::progress::Silent);
            rounds += 1;
        }
        stop.store(true, Ordering::Relaxed);
        assert!(rounds > 5, "{rounds}");
    });
    assert_eq!(fs::read(home.path("outside/canary")).unwrap(), b"alive");
    assert_eq!(fs::read_dir(home.path("outside")).unwrap().count(), 1);
    let _rest = fs::remove_dir_all(&target);
}

#[test]
fn hard_links_are_made_of_restored_files_only() {
    let mut home = home();
    let one = home.file("one", b"one");
    let two = home.file("two", b"two");
    let (NodeKind::File { content: one, .. }, NodeKind::File { content: two, .. }) = (one.kind, two.kind) else {
        panic!()
    };
    let link = |name: &str, content: &Stream| node(name, NodeKind::File { content: content.clone(), links: 9 });
    // One number for two contents: what is called one file must be one.
    let data = home.folder("data", [link("a", &one), link("b", &two), link("c", &one)]);
    let snapshot = home.snapshot(data);
    home.restore_all(&snapshot);
    let seen = look(&home.target());
    let at = |name: &str| &seen[Path::new(name)];
    assert!(at("a").inode == at("c").inode && at("a").inode != at("b").inode && at("b").content == b"two");
    // The first name is left as it is: a link that leads outside. The others are no names of that.
    fs::remove_dir_all(home.target()).unwrap();
    fs::create_dir(home.target()).unwrap();
    make_symlink(home.path("outside/canary"), home.target().join("a")).unwrap();
    let (summary, _) = home.restore(&snapshot, |options| options.overwrite = Overwrite::Never);
    assert_eq!(summary.unwrap().errors, 0);
    let seen = look(&home.target());
    assert!(seen[Path::new("a")].kind == "symlink" && seen[Path::new("c")].content == b"one");
}

#[test]
fn a_link_of_a_file_that_failed_is_not_made_of_what_stands_in_its_place() {
    let mut home = home();
    let content = Stream { level: 0, extents: vec![chunk(ChunkId::from_bytes([7; 32]), 10)] };
    let link = |name: &str| node(name, NodeKind::File { content: content.clone(), links: 1 });
    let data = home.folder("data", [link("a"), link("b")]);
    let snapshot = home.snapshot(data);
    fs::create_dir(home.target()).unwrap();
    fs::write(home.target().join("a"), b"old").unwrap();
    let (summary, log) = home.restore(&snapshot, |_| {});
    assert_eq!((summary.unwrap().errors, log.failures()), (2, vec!["/data/a".into(), "/data/b".into()]));
    assert_eq!(fs::read(home.target().join("a")).unwrap(), b"old");
    assert!(!home.target().join("b").exists());
}

#[test]
fn lies_about_sizes_and_kinds_fail_the_file_and_nothing_else() {
    let mut home = home();
    let data_id = home.put(ChunkKind::Data, &noise(1, 5000));
    let tree_id = home.put(ChunkKind::Tree, &noise(2, 5000));
    let list_id = home.put(ChunkKind::List, &noise(3, 100));
    let good = home.data(&noise(4, 5000));
    let level = |level, extents| Stream { level, extents };
    let nodes = [
        ("longer", level(0, vec![chunk(data_id, 5001)])),
        ("shorter", level(0, vec![good, chunk(data_id, 4999)])),
        ("tree", level(0, vec![chunk(tree_id, 5000)])),
        ("list", level(0, vec![good, chunk(list_id, 100)])),
        ("missing", level(0, vec![good, chunk(ChunkId::from_bytes([9; 32]), 5000)])),
        ("not a list", level(1, vec![chunk(list_id, 1 << 40)])),
        ("data as list", level(2, vec![chunk(data_id, 1 << 60)])),
        ("huge hole", level(0, vec![Extent::Hole { bytes: i64::MAX as u64 - 5000 }, chunk(tree_id, 5000)])),
        ("huge", level(4, vec![chunk(list_id, i64::MAX as u64 - 1)])),
    ];
    let mut names: Vec<String> = nodes.iter().map(|(name, _)| format!("/data/{name}")).collect();
    names.sort();
    let honest = home.file("honest", b"h");
    let data = home.folder("data", nodes.map(|(name, content)| file_of(name, content)).into_iter().chain([honest]));
    let snapshot = home.snapshot(data);
    let (summary, log) = home.restore(&snapshot, |options| options.verify = true);
    let summary = summary.unwrap();
    assert_eq!((summary.errors, log.failures(), summary.files_restored), (9, names, 1), "{:?}", log.failed.lock());
    assert_eq!(look(&home.target()).len(), 2, "nothing of a file that failed is left");
}

#[test]
fn a_list_that_holds_itself_many_times_is_refused_where_its_lengths_do_not_add_up() {
    let mut home = home();
    let byte = home.data(b"x");
    let encode = |extents: &Vec<Extent>| treering_store::codec::encode(extents, 1 << 20).unwrap();
    let mut extent = byte;
    for _ in 0..3 {
        let list = vec![extent; 1000];
        let bytes: u64 = list.iter().map(Extent::bytes).sum();
        extent = chunk(home.put(ChunkKind::List, &encode(&list)), bytes);
    }
    let Extent::Chunk { id, bytes } = extent else { panic!() };
    let nodes = [
        file_of("a", Stream { level: 3, extents: vec![Extent::Chunk { id, bytes: bytes + 1 }] }),
        file_of("b", Stream { level: 2, extents: vec![extent] }),
        file_of("c", Stream { level: 4, extents: vec![extent] }),
    ];
    let data = home.folder("data", nodes);
    let snapshot = home.snapshot(data);
    let (summary, log) = home.restore(&snapshot, |_| {});
    assert_eq!((summary.unwrap().errors, log.failures().len()), (3, 3), "{:?}", log.failed.lock());
    assert_eq!(look(&home.target()).len(), 1);
}

#[test]
fn a_damaged_tree_costs_its_folder_and_deletes_nothing_there() {
    let mut home = home();
    let tree_as_data = home.put(ChunkKind::Data, &noise(1, 50));
    let bad = node("bad", NodeKind::Folder { tree: Stream { level: 0, extents: vec![chunk(tree_as_data, 50)] } });
    let file = home.file("f", b"f");
    let mut unsorted = Vec::new();
    for name in ["b", "b"] {
        Node { name: name.into(), ..file.clone() }.encode_into(&mut unsorted).unwrap();
    }
    let twice_id = home.put(ChunkKind::Tree, &unsorted);
    let twice = node(
        "twice",
        NodeKind::Folder { tree: Stream { level: 0, extents: vec![chunk(twice_id, unsorted.len() as u64)] } },
    );
    let data = home.folder("data", [bad, twice, file]);
    let snapshot = home.snapshot(data);
    for name in ["bad/old", "twice/old", "gone"] {
        fs::create_dir_all(home.target().join(name)).unwrap();
    }
    let (summary, log) = home.restore(&snapshot, |options| options.delete = true);
    assert_eq!((summary.unwrap().errors, log.failures()), (2, vec!["/data/bad".into(), "/data/twice".into()]));
    let names: Vec<String> = look(&home.target()).into_keys().map(|path| path.display().to_string()).collect();
    assert_eq!(names, ["", "bad", "bad/old", "f", "twice", "twice/old"]);
}

#[test]
fn names_that_only_look_alike_are_different_files() {
    let mut home = home();
    let names =
        ["name", "Name", "name ", "na\u{301}me", "n\u{e1}me", "..x", "...", " ", "-rf", "*", "\\..\\x", ".treering"];
    let files: Vec<_> = names.iter().map(|name| home.file(name, name.as_bytes())).collect();
    let data = home.folder("data", files);
    let snapshot = home.snapshot(data);
    home.restore_all(&snapshot);
    for name in names {
        assert_eq!(fs::read(home.target().join(name)).unwrap(), name.as_bytes());
    }
}

#[test]
fn impossible_names_are_not_even_decoded() {
    let mut home = home();
    let file = home.file("f", b"f");
    for name in ["..", ".", "", "a/b", "/etc", "a\0b", &"x".repeat(256)] {
        let mut bytes = Vec::new();
        file.encode_into(&mut bytes).unwrap();
        // The name comes first, after its length.
        let bad: Vec<u8> =
            [treering_store::codec::encode(&name.as_bytes().to_vec(), 1000).unwrap(), bytes[2..].to_vec()].concat();
        let id = home.put(ChunkKind::Tree, &bad);
        let tree = Stream { level: 0, extents: vec![chunk(id, bad.len() as u64)] };
        let snapshot = home.snapshot(node("data", NodeKind::Folder { tree }));
        let (summary, log) = home.restore(&snapshot, |options| options.privileged = true);
        let told = log.failed.lock().iter().map(|(_, error)| error.clone()).collect::<String>();
        assert!(summary.unwrap().errors == 1 && told.contains("name is impossible"), "{name:?}: {told}");
        assert_eq!(look(&home.target()).len(), 1);
    }
}

#[test]
fn nesting_as_deep_as_it_may_be_is_restored_and_deeper_is_refused() {
    let mut home = home();
    for (depth, errors) in [(700, 0), (crate::tree::DEPTH_MOST + 2, 1)] {
        let mut inner = home.file("f", b"deep");
        for _ in 0..depth {
            inner = home.folder("nested folder", [inner]);
        }
        let snapshot = home.snapshot(inner);
        let options = crate::restore::RestoreOptions::new(home.target(), home.roots(&snapshot));
        let log = Log::default();
        let summary = crate::restore::restore(&home.repository, &snapshot, &options, &log).unwrap();
        let told: Vec<_> = log.failed.lock().iter().map(|(_, error)| error.clone()).collect();
        assert_eq!((summary.errors, summary.files_restored), (errors, 1 - errors), "{told:?}");
        fs::remove_dir_all(home.target()).unwrap();
    }
}

#[test]
fn what_lends_rights_is_withheld_and_named() {
    let mut home = home();
    let suid = Node { mode: 0o6755, ..home.file("suid", b"s") };
    let capable = Node {
        xattrs: vec![(b"security.capability".to_vec(), vec![1; 20]), (b"user.a".to_vec(), b"b".to_vec())],
        ..home.file("capable", b"c")
    };
    let shared = Node { mode: 0o3775, ..home.folder("shared", []) };
    let nodes = [
        suid,
        capable,
        shared,
        node("null", NodeKind::CharDevice { device: 0x103 }),
        node("disk", NodeKind::BlockDevice { device: 0x800 }),
    ];
    let data = home.folder("data", nodes);
    let snapshot = home.snapshot(data);
    let (summary, log) = home.restore(&snapshot, |_| {});
    let summary = summary.unwrap();
    assert_eq!((summary.errors, summary.withheld.count), (0, 4), "{:?}", log.failed.lock());
    let mut named: Vec<_> =
        summary.withheld.named.iter().map(|(path, kind)| (path.display().to_string(), kind.clone())).collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    let attribute = WithheldKind::Attribute { name: b"security.capability".to_vec() };
    let expected = [
        ("/data/capable", attribute),
        ("/data/disk", WithheldKind::Device),
        ("/data/null", WithheldKind::Device),
        ("/data/suid", WithheldKind::SetId),
    ];
    assert_eq!(named, expected.map(|(path, kind)| (path.to_owned(), kind)));
    let seen = look(&home.target());
    assert_eq!((seen[Path::new("suid")].mode, seen[Path::new("shared")].mode), (0o755, 0o3775));
    assert!(!seen.contains_key(Path::new("null")));
    if rustix::process::geteuid().is_root() {
        fs::remove_dir_all(home.target()).unwrap();
        let (summary, _) = home.restore(&snapshot, |options| options.privileged = true);
        assert_eq!(summary.unwrap().withheld.count, 0);
        assert_eq!(look(&home.target())[Path::new("suid")].mode, 0o6755);
        // What is there already is neither withheld nor taken away.
        let (summary, _) = home.restore(&snapshot, |_| {});
        let is_missing =
            |path: &Path| path.ends_with("capable") || !home.target().join(path.file_name().unwrap()).exists();
        let named = summary.unwrap().withheld.named;
        assert!(named.iter().all(|(path, _)| is_missing(path)), "{named:?}");
        assert_eq!(look(&home.target())[Path::new("suid")].mode, 0o6755);
    }
}

#[test]
fn owners_are_set_before_modes() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut home = home();
    let owned = Node { mode: 0o4755, uid: 12_345, gid: 54_321, ..home.file("f", b"f") };
    let link = Node { uid: 12_345, gid: 54_321, ..symlink("s", "t") };
    let data = home.folder("data", [owned, link]);
    let snapshot = home.snapshot(data);
    home.restore(&snapshot, |options| options.privileged = true).0.unwrap();
    for name in ["f", "s"] {
        let metadata = fs::symlink_metadata(home.target().join(name)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (12_345, 54_321), "{name}");
    }
    assert_eq!(look(&home.target())[Path::new("f")].mode, 0o4755);
}

#[test]
fn a_damaged_pack_costs_the_files_in_it_and_they_are_named() {
    let mut home = home();
    let good = home.file("good", &noise(1, 50_000));
    home.snapshot_flush();
    let before = home.packs();
    let small = home.file("small", &noise(2, 3000));
    let large = home.file("large", &noise(3, 50_000));
    home.snapshot_flush();
    let damaged: Vec<_> = home.packs().into_iter().filter(|pack| !before.contains(pack)).collect();
    let tail = home.file("tail", &noise(4, 50_000));
    let data = home.folder("data", [good, small, large, tail]);
    let snapshot = home.snapshot(data);
    damaged.iter().for_each(|pack| damage(pack));
    fs::create_dir(home.target()).unwrap();
    fs::write(home.target().join("large"), b"what was there before").unwrap();
    let (summary, log) = home.restore(&snapshot, |options| options.verify = true);
    let summary = summary.unwrap();
    assert_eq!((summary.errors, summary.files_restored, summary.files_verified), (2, 2, 2));
    assert_eq!(log.failures(), ["/data/large", "/data/small"]);
    let seen = look(&home.target());
    assert_eq!(seen[Path::new("large")].content, b"what was there before");
    assert!(!seen.contains_key(Path::new("small")) && seen[Path::new("tail")].content == noise(4, 50_000));
    assert_eq!(log.outcome("/data/good"), Some(Outcome::New));
}

#[test]
fn who_stops_a_restore_finds_whole_files_only() {
    struct Stop(AtomicBool);
    impl crate::progress::Progress for Stop {
        fn event(&self, event: crate::progress::Event<'_>) {
            if matches!(event, crate::progress::Event::Done { .. }) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        fn is_interrupted(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }
    let mut home = home();
    let nodes: Vec<_> = (0..300).map(|n| home.cut(&format!("f{n}"), &noise(n, 20_000), 1000)).collect();
    let data = home.folder("data", nodes);
    let snapshot = home.snapshot(data);
    let options = crate::restore::RestoreOptions::new(home.target(), home.roots(&snapshot));
    let stopped = crate::restore::restore(&home.repository, &snapshot, &options, &Stop(AtomicBool::new(false)));
    assert!(matches!(stopped, Err(SnapshotError::Interrupted)), "{stopped:?}");
    let seen = look(&home.target());
    assert!(seen.len() > 1 && seen.len() < 301);
    for (path, entry) in seen.iter().filter(|(path, _)| !path.as_os_str().is_empty()) {
        let number: u64 = path.to_str().unwrap()[1..].parse().unwrap();
        assert!(entry.content == noise(number, 20_000) && entry.modified == Time { ..THEN }, "{path:?}");
    }
}
