//! Freeing space as a user does it: the plan and what becomes of it, taking back, and a disk with no room left.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::fs;
use std::path::Path;

use serde_json::Value;
use treering_tests::{Ran, SmallDisk, Treering, assert_same, count, fingerprint, id, run};
use treering_workloads::Random;

/// One file that never changes, one that changes every time, and many small ones of which some do. About 4 MB.
fn change(tree: &Path, random: &mut Random) {
    fs::create_dir_all(tree).unwrap();
    if !tree.join("fixed").exists() {
        fs::write(tree.join("fixed"), random.bytes(2 << 20)).unwrap();
    }
    fs::write(tree.join("new"), random.bytes(1 << 20)).unwrap();
    for number in 0..40 {
        if random.below(3) == 0 || !tree.join(number.to_string()).exists() {
            fs::write(tree.join(number.to_string()), random.bytes(25_000)).unwrap();
        }
    }
}

fn prune(treering: &Treering, arguments: &[&str]) -> Ran {
    run(treering.command("prune").args(arguments))
}

#[track_caller]
fn summary(treering: &Treering, arguments: &[&str]) -> Value {
    prune(treering, arguments).expect(0).message("summary")
}

fn forget(treering: &Treering, snapshots: &[String]) {
    run(treering.command("forget").args(snapshots)).expect(0);
}

/// Every name and length in the repository, but for the index.
fn listing(treering: &Treering) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![treering.repository().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let (path, metadata) = (entry.path(), entry.metadata().unwrap());
            match metadata.is_dir() {
                true if entry.file_name() != "index" => folders.push(path),
                true => {}
                false => found.push((path.display().to_string(), metadata.len())),
            }
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn a_plan_is_carried_out_as_it_was_shown() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (tree, mut random) = (temp.path().join("tree"), Random::named(7, "prune"));
    let mut kept = Vec::new();
    for _ in 0..6 {
        change(&tree, &mut random);
        kept.push((id(&treering.backup(&tree)), fingerprint(&tree)));
    }

    let untouched = summary(&treering, &[]);
    assert_eq!((count(&untouched, "snapshots_kept"), count(&untouched, "bytes_to_free")), (6, 0));
    assert_eq!(treering.snapshots().len(), 6, "a prune without --keep-* dropped a snapshot");

    let dropped: Vec<String> = kept.drain(..3).map(|(name, _)| name).collect();
    forget(&treering, &dropped);
    let (before, all) = (treering.pack_bytes(), listing(&treering));
    let exactly = ["--max-unused", "0"];
    let shown = summary(&treering, &["--dry-run", "--max-unused", "0"]);
    assert_eq!(listing(&treering), all, "a dry run changed something");
    let done = summary(&treering, &exactly);
    for field in ["planned", "packs_kept", "packs_to_repack", "packs_to_delete", "bytes_stored", "bytes_to_free"] {
        assert_eq!(shown[field], done[field], "{field}");
    }
    assert_eq!(done["packs_to_delete"], done["packs_deleted"]);
    assert_eq!(done["packs_to_repack"], done["packs_repacked"]);
    assert!(count(&done, "packs_deleted") > 0 && count(&done, "packs_repacked") > 0, "{done}");
    let freed = before - treering.pack_bytes();
    assert_eq!(freed, count(&done, "bytes_deleted") - count(&done, "bytes_written"));
    let planned = count(&done, "bytes_to_free");
    assert!(freed.abs_diff(planned) < planned / 10, "{freed} bytes were freed and {planned} planned");

    treering.check();
    for (name, expected) in &kept {
        let target = temp.path().join("restored");
        treering.restore(name, &target);
        assert_same(expected, &fingerprint(&target));
        fs::remove_dir_all(target).unwrap();
    }
    assert_eq!(count(&summary(&treering, &exactly), "bytes_to_free"), 0);
}

