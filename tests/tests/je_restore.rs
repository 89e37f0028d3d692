//! A Berkeley DB JE environment brought back: as a whole, under nobody's feet, and judged by the real library if asked.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::path::Path;

use treering_tests::{Ran, SmallDisk, Treering, count, fingerprint, run};
use treering_workloads::je::Environment;
use treering_workloads::je_load::{Load, Pace, check};

const PACE: Pace = Pace { threads: 2, pause_ms: 3, seed: 9 };
const JAR: &str = "/usr/share/java/db-je.jar";

fn restore(treering: &Treering, home: &Path, target: &Path, more: &[&str]) -> Ran {
    let mut command = treering.command("restore");
    command.args(["latest", "--path"]).arg(home).arg("--target").arg(target).args(more);
    run(&mut command)
}

fn left_beside(home: &Path) -> Vec<String> {
    let names = std::fs::read_dir(home.parent().unwrap()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".treering-")).collect()
}

#[test]
fn an_environment_takes_its_place_as_a_whole_and_never_under_somebody() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let home = temp.path().join("home/je");
    std::fs::create_dir(temp.path().join("home")).unwrap();
    let mut load = Load::start(&home, &temp.path().join("acknowledged"), PACE).unwrap();
    load.wait_for(300).unwrap();
    treering.backup(&home);
    let last = load.last().unwrap();
    // Somebody has it open: nothing is touched, and the application goes on.
    let refused = restore(&treering, &home, &home, &[]).expect(1);
    assert!(refused.to_string().contains("has locked"), "{refused}");
    let refused = restore(&treering, &home, &home, &["--dry-run"]).expect(1);
    assert!(refused.to_string().contains("has locked"), "{refused}");
    // Nor by a snapshot that knows nothing of it.
    let other = temp.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("je.properties"), "").unwrap();
    let files = || std::fs::read_dir(&home).unwrap().count();
    let other_snapshot = treering.backup(&other)["snapshot_id"].as_str().unwrap().to_owned();
    let there = files();
    for more in [&["--delete"][..], &["--delete", "--dry-run"], &[]] {
        let mut command = treering.command("restore");
        let refused = run(command.arg(&other_snapshot).arg("--target").arg(&home).args(more)).expect(1).to_string();
        assert!(refused.contains("has locked") && refused.contains("Nothing was restored."), "{refused}");
        assert!(files() >= there && !home.join("je.properties").exists());
    }
    load.wait_for(50).unwrap();
    load.stop().unwrap();
    assert!(left_beside(&home).is_empty());
    // Nobody has: the old one is moved aside whole.
    let before = fingerprint(&home);
    let done = restore(&treering, &home, &home, &["--je-check-jar", JAR]).expect(0).message("summary");
    let app = &done["apps"][0];
    assert!(app["verified"].as_str().unwrap().contains("db-je.jar"), "{app}");
    let old = app["moved_to"].as_str().unwrap();
    assert_eq!(fingerprint(Path::new(old)).len(), before.len());
    let found = check(&home).unwrap();
    assert!(found.sum == found.expected && found.last >= last - 300);
    let deleted = restore(&treering, &home, &home, &["--delete"]).expect(0).message("summary");
    assert!(deleted["apps"][0]["moved_to"].is_null(), "{deleted}");
    assert_eq!(left_beside(&home).len(), 1);
    // Into a place of its own, with a look at which JE will open it.
    let fresh = temp.path().join("fresh");
    let done = restore(&treering, &home, &fresh, &["--je-jar", JAR]).expect(0).message("summary");
    assert!(count(&done, "files_restored") > 0);
    assert_eq!(check(&fresh).unwrap().sum, found.sum);
}

/// What is said to be done fits the reason.
#[test]
fn a_jar_that_is_none_and_a_lock_that_cannot_be_had_are_told_as_what_they_are() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let home = temp.path().join("je");
    Environment::create(&home, 100, 1).unwrap();
    treering.backup(&home);
    std::fs::write(temp.path().join("not.jar"), "text").unwrap();
    for (jar, why) in [("nope.jar", "No such file"), ("not.jar", "for its version")] {
        let jar = temp.path().join(jar);
        for option in ["--je-jar", "--je-check-jar"] {
            let target = temp.path().join("target");
            let refused = restore(&treering, &home, &target, &[option, jar.to_str().unwrap()]).expect(1);
            let said = refused.to_string();
            let is_whole = said.contains("Nothing was restored") && said.contains("Name the je.jar");
            assert!(said.contains(why) && is_whole && !target.exists(), "{said}");
        }
    }
    // Root may open everything but a folder.
    std::fs::remove_file(home.join("je.lck")).unwrap();
    std::fs::create_dir(home.join("je.lck")).unwrap();
    let refused = restore(&treering, &home, &home, &[]).expect(1).to_string();
    assert!(refused.contains("cannot open") && refused.contains("permission"), "{refused}");
    assert!(!refused.contains("has it open"), "{refused}");
}

