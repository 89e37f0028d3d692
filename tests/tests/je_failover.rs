//! A standby of a Berkeley DB JE environment that is written all the time: wherever the copier is killed, it opens.
//!
//! A round is a pass that is killed at a random moment.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use treering_tests::{Campaign, Running, SmallDisk, Treering, run};
use treering_workloads::Access;
use treering_workloads::je::Environment;
use treering_workloads::je_load::{Load, Pace, check};

/// Within this time the first pass is killed. Later ones follow how long passes take: a bit longer after each that was
/// killed, shorter after one that had ended by then.
const KILL_WITHIN_US: u64 = 60_000;

fn follow(treering: &Treering, home: &Path, standby: &Path) -> Command {
    let mut command = treering.bare("je");
    command.arg("failover").arg(home).arg("--to").arg(standby).arg("--once");
    command
}

/// Opens a copy, as the application would after a failover: the standby itself goes on to be one.
fn open_copy(standby: &Path, copy: &Path) -> u64 {
    run(Command::new("cp").arg("-r").arg(standby).arg(copy)).expect(0);
    let found = check(copy).unwrap();
    assert_eq!(found.sum, found.expected);
    std::fs::remove_dir_all(copy).unwrap();
    found.last
}

#[test]
fn a_standby_opens_wherever_its_copier_was_killed() {
    let campaign = Campaign::start("je-failover", 4);
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (home, standby, copy) = (temp.path().join("je"), temp.path().join("standby"), temp.path().join("copy"));
    let mut load =
        Load::start(&home, &temp.path().join("acknowledged"), Pace { threads: 3, pause_ms: 3, seed: campaign.seed })
            .unwrap();
    load.wait_for(400).unwrap();
    run(&mut follow(&treering, &home, &standby)).expect(0);
    let mut has = open_copy(&standby, &copy);
    let (mut random, mut killed, mut tries, mut within_us) = (campaign.random("cuts"), 0, 0, KILL_WITHIN_US);
    while killed < campaign.rounds {
        load.wait_for(100 + random.below(300)).unwrap();
        let pass = Running::start(&mut follow(&treering, &home, &standby));
        let waits_us = random.below(within_us);
        sleep(Duration::from_micros(waits_us));
        let was_killed = pass.kill().was_killed();
        within_us = if was_killed { within_us * 9 / 8 } else { (waits_us * 3 / 4).max(1000) };
        (killed, tries) = (killed + u64::from(was_killed), tries + 1);
        assert!(tries < 20 * campaign.rounds, "only {killed} of {tries} passes were killed");
        let now = open_copy(&standby, &copy);
        assert!(now >= has, "the standby went back from {has} to {now}");
        has = now;
    }
    load.wait_for(50).unwrap();
    let acknowledged = load.last().unwrap();
    let pass = || run(&mut follow(&treering, &home, &standby)).expect(0).message("je_pass");
    assert!(pass()["seconds_behind"].as_f64().is_some());
    assert!(open_copy(&standby, &copy) >= acknowledged);
    // When nothing is written any more it is not behind, and only the last file is copied again.
    load.pause().unwrap();
    let mut passes = (0..10).map(|_| pass());
    let still = |pass: &serde_json::Value| pass["commits_behind"] == 0 && pass["files_kept"].as_u64() > Some(0);
    assert!(passes.any(|pass| still(&pass)), "no pass kept a file");
    load.stop().unwrap();
    assert!(!temp.path().join("standby.treering-failover").exists());
    campaign.end(&format!("{tries} passes, {killed} of them killed, the standby opened after each"));
}

#[test]
fn a_standby_that_was_opened_or_is_something_else_is_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (home, standby) = (temp.path().join("je"), temp.path().join("standby"));
    let mut load =
        Load::start(&home, &temp.path().join("acknowledged"), Pace { threads: 2, pause_ms: 3, seed: 1 }).unwrap();
    load.wait_for(100).unwrap();
    run(&mut follow(&treering, &home, &standby)).expect(0);
    // The application moves to the standby and works there.
    let mut moved =
        Load::start(&standby, &temp.path().join("moved"), Pace { threads: 2, pause_ms: 3, seed: 2 }).unwrap();
    moved.wait_for(20).unwrap();
    run(&mut follow(&treering, &home, &standby)).expect(1);
    let last = moved.last().unwrap();
    moved.stop().unwrap();
    run(&mut follow(&treering, &home, &standby)).expect(1);
    assert!(check(&standby).unwrap().last >= last);
    let other = temp.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("mine"), "").unwrap();
    run(&mut follow(&treering, &home, &other)).expect(1);
    assert!(other.join("mine").exists());
    load.stop().unwrap();
}

#[test]
fn a_standby_looks_like_its_home_and_is_no_mount_point() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (home, standby) = (temp.path().join("je"), temp.path().join("standby"));
    Environment::create(&home, 100, 1).unwrap();
    std::fs::set_permissions(&home, PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::set_permissions(home.join("00000000.jdb"), PermissionsExt::from_mode(0o640)).unwrap();
    std::fs::write(home.join("je.properties"), "je.log.nDataDirectories=0\n").unwrap();
    run(&mut follow(&treering, &home, &standby)).expect(0);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&standby), mode(&standby.join("00000000.jdb"))), (0o700, 0o640));
    assert_eq!(std::fs::read(standby.join("je.properties")).unwrap(), b"je.log.nDataDirectories=0\n");
    let mounted = temp.path().join("mounted");
    std::fs::create_dir(&mounted).unwrap();
    let disk = SmallDisk::mount(&mounted, 8 << 20);
    let wrapper = disk.wrapper();
    let words: Vec<&str> = wrapper.iter().map(|word| word.to_str().unwrap()).collect();
    let refused = run(&mut follow(&treering.through(&words), &home, &mounted)).expect(1);
    assert!(refused.to_string().contains("is a mount point"), "{refused}");
    run(&mut follow(&treering.through(&words), &home, &mounted.join("standby"))).expect(0);
}

