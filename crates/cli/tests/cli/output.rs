//! What is printed: JSON fields that programs rely on, and nothing that a terminal obeys.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use serde_json::Value;

use crate::kit::Home;

#[test]
fn hostile_names_are_spelled_out() {
    let home = Home::new();
    for name in [&b"red\x1b[31m"[..], b"two\nlines", b"caf\xe9", "dir\u{202e}txt".as_bytes()] {
        std::fs::write(home.path("src").join(OsStr::from_bytes(name)), name).unwrap();
    }
    home.run(["backup", "src", "--tag", "\u{1b}[1mtag"]).expect(0);
    for args in [
        &["ls", "latest"][..],
        &["ls", "latest", "--long"],
        &["find", "*"],
        &["snapshots"],
        &["snapshots", "--compact"],
        &["forget", "--keep-last", "1", "--group-by", "tags", "--dry-run"],
    ] {
        let ran = home.run(args).expect(0);
        let is_bad = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!ran.stdout.chars().any(is_bad), "{args:?}: {:?}", ran.stdout);
    }
    let listed = home.run(["ls", "latest"]).expect(0).stdout;
    for shown in ["red\\x1b[31m", "two\\nlines", "caf\\xe9", "dir\\u{202e}txt"] {
        assert!(listed.contains(shown), "{shown} in {listed}");
    }
    let nodes = home.run(["ls", "latest", "--json"]).expect(0).messages();
    let cafe = nodes.iter().find(|node| node["path_raw"].is_string()).unwrap();
    assert!(cafe["path_raw"].as_str().unwrap().ends_with("/caf%E9"));
}

#[test]
fn a_backup_and_its_snapshot_have_restics_fields() {
    let home = Home::new();
    home.write("a", "hello");
    let ran = home.run(["backup", "src", "--tag", "x,y", "--json"]).expect(0);
    let summary = ran.summary();
    assert_eq!((&summary["files_new"], &summary["total_bytes_processed"]), (&1.into(), &5.into()));
    for field in ["data_added", "data_added_packed", "total_duration", "backup_start", "snapshot_id", "dirs_new"] {
        assert!(!summary[field].is_null(), "{field}");
    }
    let snapshot = &home.snapshots()[0];
    assert_eq!(snapshot["id"], summary["snapshot_id"]);
    assert_eq!(snapshot["hostname"], "testhost");
    assert_eq!(snapshot["tags"], serde_json::json!(["x", "y"]));
    assert_eq!(snapshot["paths"][0], home.path("src").to_str().unwrap());
    assert_eq!(snapshot["summary"]["files_new"], 1);
    assert_eq!(snapshot["short_id"], snapshot["id"].as_str().unwrap()[..8]);
}

#[test]
fn parents_are_found_by_host_and_paths() {
    let home = Home::new();
    home.write("a", "hello");
    let first = home.backup();
    home.backup();
    assert_eq!(home.snapshots()[1]["parent"], first.as_str());
    home.run(["backup", "src", "--host", "elsewhere"]).expect(0);
    home.run(["backup", "src", "--force"]).expect(0);
    let all = home.run(["snapshots", "--host", "", "--json"]).expect(0);
    let all: Vec<Value> = serde_json::from_str(&all.stdout).unwrap();
    assert!(all[2]["parent"].is_null() && all[3]["parent"].is_null());
    let shown = home.run(["snapshots", "--host", "elsewhere", "--json"]).expect(0);
    assert_eq!(serde_json::from_str::<Vec<Value>>(&shown.stdout).unwrap().len(), 1);
    let latest = home.run(["snapshots", "--latest", "1", "--host", "", "--json"]).expect(0);
    assert_eq!(serde_json::from_str::<Vec<Value>>(&latest.stdout).unwrap().len(), 2);
}

#[test]
fn failures_are_json_on_standard_error() {
    let home = Home::empty();
    let ran = home.run(["snapshots", "--json"]).expect(10);
    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!((&error["message_type"], &error["code"]), (&"exit_error".into(), &10.into()));
    assert!(error["next"].as_str().unwrap().contains("treering init"));
    assert!(ran.stdout.is_empty());
}

