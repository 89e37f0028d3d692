//! Five processes at work on one repository: two that back up, one that forgets and prunes, one that checks and restores,
//! one that makes the index anew.
//! Each start of the program has a clock of its own that is wrong by days, and is stopped for a while at random moments.
//! At the end every snapshot that is there is exactly what was backed up.
//!
//! A round is a second. What may fail, and how, is in [`Role::may_end_with`].

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use treering_tests::ledger::Ledger;
use treering_tests::{Campaign, Ran, Running, Treering, fingerprint, name, run};
use treering_workloads::Random;
use treering_workloads::fingerprint::{Fingerprint, differences};

/// Clocks are wrong by no more.
const WRONG_MOST_SECONDS: u64 = 30 * 86_400;
/// So many snapshots are left by those who forget, at least.
const SNAPSHOTS_LEAST: usize = 3;
/// Backups wait while there are more.
const SNAPSHOTS_MOST: usize = 10;
/// So many are forgotten before each prune.
const FORGOTTEN_AT_ONCE: usize = 2;
/// How long who has nothing to do waits.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Backup,
    Forget,
    Prune,
    Check,
    Restore,
    Index,
}

impl Role {
    /// A restore may meet a snapshot that was forgotten and pruned since it was chosen, and says so: there is none of
    /// that name (1), or a part of it is not there (1, 3, 5). The same if a pack is repacked that it has begun to read.
    /// Nobody else has a reason to fail.
    fn may_end_with(self, code: i32) -> bool {
        match self {
            Self::Restore => [0, 1, 3, 5].contains(&code),
            Self::Backup | Self::Forget | Self::Prune | Self::Check | Self::Index => code == 0,
        }
    }
}

struct Race {
    folder: PathBuf,
    treering: Treering,
    ledger: Mutex<Ledger<Fingerprint>>,
    ends: Mutex<BTreeMap<(Role, i32), u64>>,
    is_over: AtomicBool,
}

impl Race {
    fn until_the_end(&self, mut each: impl FnMut()) {
        while !self.is_over.load(Ordering::Relaxed) {
            each();
        }
    }

