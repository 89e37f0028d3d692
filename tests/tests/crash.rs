//! A first backup that is killed goes on from what was stored, and a disk that fills up hurts nothing. Kills at any moment
//! are in `kill.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::fs;
use std::path::Path;

use treering_tests::{Running, SmallDisk, Treering, assert_same, count, fingerprint, id, megabytes, run};
use treering_workloads::Random;

/// A pack is closed when it has so many bytes.
const PACK_BYTES: u64 = 64 << 20;

/// A folder of new data, in files of several sizes; nothing shrinks it. About 7 MB.
fn add(tree: &Path, random: &mut Random, name: &str) {
    let folder = tree.join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("large"), random.bytes(4 << 20)).unwrap();
    for number in 0..100 {
        let length = random.below(50_000) as usize;
        fs::write(folder.join(number.to_string()), random.bytes(length)).unwrap();
    }
}

/// A first backup has no parent to build on: what it had stored is found by the index alone.
#[test]
fn a_killed_first_backup_stores_little_twice() {
    let temp = tempfile::tempdir().unwrap();
    let (whole, resumed) = (temp.path().join("whole"), temp.path().join("resumed"));
    [&whole, &resumed].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
    let tree = temp.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let mut random = Random::named(1, "resumed");
    for number in 0..28 {
        fs::write(tree.join(number.to_string()), random.bytes(8 << 20)).unwrap();
    }
    let in_one_go = count(&Treering::init(&whole).backup(&tree), "data_added_packed");
    fs::remove_dir_all(&whole).unwrap();

    let treering = Treering::init(&resumed);
    let mut running = Running::start(treering.backup_command(&tree).args(["--read-concurrency", "1"]));
    // The last in the order of names: 27 files were read by then.
    running.stop_while_reading(&tree.canonicalize().unwrap().join("9"));
    running.kill();
    let published = treering.pack_bytes();
    assert!(treering.snapshots().is_empty());
    let lost = (27_u64 * (8 << 20)).saturating_sub(published);
    assert!(lost <= 2 * PACK_BYTES, "more than a pack and a tail is lost: {}", megabytes(lost));
    let summary = treering.backup(&tree);
    let again = published + count(&summary, "data_added_packed") - in_one_go;
    println!(
        "killed with {} lost and {} published, {} of it again",
        megabytes(lost),
        megabytes(published),
        megabytes(again)
    );
    assert!(again < 1 << 20, "{again} bytes that were published were stored again");
    treering.restore(&id(&summary), &resumed.join("restored"));
    assert_same(&fingerprint(&tree), &fingerprint(&resumed.join("restored")));
    treering.check();
}

#[test]
fn a_full_disk_is_said_and_hurts_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let mounted = temp.path().join("disk");
    fs::create_dir(&mounted).unwrap();
    let disk = SmallDisk::mount(&mounted, 40 << 20);
    let treering = Treering::init_at(&mounted.join("repository"), temp.path(), disk.wrapper());
    let (tree, target) = (temp.path().join("tree"), temp.path().join("restored"));
    let mut random = Random::named(1, "full");
    add(&tree, &mut random, "fits");
    let before = fingerprint(&tree);
    let snapshot = id(&treering.backup(&tree));

    (0..8).for_each(|number| add(&tree, &mut random, &format!("too-much-{number}")));
    for _ in 0..2 {
        let ran = run(&mut treering.backup_command(&tree)).expect(14);
        assert_eq!(ran.message("exit_error")["code"], 14, "{ran}");
        assert_eq!(treering.snapshots().len(), 1, "a snapshot was written that cannot be whole");
        treering.check();
        treering.assert_restores(&snapshot, &target, &before);
    }

    disk.shell(&format!("mount -o remount,size=200m '{}'", mounted.display()));
    let after = fingerprint(&tree);
    let second = id(&treering.backup(&tree));
    treering.check();
    treering.assert_restores(&second, &target, &after);
    treering.assert_restores(&snapshot, &target, &before);
}

/// With nothing left at all, and nobody there who could make room, what is stored can still be had.
#[test]
fn a_repository_on_a_full_disk_restores() {
    let temp = tempfile::tempdir().unwrap();
    let mounted = temp.path().join("disk");
    fs::create_dir(&mounted).unwrap();
    let disk = SmallDisk::mount(&mounted, 40 << 20);
    let treering = Treering::init_at(&mounted.join("repository"), temp.path(), disk.wrapper());
    let tree = temp.path().join("tree");
    add(&tree, &mut Random::named(1, "full"), "fits");
    let snapshot = id(&treering.backup(&tree));
    disk.shell(&format!("! head -c 40m /dev/zero > '{}/filler'", mounted.display()));
    assert_eq!(treering.snapshots().len(), 1);
    treering.assert_restores(&snapshot, &temp.path().join("restored"), &fingerprint(&tree));
    treering.check();
}

/// The disk that a restore writes to is full: that is said, and the repository is none the worse.
#[test]
fn a_full_target_is_said() {
    let temp = tempfile::tempdir().unwrap();
    let mounted = temp.path().join("disk");
    fs::create_dir(&mounted).unwrap();
    let disk = SmallDisk::mount(&mounted, 2 << 20);
    let treering = Treering::init_at(&temp.path().join("repository"), temp.path(), disk.wrapper());
    let tree = temp.path().join("tree");
    add(&tree, &mut Random::named(1, "target"), "too-much");
    let snapshot = id(&treering.backup(&tree));
    let mut command = treering.command("restore");
    run(command.args(["--snapshot", &snapshot, "--target"]).arg(mounted.join("restored"))).expect(14);
    treering.check();
    treering.assert_restores(&snapshot, &temp.path().join("elsewhere"), &fingerprint(&tree));
}
