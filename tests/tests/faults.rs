//! Calls of the system that fail: every call with which a backup, a forget or a prune writes fails once, for want of room
//! or with an error of the disk. Nothing that was acknowledged is lost, nothing is acknowledged that is not there, and the
//! exit code says what happened.
//!
//! A round is one fault, chosen at random among all; with more rounds than there are faults each comes once.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use treering_snapshot::SnapshotName;
use treering_tests::ledger::Ledger;
use treering_tests::{Campaign, Treering, fingerprint, id, name, run};
use treering_workloads::Random;
use treering_workloads::fingerprint::Fingerprint;

/// Calls with which a program writes. Opening is not among them: what only reads cannot be told apart there.
const CALLS: [&str; 9] =
    ["write", "pwrite64", "linkat", "fsync", "fdatasync", "ftruncate", "mkdir", "unlink", "rename"];
const ERRORS: [&str; 2] = ["ENOSPC", "EIO"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Backup,
    Forget,
    Prune,
}

/// The call of this number in each thread fails.
#[derive(Debug, Clone, Copy)]
struct Fault {
    verb: Verb,
    call: &'static str,
    number: u64,
    error: &'static str,
}

/// A repository with three snapshots, the first of them forgotten, and a folder that has changed since.
struct Base {
    folder: PathBuf,
    treering: Treering,
    ledger: Ledger<Fingerprint>,
    second: SnapshotName,
    now: Fingerprint,
}

/// Of the three files that a backup adds, the next one replaces two: what is left of the first must be copied by a prune.
fn change(tree: &Path, number: u64, random: &mut Random) {
    fs::create_dir_all(tree).unwrap();
    for file in number..number + 3 {
        let length = random.between(1000, 120_000) as usize;
        fs::write(tree.join(file.to_string()), random.bytes(length)).unwrap();
    }
}

impl Base {
    fn new(folder: &Path, random: &mut Random) -> Self {
        let (treering, tree) = (Treering::init(folder), folder.join("tree"));
        let (mut ledger, mut names) = (Ledger::default(), Vec::new());
        for number in 0..3 {
            change(&tree, number, random);
            let snapshot = name(&id(&treering.backup(&tree)).into());
            ledger.backed_up(snapshot, &fingerprint(&tree));
            names.push(snapshot);
        }
        run(treering.command("forget").arg(names[0].to_string())).expect(0);
        ledger.begin_forget(names[0]);
        ledger.forgot(names[0]);
        change(&tree, 3, random);
        let now = fingerprint(&tree);
        Self { folder: folder.to_owned(), treering, ledger, second: names[1], now }
    }

    fn command(&self, verb: Verb, treering: &Treering) -> Command {
        match verb {
            Verb::Backup => treering.backup_command(&self.folder.join("tree")),
            Verb::Forget => {
                let mut command = treering.command("forget");
                command.arg(self.second.to_string());
                command
            }
            Verb::Prune => {
                let mut command = treering.command("prune");
                command.args(["--yes", "--max-unused", "0"]);
                command
            }
        }
    }

    /// A copy of the repository, of its own name.
    fn copy(&self, name: &str) -> Treering {
        let copy = self.treering.on(&self.folder.join(name));
        let copied = Command::new("cp").arg("-a").arg(self.treering.repository()).arg(copy.repository()).status();
        assert!(copied.unwrap().success());
        copy
    }

    fn traced(&self, copy: &Treering, inject: Option<String>) -> (Treering, PathBuf) {
        let mut log = copy.repository().as_os_str().to_owned();
        log.push(".calls");
        let calls = format!("trace={}", CALLS.join(","));
        let mut words = vec!["strace", "-f", "-qq", "-y", "-s", "0", "-o", log.to_str().unwrap(), "-e", &calls];
        words.extend(inject.iter().flat_map(|inject| ["-e", inject.as_str()]));
        (copy.through(&words), log.clone().into())
    }

