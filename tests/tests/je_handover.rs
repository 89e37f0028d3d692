//! An application backs itself up with the class that it has dropped in, against the real library.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use treering_tests::{Treering, run};
use treering_workloads::Access;
use treering_workloads::je::Environment;
use treering_workloads::je_load::{Load, Pace, check};

const PACE: Pace = Pace { threads: 3, pause_ms: 2, seed: 4 };
const LIMIT_MS: u64 = 60_000;

fn log_files(home: &Path) -> Vec<String> {
    let files = std::fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = files.filter(|name| name.ends_with(".jdb")).collect();
    files.sort();
    files
}

/// The command that the class is given: text, for people and for it.
fn command(treering: &Treering, home: &Path) -> Vec<OsString> {
    let command = treering.command("backup");
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let text = words.filter(|word| *word != "--json").map(OsString::from);
    text.chain(["--host".into(), "test".into(), "--je-env".into(), home.into()]).collect()
}

fn back_up(load: &mut Load, command: &[OsString], after: i64, limit_ms: u64) -> Result<u64, String> {
    let words: Vec<_> = command.iter().map(OsString::as_os_str).collect();
    load.back_up(after, limit_ms, &words).unwrap()
}

fn snapshots(treering: &Treering) -> Vec<serde_json::Value> {
    run(&mut treering.command("snapshots")).expect(0).document().as_array().unwrap().clone()
}

fn last_file(treering: &Treering, home: &Path) -> u64 {
    let mut command = treering.command("je");
    command.args(["last-file", "--path"]).arg(home);
    run(&mut command).expect(0).document()["last_file"].as_u64().unwrap()
}

#[test]
fn an_application_hands_its_files_over_and_gets_back_what_it_had() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let home = temp.path().join("je");
    let mut load = Load::start(&home, &temp.path().join("acknowledged"), PACE).unwrap();
    let command = command(&treering, &home);
    let mut after = -1;
    for round in 0..3 {
        load.wait_for(300).unwrap();
        let acknowledged = load.last().unwrap();
        let last = back_up(&mut load, &command, after, LIMIT_MS).unwrap();
        assert!(i64::try_from(last).unwrap() > after);
        assert_eq!(last_file(&treering, &home), last);
        after = i64::try_from(last).unwrap();
        let all = snapshots(&treering);
        assert_eq!(all.len(), round + 1);
        assert_eq!(all[round]["apps"][0]["state"], "consistent", "{}", all[round]);
        let target = temp.path().join(format!("restored-{round}"));
        treering.restore("latest", &target);
        let found = check(&target).unwrap();
        assert_eq!(found.sum, found.expected);
        assert!(found.last >= acknowledged);
    }
    load.stop().unwrap();
    treering.check();
}

/// A program that answers nothing: the time limit ends it, and JE's backup too, or the environment could not be closed.
#[test]
fn a_backup_that_fails_or_takes_too_long_leaves_no_snapshot_and_ends_all_the_same() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let home = temp.path().join("je");
    let mut load = Load::start(&home, &temp.path().join("acknowledged"), PACE).unwrap();
    load.wait_for(100).unwrap();
    let late = back_up(&mut load, &["sleep".into(), "30".into(), "#".into()], -1, 1500).unwrap_err();
    assert!(late.contains("took longer") || late.contains("ended with"), "{late}");
    let failed = back_up(&mut load, &["false".into()], -1, LIMIT_MS).unwrap_err();
    assert!(failed.contains("ended with 1"), "{failed}");
    assert!(snapshots(&treering).is_empty());
    let good = command(&treering, &home);
    back_up(&mut load, &good, -1, LIMIT_MS).unwrap();
    assert_eq!(snapshots(&treering).len(), 1);
    load.stop().unwrap();
}

