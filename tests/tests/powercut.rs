//! The power fails at every operation of the storage, and each time the disk is left in several of the states that it may
//! be left in: what was acknowledged is there, whole, and everything goes on.
//!
//! A repair is done again after the cut, and those that the guide has come after it: then all is whole but for what the
//! damage itself took. The index is not on the disk whose power is cut: `repair index` does nothing to it.
//!
//! A round is all of that once, with folders of its own.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use treering_snapshot::SnapshotName;
use treering_snapshot::check::Severity;
use treering_snapshot::progress::Silent;
use treering_snapshot::prune::Unused;
use treering_snapshot::repair::{PackRepairOptions, SnapshotRepairOptions, repair_packs, repair_snapshots};
use treering_store::storage::{Area, Storage};
use treering_store::{Compression, DerivationCost, FindingPlace, Repository, StoreError, Unlock};
use treering_tests::Campaign;
use treering_tests::ledger::{Ledger, Tree};
use treering_tests::machine::{
    Allowed, Depth, Machine, NOTHING, Source, Work, examine, readable_trees, with_causes, work,
};
use treering_tests::sim::{Honesty, Outcome, SimStorage};
use treering_workloads::Random;

/// States that are made of each cut.
const STATES_OF_A_CUT: u64 = 8;
/// A repair is done twice, which takes longer.
const STATES_OF_A_REPAIR: u64 = 3;
const PASSPHRASE: &str = "correct horse battery staple";
/// More than a frame holds: of a pack of so much that loses one, something is left.
const SEVERAL_FRAMES_BYTES: usize = 70_000;
/// A pack's footer takes more; without it nobody finds the trailer.
const FOOTER_PART_BYTES: usize = 50;
/// The first frame of a pack lies behind its header.
const HEADER_BYTES: u64 = 70;

/// What is done when the power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scenario {
    Init,
    FirstBackup,
    SecondBackup,
    Forget,
    Undelete,
    Prune,
    AddKey,
    RemoveKey,
    /// Of a pack with a damaged frame.
    RepairFrame,
    /// Of a pack whose end is missing.
    RepairTrailer,
    /// Of a snapshot that has lost data, and whose record is damaged.
    RepairSnapshot,
    /// Of snapshots whose records are damaged and missing.
    RepairRecords,
    /// Of the config and a key slot, of which a copy is damaged.
    RepairConfig,
}

impl Scenario {
    const ALL: [Self; 13] = [
        Self::Init,
        Self::FirstBackup,
        Self::SecondBackup,
        Self::Forget,
        Self::Undelete,
        Self::Prune,
        Self::AddKey,
        Self::RemoveKey,
        Self::RepairFrame,
        Self::RepairTrailer,
        Self::RepairSnapshot,
        Self::RepairRecords,
        Self::RepairConfig,
    ];

    /// The repair in which the power fails, and those that it needs after it.
    fn repairs(self) -> &'static [Repair] {
        match self {
            Self::RepairFrame => &[Repair::Packs, Repair::Snapshots],
            Self::RepairTrailer => &[Repair::Packs],
            Self::RepairSnapshot | Self::RepairRecords => &[Repair::Snapshots],
            Self::RepairConfig => &[Repair::Config],
            _ => &[],
        }
    }

    fn states(self) -> u64 {
        if self.repairs().is_empty() { STATES_OF_A_CUT } else { STATES_OF_A_REPAIR }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repair {
    Packs,
    Snapshots,
    Config,
}

impl Repair {
    fn run(self, repository: &Arc<Repository>) -> Result<(), String> {
        let (compression, dry_run) = (Compression::DEFAULT, false);
        let done = match self {
            Self::Packs => {
                let options = PackRepairOptions { packs: vec![], read_data: true, compression, dry_run };
                repair_packs(repository, &options, &Silent).map(drop)
            }
            Self::Snapshots => {
                let options = SnapshotRepairOptions { only: vec![], compression, dry_run };
                repair_snapshots(repository, &options, &Silent).map(drop)
            }
            Self::Config => repository.repair_config(dry_run).map(drop).map_err(Into::into),
        };
        done.map_err(|error| with_causes(&error))
    }
}

/// A repository before the power fails, and what it holds.
struct Scene {
    scenario: Scenario,
    disk: SimStorage,
    machine: Machine,
    /// As it was some time before.
    older: Machine,
    ledger: Ledger<Tree>,
    names: Vec<SnapshotName>,
    sources: [Source; 2],
    damage: Damage,
}

/// What was done to a repository that is repaired.
#[derive(Default)]
struct Damage {
    /// What can be read all the same, of each snapshot.
    readable: Vec<Tree>,
    /// The snapshot that has lost data, and what is left of it.
    lossy: Option<(SnapshotName, Tree)>,
}

/// What was acknowledged besides snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Acknowledged,
    InDoubt,
}