/// Of what is not there nothing is followed, and no home holds its own standby.
#[test]
fn a_home_that_is_none_and_a_standby_in_its_own_home_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (home, standby) = (temp.path().join("je"), temp.path().join("standby"));
    let nothing = temp.path().join("nothing");
    let refused = run(&mut follow(&treering, &nothing, &standby)).expect(1).to_string();
    assert!(refused.contains("there is no JE environment in") && refused.contains("none was made"), "{refused}");
    std::fs::create_dir(&nothing).unwrap();
    run(&mut follow(&treering, &nothing, &standby)).expect(1);
    let mut watch = treering.command("je");
    let refused = run(watch.arg("watch").arg(&nothing).arg("--once")).expect(1).to_string();
    assert!(refused.contains("there is no JE environment in"), "{refused}");
    assert!(treering.snapshots().is_empty() && !standby.exists());
    Environment::create(&home, 100, 1).unwrap();
    let records = Environment::open(&home).unwrap().count(Access::ReadOnly).unwrap();
    treering.backup(&home);
    std::os::unix::fs::symlink(&home, temp.path().join("link")).unwrap();
    let from_snapshots = |standby: &Path| {
        let mut command = treering.command("je");
        command.arg("failover").arg(&home).arg("--to").arg(standby).args(["--from-snapshots", "--once"]);
        command
    };
    let before = std::fs::read_dir(&home).unwrap().count();
    for inside in [home.clone(), home.join("sub/standby"), temp.path().join("link/standby")] {
        let refused = run(&mut follow(&treering, &home, &inside)).expect(2).to_string();
        assert!(refused.contains("in the environment") && refused.contains("beside it"), "{refused}");
        let of_snapshots = run(&mut from_snapshots(&inside));
        assert_ne!(of_snapshots.status.code(), Some(0), "{of_snapshots}");
    }
    assert_eq!(std::fs::read_dir(&home).unwrap().count(), before);
    // On another machine the standby may have the home's path.
    std::fs::remove_dir_all(&home).unwrap();
    for _ in 0..2 {
        run(&mut from_snapshots(&home)).expect(0);
    }
    assert_eq!(Environment::open(&home).unwrap().count(Access::ReadOnly).unwrap(), records);
}

#[test]
fn of_two_hosts_with_the_same_path_one_is_followed() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (home, standby) = (temp.path().join("je"), temp.path().join("standby"));
    Environment::create(&home, 100, 1).unwrap();
    for host in ["one", "two"] {
        run(treering.command("backup").args(["--host", host]).arg(&home)).expect(0);
    }
    let follow = |host: &[&str]| {
        let mut command = treering.command("je");
        command.arg("failover").arg(&home).arg("--to").arg(&standby).args(["--from-snapshots", "--once"]).args(host);
        run(&mut command)
    };
    assert!(follow(&[]).expect(2).to_string().contains("--host"));
    follow(&["--host", "two"]).expect(0);
}

#[test]
fn snapshots_of_a_watch_become_a_standby() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (home, standby) = (temp.path().join("je"), temp.path().join("standby"));
    let mut load =
        Load::start(&home, &temp.path().join("acknowledged"), Pace { threads: 2, pause_ms: 3, seed: 1 }).unwrap();
    let watch = || {
        let mut watch = treering.command("je");
        run(watch.arg("watch").arg(&home).arg("--once")).expect(0);
    };
    let follow = || {
        let mut follow = treering.command("je");
        run(follow.arg("failover").arg(&home).arg("--to").arg(&standby).args(["--from-snapshots", "--once"]))
    };
    for _ in 0..2 {
        load.wait_for(400).unwrap();
        let acknowledged = load.last().unwrap();
        watch();
        follow().expect(0);
        let copy = temp.path().join("copy");
        assert!(open_copy(&standby, &copy) >= acknowledged);
    }
    // Of what is the same only the last file and the one with the last checkpoint are read again.
    let again = follow().expect(0).message("je_pass");
    assert!(again["files_copied"].as_u64() <= Some(2) && again["files_kept"].as_u64() > Some(0), "{again}");
    // The application moves to the standby and stops there: what it has done is not written over.
    let mut moved =
        Load::start(&standby, &temp.path().join("moved"), Pace { threads: 2, pause_ms: 3, seed: 2 }).unwrap();
    moved.wait_for(20).unwrap();
    let last = moved.last().unwrap();
    moved.stop().unwrap();
    load.wait_for(100).unwrap();
    watch();
    let refused = follow().expect(1);
    assert!(refused.to_string().contains("may be the environment in use now"), "{refused}");
    assert!(check(&standby).unwrap().last >= last);
    load.stop().unwrap();
    let snapshots = run(&mut treering.command("snapshots")).expect(0).document();
    assert!(snapshots.as_array().unwrap().iter().all(|snapshot| snapshot["tags"][0] == "watch"), "{snapshots}");
}