/// A snapshot that was made when the environment could not be captured holds nothing of it: that is said, and what is
/// there is not deleted for it.
#[test]
fn a_snapshot_that_misses_an_environment_says_which_one_has_it() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let home = temp.path().join("home/je");
    std::fs::create_dir(temp.path().join("home")).unwrap();
    let mut load = Load::start(&home, &temp.path().join("acknowledged"), PACE).unwrap();
    load.wait_for(100).unwrap();
    let good = treering.backup(&home)["snapshot_id"].as_str().unwrap().to_owned();
    run(treering.backup_command(&home).arg("--je-offline")).expect(3);
    load.stop().unwrap();
    let files = || std::fs::read_dir(&home).unwrap().count();
    let there = files();
    let fresh = temp.path().join("fresh");
    for (target, more, code) in [(&home, "--delete", 1), (&fresh, "--dry-run", 3), (&fresh, "--verify", 3)] {
        let told = restore(&treering, &home, target, &[more]).expect(code).to_string();
        assert!(told.contains("is not in this snapshot") && told.contains(&good[..8]), "{told}");
    }
    assert_eq!(files(), there);
}

/// Folders are exchanged by their names, and a mount point keeps its own.
#[test]
fn a_mount_point_is_refused_before_anything_is_written_and_what_to_do_is_said() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (home, mounted) = (temp.path().join("je"), temp.path().join("mounted"));
    let mut load = Load::start(&home, &temp.path().join("acknowledged"), PACE).unwrap();
    load.wait_for(100).unwrap();
    load.stop().unwrap();
    treering.backup(&home);
    std::fs::create_dir(&mounted).unwrap();
    let disk = SmallDisk::mount(&mounted, 32 << 20);
    let wrapper = disk.wrapper();
    let words: Vec<&str> = wrapper.iter().map(|word| word.to_str().unwrap()).collect();
    let treering = treering.through(&words);
    let refused = restore(&treering, &home, &mounted, &[]).expect(1).to_string();
    for said in ["is a mount point", "Nothing was restored.", "such as MOUNT/restored"] {
        assert!(refused.contains(said), "{refused}");
    }
    let listed = || disk.shell(&format!("ls -A '{}'", mounted.display()));
    assert_eq!((listed().as_str(), left_beside(&mounted)), ("", Vec::new()));
    // As it says: into a new folder there, and from that into its place.
    restore(&treering, &home, &mounted.join("restored"), &[]).expect(0);
    disk.shell(&format!("cd '{}' && mv restored/* . && rmdir restored && ls *.jdb", mounted.display()));
    assert!(listed().contains("00000000.jdb"), "{}", listed());
}

/// What a capture never takes, crafted by hand: damage in the middle of the log. It stays beside its place.
#[test]
fn a_damaged_environment_does_not_take_its_place() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let home = temp.path().join("home/je");
    std::fs::create_dir(temp.path().join("home")).unwrap();
    let mut load = Load::start(&home, &temp.path().join("acknowledged"), PACE).unwrap();
    load.wait_for(700).unwrap();
    load.stop().unwrap();
    let mut files: Vec<_> = std::fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "jdb"));
    files.sort();
    let sound = fingerprint(&home);
    let mut bytes = std::fs::read(&files[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&files[0], &bytes).unwrap();
    run(&mut treering.backup_command(&home)).expect(6);
    bytes[middle] ^= 1;
    std::fs::write(&files[0], &bytes).unwrap();
    let refused = restore(&treering, &home, &home, &[]).expect(6).message("summary");
    assert!(refused["apps"][0]["stage"].as_str().is_some(), "{refused}");
    assert_eq!(fingerprint(&home).len(), sound.len());
    assert_eq!(left_beside(&home).len(), 1);
    let found = check(&home).unwrap();
    assert_eq!(found.sum, found.expected);
    // If it must be, its files are files.
    restore(&treering, &home, &temp.path().join("raw"), &["--app", "none"]).expect(0);
}