    /// Every fault that there can be.
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for verb in [Verb::Backup, Verb::Forget, Verb::Prune] {
            let copy = self.copy("counted");
            let (traced, log) = self.traced(&copy, None);
            run(&mut self.command(verb, &traced)).expect(0);
            for (call, count) in count_calls(&fs::read_to_string(log).unwrap()) {
                let each = (1..=count).flat_map(|number| ERRORS.map(|error| Fault { verb, call, number, error }));
                faults.extend(each);
            }
            fs::remove_dir_all(copy.repository()).unwrap();
        }
        faults
    }

    /// Lets a call fail; gives what the command said, or `None` if it made no such call this time.
    fn inject(&self, fault: Fault, name: &str) -> Option<Option<i32>> {
        let copy = self.copy(name);
        let Fault { verb, call, number, error } = fault;
        let (traced, log) = self.traced(&copy, Some(format!("inject={call}:error={error}:when={number}")));
        let mut ledger = self.ledger.clone();
        match verb {
            Verb::Backup => ledger.begin_backup(&self.now),
            Verb::Forget => ledger.begin_forget(self.second),
            Verb::Prune => ledger.begin_prune(&BTreeSet::new()),
        }
        let ran = run(&mut self.command(verb, &traced));
        let calls = fs::read_to_string(&log).unwrap();
        let failed: Vec<&str> = calls.lines().filter(|line| line.contains("(INJECTED)")).collect();
        let told = format!("{fault:?}\n{}\n{ran}", failed.join("\n"));
        assert!(!ran.stderr.contains("panicked"), "{told}");
        assert!(codes(fault, &failed).contains(&ran.status.code().unwrap_or(-1)), "{told}");
        for summary in ran.messages("summary").iter().filter(|_| verb == Verb::Backup) {
            ledger.backed_up(treering_tests::name(&summary["snapshot_id"]), &self.now);
        }
        match (verb, ran.status.success()) {
            (Verb::Backup, true) => assert_eq!(ran.messages("summary").len(), 1, "{told}"),
            (Verb::Forget, true) => ledger.forgot(self.second),
            _ => ledger.end_prune(),
        }
        copy.assert_holds(&mut ledger, &self.folder.join(format!("{name}-restored")));
        copy.check();
        fs::remove_dir_all(copy.repository()).unwrap();
        fs::remove_file(log).unwrap();
        (!failed.is_empty()).then_some(ran.status.code())
    }
}

/// The most calls of each kind that a thread makes: faults are counted by thread.
fn count_calls(log: &str) -> BTreeMap<&'static str, u64> {
    let mut of_thread = BTreeMap::<(&str, &'static str), u64>::new();
    for line in log.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let known = CALLS.iter().find(|known| call.trim_start().starts_with(&format!("{known}(")));
        if let Some(known) = known {
            *of_thread.entry((thread, known)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, call), count) in of_thread {
        let most = most.entry(call).or_default();
        *most = count.max(*most);
    }
    most
}

/// The exit codes that are right. Success is, if all is there that was promised: a fault may concern the index, a
/// leftover, or be made good with the space that is kept for it.
fn codes(fault: Fault, failed: &[&str]) -> Vec<i32> {
    // Standard output and error are files here.
    let is_output = failed.iter().any(|line| line.contains("(1<") || line.contains("(2<"));
    match fault.error {
        "ENOSPC" if is_output => vec![0, 1, 14],
        "ENOSPC" => vec![0, 14],
        _ => vec![0, 1],
    }
}

/// So many of them, of each kind of call in each command equally many as far as there are.
fn choose(faults: Vec<Fault>, most: usize, random: &mut Random) -> Vec<Fault> {
    let mut kinds = BTreeMap::<(Verb, &str), Vec<Fault>>::new();
    faults.into_iter().for_each(|fault| kinds.entry((fault.verb, fault.call)).or_default().push(fault));
    let mut chosen = Vec::new();
    while chosen.len() < most && kinds.values().any(|kind| !kind.is_empty()) {
        for kind in kinds.values_mut().filter(|kind| !kind.is_empty()) {
            chosen.push(kind.swap_remove(random.below(kind.len() as u64) as usize));
        }
    }
    chosen.truncate(most);
    chosen
}

#[test]
fn a_call_that_fails_loses_nothing_and_is_told() {
    let campaign = Campaign::start("faults", 60);
    let temp = tempfile::tempdir().unwrap();
    let mut random = campaign.random("faults");
    let base = Base::new(temp.path(), &mut random);
    let faults = base.faults();
    let all = faults.len();
    let faults = choose(faults, campaign.rounds as usize, &mut random);
    let ends = Mutex::new(BTreeMap::<(Verb, &str, Option<i32>), u64>::new());
    campaign.on_all_cores(faults, |number, fault| {
        if let Some(code) = base.inject(fault, &format!("copy-{number}")) {
            *ends.lock().unwrap().entry((fault.verb, fault.error, code)).or_default() += 1;
        }
    });
    let ends = ends.into_inner().unwrap();
    let count: u64 = ends.values().sum();
    let each = ends
        .iter()
        .map(|((verb, error, code), count)| format!("{verb:?} {error} exit {}: {count}", code.unwrap_or(-1)));
    assert!(ends.keys().any(|(.., code)| *code == Some(14)) && ends.keys().any(|(.., code)| *code == Some(1)));
    campaign.end(&format!("{count} faults of {all} ({})", each.collect::<Vec<_>>().join(", ")));
}
