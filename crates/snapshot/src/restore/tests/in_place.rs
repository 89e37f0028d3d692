//! Restoring over what is there already.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink as make_symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::build::*;
use crate::node::{Node, NodeKind, Time};
use crate::progress::Outcome;
use crate::record::Snapshot;
use crate::restore::{Choice, Overwrite, RestoreOptions, layout, restore};
use crate::stream::Extent;

fn set_time(path: &Path, time: Time) {
    let at = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    utimensat(CWD, path, &Timestamps { last_access: at, last_modification: at }, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

const EARLIER: Time = Time { seconds: 1_600_000_000, nanoseconds: 0 };
const LATER: Time = Time { seconds: 1_800_000_000, nanoseconds: 0 };

/// One file of five pages.
fn one_file(home: &mut Home) -> (Snapshot, Vec<u8>) {
    let bytes = noise(1, 20_480);
    let file = home.file("f", &bytes);
    let data = home.folder("data", [file]);
    (home.snapshot(data), bytes)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Same,
    SameOtherTime(Time),
    OtherSameSizeSameTime,
    Other(Time),
    Shorter,
    Longer,
    Link,
    Folder,
}

fn prepare(path: &Path, bytes: &[u8], outside: &Path, state: State) {
    let mut other = bytes.to_vec();
    other[5000] ^= 1;
    let (content, time): (&[u8], Time) = match state {
        State::Same => (bytes, THEN),
        State::SameOtherTime(time) => (bytes, time),
        State::OtherSameSizeSameTime => (&other, THEN),
        State::Other(time) => (&other, time),
        State::Shorter => (&bytes[..9000], EARLIER),
        State::Longer => (&[bytes, b"more"].concat(), EARLIER),
        State::Link => {
            make_symlink(outside.join("canary"), path).unwrap();
            return set_time(path, EARLIER);
        }
        State::Folder => {
            fs::create_dir(path).unwrap();
            return set_time(path, EARLIER);
        }
    };
    fs::write(path, content).unwrap();
    set_time(path, time);
}

/// What is to come of it: nothing, the same file, another file in its place, an error.
#[derive(Debug, PartialEq)]
enum Becomes {
    Left,
    Kept,
    Replaced,
    Failed,
}

#[test]
fn every_rule_over_every_state() {
    use Becomes::{Failed, Kept, Left, Replaced};
    let rules = [Overwrite::Always, Overwrite::IfChanged, Overwrite::IfNewer, Overwrite::Never];
    let table = [
        (State::Same, [Kept, Kept, Left, Left]),
        (State::SameOtherTime(EARLIER), [Kept, Kept, Kept, Left]),
        (State::SameOtherTime(LATER), [Kept, Kept, Left, Left]),
        (State::OtherSameSizeSameTime, [Replaced, Kept, Left, Left]),
        (State::Other(EARLIER), [Replaced, Replaced, Replaced, Left]),
        (State::Other(LATER), [Replaced, Replaced, Left, Left]),
        (State::Shorter, [Replaced, Replaced, Replaced, Left]),
        (State::Longer, [Replaced, Replaced, Replaced, Left]),
        (State::Link, [Replaced, Replaced, Replaced, Left]),
        (State::Folder, [Failed, Failed, Failed, Left]),
    ];
    let mut home = home();
    let (snapshot, bytes) = one_file(&mut home);
    let path = home.target().join("f");
    for (state, expected) in table {
        for (rule, expected) in rules.into_iter().zip(expected) {
            if home.target().exists() {
                fs::remove_dir_all(home.target()).unwrap();
            }
            fs::create_dir(home.target()).unwrap();
            prepare(&path, &bytes, &home.path("outside"), state);
            let before = look(&home.target()).remove(Path::new("f")).unwrap();
            let (summary, log) = home.restore(&snapshot, |options| options.overwrite = rule);
            let (summary, after) = (summary.unwrap(), look(&home.target()).remove(Path::new("f")).unwrap());
            let case = format!("{state:?} {rule:?} {:?}", log.failed.lock());
            let is_failed = expected == Failed;
            assert_eq!(
                (summary.errors, log.failures().len()),
                (u64::from(is_failed), usize::from(is_failed)),
                "{case}"
            );
            match expected {
                Left | Failed => assert!(after == before, "{case}"),
                Kept => assert!(
                    after.inode == before.inode && after.content == before.content && after.modified == THEN,
                    "{case}"
                ),
                Replaced => {
                    assert!(after.inode != before.inode && after.content == bytes && after.modified == THEN, "{case}")
                }
            }
            assert_eq!(summary.files_restored, u64::from(expected == Replaced), "{case}");
        }
    }
}

#[test]
fn unchanged_ranges_come_from_the_old_file_even_where_the_repository_has_lost_them() {
    let mut home = home();
    let old = noise(1, 200_000);
    let mut new = old.clone();
    new[100_000..100_010].fill(0);
    let mut extents: Vec<_> = old.chunks(4096).map(|chunk| home.data(chunk)).collect();
    let lost = home.packs().len();
    home.snapshot_flush();
    let data_packs: Vec<_> = home.packs().into_iter().skip(lost).collect();
    extents[24] = home.data(&new[24 * 4096..25 * 4096]);
    let content = home.stream(extents);
    let data = home.folder("data", [node("f", NodeKind::File { content, links: 0 })]);
    let snapshot = home.snapshot(data);
    fs::create_dir(home.target()).unwrap();
    fs::write(home.target().join("f"), &old).unwrap();
    data_packs.iter().for_each(|pack| damage(pack));
    let (summary, log) = home.restore(&snapshot, |options| options.verify = true);
    assert_eq!(
        (summary.unwrap().errors, log.outcome("/data/f")),
        (0, Some(Outcome::Changed)),
        "{:?}",
        log.failed.lock()
    );
    assert!(fs::read(home.target().join("f")).unwrap() == new);
}

#[test]
fn a_file_of_many_windows_is_kept_if_it_is_the_same_and_rebuilt_if_its_end_differs() {
    let mut home = home();
    let bytes = noise(4, 100).repeat(12_000);
    let chunk = home.data(&noise(4, 100));
    let content = home.stream(std::iter::repeat_n(chunk, 12_000));
    let data = home.folder("data", [node("f", NodeKind::File { content, links: 0 })]);
    let snapshot = home.snapshot(data);
    let path = home.target().join("f");
    fs::create_dir(home.target()).unwrap();
    for (at, expected) in [
        (None, Outcome::Unmodified),
        (Some(1_199_999), Outcome::Changed),
        (Some(0), Outcome::Changed),
        (Some(600_000), Outcome::Changed),
    ] {
        let mut old = bytes.clone();
        if let Some(at) = at {
            old[at] ^= 1;
        }
        fs::write(&path, &old).unwrap();
        let (summary, log) = home.restore(&snapshot, |options| options.verify = true);
        assert_eq!(
            (summary.unwrap().errors, log.outcome("/data/f")),
            (0, Some(expected)),
            "{at:?} {:?}",
            log.failed.lock()
        );
        assert!(fs::read(&path).unwrap() == bytes, "{at:?}");
    }
}

#[test]
fn holes_are_kept_and_made_in_place() {
    let mut home = home();
    let data = home.data(&noise(1, 4096));
    let content = home.stream([Extent::Hole { bytes: 1 << 20 }, data]);
    let data = home.folder("data", [node("f", NodeKind::File { content, links: 0 })]);
    let snapshot = home.snapshot(data);
    home.restore_all(&snapshot);
    let first = look(&home.target()).remove(Path::new("f")).unwrap();
    home.restore_all(&snapshot);
    assert!(look(&home.target()).remove(Path::new("f")).unwrap() == first);
    let mut changed = first.content.clone();
    changed[77] = 1;
    fs::write(home.target().join("f"), &changed).unwrap();
    home.restore_all(&snapshot);
    let again = look(&home.target()).remove(Path::new("f")).unwrap();
    assert!(again.content == first.content && again.blocks == first.blocks);
}

#[test]
fn metadata_alone_is_corrected_without_writing_but_not_through_another_name_of_the_file() {
    let mut home = home();
    let (snapshot, bytes) = one_file(&mut home);
    home.restore_all(&snapshot);
    let path = home.target().join("f");
    xattr::set(&path, "user.extra", b"x").unwrap();
    let before = fs::metadata(&path).unwrap();
    home.restore_all(&snapshot);
    assert_eq!(fs::metadata(&path).unwrap().ino(), before.ino());
    assert_eq!(xattr::get(&path, "user.extra").unwrap(), None);
    fs::remove_file(&path).unwrap();
    let other = home.path("elsewhere");
    fs::write(&other, &bytes).unwrap();
    fs::hard_link(&other, &path).unwrap();
    set_time(&other, EARLIER);
    home.restore_all(&snapshot);
    assert!(look(&home.path("elsewhere").parent().unwrap().join("outside")).len() == 2);
    let time = fs::metadata(&other).unwrap().mtime();
    assert_eq!(time, EARLIER.seconds, "the other name's file is not ours");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_second_restore_changes_nothing() {
    let mut home = home();
    let big = noise(1, 100_000);
    let head = home.file("link1", b"x");
    let NodeKind::File { content, .. } = head.kind else { panic!() };
    let links = ["link1", "link2"].map(|name| node(name, NodeKind::File { content: content.clone(), links: 3 }));
    let file = home.file("f", &big);
    let inner = home.folder("inner", [file, symlink("s", "t"), node("p", NodeKind::Fifo), node("k", NodeKind::Socket)]);
    let inner = Node { mode: 0o555, ..inner };
    let data = home.folder("data", links.into_iter().chain([inner]));
    let snapshot = home.snapshot(data);
    home.restore_all(&snapshot);
    let first = look(&home.target());
    let touched = || fs::metadata(home.target()).map(|metadata| (metadata.ctime(), metadata.ctime_nsec())).unwrap();
    let before = touched();
    for rule in [Overwrite::Always, Overwrite::IfChanged, Overwrite::IfNewer, Overwrite::Never] {
        let (summary, log) = home.restore(&snapshot, |options| {
            options.overwrite = rule;
            options.delete = true;
        });
        let summary = summary.unwrap();
        assert_eq!(
            (summary.errors, summary.files_restored, summary.files_deleted),
            (0, 0, 0),
            "{rule:?} {:?}",
            log.done.lock()
        );
        assert_eq!(look(&home.target()), first, "{rule:?}");
        let skipped = summary.files_skipped;
        let (verified, _) = home.restore(&snapshot, |options| (options.overwrite, options.verify) = (rule, true));
        assert_eq!(verified.unwrap().files_skipped, skipped, "{rule:?}: each is counted once");
    }
    assert_eq!(touched(), before, "a folder that is right is not set, which only its owner can do");
}

/// What is left out in a folder keeps it, and is no reason to say that it would go.
#[test]
fn a_folder_that_keeps_something_does_not_give_way() {
    let mut home = home();
    let (file, link) = (home.file("f", b"f"), symlink("s", "t"));
    let data = home.folder("data", [file, link]);
    let snapshot = home.snapshot(data);
    for name in ["f", "s"] {
        fs::create_dir_all(home.target().join(name)).unwrap();
        fs::write(home.target().join(name).join("kept"), b"old").unwrap();
    }
    for dry_run in [true, false] {
        let (summary, log) = home.restore(&snapshot, |options| {
            (options.delete, options.dry_run) = (true, dry_run);
            options.selection = &|path, _| if path.ends_with("kept") { Choice::Skip } else { Choice::Take };
        });
        assert_eq!((summary.unwrap().files_deleted, log.failures().len()), (0, 2), "{:?}", log.failed.lock());
        assert_eq!(look(&home.target()).len(), 5);
    }
}

#[test]
fn deleting_removes_what_is_not_in_the_snapshot_and_nothing_else() {
    let mut home = home();
    let (a, b) = (home.file("a", b"a"), home.file("b", b"b"));
    let inner = home.folder("inner", [a, b.clone()]);
    let data = home.folder("data", [inner, b]);
    let snapshot = home.snapshot(data);
    let target = home.target();
    fs::create_dir_all(target.join("inner/old/deep/deeper")).unwrap();
    fs::create_dir_all(target.join("more/kept")).unwrap();
    for name in ["inner/old/deep/x", "inner/old/deep/deeper/y", "inner/z", "more/kept/keep.log", "more/w", "v"] {
        fs::write(target.join(name), b"old").unwrap();
    }
    make_symlink(home.path("outside"), target.join("inner/out")).unwrap();
    make_symlink(home.path("outside"), target.join("more/out")).unwrap();
    let keep = |path: &Path, _: bool| if path.ends_with("keep.log") { Choice::Skip } else { Choice::Take };
    for dry_run in [true, false] {
        let before = look(&target);
        let mut options =
            RestoreOptions { delete: true, dry_run, ..RestoreOptions::new(&target, home.roots(&snapshot)) };
        options.selection = &keep;
        let log = Log::default();
        let summary = restore(&home.repository, &snapshot, &options, &log).unwrap();
        assert_eq!((summary.errors, log.failures()), (0, vec![]));
        if dry_run {
            assert_eq!(look(&target), before);
        } else {
            assert_eq!(summary.files_deleted, 10);
        }
    }
    let names: Vec<PathBuf> = look(&target).into_keys().collect();
    let expected =
        ["", "b", "inner", "inner/a", "inner/b", "more", "more/kept", "more/kept/keep.log"].map(PathBuf::from);
    assert_eq!(names, expected);
    assert_eq!(fs::read(home.path("outside/canary")).unwrap(), b"alive");
}

#[test]
fn a_folder_gives_way_to_a_file_only_where_deleting_was_asked_for() {
    [Overwrite::Always, Overwrite::IfChanged].into_iter().for_each(a_folder_gives_way);
}

fn a_folder_gives_way(rule: Overwrite) {
    let mut home = home();
    let (file, head) = (home.file("f", &noise(2, 100_000)), home.file("l", b"l"));
    let data = home.folder("data", [file, head, symlink("s", "t")]);
    let snapshot = home.snapshot(data);
    for name in ["f", "l", "s"] {
        fs::create_dir_all(home.target().join(name)).unwrap();
        fs::write(home.target().join(name).join("x"), b"old").unwrap();
    }
    let (summary, log) = home.restore(&snapshot, |options| options.overwrite = rule);
    assert_eq!(
        (summary.unwrap().errors, log.failures()),
        (3, ["/data/f", "/data/l", "/data/s"].map(String::from).to_vec())
    );
    let (said, dry_log) = home.restore(&snapshot, |options| {
        (options.delete, options.dry_run, options.overwrite) = (true, true, rule);
    });
    assert_eq!(look(&home.target()).len(), 7);
    let (summary, log) = home.restore(&snapshot, |options| (options.delete, options.overwrite) = (true, rule));
    let (said, summary) = (said.unwrap(), summary.unwrap());
    assert_eq!((summary.errors, log.failures()), (0, vec![]), "{:?}", log.failed.lock());
    assert_eq!(look(&home.target()).len(), 4);
    // A dry run has said all of it.
    assert_eq!((said.errors, said.files_deleted, summary.files_deleted), (0, 6, 6));
    for gone in ["/data/f", "/data/l", "/data/s"].map(|folder| format!("{folder}/x")) {
        assert!(dry_log.done.lock().contains(&(PathBuf::from(&gone), Outcome::Deleted)), "{gone}");
    }
}

/// An ACL by which this user may do everything in new entries, as the kernel keeps it.
fn acl_for_all(user: u32) -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let entries = [(0x01u16, NOBODY), (0x02, user), (0x04, NOBODY), (0x10, NOBODY), (0x20, NOBODY)];
    let entries = entries
        .into_iter()
        .flat_map(|(tag, id)| [&tag.to_le_bytes()[..], &7u16.to_le_bytes(), &id.to_le_bytes()].concat());
    2u32.to_le_bytes().into_iter().chain(entries).collect()
}

/// Whoever has a default ACL in the target is given no rights that the snapshot does not give.
#[test]
fn what_is_made_in_a_folder_with_a_default_acl_does_not_keep_it() {
    let mut home = home();
    let (bytes, small) = (noise(1, 20_000), home.file("small", b"s"));
    let key = Node { mode: 0o640, ..home.file("key", &bytes) };
    let inner = home.folder("inner", [key.clone(), small, node("pipe", NodeKind::Fifo)]);
    let data = home.folder("data", [key, inner]);
    let snapshot = home.snapshot(data);
    let root = home.folder("root", []);
    let two = home.folder("srv", [root]);
    let two = home.folder("root", [two]);
    let several = home.commit(two, &["/srv/root"]);
    let (target, default) = (home.target(), "system.posix_acl_default");
    let acl = |path: &Path| {
        ["access", "default"]
            .map(|kind| xattr::get(path, format!("system.posix_acl_{kind}")).unwrap_or_default().is_some())
    };
    for (is_there, leads) in [(false, false), (true, false), (false, true)] {
        let _fresh = fs::remove_dir_all(&target);
        fs::create_dir(&target).unwrap();
        if is_there {
            fs::write(target.join("key"), [bytes.as_slice(), b"changed"].concat()).unwrap();
        }
        xattr::set(&target, default, &acl_for_all(1234)).expect("the file system of TMPDIR has ACLs");
        if leads {
            let roots = layout(&several, &mut home.repository.reader().unwrap(), None, true).unwrap();
            home.restore(&several, |options| options.roots = roots).0.unwrap();
            assert_eq!((acl(&target), acl(&target.join("srv"))), ([false, true], [false; 2]));
            continue;
        }
        home.restore_all(&snapshot);
        let seen = look(&target);
        assert_eq!((seen.len(), seen[Path::new("key")].mode), (6, 0o640));
        let kept: Vec<_> = seen.keys().filter(|path| acl(&target.join(path)) != [false; 2]).collect();
        assert!(kept.is_empty(), "{is_there}: {kept:?}");
    }
}

/// Puts bytes into a file of this length in which all the rest is a hole.
fn write_sparse(path: &Path, length: u64, parts: &[(u64, &[u8])]) {
    let _old = fs::remove_file(path);
    let file = fs::File::create(path).unwrap();
    file.set_len(length).unwrap();
    parts.iter().for_each(|(offset, bytes)| file.write_all_at(bytes, *offset).unwrap());
}

/// Few holes in one window, more than are remembered in several.
#[test]
fn a_sparse_file_that_differs_stays_sparse() {
    const PART: u64 = 8 << 10;
    for parts in [4, 6000] {
        let mut home = home();
        let (first, hole) = (home.data(&noise(1, 4096)), Extent::Hole { bytes: PART - 4096 });
        // Zeros that were stored, as a program that fills its files leaves them.
        let zeros = home.data(&[0; 4096]);
        let each = [first, hole, zeros, hole];
        let content = home.stream(each.into_iter().cycle().take(2 * parts));
        let data = home.folder("data", [node("f", NodeKind::File { content, links: 0 })]);
        let snapshot = home.snapshot(data);
        home.restore_all(&snapshot);
        let (path, length) = (home.target().join("f"), parts as u64 * PART);
        let fresh = look(&home.target()).remove(Path::new("f")).unwrap();
        let last = length - 2 * PART;
        let (block, other) = (noise(1, 4096), noise(2, 10));
        let blocks: Vec<_> = (0..parts as u64 / 2).map(|part| (part * 2 * PART, block.as_slice())).collect();
        for changed in [1, PART - 100, last + 10, last + PART - 100] {
            // Where the snapshot has zeros, the old file may have a hole.
            write_sparse(&path, length, &[blocks.as_slice(), &[(changed, &other)]].concat());
            home.restore_all(&snapshot);
            let again = look(&home.target()).remove(Path::new("f")).unwrap();
            assert!(again.content == fresh.content, "{parts} {changed}");
            assert!(again.blocks <= fresh.blocks, "{parts} {changed}: {} {}", again.blocks, fresh.blocks);
        }
        // What was filled meanwhile has holes again, as far as they are remembered.
        let mut full = fresh.content.clone();
        full[last as usize + 10] ^= 1;
        fs::write(&path, &full).unwrap();
        home.restore_all(&snapshot);
        let again = look(&home.target()).remove(Path::new("f")).unwrap();
        assert!(again.content == fresh.content, "{parts}");
        assert!(parts > 4 || again.blocks == fresh.blocks, "{parts}: {} {}", again.blocks, fresh.blocks);
    }
}

/// What lends rights need not be given where it is there already; whatever would let others at it takes it off.
#[test]
fn a_set_id_bit_that_is_there_is_neither_withheld_nor_taken_away() {
    let mut home = home();
    let bytes = noise(1, 20_000);
    let file = Node { mode: 0o4755, ..home.file("f", &bytes) };
    let data = home.folder("data", [file]);
    let snapshot = home.snapshot(data);
    let path = home.target().join("f");
    let set_mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    home.restore(&snapshot, |options| options.privileged = true).0.unwrap();
    for rule in [Overwrite::Always, Overwrite::IfChanged] {
        for (case, kept) in [("same", true), ("time", true), ("mode", false), ("content", false), ("none", false)] {
            fs::write(&path, if case == "content" { &bytes[1..] } else { &bytes }).unwrap();
            set_time(&path, if case == "time" { LATER } else { THEN });
            set_mode(match case {
                "mode" => 0o4750,
                "none" => 0o755,
                _ => 0o4755,
            });
            for dry_run in [true, false] {
                let (summary, log) = home.restore(&snapshot, |options| {
                    (options.overwrite, options.dry_run) = (rule, dry_run);
                });
                let summary = summary.unwrap();
                let told = (summary.errors, summary.withheld.count, log.failures().len());
                assert_eq!(told, (0, u64::from(!kept), 0), "{rule:?} {case} {dry_run}");
            }
            let after = look(&home.target()).remove(Path::new("f")).unwrap();
            let mode = if kept { 0o4755 } else { 0o755 };
            assert_eq!((after.mode, after.modified), (mode, THEN), "{rule:?} {case}");
            assert!(after.content == bytes, "{rule:?} {case}");
        }
    }
}

/// What a restore that was killed has left; not what one that goes on is at work on, nor what only looks alike.
#[test]
fn unfinished_files_of_a_killed_restore_are_removed() {
    let mut home = home();
    let file = home.file("f", b"f");
    let inner = home.folder("inner", [file.clone()]);
    let data = home.folder("data", [file, inner]);
    let snapshot = home.snapshot(data);
    let inner = home.target().join("inner");
    fs::create_dir_all(&inner).unwrap();
    let name = |digits: &str| inner.join(format!(".treering-{digits}.tmp"));
    let (dead, alive) = (name(&"0a".repeat(12)), name(&"1f".repeat(12)));
    let others = [name("user"), name(&"xy".repeat(12)), inner.join("other")];
    for path in [&dead, &alive].into_iter().chain(&others) {
        fs::write(path, b"half").unwrap();
    }
    let held = fs::File::open(&alive).unwrap();
    held.lock().unwrap();
    for dry_run in [true, false] {
        let options = RestoreOptions { dry_run, ..RestoreOptions::new(home.target(), home.roots(&snapshot)) };
        let log = Log::default();
        let summary = restore(&home.repository, &snapshot, &options, &log).unwrap();
        assert_eq!((summary.errors, summary.files_deleted, dead.exists()), (0, 1, dry_run));
        assert!(alive.exists() && others.iter().all(|path| path.exists()));
    }
}