#[test]
fn what_was_forgotten_comes_back_until_it_is_pruned() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (tree, mut random) = (temp.path().join("tree"), Random::named(8, "undelete"));
    change(&tree, &mut random);
    let (first, expected) = (id(&treering.backup(&tree)), fingerprint(&tree));
    change(&tree, &mut random);
    treering.backup(&tree);
    forget(&treering, std::slice::from_ref(&first));
    let listed = run(&mut treering.command("undelete")).expect(0).document();
    assert_eq!((listed["forgotten"][0]["id"].as_str(), treering.snapshots().len()), (Some(&*first), 1));
    let back = run(treering.command("undelete").arg(&first[..8])).expect(0).document();
    assert_eq!(back["restored"][0]["id"].as_str(), Some(&*first));
    let target = temp.path().join("restored");
    treering.restore(&first, &target);
    assert_same(&expected, &fingerprint(&target));

    forget(&treering, std::slice::from_ref(&first));
    summary(&treering, &["--max-unused", "0"]);
    run(treering.command("undelete").arg(&first)).expect(1);
    let listed = run(&mut treering.command("undelete")).expect(0).document();
    assert_eq!(listed["forgotten"].as_array().map(Vec::len), Some(0));
    treering.check();
}

#[test]
fn what_cannot_be_meant_is_refused_and_changes_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (tree, mut random) = (temp.path().join("tree"), Random::named(9, "refuse"));
    change(&tree, &mut random);
    let large = id(&treering.backup(&tree));
    let small = temp.path().join("small");
    fs::create_dir(&small).unwrap();
    fs::write(small.join("file"), b"x").unwrap();
    let last = id(&treering.backup(&small));
    forget(&treering, std::slice::from_ref(&large));
    let all = listing(&treering);
    let refused = prune(&treering, &[]).expect(1).message("exit_error");
    assert!(refused["next"].as_str().unwrap().contains("--yes"), "{refused}");
    let dry = prune(&treering, &["--dry-run"]).expect(1);
    assert!(count(&dry.message("summary"), "bytes_to_free") > 0 && dry.stderr.contains("--yes"), "{dry}");
    assert_eq!(count(&summary(&treering, &["--dry-run", "--yes"]), "snapshots_ended"), 1);
    assert_eq!(listing(&treering), all);
    let done = summary(&treering, &["--yes"]);
    assert!(count(&done, "bytes_deleted") > 1 << 20, "{done}");
    forget(&treering, std::slice::from_ref(&last));
    let all = listing(&treering);
    let refused = prune(&treering, &["--yes"]).expect(1).message("exit_error");
    assert!(refused["message"].as_str().unwrap().contains("no snapshot would remain"), "{refused}");
    assert_eq!(listing(&treering), all);
    for wrong in [["--max-unused", "110%"], ["--max-duration", "soon"], ["--repack-smaller-than", "8MB"]] {
        prune(&treering, &wrong).expect(2);
    }
}

#[test]
fn snapshots_that_cannot_be_read_stop_it() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (tree, mut random) = (temp.path().join("tree"), Random::named(10, "unread"));
    let snapshots: Vec<String> = (0..3)
        .map(|_| {
            change(&tree, &mut random);
            id(&treering.backup(&tree))
        })
        .collect();
    forget(&treering, &snapshots[..1]);
    let record = treering.repository().join("snapshots").join(&snapshots[1]);
    let mut bytes = fs::read(&record).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&record, bytes).unwrap();
    let all = listing(&treering);
    prune(&treering, &["--yes"]).expect(5);
    assert_eq!(listing(&treering), all);
}

