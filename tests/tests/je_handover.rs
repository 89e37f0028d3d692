//! An application backs itself up with the class that it has dropped in, against the real library.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::ffi::OsString;
use std::path::Path;

use treering_tests::{Treering, run};
use treering_workloads::je_load::{Load, Pace, check};

const PACE: Pace = Pace { threads: 3, pause_ms: 2, seed: 4 };
const LIMIT_MS: u64 = 60_000;

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
    let files = std::fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = files.filter(|name| name.ends_with(".jdb")).collect();
    files.sort();
    let list = temp.path().join("list");
    let take = |text: String| {
        std::fs::write(&list, text).unwrap();
        let mut command = treering.command("backup");
        command.arg("--je-env").arg(&home).arg("--je-files-from").arg(&list);
        run(&mut command)
    };
    let all = files.join("\n");
    take(format!("{all}\n\n")).expect(1);
    take(format!("{all}\n\nnot the end\n")).expect(1);
    take(format!("{all}\n0000ffff.jdb\n")).expect(1);
    take(String::new()).expect(2);
    take("../etc/passwd\n".into()).expect(2);
    assert!(snapshots(&treering).is_empty());
    let stored = take(format!("{all}\n\nend\n")).expect(0);
    assert_eq!(stored.messages("je_stored").len(), files.len());
    assert_eq!(stored.messages("je_all_stored").len(), 1);
    take(format!("{all}\n")).expect(0);
    assert_eq!(snapshots(&treering).len(), 2);
}
