//! The reader and the verifier on logs that real JE wrote, through the real program.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use treering_je::log::{Entry, FileSummary, Listing, file_name, scan};
use treering_je::verify::{Problem, Report, Severity, Source, verify};
use treering_tests::{Campaign, Ran, Treering, run};
use treering_workloads::je_load::{Load, Pace, check};

const PACE: Pace = Pace { threads: 2, pause_ms: 0, seed: 3 };

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/je").join(name)
}

fn unpack(name: &str, into: &Path) {
    let bytes = zstd::decode_all(fs::File::open(fixture(name)).unwrap()).unwrap();
    tar::Archive::new(&bytes[..]).unpack(into).unwrap();
}

fn je(words: &[&str], environment: &Path) -> Ran {
    let mut command = std::process::Command::new(treering_tests::binary());
    command.args(["--json", "je"]).args(words).arg(environment);
    run(&mut command)
}

/// An environment of log version 6 whose writer was killed, and the last commit that had been acknowledged.
fn killed(folder: &Path, commits: u64) -> (PathBuf, u64) {
    let (home, acknowledged) = (folder.join("je"), folder.join("acknowledged"));
    let mut load = Load::start(&home, &acknowledged, PACE).unwrap();
    load.wait_for(commits).unwrap();
    load.kill().unwrap();
    let last = treering_workloads::je_load::acknowledged(&acknowledged).unwrap().last().unwrap().number;
    (home, last)
}

#[test]
fn every_commit_of_the_environments_that_jes_of_other_versions_wrote_is_found() {
    for (name, version, folders) in [("je-7.5.11", 15, 0), ("je-18.3.20-datadirs3", 17, 3)] {
        let temp = tempfile::tempdir().unwrap();
        unpack(&format!("{name}.tar.zst"), temp.path());
        let truth = zstd::decode_all(fs::File::open(fixture(&format!("{name}.commits.zst"))).unwrap()).unwrap();
        let truth = String::from_utf8(truth).unwrap();
        let printed = je(&["log"], temp.path()).expect(0).messages("je_commit");
        assert_eq!(printed.len(), truth.lines().count());
        for (line, message) in truth.lines().zip(&printed) {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(message["lsn"], words[0]);
            assert_eq!(message["transaction"].to_string(), words[2]);
            let time: jiff::Timestamp = message["time"].as_str().unwrap().parse().unwrap();
            assert_eq!(time.as_millisecond().to_string(), words[3]);
        }
        let verified = je(&["verify"], temp.path()).expect(0).message("je_verified");
        assert_eq!(verified["findings"], Value::Array(Vec::new()));
        let environment = &verified["environment"];
        assert_eq!(
            (&environment["log_versions"][0], environment["data_folders"].as_u64().unwrap_or(0)),
            (&version.into(), folders)
        );
        let since = je(&["log", "--last", "2"], temp.path()).expect(0).messages("je_commit");
        assert_eq!(since[..], printed[printed.len() - 2..]);
    }
}

