//! Captures of an environment that real JE writes, while it writes: every restore opens, keeps the sum, and has at least
//! every commit that had been acknowledged before the capture began.
//!
//! A round is one capture, and beside it one copy of the files in the order of their folder, as a file system gives it.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use treering_tests::{Campaign, Treering, run};
use treering_workloads::Access;
use treering_workloads::je::Environment;
use treering_workloads::je_load::{Load, Pace, check};

const PACE: Pace = Pace { threads: 3, pause_ms: 0, seed: 5 };
/// How long the plain copy takes for a file of a megabyte: a disk or a network at 10 MB/s.
const PLAIN_PAUSE: Duration = Duration::from_millis(100);

/// What is said of the environment in the newest snapshot.
fn application(treering: &Treering) -> Value {
    treering.snapshots().last().unwrap()["apps"][0].clone()
}

/// The milliseconds in `held for 1.2 ms`.
fn held_ms(detail: &str) -> f64 {
    let (_, rest) = detail.split_once("held for ").unwrap_or_else(|| panic!("{detail}"));
    rest.split(' ').next().unwrap().parse().unwrap()
}

fn verify(environment: &Path) {
    let mut command = Command::new(treering_tests::binary());
    command.args(["--json", "je", "verify"]).arg(environment);
    run(&mut command).expect(0);
}

/// Copies the files in the order in which the folder gives them.
fn plain_copy(home: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(home).unwrap().collect::<Vec<_>>() {
        let entry = entry.unwrap();
        if entry.file_name() != "je.lck" {
            // What has gone meanwhile is passed over, as `cp` does, with a message.
            let _ = fs::copy(entry.path(), to.join(entry.file_name()));
            std::thread::sleep(PLAIN_PAUSE);
        }
    }
}

#[test]
fn every_hot_capture_holds_what_was_acknowledged_before_it() {
    let campaign = Campaign::start("je-capture", 6);
    let temp = tempfile::tempdir().unwrap();
    let (treering, home) = (Treering::init(temp.path()), temp.path().join("je"));
    let mut load = Load::start(&home, &temp.path().join("acknowledged"), PACE).unwrap();
    let mut random = campaign.random("pauses");
    let (mut longest_ms, mut bad_copies, mut files_gone) = (0.0_f64, 0, 0);
    let target = temp.path().join("restored");
    for round in 0..campaign.rounds {
        load.wait_for(200 + random.below(600)).unwrap();
        let before = names(&home);
        let acknowledged = load.last().unwrap();
        treering.backup(&home);
        let app = application(&treering);
        let detail = app["detail"].as_str().unwrap();
        assert_eq!((&app["kind"], &app["state"]), (&"je".into(), &"consistent".into()), "round {round}: {detail}");
        longest_ms = longest_ms.max(held_ms(detail));
        plain_copy(&home, &temp.path().join("plain"));
        files_gone += before.iter().filter(|name| !home.join(name).exists()).count();
        treering.restore("latest", &target);
        verify(&target);
        let found = check(&target).unwrap();
        assert_eq!(found.sum, found.expected, "round {round}");
        assert!(found.last >= acknowledged, "round {round}: {} of {acknowledged}", found.last);
        let plain = check(&temp.path().join("plain"));
        bad_copies += u64::from(!plain.is_ok_and(|found| found.sum == found.expected && found.last >= acknowledged));
        fs::remove_dir_all(&target).unwrap();
        fs::remove_dir_all(temp.path().join("plain")).unwrap();
    }
    load.stop().unwrap();
    assert!(files_gone > 0, "the cleaner deleted nothing");
    treering.check();
    campaign.end(&format!(
        "{} captures, all opened with everything acknowledged; {files_gone} files deleted meanwhile; the lock was held \
         for {longest_ms:.1} ms at most; {bad_copies} of as many plain copies were bad",
        campaign.rounds
    ));
}

fn names(home: &Path) -> Vec<std::ffi::OsString> {
    let names = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "jdb")).collect()
}

