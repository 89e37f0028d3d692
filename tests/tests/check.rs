//! Checks through the program: what a check without a key finds, which data is read when, and that nothing false is said
//! of packs that vanish.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use treering_tests::{Ran, Treering, binary, run};
use treering_workloads::Random;

struct Home {
    temp: tempfile::TempDir,
    treering: Treering,
}

impl Home {
    /// A repository with so many snapshots, each with packs of its own.
    fn new(snapshots: u64) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let home = Self { treering: Treering::init(temp.path()), temp };
        (0..snapshots).for_each(|number| home.back_up(number));
        home
    }

    fn back_up(&self, number: u64) {
        let tree = self.temp.path().join("tree");
        fs::create_dir_all(&tree).unwrap();
        fs::write(tree.join(number.to_string()), Random::named(number, "check").bytes(50_000)).unwrap();
        self.treering.backup(&tree);
    }

    fn check(&self, arguments: &[&str]) -> Ran {
        run(self.treering.command("check").args(arguments))
    }

    /// The summary of a check that finds nothing.
    #[track_caller]
    fn summary(&self, arguments: &[&str]) -> Value {
        summary(&self.check(arguments).expect(0))
    }

    /// A check of the names by somebody who has no key and cannot be asked for one.
    fn check_names(&self) -> Ran {
        let mut command = Command::new(binary());
        command.env_clear().args(["check", "--packs", "--json", "--repo"]).arg(self.treering.repository());
        run(&mut command)
    }

    /// The files of a part of the repository.
    fn files(&self, part: &str) -> Vec<PathBuf> {
        let mut files: Vec<_> = Vec::new();
        let mut folders = vec![self.treering.repository().join(part)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }
}

#[track_caller]
fn summary(ran: &Ran) -> Value {
    ran.message("summary")
}

fn flip(path: &Path, at: usize) {
    write(path, |bytes| bytes[at] ^= 1);
}