fn passphrase() -> Unlock {
    Unlock::Passphrase(PASSPHRASE.to_owned().into())
}

fn add_key(repository: &Repository) -> treering_store::Result<String> {
    repository.add_key(&passphrase(), DerivationCost::FLOOR, 0, "second")
}

impl Scene {
    fn new(scenario: Scenario, honesty: Honesty, random: &mut Random) -> Self {
        let machine = Machine::new(Random::named(random.next_u64(), "machine"));
        let (disk, ledger) = (SimStorage::new(honesty), Mutex::new(Ledger::default()));
        let (mut sources, mut older) = ([Source::new(random), Source::new(random)], machine.another(false));
        let mut names = Vec::new();
        while !scenario.repairs().is_empty() && sources[0].bytes() < SEVERAL_FRAMES_BYTES {
            sources[0].change(random);
        }
        if scenario != Scenario::Init {
            let repository = machine.init(&disk).unwrap();
            (older, names) = Self::fill(scenario, &repository, &machine, &ledger, &mut sources, random);
        }
        let ledger = ledger.into_inner().unwrap();
        // All of this happened long ago.
        let disk = disk.copy();
        let damage = Damage::default();
        let mut scene = Self { scenario, disk, machine, older, ledger, names, sources, damage };
        scene.prepare();
        scene.harm();
        scene
    }

    /// Gives the machine as it was half-way, and the snapshots in the order in which they were made.
    fn fill(
        scenario: Scenario,
        repository: &Arc<Repository>,
        machine: &Machine,
        ledger: &Mutex<Ledger<Tree>>,
        sources: &mut [Source; 2],
        random: &mut Random,
    ) -> (Machine, Vec<SnapshotName>) {
        let (mut names, mut older) = (Vec::new(), machine.another(true));
        let backups: &[usize] = match scenario {
            Scenario::Init | Scenario::FirstBackup => &[],
            Scenario::SecondBackup => &[0],
            Scenario::Prune => &[0, 0, 1],
            _ if !scenario.repairs().is_empty() => &[0, 1],
            _ => &[0, 0],
        };
        for (number, source) in backups.iter().enumerate() {
            work(repository, ledger, &Work::Backup(&sources[*source]), &Silent).unwrap();
            names.extend(ledger.lock().unwrap().visible().into_iter().find(|name| !names.contains(name)));
            sources[*source].change(random);
            if number == 0 {
                older = machine.another(true);
            }
        }
        if scenario == Scenario::RemoveKey {
            add_key(repository).unwrap();
        }
        (older, names)
    }

    /// What the scenario needs done before.
    fn prepare(&mut self) {
        if self.scenario != Scenario::Undelete && self.scenario != Scenario::Prune {
            return;
        }
        let (name, ledger) = (self.names[0], Mutex::new(std::mem::take(&mut self.ledger)));
        work(&self.machine.open(&self.disk).unwrap(), &ledger, &Work::Forget(name), &Silent).unwrap();
        self.ledger = ledger.into_inner().unwrap();
        self.disk = self.disk.copy();
    }

