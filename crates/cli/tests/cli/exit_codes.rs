//! Each kind of end has its code, and says what happened and what to do.

use std::fs;
use std::process::Command;

use crate::kit::{Home, Ran};

#[test]
fn no_repository_is_10() {
    let home = Home::empty();
    let ran = home.run(["snapshots"]).expect(10);
    assert!(ran.stderr.contains("there is no repository at") && ran.stderr.contains("treering init"), "{}", ran.stderr);
}

#[test]
fn wrong_keys_are_12() {
    let home = Home::new();
    let with = |name: &str, value: &std::path::Path| {
        Ran::of(home.command(["snapshots"]).env_remove("TREERING_KEY_FILE").env(name, value))
    };
    home.run(["key", "new-file", "other"]).expect(0);
    assert!(with("TREERING_KEY_FILE", &home.path("other")).expect(12).stderr.contains("wrong key file"));
    assert!(with("TREERING_PASSWORD", "guess".as_ref()).expect(12).stderr.contains("wrong passphrase"));
    let no_key_file = home.write("text", "correct horse");
    assert!(with("TREERING_KEY_FILE", &no_key_file).expect(12).stderr.contains("is not a treering key file"));
}

#[test]
fn usage_errors_are_2() {
    let home = Home::new();
    home.run(["backup"]).expect(2);
    assert!(home.run(["backup", ""]).expect(2).stderr.contains("a path is empty"));
    home.run(["backup", "src", "--app", "oracle"]).expect(2);
    home.run(["forget", "yesterday"]).expect(2);
    assert!(home.run(["forget"]).expect(2).stderr.contains("--keep-daily 7"));
    assert!(home.run(["forget", "--keep-daily", "0"]).expect(2).stderr.contains("--keep-daily: zero"));
    assert!(home.run(["forget", "latest", "--keep-daily", "1"]).expect(2).stderr.contains("one or the other"));
    home.run(["forget", "latest", "--keep-tag", ""]).expect(2);
    home.run(["forget", "--group-by", "host"]).expect(2);
    home.run(["forget", "--keep-last", "1", "--allow-last-good"]).expect(2);
    home.run(["backup", "src", "--no-lock"]).expect(2);
    let mut command = home.command(["snapshots"]);
    Ran::of(command.env_remove("TREERING_REPOSITORY")).expect(2);
    let mut command = home.command(["snapshots"]);
    Ran::of(command.env("TREERING_COMPRESSION", "zip")).expect(2);
}

#[test]
fn a_failure_says_what_to_do() {
    let home = Home::new();
    home.write("a", "x");
    let id = home.backup();
    let said = |args: &[&str], code| home.run(args).expect(code).stderr;
    for (args, code, advice) in [
        (&["backup", "src", "missing"][..], 3, "mend it and run the backup again"),
        (&["backup", "missing"], 1, "named above with the reason"),
        (&["init"], 1, "use it without `init`"),
        (&["undelete", "00000000"], 1, "`treering undelete` lists"),
        (&["man", "nope"], 2, "`treering help` lists them"),
        (&["cat", "pack", "00000000"], 1, "treering check"),
        (&["cat", "record", "00000000"], 1, "there is no record"),
        (&["je", "verify", "src"], 1, "Name the folder in which the files `*.jdb` are"),
        (&["je", "last-file"], 1, "no snapshot has such a JE environment"),
        (&["key", "remove", "00000000"], 1, "treering key list"),
        (&["snapshots", "--key-file", "none"], 1, "TREERING_KEY_FILE"),
        (&["snapshots", "--password-file", "none"], 1, "TREERING_PASSWORD_FILE"),
        (&["unlock"], 2, "a lock dies with its process"),
        (&["prune", "--repack-small"], 2, "--repack-smaller-than"),
    ] {
        let said = said(args, code);
        assert!(said.contains(advice), "{args:?}: {said}");
    }
    let shown: serde_json::Value = serde_json::from_str(&home.run(["cat", "record", &id]).expect(0).stdout).unwrap();
    assert_eq!(shown["id"], id.as_str());
}