/// Not one byte is left, not even for the record that keeps what is forgotten.
#[test]
fn a_full_disk_can_be_pruned() {
    let temp = tempfile::tempdir().unwrap();
    let mounted = temp.path().join("disk");
    fs::create_dir(&mounted).unwrap();
    let disk = SmallDisk::mount(&mounted, 40 << 20);
    let treering = Treering::init_at(&mounted.join("repository"), temp.path(), disk.wrapper());
    let (tree, mut random) = (temp.path().join("tree"), Random::named(11, "full"));
    let snapshots: Vec<String> = (0..5)
        .map(|_| {
            change(&tree, &mut random);
            id(&treering.backup(&tree))
        })
        .collect();
    let expected = fingerprint(&tree);
    let filler = mounted.join("filler");
    disk.shell(&format!("! cat /dev/zero > '{}'", filler.display()));
    forget(&treering, &snapshots[..4]);
    disk.shell(&format!("! cat /dev/zero >> '{}'", filler.display()));
    let done = summary(&treering, &["--max-unused", "0", "--yes"]);
    assert!(count(&done, "bytes_deleted") > 4 << 20, "{done}");
    treering.check();
    let target = temp.path().join("restored");
    treering.restore(&snapshots[4], &target);
    assert_same(&expected, &fingerprint(&target));
    change(&tree, &mut random);
    treering.backup(&tree);
}

/// There is no room for an index, neither in the repository nor in the cache.
#[test]
fn an_index_without_room_is_a_full_disk_and_no_damage() {
    let temp = tempfile::tempdir().unwrap();
    let mounted = temp.path().join("disk");
    fs::create_dir(&mounted).unwrap();
    let disk = SmallDisk::mount(&mounted, 8 << 20);
    let treering = Treering::init_at(&mounted.join("repository"), &mounted, disk.wrapper());
    let (tree, mut random) = (temp.path().join("tree"), Random::named(12, "no room"));
    change(&tree, &mut random);
    treering.backup(&tree);
    // From no room at all to almost enough.
    for free_kib in (0..200).step_by(24) {
        let repository = treering.repository().display();
        disk.shell(&format!("rm -f '{repository}'/index/* '{0}/filler'", mounted.display()));
        disk.shell(&format!("dd if=/dev/zero of='{0}/room' bs=1k count={free_kib} 2>/dev/null", mounted.display()));
        disk.shell(&format!("! cat /dev/zero > '{0}/filler' 2>/dev/null; rm '{0}/room'", mounted.display()));
        let ran = run(treering.command("repair").arg("packs"));
        assert!(matches!(ran.status.code(), Some(0 | 14)), "{free_kib} KiB: {ran:?}");
    }
}

/// As after a prune that was killed: of one forgotten snapshot something is gone.
#[test]
fn what_cannot_come_back_is_named_and_keeps_nothing_else_from_it() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (tree, mut random) = (temp.path().join("tree"), Random::named(10, "undelete"));
    let mut back_up = || {
        change(&tree, &mut random);
        let before: Vec<_> = listing(&treering).into_iter().map(|(name, _)| name).collect();
        let name = id(&treering.backup(&tree));
        let mut own: Vec<_> = listing(&treering).into_iter().map(|(name, _)| name).collect();
        own.retain(|path| path.contains("packs/") && !before.contains(path));
        (name, own)
    };
    let [(whole, _), (broken, packs), (also_broken, more), (kept, _)] = std::array::from_fn(|_| back_up());
    forget(&treering, &[whole.clone(), broken.clone(), also_broken.clone()]);
    packs.iter().chain(&more).for_each(|pack| fs::remove_file(treering.repository().join(pack)).unwrap());
    let ids = |list: &Value, field: &str| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned()).collect()
    };
    let listed = run(&mut treering.command("undelete")).expect(0).document();
    assert_eq!(ids(&listed["forgotten"], "id"), std::slice::from_ref(&whole));
    assert_eq!(ids(&listed["not_whole"], "snapshot_id"), [broken.clone(), also_broken.clone()]);
    let done = run(treering.command("undelete").arg("--all")).expect(3);
    assert_eq!(ids(&done.document()["restored"], "id"), [whole]);
    assert_eq!(ids(&done.document()["not_whole"], "snapshot_id"), [broken.clone(), also_broken]);
    run(treering.command("undelete").arg(&broken)).expect(1);
    assert!(treering.snapshots().iter().any(|snapshot| snapshot["id"] == *kept));
}
