//! `kill -9` at any moment of every command that writes: what was acknowledged stays whole, and the next command goes on.
//!
//! A round is one kill.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use treering_tests::ledger::Ledger;
use treering_tests::{Campaign, Ran, Running, Treering, fingerprint, name, run};
use treering_workloads::Random;
use treering_workloads::fingerprint::Fingerprint;

/// So many there are before each kill, at least.
const SNAPSHOTS_LEAST: usize = 2;
/// More take longer to be restored after each.
const SNAPSHOTS_MOST: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Init,
    Backup,
    Forget,
    Undelete,
    Prune,
    KeyAdd,
    KeyRemove,
    Repair,
}

struct Killing {
    folder: PathBuf,
    treering: Treering,
    random: Random,
    ledger: Ledger<Fingerprint>,
    /// How long each command takes that is left alone.
    took: BTreeMap<Verb, Duration>,
    killed: BTreeMap<Verb, u32>,
    rounds: u64,
}

impl Killing {
    fn new(folder: &Path, random: Random) -> Self {
        let (folder, treering) = (folder.to_owned(), Treering::init(folder));
        let (ledger, took, killed) = (Ledger::default(), BTreeMap::new(), BTreeMap::new());
        run(treering.bare("key").arg("new-file").arg(folder.join("second-key"))).expect(0);
        Self { folder, treering, random, ledger, took, killed, rounds: 0 }
    }

    fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// About a megabyte of new data; the tree does not grow.
    fn change(&mut self) {
        let folder = self.tree().join(format!("part-{}", self.rounds % 3));
        fs::create_dir_all(&folder).unwrap();
        for number in 0..12 {
            let length = self.random.below(160_000) as usize;
            fs::write(folder.join(number.to_string()), self.random.bytes(length)).unwrap();
        }
    }

    /// Is killed at a random moment, but for the first time and now and then.
    fn kill(&mut self, verb: Verb, command: &mut Command) -> Ran {
        let took = self.took.get(&verb).copied().filter(|_| self.random.chance(0.8));
        let ran = match took {
            None => run(command),
            Some(took) => {
                let running = Running::start(command);
                std::thread::sleep(Duration::from_micros(self.random.below(took.as_micros() as u64)));
                running.kill()
            }
        };
        match ran.was_killed() {
            true => *self.killed.entry(verb).or_default() += 1,
            false => drop(self.took.insert(verb, ran.took)),
        }
        let may_be_refused = verb == Verb::Undelete;
        assert!(ran.was_killed() || ran.status.success() || may_be_refused, "{ran}");
        ran
    }

    fn round(&mut self) {
        self.rounds += 1;
        while self.ledger.visible().len() < SNAPSHOTS_LEAST {
            self.change();
            let name = name(&self.treering.backup(&self.tree())["snapshot_id"]);
            self.ledger.backed_up(name, &fingerprint(&self.tree()));
        }
        let (visible, forgotten) = (self.ledger.visible(), self.ledger.forgotten());
        let often = [Verb::Backup, Verb::Backup, Verb::Forget, Verb::Undelete, Verb::Prune];
        let verbs = [&often[..], &[Verb::Init, Verb::KeyAdd, Verb::Repair]].concat();
        match *self.random.pick(&verbs) {
            _ if visible.len() > SNAPSHOTS_MOST => self.forget(),
            Verb::Undelete if forgotten.is_empty() => self.forget(),
            Verb::Backup => self.backup(),
            Verb::Forget => self.forget(),
            Verb::Undelete => self.undelete(),
            Verb::Prune => self.prune(),
            Verb::Init => self.init(),
            Verb::KeyAdd | Verb::KeyRemove => self.keys(),
            Verb::Repair => self.repair(),
        }
        self.treering.assert_holds(&mut self.ledger, &self.folder.join("restored"));
        self.treering.check();
    }

    fn backup(&mut self) {
        self.change();
        let tree = fingerprint(&self.tree());
        self.ledger.begin_backup(&tree);
        let ran = self.kill(Verb::Backup, &mut self.treering.backup_command(&self.tree()));
        for summary in ran.messages("summary") {
            self.ledger.backed_up(name(&summary["snapshot_id"]), &tree);
        }
    }

    fn forget(&mut self) {
        let snapshot = *self.random.pick(&self.ledger.visible());
        self.ledger.begin_forget(snapshot);
        let ran = self.kill(Verb::Forget, self.treering.command("forget").arg(snapshot.to_string()));
        if ran.status.success() {
            self.ledger.forgot(snapshot);
        }
    }

    fn undelete(&mut self) {
        let snapshot = *self.random.pick(&self.ledger.forgotten());
        if !can_be_brought_back(&self.treering).contains(&snapshot.to_string()) {
            assert!(self.ledger.may_be_pruned(snapshot), "{snapshot} was forgotten, not pruned, and is gone");
            return;
        }
        self.ledger.begin_undelete(snapshot);
        let ran = self.kill(Verb::Undelete, self.treering.command("undelete").arg(snapshot.to_string()));
        match ran.status.code() {
            None => {}
            Some(0) => self.ledger.undeleted(snapshot),
            // It may have lost what it needs to a prune that was killed.
            Some(_) => assert!(self.ledger.was_refused(snapshot), "{ran}"),
        }
    }