fn write(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The number of packs that a check has read; what is left out is none.
fn packs_read(summary: &Value) -> u64 {
    summary["packs_read"].as_u64().unwrap_or(0)
}

fn fraction(summary: &Value) -> f64 {
    summary["verified_fraction"].as_f64().unwrap()
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn every_flipped_byte_shows_without_a_key() {
    let home = Home::new(2);
    home.check(&["--read-data"]).expect(0);
    assert_eq!(summary(&home.check_names().expect(0))["num_errors"], 0);
    for part in ["packs", "snapshots", "records", "keys", "copy/keys"] {
        let files = home.files(part);
        assert!(!files.is_empty(), "{part}");
        for path in files {
            let sound = fs::read(&path).unwrap();
            // The header with its salt, what follows, the middle, the trailer's or the seal's tag, the footer's end.
            for at in [0, 30, 75, sound.len() / 2, sound.len() - 40, sound.len() - 1] {
                flip(&path, at);
                let ran = home.check_names().expect(5);
                let found = ran.failed_items();
                assert_eq!(found.len(), 1, "{} at {at}: {ran}", path.display());
                assert!(found[0].ends_with(name(&path)), "{found:?}");
                assert!(ran.stderr.contains("what to do: "), "{ran}");
                fs::write(&path, &sound).unwrap();
            }
            write(&path, |bytes| bytes.truncate(20));
            home.check_names().expect(5);
            fs::write(&path, &sound).unwrap();
        }
    }
    for path in ["config", "copy/config"].map(|path| home.treering.repository().join(path)) {
        let sound = fs::read(&path).unwrap();
        flip(&path, sound.len() - 1);
        assert_eq!(home.check_names().expect(5).failed_items(), ["config"]);
        fs::write(&path, &sound).unwrap();
    }
    assert_eq!(summary(&home.check_names().expect(0))["broken_packs"], Value::Array(Vec::new()));
}

#[test]
fn no_repository_is_no_sound_repository() {
    let temp = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    run(command.env_clear().args(["check", "--packs", "--repo"]).arg(temp.path())).expect(10);
}

#[test]
fn shares_are_all_packs_and_parts_come_round() {
    let home = Home::new(3);
    let all = home.files("packs").len() as u64;
    let shares: u64 =
        (1..=3).map(|share| packs_read(&home.summary(&["--read-data-subset", &format!("{share}/3")]))).sum();
    assert_eq!(shares, all);
    assert_eq!(fraction(&home.summary(&[])), 1.0);
    // A byte is a pack at least: the one that was verified longest ago.
    let home = Home::new(3);
    let mut last = 0.0;
    for done in 1..=all {
        let summary = home.summary(&["--read-data-subset", "1B"]);
        assert_eq!(packs_read(&summary), 1);
        assert!(fraction(&summary) > last, "{summary}");
        assert_eq!(summary.get("more_runs").is_none(), done == all, "{summary}");
        last = fraction(&summary);
    }
    assert_eq!(last, 1.0);
    assert!(packs_read(&home.summary(&["--read-data-subset", "100%"])) == all);
}

#[test]
fn the_ledger_says_what_need_not_be_read_again() {
    let home = Home::new(1);
    let first = home.files("packs").len() as u64;
    let none = home.summary(&[]);
    assert_eq!((fraction(&none), none.get("oldest_verified")), (0.0, None));
    assert_eq!(packs_read(&home.summary(&["--max-age", "30d"])), first);
    let again = home.summary(&["--max-age", "30d"]);
    assert_eq!((packs_read(&again), fraction(&again)), (0, 1.0));
    assert!(again["oldest_verified"].is_string());
    // One record, whoever writes it.
    assert_eq!(home.files("records").len(), 1);
    // What is new was never verified.
    home.back_up(7);
    let new = home.files("packs").len() as u64 - first;
    assert!(fraction(&home.summary(&[])) < 1.0);
    assert_eq!(packs_read(&home.summary(&["--max-age", "30d"])), new);
    assert_eq!(home.files("records").len(), 1);
    assert_eq!(packs_read(&home.summary(&["--read-data"])), first + new);
}

#[test]
fn a_pack_that_is_damaged_counts_as_never_verified() {
    let home = Home::new(2);
    home.check(&["--read-data"]).expect(0);
    // The largest is one of data; what is wrong with trees is seen without reading data.
    let pack = home.files("packs").into_iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    let sound = fs::read(&pack).unwrap();
    flip(&pack, 100);
    // It was verified just now: the ledger is believed for what to read, and a check of all data reads it anyway.
    assert_eq!(packs_read(&home.summary(&["--max-age", "30d"])), 0);
    let found = summary(&home.check(&["--read-data"]).expect(5));
    assert_eq!(found["broken_packs"][0], name(&pack));
    assert!(fraction(&found) < 1.0);
    let found = summary(&home.check(&["--max-age", "30d"]).expect(5));
    assert_eq!(packs_read(&found), 1, "it is read first from now on");
    fs::write(&pack, sound).unwrap();
    assert_eq!(fraction(&home.summary(&["--max-age", "30d"])), 1.0);
}

#[test]
fn however_short_the_time_a_pack_is_read_and_written_down() {
    let home = Home::new(3);
    let all = home.files("packs").len() as u64;
    let mut before = 0.0;
    for _ in 0..all {
        let summary = home.summary(&["--max-age", "1d", "--max-duration", "0s"]);
        assert_eq!(packs_read(&summary), 1);
        assert!(fraction(&summary) > before, "{summary}");
        before = fraction(&summary);
    }
    assert_eq!((before, packs_read(&home.summary(&["--max-age", "1d", "--max-duration", "1h"]))), (1.0, 0));
}

#[test]
fn a_repository_that_cannot_be_written_is_checked_all_the_same() {
    let home = Home::new(1);
    home.check(&[]).expect(0);
    // No new object can begin without this folder; even root cannot write into what is none.
    let tmp = home.treering.repository().join("tmp");
    fs::remove_dir(&tmp).unwrap();
    fs::write(&tmp, b"").unwrap();
    let summary = home.summary(&["--read-data"]);
    assert!(summary["ledger_not_written"].is_string(), "{summary}");
    assert_eq!(fraction(&summary), 1.0);
    assert!(home.files("records").is_empty());
}

#[test]
fn unknown_files_are_named_and_harmless() {
    let home = Home::new(1);
    fs::write(home.treering.repository().join("records/notes.txt"), b"mine").unwrap();
    for summary in [home.summary(&[]), summary(&home.check_names().expect(0))] {
        assert_eq!(summary["unknown_files"][0], "records/notes.txt");
    }
}

#[test]
fn an_index_that_differs_is_named_with_what_to_do() {
    let home = Home::new(2);
    let index = home.treering.repository().join("index/index.db");
    for (what, change) in [
        ("rows of it instead of", "DELETE FROM chunk WHERE key = (SELECT min(key) FROM chunk)"),
        (
            "a row of it is not what its trailer says",
            "UPDATE chunk SET offset = offset + 1 WHERE key = (SELECT max(key) FROM chunk)",
        ),
        ("lead to no pack", "INSERT INTO chunk SELECT 5, seal, 999, frame, offset, length FROM chunk LIMIT 1"),
    ] {
        let sound = fs::read(&index).unwrap();
        let connection = rusqlite::Connection::open(&index).unwrap();
        assert_eq!(connection.execute(change, ()).unwrap(), 1);
        connection.close().unwrap();
        let ran = home.check(&[]).expect(5);
        assert_eq!(ran.failed_items(), ["index"], "{ran}");
        assert!(ran.stderr.contains(what) && ran.stderr.contains("treering repair index"), "{ran}");
        assert_eq!(summary(&ran)["suggest_repair_index"], true);
        fs::write(&index, sound).unwrap();
        home.check(&[]).expect(0);
    }
}

/// Packs that go while they are read, as a prune takes them, and that no snapshot needs.
#[test]
fn packs_that_vanish_are_no_damage_unless_a_snapshot_needs_them() {
    let home = Home::new(2);
    let before: Vec<_> = home.files("packs");
    home.back_up(99);
    let own: Vec<_> = home.files("packs").into_iter().filter(|pack| !before.contains(pack)).collect();
    let third = home.treering.snapshots()[2]["id"].as_str().unwrap().to_owned();
    home.check(&["--read-data"]).expect(0);
    run(home.treering.command("forget").arg(&third)).expect(0);
    own.iter().for_each(|pack| fs::remove_file(pack).unwrap());
    let summary = home.summary(&["--read-data"]);
    assert_eq!((packs_read(&summary), fraction(&summary)), (before.len() as u64, 1.0));
    // What the others need is missed, and said of them.
    fs::remove_file(&before[0]).unwrap();
    let ran = home.check(&["--read-data"]).expect(5);
    assert!(ran.stderr.contains("it is in no pack") || ran.stderr.contains("second copy"), "{ran}");
    assert!(!ran.stderr.contains(&third[..8]), "{ran}");
}

#[test]
fn a_snapshot_whose_file_is_gone_is_noticed() {
    // What another snapshot has seen is lost; of the newest it may be that its backup never came to its end.
    for (newest, code) in [(false, 5), (true, 0)] {
        let home = Home::new(2);
        let mut all = home.treering.snapshots();
        let lost = if newest { all.pop() } else { Some(all.remove(0)) }.unwrap()["id"].as_str().unwrap().to_owned();
        fs::remove_file(home.treering.repository().join("snapshots").join(&lost)).unwrap();
        let ran = home.check(&[]).expect(code);
        assert!(ran.stderr.contains(&lost) && ran.stderr.contains("treering repair snapshots"), "{ran}");
        let summary = summary(&ran);
        assert_eq!((&summary["lost_snapshots"], &summary["suggest_prune"]), (&json!([lost]), &json!(false)));
    }
}

/// One more backup does not hide that all others are lost, and a prune takes nothing of them.
#[test]
fn snapshots_that_are_all_lost_are_not_hidden_by_the_next_and_come_back_whole() {
    let home = Home::new(3);
    let all: Vec<String> =
        home.treering.snapshots().iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect();
    home.files("snapshots").iter().for_each(|path| fs::remove_file(path).unwrap());
    home.back_up(99);
    let ran = home.check(&[]).expect(5);
    assert!(all.iter().all(|lost| ran.stderr.contains(lost)), "{ran}");
    let pruned = run(home.treering.command("prune").args(["--yes", "--max-unused", "0"])).expect(0);
    assert!(pruned.stderr.contains("treering repair snapshots"), "{pruned}");
    let mut lost: Vec<String> = serde_json::from_value(pruned.message("summary")["snapshots_lost"].clone()).unwrap();
    lost.sort();
    let mut expected = all.clone();
    expected.sort();
    assert_eq!(lost, expected);
    run(home.treering.command("repair").arg("snapshots")).expect(0);
    home.check(&["--read-data"]).expect(0);
    assert_eq!(home.treering.snapshots().len(), 4);
}

/// Programs get the name of each.
#[test]
fn chunks_that_the_same_file_has_lost_are_one_error_for_people() {
    let home = Home::new(0);
    let tree = home.temp.path().join("tree");
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("large"), Random::named(1, "check").bytes(12 << 20)).unwrap();
    home.treering.backup(&tree);
    let data = home.files("packs").into_iter().filter(|pack| fs::read(pack).unwrap()[10] == 1);
    data.for_each(|pack| fs::remove_file(pack).unwrap());
    let errors = summary(&home.check(&[]).expect(5))["num_errors"].as_u64().unwrap();
    assert!(errors > 1, "{errors}");
    let command = home.treering.command("check");
    let text = command.get_args().filter(|argument| *argument != "--json");
    let ran = run(Command::new(binary()).env_clear().args(text)).expect(5);
    assert_eq!(ran.stderr.matches("it is in no pack").count(), 1, "{ran}");
    assert!(ran.stderr.contains(&format!("and {} more chunk", errors - 1)), "{ran}");
}
