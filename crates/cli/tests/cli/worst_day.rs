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
