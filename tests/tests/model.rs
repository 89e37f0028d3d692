//! Random histories against a model: backups, forgets, undeletes, prunes and reads, one in the midst of another, on two
//! machines, with power cuts at any operation and indexes that are lost, garbled or of yesterday. After each history the
//! repository holds exactly what the plain copies say.
//!
//! A round is one history.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use treering_snapshot::progress::{Event, Progress, Silent};
use treering_snapshot::prune::Unused;
use treering_snapshot::{SnapshotError, SnapshotName};
use treering_store::storage::{Area, Storage};
use treering_store::{FindingPlace, Repository, StoreError};
use treering_tests::Campaign;
use treering_tests::ledger::{Ledger, Tree};
use treering_tests::machine::{
    Allowed, Depth, Machine, Meanwhile, NOTHING, Source, Work, copy_folder, examine, with_causes, work,
};
use treering_tests::sim::{Honesty, Outcome, SimStorage};
use treering_workloads::Random;

const FOLDERS: usize = 3;
const STEPS_MOST: u64 = 14;
/// No operation takes more operations of the storage than about so many.
const CUT_MOST: u64 = 60;

/// Another process does something once while one is at work, at a moment when nobody holds the lock.
struct Interruption<'a> {
    disk: &'a SimStorage,
    /// How many calls are still to be let pass.
    left: AtomicI64,
    /// Others work on behalf of the library's pool, which must not wait.
    thread: Option<ThreadId>,
    action: Mutex<Option<Box<dyn FnOnce() + Send + 'a>>>,
}

impl Interruption<'_> {
    fn tick(&self) {
        if self.thread.is_some_and(|thread| thread != std::thread::current().id()) || self.disk.is_locked() {
            return;
        }
        if self.left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            let action = self.action.lock().unwrap().take();
            action.into_iter().for_each(|action| action());
        }
    }
}

impl Progress for Interruption<'_> {
    fn event(&self, _: Event<'_>) {
        self.tick();
    }
}

impl Meanwhile for Interruption<'_> {
    fn at_clock(&self) {
        self.tick();
    }

    fn at_read(&self) {
        self.tick();
    }
}

/// A repository, two machines that work on it, and what it must hold.
struct History {
    random: Random,
    disk: SimStorage,
    machines: [Machine; 2],
    /// An index as it was some time ago.
    older: Machine,
    sources: Vec<Source>,
    ledger: Mutex<Ledger<Tree>>,
    /// A check may say that rows of an index are damaged.
    is_garbled: bool,
    told: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
}

impl History {
    fn new(mut random: Random) -> Self {
        let machine = Machine::new(Random::named(random.next_u64(), "machine"));
        let disk = SimStorage::new(Honesty::Honest);
        drop(machine.init(&disk).unwrap());
        let (other, older) = (machine.another(false), machine.another(false));
        let sources = (0..FOLDERS).map(|_| Source::new(&mut random)).collect();
        let (ledger, told, counts) = (Mutex::default(), Vec::new(), BTreeMap::new());
        let machines = [machine, other];
        Self { random, disk, machines, older, sources, ledger, is_garbled: false, told, counts }
    }

    fn run(&mut self) -> Result<(), String> {
        for _ in 0..self.random.between(4, STEPS_MOST) {
            self.step()?;
        }
        self.told.push("the end".into());
        self.examine(Depth::Read)?;
        self.examine(Depth::Use)
    }

    fn examine(&mut self, depth: Depth) -> Result<(), String> {
        let allowed: Allowed = if self.is_garbled { |finding| finding.place == FindingPlace::Index } else { NOTHING };
        let ledger = self.ledger.get_mut().unwrap();
        examine(&self.machines[0], &self.disk, ledger, (depth, allowed), &self.sources[0])
    }

    fn tell(&mut self, kind: &'static str, what: String) {
        *self.counts.entry(kind).or_default() += 1;
        self.told.push(what);
    }