#[test]
fn a_missing_source_is_3_and_the_rest_is_saved() {
    let home = Home::new();
    home.write("a", "x");
    let ran = home.run(["backup", "src", "missing"]).expect(3);
    assert!(ran.stderr.contains("missing") && ran.stderr.contains("1 item could not be read"), "{}", ran.stderr);
    assert!(ran.stdout.contains(" saved"));
    assert_eq!(home.snapshots().len(), 1);
    // With nothing at all there is no snapshot.
    home.run(["backup", "missing"]).expect(1);
    assert_eq!(home.snapshots().len(), 1);
}

#[test]
fn unknown_snapshots_are_1_with_advice() {
    let home = Home::new();
    home.write("a", "x");
    home.backup();
    let ran = home.run(["ls", "00000000"]).expect(1);
    assert!(ran.stderr.contains("no snapshot 00000000") && ran.stderr.contains("treering snapshots"), "{}", ran.stderr);
    let ran = home.run(["dump", "latest", "/nowhere"]).expect(1);
    assert!(ran.stderr.contains("treering ls"), "{}", ran.stderr);
}

#[test]
fn damage_is_5_and_named() {
    let home = Home::new();
    home.write("a", vec![1; 100_000]);
    let id = home.backup();
    // The pack of the file is the larger one; a byte in its middle lies in a frame.
    let pack = home.packs().into_iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, bytes).unwrap();
    let ran = home.run(["check", "--read-data"]).expect(5);
    let name = pack.file_name().unwrap().to_str().unwrap();
    assert!(ran.stderr.contains(&format!("pack {name}")), "{}", ran.stderr);
    assert!(ran.stderr.contains("what to do:"), "{}", ran.stderr);
    let ran = home.run(["check", "--read-data", "--json"]).expect(5);
    assert!(ran.summary()["num_errors"].as_u64().unwrap() >= 1);
    assert!(ran.summary()["broken_packs"].as_array().unwrap().iter().any(|pack| pack == name));
    assert!(!id.is_empty());
}

#[test]
fn a_doubtful_application_is_6_or_no_snapshot_at_all() {
    let home = Home::new();
    let database = home.path("src/app.sqlite");
    let made = broken_database();
    fs::write(&database, made).unwrap();
    let ran = home.run(["backup", "src"]).expect(6);
    assert!(ran.stdout.contains(" saved"), "{}", ran.stdout);
    assert!(ran.stderr.contains("is not known to be consistent"), "{}", ran.stderr);
    assert_eq!(home.snapshots()[0]["apps"][0]["kind"], "sqlite");
    home.run(["backup", "src", "--require-app-ok"]).expect(1);
    assert_eq!(home.snapshots().len(), 1);
    home.run(["backup", "src", "--app", "none"]).expect(0);
}

/// The header of a database, and pages that are none.
fn broken_database() -> Vec<u8> {
    let mut bytes = b"SQLite format 3\0\x10\x00\x01\x01\x00\x40\x20\x20".to_vec();
    bytes.resize(100, 0);
    bytes[31] = 4;
    bytes[47] = 4;
    bytes[59] = 1;
    bytes.resize(4 * 4096, 0xee);
    bytes
}

#[test]
fn a_folder_that_is_in_use_is_no_place_for_a_repository() {
    let home = Home::empty();
    home.write("a", "x");
    let mut command: Command = home.command(["init", "-r", "src"]);
    assert!(Ran::of(&mut command).expect(1).stderr.contains("is not empty"));
    // Before anything is asked.
    let mut asking = home.command(["init", "-r", "src", "--password-command", "touch asked"]);
    Ran::of(asking.env_remove("TREERING_KEY_FILE")).expect(1);
    assert!(!home.path("asked").exists());
}

#[test]
fn an_init_that_was_interrupted_is_taken_up_again() {
    let home = Home::new();
    let repository = home.path("repository");
    for name in ["config", "copy/config", "ballast"] {
        fs::remove_file(repository.join(name)).unwrap();
    }
    home.run(["init"]).expect(1);
    for copy in ["keys", "copy/keys"] {
        fs::read_dir(repository.join(copy)).unwrap().for_each(|key| fs::remove_file(key.unwrap().path()).unwrap());
    }
    fs::remove_dir(repository.join("tmp")).unwrap();
    home.run(["snapshots"]).expect(10);
    home.run(["init"]).expect(0);
    home.run(["check"]).expect(0);
}