    /// What there is to be repaired.
    fn harm(&mut self) {
        let (scenario, disk) = (self.scenario, self.disk.clone());
        if scenario.repairs().is_empty() {
            return;
        }
        let lossy = match scenario {
            Scenario::RepairFrame | Scenario::RepairSnapshot => {
                let (pack, frame) = self.pack_of_data();
                disk.harm(Area::Packs, &pack, |bytes| bytes[frame] ^= 1);
                if scenario == Scenario::RepairSnapshot {
                    Repair::Packs.run(&self.open()).unwrap();
                }
                let is_less = |(name, tree): &(_, Tree)| self.ledger.tree(*name) != Some(tree);
                let lossy = readable_trees(&self.open()).into_iter().find(is_less).unwrap();
                if scenario == Scenario::RepairSnapshot {
                    disk.harm(Area::Snapshots, &lossy.0.to_string(), |bytes| flip(bytes));
                }
                Some(lossy)
            }
            Scenario::RepairTrailer => {
                let (pack, _) = self.pack_of_data();
                disk.harm(Area::Packs, &pack, |bytes| bytes.truncate(bytes.len() - FOOTER_PART_BYTES));
                None
            }
            Scenario::RepairRecords => {
                disk.harm(Area::Snapshots, &self.names[0].to_string(), |bytes| flip(bytes));
                disk.remove(Area::Snapshots, &self.names[1].to_string()).unwrap();
                None
            }
            _ => {
                disk.harm(Area::Config, "config", |bytes| flip(bytes));
                let slots = disk.list(Area::KeysCopy).unwrap();
                disk.harm(Area::KeysCopy, &slots[0].name, |bytes| flip(bytes));
                None
            }
        };
        let readable = readable_trees(&self.open()).into_iter().map(|(_, tree)| tree).collect();
        self.damage = Damage { readable, lossy };
        self.disk = self.disk.copy();
    }

    fn open(&self) -> Arc<Repository> {
        self.machine.open(&self.disk).unwrap()
    }

    /// The largest pack, which is one of data, and a byte of its first frame.
    fn pack_of_data(&self) -> (String, usize) {
        let repository = self.open();
        let (pack, _) = repository.list_packs().unwrap().into_iter().max_by_key(|(_, bytes)| *bytes).unwrap();
        let frame = repository.packed_frames(pack).unwrap().iter().next().unwrap().stored_bytes();
        (pack.to_string(), (HEADER_BYTES + frame / 2) as usize)
    }

    /// Does it on a disk whose power may fail.
    fn run(&self, disk: &SimStorage, machine: &Machine, ledger: &Mutex<Ledger<Tree>>) -> Done {
        let done = match self.scenario {
            Scenario::Init => machine.init(disk).map(drop).map_err(|error| error.to_string()),
            _ => machine.open(disk).map_err(|error| error.to_string()).and_then(|repo| self.work(&repo, ledger)),
        };
        match done {
            Ok(()) => Done::Acknowledged,
            Err(error) => {
                assert!(disk.is_dead(), "{:?} fails without a power cut: {error}", self.scenario);
                Done::InDoubt
            }
        }
    }

    fn work(&self, repository: &Arc<Repository>, ledger: &Mutex<Ledger<Tree>>) -> Result<(), String> {
        if let Some(repair) = self.scenario.repairs().first() {
            return repair.run(repository);
        }
        let (name, dropped) = (self.names.first().copied(), self.names.get(2).copied());
        let next = match self.scenario {
            Scenario::FirstBackup | Scenario::SecondBackup => Work::Backup(&self.sources[0]),
            Scenario::Forget => Work::Forget(name.unwrap()),
            Scenario::Undelete => Work::Undelete(name.unwrap()),
            // Of the first two backups of one folder the second is left: part of the first one's packs is needed.
            Scenario::Prune => Work::Prune {
                dropped: dropped.into_iter().collect::<BTreeSet<_>>(),
                max_unused: Unused::Bytes(0),
                max_repack_bytes: u64::MAX,
                repack_smaller_than: 0,
            },
            Scenario::AddKey => return add_key(repository).map(drop).map_err(|error| error.to_string()),
            Scenario::RemoveKey => {
                let slot = repository.find_key(&passphrase()).map_err(|error| error.to_string())?;
                return repository.remove_key(&slot).map_err(|error| error.to_string());
            }
            _ => return Ok(()),
        };
        work(repository, ledger, &next, &Silent).map_err(|error| error.to_string())
    }