    fn step(&mut self) -> Result<(), String> {
        match self.random.below(10) {
            0 => {
                self.harm_index();
                Ok(())
            }
            1 => self.check(),
            _ => {
                let changed = self.random.below(FOLDERS as u64) as usize;
                self.sources[changed].change(&mut self.random);
                self.work()
            }
        }
    }

    /// Nobody has the repository open meanwhile.
    fn harm_index(&mut self) {
        let (at, how) = (self.random.below(2) as usize, self.random.below(4));
        self.tell("index harmed", format!("the index of machine {at} is harmed ({how})"));
        let index = self.machines[at].index().to_owned();
        match how {
            0 => remove_content(&index),
            1 => {
                garble(&index, &mut self.random);
                self.is_garbled = true;
            }
            2 => {
                remove_content(&index);
                copy_folder(self.older.index(), &index);
            }
            _ => self.older = self.machines[at].another(true),
        }
    }

    fn check(&mut self) -> Result<(), String> {
        self.tell("checked", "check".into());
        self.examine(Depth::Read)
    }

    /// Each command is a process of its own.
    fn open(&self, at: usize) -> Result<Arc<Repository>, String> {
        self.machines[at].open(&self.disk).map_err(|error| format!("it does not open: {error}"))
    }

    fn work(&mut self) -> Result<(), String> {
        let at = self.random.below(2) as usize;
        let (repository, other) = (self.open(at)?, self.open(1 - at)?);
        let sources = std::mem::take(&mut self.sources);
        let (first, second) = (self.choose(&sources), self.choose(&sources));
        let is_cut = self.random.chance(0.2);
        let is_interrupted = self.random.chance(0.4);
        let (cut_in, after) = (1 + self.random.below(CUT_MOST), self.random.below(8) as i64);
        if is_cut {
            self.disk.cut_in(cut_in);
            self.tell("power cuts", format!("cut in {cut_in}"));
        }
        let done = match is_interrupted {
            false => {
                self.tell(kind(&first), format!("machine {at}: {}", shown(&first)));
                work(&repository, &self.ledger, &first, &Silent)
            }
            true => {
                self.tell(kind(&first), format!("machine {at}: {}, and after {after}:", shown(&first)));
                self.tell("in the midst", format!("  the other: {}", shown(&second)));
                let inner = Mutex::new(Ok(()));
                let action = || *inner.lock().unwrap() = work(&other, &self.ledger, &second, &Silent);
                // A backup's events come from threads of its own.
                let thread = (!matches!(first, Work::Backup(_))).then(|| std::thread::current().id());
                let (disk, left, action) = (&self.disk, AtomicI64::new(after), Mutex::new(Some(Box::new(action) as _)));
                let done = work(&repository, &self.ledger, &first, &Interruption { disk, left, thread, action });
                self.judge(&second, inner.into_inner().unwrap(), true)?;
                done
            }
        };
        self.judge(&first, done, is_interrupted)?;
        self.sources = sources;
        if is_cut {
            self.restart();
        }
        Ok(())
    }