#[test]
fn warnings_are_told_in_json_too() {
    let home = Home::new();
    home.write("a", "x");
    let list = home.write("list", "src/a\nsrc/nothing*\n");
    let ran = home.run(["backup", "--json", "--files-from", list.to_str().unwrap()]).expect(0);
    let warning: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(warning["message_type"], "warning");
    assert!(warning["message"].as_str().unwrap().contains("nothing matches src/nothing*"), "{warning}");
    let ran = home.run(["backup", "--files-from", list.to_str().unwrap()]).expect(0);
    assert!(ran.stderr.starts_with("warning: --files-from: nothing matches"), "{}", ran.stderr);
}

#[test]
fn where_there_are_no_moments_that_is_said() {
    let home = Home::new();
    assert_eq!(home.run(["je", "range"]).expect(0).stdout, "no snapshot has such a JE environment\n");
    assert_eq!(home.run(["--json", "je", "range"]).expect(0).stdout.trim(), "[]");
}

#[test]
fn forget_drops_what_is_named_and_says_that_no_space_is_freed() {
    let home = Home::new();
    home.write("a", "hello");
    let first = home.backup();
    home.backup();
    let dry = home.run(["forget", &first, "latest", "--dry-run", "--json"]).expect(0);
    let groups: Value = serde_json::from_str(&dry.stdout).unwrap();
    assert_eq!(groups[0]["remove"].as_array().unwrap().len(), 2);
    assert_eq!(home.snapshots().len(), 2);
    let ran = home.run(["forget", &first[..8]]).expect(0);
    assert!(ran.stdout.contains("no space is freed"), "{}", ran.stdout);
    assert_eq!(home.snapshots().len(), 1);
    home.run(["forget", &first[..8]]).expect(1);
    home.run(["check"]).expect(0);
}

#[test]
fn every_kind_of_object_can_be_shown() {
    let home = Home::new();
    let file = home.write("a", "hello");
    let id = home.backup();
    let json = |args: &[&str]| -> Value { serde_json::from_str(&home.run(args).expect(0).stdout).unwrap() };
    assert_eq!(json(&["cat", "config"])["encryption"], "aes256gcm");
    assert_eq!(json(&["cat", "snapshot", "latest"])["id"], id.as_str());
    let tree = json(&["cat", "tree", &format!("latest:{}", home.path("src").display())]);
    assert_eq!(tree["nodes"][0]["path"], file.to_str().unwrap());
    let packs = home.packs();
    let names = packs.iter().map(|pack| pack.file_name().unwrap().to_str().unwrap());
    let shown: Vec<Value> = names.map(|name| json(&["cat", "pack", name])).collect();
    let data = shown.iter().find(|pack| pack["type"] == "data").unwrap();
    let chunk = data["blobs"][0]["id"].as_str().unwrap();
    assert_eq!(home.run(["cat", "chunk", chunk]).expect(0).stdout, "hello");
    let none = home.run(["cat", "chunk", &"0".repeat(64)]).expect(1).stderr;
    assert!(none.contains("there is no chunk") && !none.contains("index"), "{none}");
    let keys = json(&["key", "list", "--json"]);
    assert_eq!(json(&["cat", "key", keys[0]["id"].as_str().unwrap()])["kind"], "key-file");
}

#[test]
fn stats_and_find_count_what_is_there() {
    let home = Home::new();
    home.write("a.txt", "hello");
    home.write("b.log", "hello");
    home.backup();
    let stats = |mode: &str| -> Value {
        serde_json::from_str(&home.run(["stats", "--mode", mode, "--json"]).expect(0).stdout).unwrap()
    };
    assert_eq!(stats("restore-size")["total_size"], 10);
    assert_eq!(stats("files-by-contents")["total_size"], 5);
    assert!(stats("raw-data")["total_blob_count"].as_u64().unwrap() > 0);
    let found = home.run(["find", "*.TXT", "--ignore-case", "--json"]).expect(0);
    let found: Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!((&found[0]["hits"], &found[0]["matches"][0]["size"]), (&1.into(), &5.into()));
}

#[test]
fn a_reader_that_leaves_ends_a_command_without_a_word() {
    let home = Home::new();
    (0..3000).for_each(|number| drop(home.write(&format!("file number {number} with a long name"), "")));
    home.backup();
    let mut command = home.command(["ls", "latest"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(141), &b""[..]));
}

#[test]
fn a_repository_within_a_source_is_named_and_left_out() {
    let home = Home::new();
    home.write("a", "x");
    let said = |source: &str| {
        let ran = home.run(["backup", source]).expect(0);
        (ran.stdout + &ran.stderr).contains("repository belongs to the repository and is left out")
    };
    assert!(said(".") && said("repository") && !said("src"));
}