    /// Runs a command with a wrong clock, and stops it for a while now and then.
    fn run(&self, role: Role, random: &mut Random, arguments: impl FnOnce(&Treering) -> Command) -> Ran {
        let seconds = random.below(2 * WRONG_MOST_SECONDS) as i64 - WRONG_MOST_SECONDS as i64;
        let clock = format!("{seconds:+}");
        let mut command = arguments(&self.treering.through(&["faketime", "-f", &clock]));
        // Only the clock is wrong: not the times of files, nor how long something takes.
        command.env("NO_FAKE_STAT", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        let mut running = Running::start(&mut command);
        while random.chance(0.7) && running.is_running() {
            std::thread::sleep(Duration::from_millis(random.below(60)));
            if running.stop() {
                std::thread::sleep(Duration::from_millis(random.below(150)));
                running.go_on();
            }
        }
        let ran = running.finish();
        let code = ran.status.code().unwrap_or(-1);
        assert!(role.may_end_with(code) && !ran.stderr.contains("panicked"), "{ran}");
        *self.ends.lock().unwrap().entry((role, code)).or_default() += 1;
        ran
    }

    fn back_up(&self, number: u32, mut random: Random) {
        let tree = self.folder.join(format!("tree-{number}"));
        fs::create_dir(&tree).unwrap();
        self.until_the_end(|| {
            if self.ledger.lock().unwrap().visible().len() > SNAPSHOTS_MOST {
                return std::thread::sleep(PAUSE);
            }
            change(&tree, &mut random);
            let now = fingerprint(&tree);
            self.ledger.lock().unwrap().begin_backup(&now);
            let ran = self.run(Role::Backup, &mut random, |treering| treering.backup_command(&tree));
            self.ledger.lock().unwrap().backed_up(name(&ran.message("summary")["snapshot_id"]), &now);
        });
    }

    fn prune(&self, mut random: Random) {
        self.until_the_end(|| {
            let mut names = self.ledger.lock().unwrap().visible();
            let most = names.len().saturating_sub(SNAPSHOTS_LEAST).min(FORGOTTEN_AT_ONCE);
            for _ in 0..most {
                let forgotten = names.swap_remove(random.below(names.len() as u64) as usize);
                self.ledger.lock().unwrap().begin_forget(forgotten);
                self.run(Role::Forget, &mut random, |treering| {
                    with(treering.command("forget"), &[&forgotten.to_string()])
                });
                self.ledger.lock().unwrap().forgot(forgotten);
            }
            self.ledger.lock().unwrap().begin_prune(&BTreeSet::new());
            let unused = *random.pick(&["0", "20%", "unlimited"]);
            self.run(Role::Prune, &mut random, |treering| {
                with(treering.command("prune"), &["--yes", "--max-unused", unused])
            });
            self.ledger.lock().unwrap().end_prune();
        });
    }

    fn index(&self, mut random: Random) {
        self.until_the_end(|| {
            self.run(Role::Index, &mut random, |treering| with(treering.command("repair"), &["index"]));
            std::thread::sleep(Duration::from_millis(random.below(200)));
        });
    }

    fn read(&self, mut random: Random) {
        let target = self.folder.join("read");
        self.until_the_end(|| {
            let depth: &[&str] = if random.chance(0.5) { &["--read-data"] } else { &[] };
            self.run(Role::Check, &mut random, |treering| with(treering.command("check"), depth));
            let names = self.ledger.lock().unwrap().visible();
            if names.is_empty() {
                return;
            }
            let name = *random.pick(&names);
            let ran = self.run(Role::Restore, &mut random, |treering| {
                let mut command = with(treering.command("restore"), &["--privileged", "--snapshot", &name.to_string()]);
                command.arg("--target").arg(&target);
                command
            });
            if ran.status.success() {
                let found =
                    self.ledger.lock().unwrap().tree(name).map(|tree| differences(tree, &fingerprint(&target), 9));
                assert_eq!(found, Some(Vec::new()), "{ran}");
            } else {
                let is_visible = self.ledger.lock().unwrap().visible().contains(&name);
                assert!(!is_visible || ran.stderr.contains("is not there"), "{ran}");
            }
            drop(fs::remove_dir_all(&target));
        });
    }
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

/// Some new data, some that was there before in another file.
fn change(tree: &Path, random: &mut Random) {
    for _ in 0..3 {
        let (to, from) = (tree.join(random.below(8).to_string()), tree.join(random.below(8).to_string()));
        if random.chance(0.3) && from.exists() && from != to {
            fs::copy(from, to).unwrap();
        } else {
            // Of two backups that run at once, both may have the same new data.
            let (seed, length) = (random.below(20), 1000 + random.below(3) * 100_000);
            fs::write(to, Random::named(seed, "data").bytes(length as usize)).unwrap();
        }
    }
}

#[test]
fn processes_that_race_lose_nothing() {
    let campaign = Campaign::start("race", 12);
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().to_owned();
    let treering = Treering::init(&folder);
    // Makes the index: processes that all find none still make it at once, and into each other.
    let tree = folder.join("tree-0");
    fs::create_dir(&tree).unwrap();
    change(&tree, &mut campaign.random("first"));
    let mut ledger = Ledger::default();
    ledger.backed_up(name(&treering.backup(&tree)["snapshot_id"]), &fingerprint(&tree));
    let (ledger, ends, is_over) = (Mutex::new(ledger), Mutex::default(), AtomicBool::new(false));
    let race = Race { folder, treering, ledger, ends, is_over };
    let works: [Box<dyn Fn() + Sync>; 5] = [
        Box::new(|| race.back_up(1, campaign.random("backup 1"))),
        Box::new(|| race.back_up(2, campaign.random("backup 2"))),
        Box::new(|| race.prune(campaign.random("prune"))),
        Box::new(|| race.read(campaign.random("read"))),
        Box::new(|| race.index(campaign.random("index"))),
    ];
    std::thread::scope(|scope| {
        let threads: Vec<_> = works.iter().map(|work| scope.spawn(work)).collect();
        let started = Instant::now();
        // One that panicked has ended early.
        while started.elapsed() < Duration::from_secs(campaign.rounds) && threads.iter().all(|t| !t.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
        }
        race.is_over.store(true, Ordering::Relaxed);
    });
    race.treering.assert_holds(&mut race.ledger.lock().unwrap(), &race.folder.join("restored"));
    race.treering.check();
    run(race.treering.command("prune").args(["--yes", "--max-unused", "0"])).expect(0);
    race.treering.assert_holds(&mut race.ledger.lock().unwrap(), &race.folder.join("restored"));
    race.treering.check();
    let ends = race.ends.lock().unwrap();
    let each: Vec<String> = ends.iter().map(|((role, code), count)| format!("{role:?} exit {code}: {count}")).collect();
    campaign.end(&format!("{} seconds ({})", campaign.rounds, each.join(", ")));
}