    fn prune(&mut self) {
        self.ledger.begin_prune(&BTreeSet::new());
        let mut command = self.treering.command("prune");
        self.kill(Verb::Prune, command.args(["--yes", "--max-unused", "0"]));
        self.ledger.end_prune();
    }

    /// Elsewhere: there is a repository or none.
    fn init(&mut self) {
        let elsewhere = self.treering.on(&self.folder.join("elsewhere"));
        let ran = self.kill(Verb::Init, &mut elsewhere.command("init"));
        let looked = run(&mut elsewhere.command("snapshots"));
        match (ran.status.success(), looked.status.code()) {
            (true, Some(0)) => drop(elsewhere.check()),
            (false, Some(0)) => assert_check_finds_only(&elsewhere, "config"),
            (false, Some(10)) => {}
            _ => panic!("after {ran}\n{looked}"),
        }
        fs::remove_dir_all(elsewhere.repository()).ok();
    }

    /// On a copy: a slot that was being made or removed may be left with one of its two copies.
    fn keys(&mut self) {
        let copy = self.treering.on(&self.folder.join("copy"));
        copy_repository(self.treering.repository(), copy.repository());
        let mut add = copy.command("key");
        add.arg("add").arg("--new-key-file").arg(self.folder.join("second-key"));
        let ran = match self.random.chance(0.5) {
            true => self.kill(Verb::KeyAdd, &mut add),
            false => {
                run(&mut add).expect(0);
                let listed = run(copy.command("key").arg("list")).expect(0).document();
                let slots = listed.as_array().unwrap();
                let second = slots.iter().find(|slot| slot["current"] == false).unwrap();
                self.kill(Verb::KeyRemove, copy.command("key").arg("remove").arg(second["id"].as_str().unwrap()))
            }
        };
        match ran.status.success() {
            true => drop(copy.check()),
            false => assert_check_finds_only(&copy, "key "),
        }
        copy.assert_holds(&mut self.ledger.clone(), &self.folder.join("restored"));
        fs::remove_dir_all(copy.repository()).unwrap();
    }

    /// On a copy that is harmed so that nothing is lost: when the repair has been done again, all is whole.
    fn repair(&mut self) {
        let copy = self.treering.on(&self.folder.join("copy"));
        copy_repository(self.treering.repository(), copy.repository());
        let words = self.harm(copy.repository());
        let repair = || {
            let mut command = copy.command("repair");
            command.args(&words);
            command
        };
        self.kill(Verb::Repair, &mut repair());
        run(&mut repair()).expect(0);
        copy.check();
        copy.assert_holds(&mut self.ledger.clone(), &self.folder.join("restored"));
        fs::remove_dir_all(copy.repository()).unwrap();
    }

    /// Takes the index or a copy of the config away, the trailer of a pack, or a snapshot's record, of which there is a
    /// second copy. Says what to repair.
    fn harm(&mut self, repository: &Path) -> Vec<String> {
        let snapshot = self.random.pick(&self.ledger.visible()).to_string();
        let words: &[&str] = match self.random.below(4) {
            0 => {
                fs::remove_dir_all(repository.join("index")).unwrap();
                &["index"]
            }
            1 => {
                fs::remove_file(repository.join(self.random.pick(&["config", "copy/config"]))).unwrap();
                &["config"]
            }
            2 => {
                cut(self.random.pick::<PathBuf>(&packs(repository)));
                &["packs"]
            }
            _ => {
                flip(&repository.join("snapshots").join(&snapshot));
                &["snapshots", &snapshot]
            }
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}

fn packs(repository: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let mut packs: Vec<PathBuf> = list(&repository.join("packs")).iter().flat_map(|shard| list(shard)).collect();
    packs.sort();
    packs
}

/// Takes a pack's footer away, without which nobody finds its trailer.
fn cut(pack: &Path) {
    let file = fs::File::options().write(true).open(pack).unwrap();
    file.set_len(file.metadata().unwrap().len() - 50).unwrap();
}

fn flip(record: &Path) {
    let mut bytes = fs::read(record).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(record, bytes).unwrap();
}

fn can_be_brought_back(treering: &Treering) -> Vec<String> {
    let listed = run(&mut treering.command("undelete")).expect(0).document();
    let all = listed["forgotten"].as_array().unwrap();
    all.iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
}

/// The copy of something small that was half made is no damage.
#[track_caller]
fn assert_check_finds_only(treering: &Treering, what: &str) {
    let ran = run(treering.command("check").arg("--read-data"));
    let only = ran.failed_items().iter().all(|item| item.starts_with(what));
    assert!(matches!(ran.status.code(), Some(0 | 5)) && only, "{ran}");
}

fn copy_repository(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

#[test]
fn commands_killed_at_any_moment_leave_everything_whole() {
    let campaign = Campaign::start("kill", 30);
    let temp = tempfile::tempdir().unwrap();
    let mut killing = Killing::new(temp.path(), campaign.random("kills"));
    for _ in 0..campaign.rounds {
        killing.round();
    }
    let killed: u32 = killing.killed.values().sum();
    let each: Vec<String> = killing.killed.iter().map(|(verb, count)| format!("{verb:?} {count}")).collect();
    // Some are left alone, and some end before they are killed.
    assert!(u64::from(killed) * 4 > campaign.rounds, "too few were killed in time: {each:?}");
    campaign.end(&format!("{} rounds, {killed} killed in time ({})", campaign.rounds, each.join(", ")));
}