#[test]
fn offline_captures_refuse_a_writer_and_say_how_the_environment_was_left() {
    let temp = tempfile::tempdir().unwrap();
    let (treering, home) = (Treering::init(temp.path()), temp.path().join("je"));
    let acknowledged = temp.path().join("acknowledged");
    let offline = || {
        let mut command = treering.backup_command(&home);
        command.arg("--je-offline");
        command
    };
    let mut load = Load::start(&home, &acknowledged, PACE).unwrap();
    load.wait_for(100).unwrap();
    let refused = run(&mut offline()).expect(3);
    assert!(refused.to_string().contains("open for writing"), "{refused}");
    assert_eq!(refused.failed_items(), [home.to_str().unwrap()], "{refused}");
    load.stop().unwrap();
    run(&mut offline()).expect(0);
    let closed = application(&treering);
    assert_eq!(closed["state"], "consistent");
    assert!(closed["detail"].as_str().unwrap().contains("closed properly"), "{closed}");
    let mut load = Load::start(&home, &acknowledged, PACE).unwrap();
    load.wait_for(100).unwrap();
    load.kill().unwrap();
    run(&mut offline()).expect(0);
    let killed = application(&treering);
    assert!(killed["detail"].as_str().unwrap().contains("recovery reads"), "{killed}");
}

/// Nobody has opened it since somebody put it there. Nothing is wrong with it, and the snapshot says how it was taken.
#[test]
fn a_capture_without_the_lock_is_shown_as_such() {
    let temp = tempfile::tempdir().unwrap();
    let (treering, home) = (Treering::init(temp.path()), temp.path().join("je"));
    Environment::create(&home, 100, 1).unwrap();
    let listed = || {
        let json = treering.command("snapshots");
        let words = json.get_args().filter(|word| *word != "--json");
        run(Command::new(json.get_program()).args(words)).expect(0).stdout
    };
    treering.backup(&home);
    assert!(application(&treering)["unlocked"].is_null() && !listed().contains("unlocked"));
    fs::remove_file(home.join("je.lck")).unwrap();
    treering.backup(&home);
    let app = application(&treering);
    assert_eq!((&app["state"], &app["unlocked"]), (&"consistent".into(), &true.into()), "{app}");
    assert!(listed().contains("je:consistent (unlocked)"), "{}", listed());
}

fn detail(app: &Value) -> String {
    app["detail"].as_str().unwrap().to_owned()
}

#[test]
fn the_next_capture_reads_only_what_may_have_changed() {
    let temp = tempfile::tempdir().unwrap();
    let (treering, home) = (Treering::init(temp.path()), temp.path().join("je"));
    // Some ten files, the first of them long before the last.
    let environment = Environment::create(&home, 20_000, 1).unwrap();
    let files = names(&home).len();
    treering.backup(&home);
    treering.backup(&home);
    let again = detail(&application(&treering));
    let same: usize =
        again.split_once(&format!("{files} files, ")).unwrap().1.split(' ').next().unwrap().parse().unwrap();
    assert!(again.contains("unchanged") && same > files / 2, "{again}");
    treering.restore("latest", &temp.path().join("again"));
    let restored = Environment::open(&temp.path().join("again")).unwrap();
    assert_eq!(restored.count(Access::ReadOnly).unwrap(), environment.count(Access::ReadOnly).unwrap());
    run(treering.backup_command(&home).arg("--force")).expect(0);
    assert!(detail(&application(&treering)).contains("all of them read"), "{}", application(&treering));
}

#[test]
fn an_environment_that_uses_numbers_again_is_seen_as_another_time_line() {
    let temp = tempfile::tempdir().unwrap();
    let (treering, home) = (Treering::init(temp.path()), temp.path().join("je"));
    let acknowledged = temp.path().join("acknowledged");
    let mut load = Load::start(&home, &acknowledged, PACE).unwrap();
    load.wait_for(1500).unwrap();
    load.stop().unwrap();
    treering.backup(&home);
    let old = treering.names().last().unwrap().to_string();
    let mut load = Load::start(&home, &acknowledged, PACE).unwrap();
    load.wait_for(500).unwrap();
    load.stop().unwrap();
    treering.backup(&home);
    assert!(!detail(&application(&treering)).contains("time line"), "{}", application(&treering));
    // The environment is brought back as it was before, and goes its own way from there.
    fs::remove_dir_all(&home).unwrap();
    treering.restore(&old, &home);
    let mut load = Load::start(&home, &temp.path().join("second life"), PACE).unwrap();
    load.wait_for(500).unwrap();
    load.stop().unwrap();
    let told = run(&mut treering.backup_command(&home)).expect(0);
    assert!(told.stderr.contains("warning") && told.stderr.contains("entries of the last snapshot are gone"), "{told}");
    let other = application(&treering);
    assert!(detail(&other).contains("a new time line"), "{other}");
    assert_eq!(other["state"], "consistent");
    treering.restore("latest", &temp.path().join("other"));
    let (restored, lives) = (check(&temp.path().join("other")).unwrap(), check(&home).unwrap());
    assert_eq!((restored.sum, restored.last), (lives.sum, lives.last));
}