    /// How many operations it takes. A few more or less happen: frames and packs are made on several threads.
    fn operations(&self) -> u64 {
        let disk = self.disk.copy();
        let done = self.run(&disk, &self.machine.another(true), &Mutex::new(self.ledger.clone()));
        assert_eq!(done, Done::Acknowledged);
        disk.operations()
    }

    /// Cuts the power at an operation; gives what is wrong in one of the states that this leaves, and how many there
    /// were.
    fn cut(&self, operation: u64, random: &mut Random) -> Result<u64, String> {
        let (disk, machine) = (self.disk.copy(), self.machine.another(true));
        let ledger = Mutex::new(self.ledger.clone());
        disk.cut_in(operation);
        let done = self.run(&disk, &machine, &ledger);
        let ledger = ledger.into_inner().unwrap();
        for state in 0..self.scenario.states() {
            let outcome = match state {
                0 => Outcome::Nothing,
                1 => Outcome::Everything,
                _ => Outcome::Anything,
            };
            let left = disk.after_cut(outcome, random);
            let (machine, index) = match random.below(3) {
                0 => (machine.another(true), "as it was"),
                1 => (self.older.another(true), "older"),
                _ => (machine.another(false), "gone"),
            };
            let depth = if random.chance(0.5) { Depth::Use } else { Depth::Read };
            self.examine(&left, &machine, ledger.clone(), done, depth).map_err(|wrong| {
                let scenario = self.scenario;
                format!("{scenario:?}, cut at {operation}, {outcome:?}, the index {index}, {done:?}: {wrong}")
            })?;
        }
        Ok(self.scenario.states())
    }

    fn examine(
        &self,
        disk: &SimStorage,
        machine: &Machine,
        mut ledger: Ledger<Tree>,
        done: Done,
        depth: Depth,
    ) -> Result<(), String> {
        if self.scenario == Scenario::Init && done == Done::InDoubt {
            match machine.open(disk) {
                Err(StoreError::NoRepository { .. }) => return Ok(()),
                Err(error) => return Err(format!("it is neither a repository nor none: {error}")),
                Ok(_) => {}
            }
        }
        self.examine_keys(disk, machine, done)?;
        ledger.power_failed();
        if !self.scenario.repairs().is_empty() {
            self.finish_repair(machine, disk, &mut ledger)?;
        }
        examine(machine, disk, &mut ledger, (depth, self.allowed(done)), &self.sources[1])?;
        let is_left = |left: &Tree| ledger.visible().iter().any(|name| ledger.tree(*name) == Some(left));
        match &self.damage.lossy {
            Some((name, left)) if !is_left(left) => Err(format!("what was left of {name} is lost")),
            _ => Ok(()),
        }
    }

    /// What could be read can be read, and the repairs go on to the end.
    fn finish_repair(&self, machine: &Machine, disk: &SimStorage, ledger: &mut Ledger<Tree>) -> Result<(), String> {
        let repository = machine.open(disk).map_err(|error| format!("it does not open: {error}"))?;
        let now = readable_trees(&repository);
        if self.damage.readable.iter().any(|tree| now.iter().all(|(_, now)| now != tree)) {
            return Err("what could be read before the repair cannot be read".into());
        }
        for repair in self.scenario.repairs() {
            repair.run(&repository).map_err(|error| format!("{repair:?} again: {error}"))?;
        }
        // It is written again, once or twice, and the original cannot come back: it lacks what a prune might have taken.
        if let Some((name, left)) = &self.damage.lossy {
            ledger.begin_backup(left);
            ledger.begin_prune(&BTreeSet::from([*name]));
            ledger.end_prune();
        }
        Ok(())
    }

