//! A snapshot holds everything, exactly: trees of everything that a file system allows, changed at random between
//! backups, come back with the same fingerprint. `TREERING_TEST_SEEDS` sets how many trees (12 if it is not set),
//! `TREERING_TEST_FIRST_SEED` the first.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::path::Path;
use std::time::Duration;

use treering_tests::{Treering, assert_same, count, fingerprint, id, mutate, setting};
use treering_workloads::fingerprint::Fingerprint;
use treering_workloads::tricky_tree::{self, Options};

/// Longer than the tick of a file system's clock, so that what is written before is surely older than what follows.
const TICK: Duration = Duration::from_millis(120);

fn plant(folder: &Path, seed: u64) {
    let left_out = tricky_tree::create(folder, &Options { crowd: 150, ..Options::everything(seed) }).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    assert!(!is_root || left_out.is_empty(), "root can make everything here but {left_out:?}");
    std::thread::sleep(TICK);
}

#[track_caller]
fn assert_restores(treering: &Treering, snapshot: &str, target: &Path, expected: &Fingerprint) {
    treering.restore(snapshot, target);
    assert_same(expected, &fingerprint(target));
    std::fs::remove_dir_all(target).unwrap();
}

/// Each tree, backed up, changed, backed up and changed again; every snapshot restored at the end.
#[test]
fn every_snapshot_of_a_changing_tree_comes_back_exactly() {
    let first: u64 = setting("TREERING_TEST_FIRST_SEED", 1);
    let seeds: Vec<u64> = (first..first + setting("TREERING_TEST_SEEDS", 12)).collect();
    let (left, right) = seeds.split_at(seeds.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| left.iter().for_each(|seed| snapshots_of_one_tree(*seed)));
        scope.spawn(|| right.iter().for_each(|seed| snapshots_of_one_tree(*seed)));
    });
}

fn snapshots_of_one_tree(seed: u64) {
    println!("seed {seed}");
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let tree = temp.path().join("tree");
    plant(&tree, seed);
    let mut kept = Vec::new();
    for step in 0..3 {
        if step > 0 {
            assert!(mutate(&tree, seed, step) > 20);
            std::thread::sleep(TICK);
        }
        let before = fingerprint(&tree);
        kept.push((id(&treering.backup(&tree)), before));
        assert_same(&kept[step as usize].1, &fingerprint(&tree));
    }
    for (snapshot, expected) in &kept {
        assert_restores(&treering, snapshot, &temp.path().join("restored"), expected);
    }
    treering.check();
}

#[test]
fn an_unchanged_tree_stores_nothing_and_reads_no_file() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let tree = temp.path().join("tree");
    plant(&tree, 1);
    let first = treering.backup(&tree);
    let files = count(&first, "files_new");
    assert!(files > 150);
    let packs = treering.pack_bytes();
    for _ in 0..2 {
        let next = treering.backup(&tree);
        let seen = ["data_added", "files_new", "files_changed", "dirs_new", "dirs_changed"].map(|n| count(&next, n));
        assert_eq!(seen, [0; 5], "{next}");
        assert_eq!(count(&next, "files_unmodified"), files);
    }
    // Each snapshot stores a second copy of its record, and nothing else.
    assert!(treering.pack_bytes() - packs < 2 * 16_384, "{} bytes for nothing", treering.pack_bytes() - packs);
}

/// Holes are kept whatever the size of the file, as long as the file system has them.
#[test]
fn a_small_file_keeps_its_holes() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (tree, restored) = (temp.path().join("tree"), temp.path().join("restored"));
    std::fs::create_dir(&tree).unwrap();
    for length in [4096, 36_626, 65_535, 65_536] {
        std::fs::File::create(tree.join(length.to_string())).unwrap().set_len(length).unwrap();
    }
    assert!(fingerprint(&tree)[Path::new("36626")].contains("holes=[(0, 36626)]"), "no holes here");
    treering.restore(&id(&treering.backup(&tree)), &restored);
    assert_same(&fingerprint(&tree), &fingerprint(&restored));
}

/// What is restored is as good as the original: backed up again, it is the same tree.
#[test]
fn a_restored_tree_is_backed_up_as_the_same_tree() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (tree, restored) = (temp.path().join("tree"), temp.path().join("restored"));
    plant(&tree, 2);
    treering.restore(&id(&treering.backup(&tree)), &restored);
    let again = treering.backup(&restored);
    // The folders above it differ in their names, and the snapshot's own streams; no file does.
    assert!(count(&again, "data_added") < 100_000, "{again}");
    treering.restore(&id(&again), &temp.path().join("twice"));
    assert_same(&fingerprint(&tree), &fingerprint(&temp.path().join("twice")));
}

/// Restoring over something else makes it the same, and restoring over the same touches nothing.
#[test]
fn restoring_over_a_changed_tree_makes_it_the_same() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let tree = temp.path().join("tree");
    plant(&tree, 3);
    let before = fingerprint(&tree);
    let snapshot = id(&treering.backup(&tree));
    mutate(&tree, 3, 1);
    let restore = || {
        let mut command = treering.command("restore");
        command.args(["--privileged", "--delete", "--snapshot", &snapshot, "--target"]).arg(&tree);
        treering_tests::run(&mut command).expect(0).message("summary")
    };
    restore();
    assert_same(&before, &fingerprint(&tree));
    let again = restore();
    assert_eq!(["files_restored", "files_deleted", "bytes_restored"].map(|n| count(&again, n)), [0; 3], "{again}");
}
