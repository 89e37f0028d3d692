//! Homes of Jpom, server and agent, on a host and in a container, day by day with a real H2 database: each day comes back
//! exactly, whether the database was closed or written to while it was captured.
//!
//! A round is a day. Every other day the server's database is in use: then the snapshot holds every commit that was
//! acknowledged before the backup began.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use treering_tests::{Campaign, Treering, assert_same, fingerprint, id, without_temporary};
use treering_workloads::fingerprint::Fingerprint;
use treering_workloads::jpom_home::{Database, Home, Kind, Layout, Options};
use treering_workloads::{Access, h2};

/// Of the full-size home.
const SCALE: f64 = 0.01;
const ROWS: u32 = 600;
/// Acknowledged commits before a live backup begins.
const COMMITS: u32 = 5;

/// What a day left behind.
struct Day {
    snapshot: String,
    tree: Fingerprint,
    contents: Expected,
}

/// What must be in the database.
enum Expected {
    None,
    Exactly(treering_workloads::Contents),
    AtLeast(u64),
}

struct Subject {
    home: Home,
    database: Option<h2::Database>,
    seed: u64,
}

impl Subject {
    fn new(folder: &Path, kind: Kind, layout: Layout, seed: u64) -> Self {
        let options = match kind {
            Kind::Server => Options::server(seed, SCALE),
            Kind::Agent => Options::agent(seed, SCALE),
        };
        let home = Home::create(folder, Options { layout, database: Database::None, ..options }).unwrap();
        let database = (kind == Kind::Server).then(|| h2::Database::create(&home.base(), ROWS, seed).unwrap());
        Self { home, database, seed }
    }

    /// A day passes, and the night's backup is made.
    fn live_through(&mut self, treering: &Treering) -> Day {
        let day = self.home.next_day().unwrap();
        match self.database.clone() {
            None => self.back_up(treering, Expected::None),
            Some(database) => {
                database.day(day, self.seed).unwrap();
                match day % 2 {
                    0 => self.back_up(treering, Expected::Exactly(database.count(Access::ReadOnly).unwrap())),
                    _ => self.back_up_live(treering, &database, day),
                }
            }
        }
    }

    fn back_up(&self, treering: &Treering, contents: Expected) -> Day {
        let tree = taken(&self.home, fingerprint(self.home.root()), false);
        let summary = treering.backup(self.home.root());
        Day { snapshot: id(&summary), tree, contents }
    }

    fn back_up_live(&self, treering: &Treering, database: &h2::Database, day: u32) -> Day {
        // A writer begins with the same keys if its seed is the same.
        let mut writer = database.live(self.seed + u64::from(day)).unwrap();
        let seen = (0..COMMITS).map(|_| writer.next_commit().unwrap()).last().unwrap();
        let day = self.back_up(treering, Expected::AtLeast(seen));
        writer.stop().unwrap();
        Day { tree: taken(&self.home, day.tree, true), ..day }
    }
}

/// What a backup takes of a tree; without the database if that was written to.
fn taken(home: &Home, tree: Fingerprint, is_in_use: bool) -> Fingerprint {
    let base = home.base().strip_prefix(home.root()).unwrap().to_path_buf();
    let mut taken = without_temporary(tree, &base);
    if is_in_use {
        taken.remove(&base.join("db/Server.mv.db"));
    }
    taken
}

fn assert_comes_back(treering: &Treering, home: &Home, day: &Day, target: &Path) {
    treering.restore(&day.snapshot, target);
    let is_in_use = matches!(day.contents, Expected::AtLeast(_));
    assert_same(&day.tree, &taken(home, fingerprint(target), is_in_use));
    let base = target.join(home.base().strip_prefix(home.root()).unwrap());
    let count = |access| h2::Database::open(&base).unwrap().count(access).unwrap();
    match &day.contents {
        Expected::None => {}
        Expected::Exactly(contents) => assert_eq!(count(Access::ReadOnly), *contents),
        Expected::AtLeast(seen) => {
            let found = count(Access::Writable).acknowledged;
            assert!(found >= *seen, "{found} commits came back of {seen} that were acknowledged");
        }
    }
    std::fs::remove_dir_all(target).unwrap();
}

#[test]
fn every_day_of_every_kind_of_home_comes_back() {
    let campaign = Campaign::start("jpom-days", 2);
    let kinds = [Kind::Server, Kind::Agent].map(|kind| [Layout::Host, Layout::Docker].map(|layout| (kind, layout)));
    let restored = AtomicU64::new(0);
    campaign.on_all_cores(kinds.concat(), |number, (kind, layout)| {
        let temp = tempfile::tempdir().unwrap();
        let treering = Treering::init(temp.path());
        let seed = campaign.random(number).below(1 << 32);
        let mut subject = Subject::new(&temp.path().join("jpom"), kind, layout, seed);
        let days: Vec<Day> = (0..campaign.rounds).map(|_| subject.live_through(&treering)).collect();
        for day in &days {
            assert_comes_back(&treering, &subject.home, day, &temp.path().join("restored"));
            restored.fetch_add(1, Ordering::Relaxed);
        }
        treering.check();
    });
    let restored = restored.load(Ordering::Relaxed);
    assert_eq!(restored, 4 * campaign.rounds);
    campaign.end(&format!("{} days of 4 homes, {restored} restored", campaign.rounds));
}