    /// A config or key slot that was being made or removed may have one of its two copies: a check says so, and it opens.
    fn allowed(&self, done: Done) -> Allowed {
        match (self.scenario, done) {
            (Scenario::Init, Done::InDoubt) => |finding| finding.place == FindingPlace::Config,
            (Scenario::AddKey | Scenario::RemoveKey, Done::InDoubt) => {
                |finding| matches!(finding.place, FindingPlace::Key(_)) && finding.severity == Severity::Repairable
            }
            _ => NOTHING,
        }
    }

    fn examine_keys(&self, disk: &SimStorage, machine: &Machine, done: Done) -> Result<(), String> {
        let expected = match (self.scenario, done) {
            (Scenario::AddKey | Scenario::RemoveKey, Done::Acknowledged) => Some(self.scenario == Scenario::AddKey),
            (Scenario::AddKey | Scenario::RemoveKey, Done::InDoubt) => None,
            _ => return Ok(()),
        };
        let opens = match machine.open_with(disk, &passphrase()) {
            Ok(_) => true,
            Err(StoreError::WrongKey { .. }) => false,
            Err(error) => return Err(format!("the passphrase: {error}")),
        };
        match expected.is_none_or(|expected| expected == opens) {
            true => Ok(()),
            false => Err(format!("the passphrase opens it: {opens}")),
        }
    }
}

fn flip(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
}

/// Every operation of every scenario, once.
fn cuts(scenes: &[Scene]) -> Vec<(&Scene, u64)> {
    // One more than there are: the power may also fail afterwards.
    scenes.iter().flat_map(|scene| (1..=scene.operations() + 1).map(move |operation| (scene, operation))).collect()
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_that_was_acknowledged() {
    let campaign = Campaign::start("powercut", 2);
    let states = Mutex::new(BTreeMap::<Scenario, u64>::new());
    for round in 0..campaign.rounds {
        let mut random = campaign.random(format_args!("scenes {round}"));
        let scenes = Scenario::ALL.map(|scenario| Scene::new(scenario, Honesty::Honest, &mut random));
        campaign.on_all_cores(cuts(&scenes), |number, (scene, operation)| {
            let mut random = campaign.random(format_args!("cut {round} {number}"));
            match scene.cut(operation, &mut random) {
                Ok(count) => *states.lock().unwrap().entry(scene.scenario).or_default() += count,
                Err(wrong) => panic!("{wrong}"),
            }
        });
    }
    let states = states.into_inner().unwrap();
    let total: u64 = states.values().sum();
    let each: Vec<String> = states.iter().map(|(scenario, count)| format!("{scenario:?} {count}")).collect();
    assert!(total >= 1000 * campaign.rounds, "only {total} states: {each:?}");
    campaign.end(&format!("{total} states ({})", each.join(", ")));
}

/// The campaign can fail: on a disk that lies it finds what is lost.
#[test]
fn a_disk_that_lies_is_found_out() {
    let campaign = Campaign::start("powercut-of-a-liar", 1);
    for honesty in [Honesty::ForgetsNames, Honesty::ForgetsBytes] {
        let mut random = campaign.random("scenes");
        let scene = Scene::new(Scenario::FirstBackup, honesty, &mut random);
        let last = scene.operations() + 1;
        let found = (last - 10..=last).filter(|operation| scene.cut(*operation, &mut random).is_err()).count();
        assert!(found > 0, "{honesty:?} was not noticed");
        println!("{honesty:?}: {found} of 11 cuts did harm");
    }
}
