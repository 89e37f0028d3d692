//! Damage, and the advice that is given about it, followed to the letter.

use std::fs;
use std::path::{Path, PathBuf};

use crate::kit::{Home, Ran, assert_same};

/// Two snapshots of different content, and their ids.
fn home() -> (Home, [String; 2]) {
    let home = Home::new();
    home.write("first", noise(1));
    let first = home.backup();
    home.write("second", noise(2));
    let second = home.backup();
    (home, [first, second])
}

fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..300_000).map(|_| next()).collect()
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn record(home: &Home, id: &str) -> PathBuf {
    home.path("repository/snapshots").join(id)
}

/// The commands that a message names, in its order.
fn advice(said: &str) -> Vec<Vec<String>> {
    let quoted = said.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.strip_prefix("treering "));
    quoted.map(|command| command.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn the_advice_about_a_damaged_pack_heals_it() {
    let (home, _) = home();
    let packs = home.packs();
    let largest = packs.iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    flip(largest);
    let said = home.run(["check", "--read-data"]).expect(5).stderr;
    let line = said.lines().find(|line| line.contains("error: pack")).unwrap();
    let [packs, snapshots] = advice(line).try_into().unwrap();
    let blind = home.run(["repair", "packs"]).expect(0).stdout;
    assert!(blind.contains("--read-data looks at all data"), "{blind}");
    home.run(packs).expect(3);
    home.backup();
    home.run(snapshots).expect(0);
    home.run(["check", "--read-data"]).expect(0);
    home.run(["restore", "latest", "--target", "out"]).expect(0);
    assert_same(&home.path("src"), &home.path("out"));
}

#[test]
fn latest_is_refused_beside_a_snapshot_that_cannot_be_read() {
    let (home, [first, second]) = home();
    flip(&record(&home, &second));
    for args in [
        &["restore", "latest", "--target", "out"][..],
        &["restore", "--at", "2200-01-01", "--target", "out"],
        &["ls", "latest"],
        &["ls", "latest~1"],
        &["dump", "latest", "/"],
        &["stats", "latest"],
        &["forget", "latest"],
        &["forget", "--keep-last", "1"],
        &["prune", "--keep-last", "1"],
    ] {
        let said = home.run(args).expect(5).stderr;
        assert!(said.contains("repair"), "{args:?}: {said}");
    }
    assert!(!home.path("out").exists() && record(&home, &first).exists());
    home.run(["restore", &first, "--target", "out"]).expect(0);
    home.run(["repair", "snapshots"]).expect(0);
    home.run(["restore", "latest", "--target", "newest", "--verify"]).expect(0);
    assert_same(&home.path("src"), &home.path("newest"));
}

#[test]
fn missing_folders_are_found_and_made_again() {
    for name in ["keys", "copy", "copy/keys", "records", "sessions", "tmp"] {
        let (home, _) = home();
        let folder = home.path("repository").join(name);
        fs::remove_dir_all(&folder).unwrap();
        home.run(["ls", "latest"]).expect(0);
        let said = home.run(["check"]).expect(5).stderr;
        assert!(said.contains("folders") && said.contains(name) && said.contains("repair config"), "{said}");
        home.run(["prune", "--yes"]).expect(5);
        home.backup();
        home.run(["repair", "config"]).expect(0);
        home.run(["check", "--read-data"]).expect(0);
        home.run(["prune", "--yes"]).expect(0);
    }
}

#[test]
fn empty_folders_of_packs_may_be_missing_for_all_but_those_that_delete() {
    let (home, _) = home();
    for shard in fs::read_dir(home.path("repository/packs")).unwrap() {
        // Only of those that are empty.
        drop(fs::remove_dir(shard.unwrap().path()));
    }
    home.write("third", noise(3));
    home.backup();
    assert!(home.run(["prune"]).expect(5).stderr.contains("repair config"));
    home.run(["repair", "index"]).expect(0);
    home.run(["repair", "packs"]).expect(5);
    home.run(["repair", "config"]).expect(0);
    home.run(["check", "--read-data"]).expect(0);
    home.run(["restore", "latest", "--target", "out"]).expect(0);
    assert_same(&home.path("src"), &home.path("out"));
}

#[test]
fn snapshots_that_are_gone_with_their_folder_are_not_taken_for_none() {
    let (home, [first, _]) = home();
    fs::remove_dir_all(home.path("repository/snapshots")).unwrap();
    let before = home.packs();
    for args in
        [&["prune", "--yes"][..], &["prune", "--keep-last", "1", "--yes"], &["repair", "snapshots"], &["backup", "src"]]
    {
        let said = home.run(args).expect(5).stderr;
        assert!(said.contains("snapshots") && said.contains("repair config"), "{args:?}: {said}");
    }
    home.run(["check"]).expect(5);
    home.run(["repair", "config"]).expect(0);
    let lost = home.run(["check"]).expect(5);
    assert!(lost.stderr.contains("repair snapshots") && !lost.stdout.contains("prune frees"), "{lost:?}");
    home.run(["prune", "--yes"]).expect(1);
    assert_eq!(home.packs(), before);
    home.run(["repair", "snapshots"]).expect(0);
    assert_eq!(home.snapshots().len(), 2);
    home.run(["restore", &first, "--target", "out"]).expect(0);
    home.run(["check", "--read-data"]).expect(0);
}

#[test]
fn a_place_without_a_config_is_damage_if_something_was_backed_up() {
    let (home, _) = home();
    let config = home.path("repository/config");
    fs::rename(&config, home.path("another-copy")).unwrap();
    fs::remove_file(home.path("repository/copy/config")).unwrap();
    for args in [&["check"][..], &["check", "--packs"], &["repair", "config"], &["backup", "src"], &["snapshots"]] {
        let said = home.run(args).expect(5).stderr;
        assert!(said.contains("another copy of the repository") && !said.contains("treering init"), "{args:?}: {said}");
    }
    home.run(["init"]).expect(1);
    home.run(["-r", "key", "snapshots"]).expect(10);
    fs::rename(home.path("another-copy"), &config).unwrap();
    home.run(["repair", "config"]).expect(0);
    home.run(["check", "--read-data"]).expect(0);
}

#[test]
fn the_advice_about_a_key_that_is_damaged_in_both_copies_ends_it() {
    let (home, _) = home();
    let slots: serde_json::Value = serde_json::from_str(&home.run(["key", "list", "--json"]).expect(0).stdout).unwrap();
    let other = slots.as_array().unwrap().iter().find(|slot| slot["current"] == false).unwrap()["id"].as_str().unwrap();
    for copy in ["keys", "copy/keys"] {
        flip(&home.path("repository").join(copy).join(other));
    }
    for args in [&["check"][..], &["check", "--packs"]] {
        let said = home.run(args).expect(5).stderr;
        assert!(said.contains("key remove") && !said.contains("repair config"), "{said}");
    }
    home.run(["repair", "config"]).expect(3);
    home.run(["key", "remove", "0000"]).expect(1);
    home.run(["key", "remove", &other[..8]]).expect(0);
    let clean = home.run(["check"]).expect(0);
    assert!(!clean.stderr.contains("key"), "{clean:?}");
    home.run(["key", "export"]).expect(0);
}

#[test]
fn a_key_that_could_not_be_added_opens_nothing() {
    let (home, _) = home();
    home.run(["key", "new-file", "other"]).expect(0);
    let keys = home.path("repository/keys");
    fs::rename(&keys, home.path("aside")).unwrap();
    std::os::unix::fs::symlink("nowhere", &keys).unwrap();
    home.run(["key", "add", "--new-key-file", "other"]).expect(1);
    let mut other = home.command(["snapshots"]);
    Ran::of(other.env("TREERING_KEY_FILE", home.path("other"))).expect(12);
    home.run(["snapshots"]).expect(0);
}

#[test]
fn something_else_in_place_of_the_config_is_damage() {
    let (home, _) = home();
    let config = home.path("repository/config");
    let pipe = || assert!(std::process::Command::new("mkfifo").arg(&config).status().unwrap().success());
    let folder = || fs::create_dir(&config).unwrap();
    let link = || std::os::unix::fs::symlink("/dev/zero", &config).unwrap();
    for put in [&pipe as &dyn Fn(), &folder, &link] {
        fs::remove_file(&config).unwrap();
        put();
        home.run(["ls", "latest"]).expect(0);
        let said = home.run(["check"]).expect(5).stderr;
        assert!(said.contains("error: config: its first copy cannot be used"), "{said}");
        home.run(["repair", "config"]).expect(0);
        home.run(["check"]).expect(0);
    }
}

#[test]
fn what_a_damaged_record_may_have_kept_is_not_pruned() {
    let (home, [first, second]) = home();
    home.run(["forget", &first]).expect(0);
    let records = fs::read_dir(home.path("repository/records")).unwrap().map(|entry| entry.unwrap().path());
    records.for_each(|record| flip(&record));
    for args in [&["undelete"][..], &["undelete", &first], &["prune", "--yes"]] {
        let said = home.run(args).expect(5).stderr;
        assert!(said.contains("record") && said.contains("repair snapshots"), "{args:?}: {said}");
    }
    // What it may have kept stays forgotten.
    home.run(["repair", "snapshots"]).expect(3);
    home.run(["undelete", &first]).expect(0);
    assert_eq!(home.snapshots().len(), 2);
    assert!(record(&home, &second).exists());
    home.run(["check", "--read-data"]).expect(0);
}

#[test]
fn a_second_copy_that_is_damaged_is_stored_again_as_advised() {
    let (home, _) = home();
    let copies = home.packs().into_iter().filter(|pack| fs::read(pack).unwrap()[10] == 2);
    let smallest = copies.min_by_key(|pack| fs::metadata(pack).unwrap().len());
    let victim = smallest
        .unwrap_or_else(|| home.packs().into_iter().min_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap());
    flip(&victim);
    let said = home.run(["check", "--read-data"]).expect(5).stderr;
    let copy = said.lines().find(|line| line.contains("error: second copy of snapshot")).unwrap();
    assert!(copy.contains("`treering repair packs --read-data`"), "{said}");
    home.run(["repair", "packs", "--read-data"]).expect(0);
    home.run(["check", "--read-data"]).expect(0);
}

#[test]
fn a_check_tells_lost_from_what_can_be_made_whole() {
    let (home, [first, second]) = home();
    flip(&record(&home, &second));
    let said = home.run(["check"]).expect(5).stderr;
    assert!(said.contains("affected snapshots") && said.contains("Nothing that a snapshot needs is lost"), "{said}");
    assert!(!said.contains("No snapshot is affected"), "{said}");
    for id in [&first, &second] {
        fs::remove_file(record(&home, id)).unwrap();
    }
    let lost = home.run(["check"]).expect(5);
    assert!(lost.stderr.contains("`treering repair snapshots`"), "{lost:?}");
    assert!(!lost.stdout.contains("prune frees the space"), "{lost:?}");
    home.run(["repair", "snapshots"]).expect(0);
    home.run(["check"]).expect(0);
}

#[test]
fn a_pack_that_is_lost_is_named_if_a_check_has_read_it() {
    let (home, _) = home();
    home.run(["check", "--read-data"]).expect(0);
    let packs = home.packs();
    let largest = packs.iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    let (name, aside) = (largest.file_name().unwrap().to_str().unwrap(), home.path("aside"));
    fs::rename(largest, &aside).unwrap();
    // What is read meanwhile does not forget it.
    for args in [&["check"][..], &["check", "--read-data"], &["check"]] {
        let said = home.run(args).expect(5).stdout;
        assert!(said.contains(name) && said.contains("another copy of the repository"), "{args:?}: {said}");
    }
    fs::rename(&aside, largest).unwrap();
    assert!(!home.run(["check"]).expect(0).stdout.contains(name));
}