    fn choose<'s>(&mut self, sources: &'s [Source]) -> Work<'s> {
        let (visible, forgotten) = {
            let ledger = self.ledger.get_mut().unwrap();
            (ledger.visible(), ledger.forgotten())
        };
        let random = &mut self.random;
        match random.below(20) {
            0..3 if !visible.is_empty() => Work::Forget(*random.pick(&visible)),
            3..5 if !forgotten.is_empty() => Work::Undelete(*random.pick(&forgotten)),
            5..9 => Work::Prune {
                dropped: visible.iter().copied().filter(|_| random.chance(0.15)).collect::<BTreeSet<_>>(),
                max_unused: *random.pick(&[Unused::Bytes(0), Unused::Percent(20.0), Unused::Unlimited]),
                max_repack_bytes: *random.pick(&[u64::MAX, 50_000]),
                repack_smaller_than: *random.pick(&[0, 1 << 20]),
            },
            9..12 if !visible.is_empty() => Work::Read(*random.pick(&visible)),
            _ => Work::Backup(random.pick(sources)),
        }
    }

    /// Whether it may have failed so.
    fn judge(&self, what: &Work<'_>, done: Result<(), SnapshotError>, is_interrupted: bool) -> Result<(), String> {
        let Err(error) = done else { return Ok(()) };
        let may = self.disk.is_dead()
            || match (what, &error) {
                (Work::Prune { .. }, SnapshotError::NothingWouldRemain) => true,
                // Somebody else forgot it first.
                (Work::Forget(_) | Work::Read(_), SnapshotError::Store(StoreError::Missing { .. })) => is_interrupted,
                // Somebody else has forgotten and pruned it since.
                (Work::Read(name), SnapshotError::Store(StoreError::ChunkMissing { .. })) => {
                    is_interrupted
                        && self.disk.length(Area::Snapshots, &name.to_string()).is_ok_and(|found| found.is_none())
                }
                _ => false,
            };
        if may { Ok(()) } else { Err(format!("{} fails: {}", shown(what), with_causes(&error))) }
    }

    /// The power comes back, to disks and indexes as the cut left them.
    fn restart(&mut self) {
        let outcome = *self.random.pick(&[Outcome::Nothing, Outcome::Everything, Outcome::Anything]);
        self.told.push(format!("the power comes back: {outcome:?}"));
        self.disk = self.disk.after_cut(outcome, &mut self.random);
        self.ledger.get_mut().unwrap().power_failed();
    }
}

fn kind(work: &Work<'_>) -> &'static str {
    match work {
        Work::Backup(_) => "backups",
        Work::Forget(_) => "forgets",
        Work::Undelete(_) => "undeletes",
        Work::Prune { .. } => "prunes",
        Work::Read(_) => "reads",
    }
}

fn shown(work: &Work<'_>) -> String {
    let name = |name: &SnapshotName| name.short();
    match work {
        Work::Backup(source) => format!("backup of {}", source.path().display()),
        Work::Forget(snapshot) => format!("forget {}", name(snapshot)),
        Work::Undelete(snapshot) => format!("undelete {}", name(snapshot)),
        Work::Prune { dropped, max_unused, max_repack_bytes, repack_smaller_than } => {
            let dropped: Vec<String> = dropped.iter().map(name).collect();
            format!("prune without {dropped:?}, {max_unused:?}, {max_repack_bytes}, {repack_smaller_than}")
        }
        Work::Read(snapshot) => format!("read {}", name(snapshot)),
    }
}

fn remove_content(folder: &Path) {
    fs::remove_dir_all(folder).unwrap();
    fs::create_dir(folder).unwrap();
}

/// Overwrites parts of every file.
fn garble(folder: &Path, random: &mut Random) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            garble(&entry.path(), random);
            continue;
        }
        let mut bytes = fs::read(entry.path()).unwrap();
        for _ in 0..random.between(1, 20) {
            let start = random.below(bytes.len() as u64) as usize;
            let end = bytes.len().min(start + 50);
            random.fill(&mut bytes[start..end]);
        }
        fs::write(entry.path(), bytes).unwrap();
    }
}

#[test]
fn random_histories_end_as_the_model_says() {
    let campaign = Campaign::start("model", 500);
    let counts = Mutex::new(BTreeMap::<&str, u64>::new());
    campaign.on_all_cores((0..campaign.rounds).collect(), |_, round| {
        let mut history = History::new(campaign.random(format_args!("history {round}")));
        if let Err(wrong) = history.run() {
            panic!("{wrong}\nafter:\n{}", history.told.join("\n"));
        }
        let mut counts = counts.lock().unwrap();
        history.counts.iter().for_each(|(kind, count)| *counts.entry(kind).or_default() += count);
    });
    let counts = counts.into_inner().unwrap();
    let each: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    campaign.end(&format!("{} histories ({})", campaign.rounds, each.join(", ")));
}