/// Also a folder of it that has no file at present comes back, or JE would refuse to open the environment.
#[test]
fn an_environment_in_data_folders_comes_back_exactly() {
    let temp = tempfile::tempdir().unwrap();
    let (treering, home) = (Treering::init(temp.path()), temp.path().join("je"));
    unpack("je-18.3.20-datadirs3.tar.zst", &home);
    // On another file system they are links.
    fs::rename(home.join("data002"), temp.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", home.join("data002")).unwrap();
    fs::write(home.join("je.properties"), "je.log.nDataDirectories=3\n").unwrap();
    let summary = treering.backup(&home);
    let target = temp.path().join("restored");
    treering.restore(summary["snapshot_id"].as_str().unwrap(), &target);
    for path in ["data001/00000000.jdb", "data002/00000001.jdb", "je.properties"] {
        assert!(fs::read(home.join(path)).unwrap() == fs::read(target.join(path)).unwrap(), "{path}");
    }
    for folder in ["data001", "data002", "data003"] {
        assert!(fs::symlink_metadata(target.join(folder)).unwrap().is_dir(), "{folder}");
    }
    let found = |command: &mut std::process::Command| run(command).expect(0).message("je_verified");
    let mut of_snapshot = treering.command("je");
    of_snapshot.args(["verify", "latest"]);
    assert_eq!(found(&mut of_snapshot)["environment"]["commits"], 2508);
    assert_eq!(je(&["verify"], &target).expect(0).message("je_verified")["environment"]["commits"], 2508);
}

/// What `je range` says of one environment.
fn ranges(treering: &Treering, environment: &Path) -> Vec<Value> {
    let document = run(treering.command("je").args(["range", "--path"]).arg(environment)).expect(0).document();
    document.as_array().unwrap().clone()
}

/// A folder in an environment that is none of JE's own is an environment by itself, if it has files of a log.
#[test]
fn files_in_a_folder_that_is_not_jes_own_are_none_of_the_environment() {
    let temp = tempfile::tempdir().unwrap();
    let (treering, home) = (Treering::init(temp.path()), temp.path().join("je"));
    unpack("je-7.5.11.tar.zst", &home);
    treering.backup(&home);
    let alone = ranges(&treering, &home);
    assert!(!alone.is_empty());
    fs::create_dir(home.join("backup")).unwrap();
    fs::copy(home.join(file_name(0)), home.join("backup").join(file_name(0xff))).unwrap();
    // The copy has a number that is not its own, which is told.
    run(&mut treering.backup_command(&home)).expect(6);
    let found = ranges(&treering, temp.path());
    let of_home: Vec<_> = found.iter().filter(|range| range["path"] == home.to_str().unwrap()).collect();
    assert_eq!(of_home.len(), alone.len(), "{found:?}");
    for (range, before) in of_home.iter().zip(&alone) {
        assert_eq!([&range["from"], &range["to"]], [&before["from"], &before["to"]], "{found:?}");
    }
}

/// The path of one names it, also with another one beneath it; a path above both names both.
#[test]
fn an_environment_with_another_one_beneath_it_is_picked_by_its_path() {
    let temp = tempfile::tempdir().unwrap();
    let (treering, home) = (Treering::init(temp.path()), temp.path().join("je"));
    let beneath = home.join("copies/first");
    unpack("je-7.5.11.tar.zst", &home);
    fs::create_dir_all(&beneath).unwrap();
    fs::copy(home.join(file_name(0)), beneath.join(file_name(0))).unwrap();
    treering.backup(&home);
    let last_file =
        |path: &Path, exit_code| run(treering.command("je").args(["last-file", "--path"]).arg(path)).expect(exit_code);
    assert_eq!(last_file(&home, 0).document()["last_file"], 1);
    assert_eq!(last_file(&home.join("copies"), 0).document()["last_file"], 0);
    assert_eq!(last_file(&beneath, 0).document()["last_file"], 0);
    last_file(temp.path(), 2);
    let picked = ranges(&treering, &home);
    assert!(!picked.is_empty() && picked.iter().all(|range| range["path"] == home.to_str().unwrap()), "{picked:?}");
}

/// Also when it is brought back to a moment or followed; the one beneath it comes as the snapshot has it.
#[test]
fn an_environment_with_another_one_beneath_it_comes_back_to_a_moment() {
    let temp = tempfile::tempdir().unwrap();
    let (treering, home) = (Treering::init(temp.path()), temp.path().join("je"));
    unpack("je-7.5.11.tar.zst", &home);
    let mut load = Load::start(&home.join("sub"), &temp.path().join("acknowledged"), PACE).unwrap();
    load.wait_for(1500).unwrap();
    load.stop().unwrap();
    let inner = Listing::read(&home.join("sub")).unwrap();
    assert!(inner.last() > Listing::read(&home).unwrap().last());
    treering.backup(&home);
    let all = ranges(&treering, &home);
    let moment = all[0]["last_commit"]["lsn"].as_str().unwrap();
    let shown = home.to_str().unwrap();
    for (name, which) in [("by path", &["--path", shown][..]), ("by snapshot", &[&format!("latest:{shown}")])] {
        let target = temp.path().join(name);
        let mut command = treering.command("restore");
        run(command.args(which).args(["--je-lsn", moment, "--target"]).arg(&target)).expect(0);
        assert_eq!(Listing::read(&target.join("sub")).unwrap().files, inner.files);
        let found = check(&target.join("sub")).unwrap();
        assert_eq!(found.sum, found.expected);
    }
    let mut command = treering.command("je");
    command.arg("failover").arg(&home).arg("--to").arg(temp.path().join("standby"));
    run(command.args(["--from-snapshots", "--once"])).expect(0);
    // The path above still names both.
    let mut command = treering.command("restore");
    command.args(["--je-lsn", moment, "--path"]).arg(temp.path()).arg("--target").arg(temp.path().join("neither"));
    assert_ne!(run(&mut command).status.code(), Some(0));
}

#[test]
fn what_no_snapshot_has_has_no_range() {
    let temp = tempfile::tempdir().unwrap();
    let (treering, home) = (Treering::init(temp.path()), temp.path().join("je"));
    unpack("je-7.5.11.tar.zst", &home);
    treering.backup(&home);
    for command in ["range", "last-file"] {
        let refused = run(treering.command("je").args([command, "--path", "/nope"])).expect(1);
        assert!(refused.to_string().contains("no snapshot has such a JE environment"), "{refused}");
    }
}

/// JE opens the environment, has lost commits, and says nothing.
#[test]
fn what_je_drops_without_a_word_is_an_error_that_names_the_commits() {
    let temp = tempfile::tempdir().unwrap();
    let (home, last) = killed(temp.path(), 400);
    let treering = Treering::init(temp.path());
    let verified = je(&["verify"], &home).expect(0).message("je_verified");
    assert_eq!(verified["environment"]["log_versions"], serde_json::json!([6]));
    let commits = je(&["log", "--last", "30"], &home).expect(0).messages("je_commit");
    let (file, offset) = commits[0]["lsn"].as_str().unwrap().split_once('/').unwrap();
    let number = u32::from_str_radix(file.trim_start_matches("0x"), 16).unwrap();
    let offset = usize::from_str_radix(offset.trim_start_matches("0x"), 16).unwrap();
    let path = home.join(file_name(number));
    let mut bytes = fs::read(&path).unwrap();
    bytes[offset + 15] ^= 0x40;
    fs::write(&path, &bytes).unwrap();
    let ran = je(&["verify"], &home).expect(5);
    let verified = ran.message("je_verified");
    let stake = &verified["findings"][0]["at_stake"];
    assert_eq!(
        (&stake["first_commit"], &stake["last_commit"]),
        (&without_type(&commits[1]), &without_type(&commits[29]))
    );
    let taken = run(&mut treering.backup_command(&home)).expect(6);
    assert!(taken.to_string().contains("torn"), "{taken}");
    run(treering.backup_command(&home).arg("--require-app-ok")).expect(1);
    let found = check(&home).unwrap();
    assert_eq!(found.sum, found.expected, "JE is content");
    assert!(found.last < last, "JE has kept {} of {last}", found.last);
}

fn without_type(message: &Value) -> Value {
    let mut message = message.clone();
    message.as_object_mut().unwrap().remove("message_type");
    message
}

/// Files in memory.
struct Memory(BTreeMap<u32, Vec<u8>>);

impl Source for Memory {
    fn scan(&mut self, number: u32, visit: &mut dyn FnMut(&Entry<'_>)) -> io::Result<FileSummary> {
        let bytes = self.0.get(&number).ok_or(io::ErrorKind::NotFound)?;
        scan(&mut &bytes[..], number, Some(bytes.len() as u64), visit)
    }
}

/// What is said of a file of these bytes that stands alone.
fn verified(bytes: Vec<u8>) -> Report {
    let name = std::ffi::OsString::from(file_name(0));
    let listing = Listing::of_names([name.as_os_str()]).checked();
    verify(&listing, &mut Memory(BTreeMap::from([(0, bytes)])), &mut |_| ())
}

/// A round is one flipped byte. In full every byte of the files is flipped, in each of its bits and all of them.
#[test]
fn every_flipped_byte_is_seen_as_damage_or_as_a_torn_tail() {
    let campaign = Campaign::start("je-flips", 3_000);
    let temp = tempfile::tempdir().unwrap();
    let logs = small_logs(temp.path());
    let versions: Vec<Vec<u32>> = logs.iter().map(|log| verified(log.clone()).versions.into_iter().collect()).collect();
    assert_eq!(versions, [[6], [15], [17]]);
    assert!(logs.iter().all(|log| verified(log.clone()).worst().is_none()));
    let bytes: Vec<(usize, usize)> =
        logs.iter().enumerate().flat_map(|(log, bytes)| (0..bytes.len()).map(move |at| (log, at))).collect();
    let all = bytes.len() as u64 * MASKS.len() as u64;
    let mut random = campaign.random("flips");
    let flips: Vec<u64> = match campaign.rounds >= all {
        true => (0..all).collect(),
        false => (0..campaign.rounds).map(|_| random.below(all)).collect(),
    };
    let (count, counts) = (flips.len(), std::sync::Mutex::new([0_u64; 4]));
    campaign.on_all_cores(flips.chunks(500).map(<[u64]>::to_vec).collect(), |_, part| {
        for flip in part {
            let (log, at) = bytes[flip as usize / MASKS.len()];
            let mut damaged = logs[log].clone();
            damaged[at] ^= MASKS[flip as usize % MASKS.len()];
            let kind = seen_as(&verified(damaged)).unwrap_or_else(|| panic!("log {log}, byte {at} was not seen"));
            counts.lock().unwrap()[kind] += 1;
        }
    });
    let [damage, unknown, torn, uncovered] = counts.into_inner().unwrap();
    campaign.end(&format!(
        "{count} flips in logs of versions 6, 15 and 17: {damage} damage, {unknown} unknown version, {torn} torn tail, \
         {uncovered} in what no checksum covers and counted as such, none unseen"
    ));
}

/// What a flip changes of a byte.
const MASKS: [u8; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 255];

/// 0: damage, 1: unknown, 2: a torn tail, 3: invisible or erased.
fn seen_as(report: &Report) -> Option<usize> {
    match report.worst() {
        Some(Severity::Error) => Some(0),
        Some(Severity::Unknown) => Some(1),
        _ if report.findings.iter().any(|found| matches!(found.problem, Problem::TornTail { .. })) => Some(2),
        _ => (report.invisible + report.erased > 0).then_some(3),
    }
}

/// The beginning of the first file of a real log: whole entries of 15 KB.
fn beginning(file: &Path) -> Vec<u8> {
    let mut bytes = fs::read(file).unwrap();
    let mut end = 0;
    let mut note = |entry: &Entry<'_>| {
        if end < 15_000 {
            end = entry.end() as usize;
        }
    };
    scan(&mut &bytes[..], 0, None, &mut note).unwrap();
    bytes.truncate(end);
    bytes
}

/// Of log version 6 by the real library, of 15 and 17 as those that real ones wrote.
fn small_logs(folder: &Path) -> Vec<Vec<u8>> {
    let (home, acknowledged) = (folder.join("je"), folder.join("acknowledged"));
    let mut load = Load::start(&home, &acknowledged, PACE).unwrap();
    load.wait_for(20).unwrap();
    load.kill().unwrap();
    unpack("je-7.5.11.tar.zst", &folder.join("7"));
    unpack("je-18.3.20-datadirs3.tar.zst", &folder.join("18"));
    let files = [home.join(file_name(0)), folder.join("7/00000000.jdb"), folder.join("18/data001/00000000.jdb")];
    files.iter().map(|file| beginning(file)).collect()
}