/// Without its word nothing is committed, and a set that lacks a file is none.
#[test]
fn a_set_that_is_not_confirmed_or_not_whole_is_not_committed() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let home = temp.path().join("je");
    let mut load = Load::start(&home, &temp.path().join("acknowledged"), PACE).unwrap();
    load.wait_for(200).unwrap();
    load.stop().unwrap();
    let files = log_files(&home);
    let list = temp.path().join("list");
    let take_but = |text: String, exclude: &[&str]| {
        std::fs::write(&list, text).unwrap();
        let mut command = treering.command("backup");
        command.arg("--je-env").arg(&home).arg("--je-files-from").arg(&list).args(exclude);
        run(&mut command)
    };
    let take = |text| take_but(text, &[]);
    let all = files.join("\n");
    take(format!("{all}\n\n")).expect(1);
    take(format!("{all}\n\nnot the end\n")).expect(1);
    take(format!("{all}\n0000ffff.jdb\n")).expect(1);
    let excluded = take_but(format!("{all}\n"), &["--exclude", &files[0]]).expect(1);
    assert!(excluded.to_string().contains("is excluded"), "{excluded}");
    take(String::new()).expect(2);
    take("../etc/passwd\n".into()).expect(2);
    assert!(snapshots(&treering).is_empty());
    let stored = take(format!("{all}\n\nend\n")).expect(0);
    assert_eq!(stored.messages("je_stored").len(), files.len());
    assert_eq!(stored.messages("je_all_stored").len(), 1);
    take(format!("{all}\n")).expect(0);
    assert_eq!(snapshots(&treering).len(), 2);
}

/// Whether the capture before was one with the application's help or one without it.
#[test]
fn what_cannot_have_changed_is_not_read_again() {
    let temp = tempfile::tempdir().unwrap();
    let (treering, home, list) = (Treering::init(temp.path()), temp.path().join("je"), temp.path().join("list"));
    // Some ten files, the first of them long before the last.
    let environment = Environment::create(&home, 20_000, 1).unwrap();
    let files = log_files(&home);
    let unchanged = || {
        let detail = snapshots(&treering).pop().unwrap()["apps"][0]["detail"].as_str().unwrap().to_owned();
        let (before, _) = detail.split_once(" of them unchanged").unwrap_or_else(|| panic!("{detail}"));
        before.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    let take = |names: &[String], more: &[&str]| {
        std::fs::write(&list, names.join("\n") + "\n").unwrap();
        let mut command = treering.command("backup");
        command.args(["--host", "test", "--je-env"]).arg(&home).arg("--je-files-from").arg(&list).args(more);
        let ran = run(&mut command).expect(0);
        assert_eq!(ran.messages("je_stored").len(), files.len(), "{ran}");
    };
    treering.backup(&home);
    take(&files, &[]);
    let same = unchanged();
    assert!(same > files.len() / 2, "{same} of {}", files.len());
    // The last one alone is named, and those up to the one before it are as they were.
    let (last, older) = files.split_last().unwrap();
    let after = u32::from_str_radix(&older.last().unwrap()[..8], 16).unwrap().to_string();
    take(std::slice::from_ref(last), &["--je-after", &after]);
    assert_eq!(unchanged(), same);
    treering.backup(&home);
    assert_eq!(unchanged(), same);
    let restored = temp.path().join("restored");
    treering.restore("latest~1", &restored);
    let restored = Environment::open(&restored).unwrap();
    assert_eq!(restored.count(Access::ReadOnly).unwrap(), environment.count(Access::ReadOnly).unwrap());
}

/// JE deletes a file as soon as its protection is given up.
#[test]
fn a_file_that_goes_when_it_was_stored_is_in_the_snapshot() {
    let temp = tempfile::tempdir().unwrap();
    let (treering, home) = (Treering::init(temp.path()), temp.path().join("je"));
    let mut load = Load::start(&home, &temp.path().join("acknowledged"), PACE).unwrap();
    load.wait_for(500).unwrap();
    load.stop().unwrap();
    let (files, expected) = (log_files(&home), check(&home).unwrap());
    let mut command = treering.command("backup");
    command.arg("--je-env").arg(&home).args(["--je-files-from", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    writeln!(input, "{}\n", log_files(&home).join("\n")).unwrap();
    for line in output.lines() {
        let Ok(message) = serde_json::from_str::<Value>(&line.unwrap()) else { continue };
        match message["message_type"].as_str() {
            Some("je_stored") => std::fs::remove_file(home.join(message["file"].as_str().unwrap())).unwrap(),
            Some("je_all_stored") => writeln!(input, "end").unwrap(),
            _ => {}
        }
    }
    assert!(child.wait().unwrap().success());
    assert!(log_files(&home).is_empty());
    let restored = temp.path().join("restored");
    treering.restore("latest", &restored);
    assert!(log_files(&restored).len() >= files.len());
    let found = check(&restored).unwrap();
    assert_eq!((found.sum, found.last), (expected.sum, expected.last));
}
