//! Nights of a Jpom home and a JE environment under one retention, with what goes wrong in a quarter of a year: a backup,
//! a prune and a backup again are killed, the disk fills up, a pack is damaged. Every snapshot that is kept stays exact.
//!
//! A campaign: a round is a night, the seed decides the moments of the kills. `TREERING_WRITE_PLOT` names a file that the
//! sizes are drawn in.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use treering_tests::{
    Campaign, Ran, Running, SmallDisk, Treering, assert_same, count, fingerprint, id, plot, run, without_temporary,
};
use treering_workloads::fingerprint::Fingerprint;
use treering_workloads::h2;
use treering_workloads::je::Environment;
use treering_workloads::jpom_home::{Database, Home, Options};
use treering_workloads::{Access, Random};

const SEED: u64 = 23;
const SCALE: f64 = 0.02;
const DISK_BYTES: u64 = 4 << 30;
/// Rows in the largest tables of the H2 database, and records in the environment.
const ROWS: u32 = 1200;

/// The two systems and what a day does to them.
struct Systems {
    jpom: Home,
    h2: h2::Database,
    je: Environment,
}

impl Systems {
    fn create(folder: &Path) -> Self {
        let options = Options { database: Database::None, ..Options::server(SEED, SCALE) };
        let jpom = Home::create(&folder.join("jpom"), options).unwrap();
        let h2 = h2::Database::create(&jpom.base(), ROWS, SEED).unwrap();
        let je = Environment::create(&folder.join("je"), ROWS, SEED).unwrap();
        Self { jpom, h2, je }
    }

    fn next_day(&mut self, day: u32) {
        self.jpom.next_day().unwrap();
        self.h2.day(day, SEED).unwrap();
        self.je.day(day, SEED).unwrap();
    }

    fn folders(&self) -> [PathBuf; 2] {
        [self.jpom.root().to_owned(), self.je.folder().to_owned()]
    }
}

/// The repository on its own disk, and what is known of its snapshots.
struct Rings {
    disk: SmallDisk,
    mounted: PathBuf,
    treering: Treering,
    kept: BTreeMap<String, (PathBuf, Fingerprint)>,
    random: Random,
}

impl Rings {
    fn pack_bytes(&self) -> u64 {
        let packs = self.treering.repository().join("packs");
        let listed = self.disk.shell(&format!("find '{}' -type f -printf '%s\\n'", packs.display()));
        listed.lines().map(|line| line.parse::<u64>().unwrap()).sum()
    }

    fn backup_command(&self, folder: &Path, night: u32) -> Command {
        let mut command = self.treering.backup_command(folder);
        command.args(["--time", &date(night)]);
        command
    }

    /// Gives the bytes that it found.
    fn backup(&mut self, folder: &Path, night: u32) -> u64 {
        let ran = run(&mut self.backup_command(folder, night)).expect(0);
        self.acknowledge(&ran, folder);
        count(&ran.message("summary"), "total_bytes_processed")
    }

    /// What a backup acknowledged must stay, also if it was killed right after that.
    fn acknowledge(&mut self, ran: &Ran, folder: &Path) {
        for summary in ran.messages("summary") {
            let taken = without_temporary(fingerprint(folder), Path::new(""));
            self.kept.insert(id(&summary), (folder.to_owned(), taken));
        }
    }

    fn prune_command(&self) -> Command {
        let mut command = self.treering.command("prune");
        command.args(["--keep-daily", "14", "--keep-weekly", "8", "--keep-monthly", "12", "--yes"]);
        command
    }

    fn kill(&mut self, mut command: Command) -> Ran {
        let running = Running::start(&mut command);
        std::thread::sleep(Duration::from_millis(self.random.below(400)));
        running.kill()
    }

    /// The disk has room for a few kilobytes more, then for all that comes.
    fn fill_disk_during(&mut self, folder: &Path, night: u32) {
        let used = self.disk.shell(&format!("df --output=used -B1 '{}' | tail -1", self.mounted.display()));
        let resize = |bytes: u64| {
            self.disk.shell(&format!("mount -o remount,size={bytes} '{}'", self.mounted.display()));
        };
        resize(used.trim().parse::<u64>().unwrap() + (64 << 10));
        run(&mut self.backup_command(folder, night)).expect(14);
        resize(DISK_BYTES);
    }

    /// A byte of the largest pack of this night is changed; what it held is still on the source.
    fn damage_a_pack(&self, folders: &[PathBuf; 2], night: u32) -> Vec<Ran> {
        let packs = self.treering.repository().join("packs");
        // The last six packs are those of this night's two backups: data, trees and the second copy of the record.
        let list = format!("find '{}' -type f -printf '%T@ %s %p\\n'", packs.display());
        let newest = self.disk.shell(&format!("{list} | sort -n | tail -6 | cut -d' ' -f2- | sort -n | tail -1"));
        let (bytes, path) = newest.trim().split_once(' ').unwrap();
        let at = bytes.parse::<u64>().unwrap() / 3;
        self.disk.shell(&format!("printf 'XXXX' | dd of='{path}' bs=1 seek={at} conv=notrunc 2>/dev/null"));
        run(self.treering.command("check").arg("--read-data")).expect(5);
        run(self.treering.command("repair").args(["packs", "--read-data"])).expect(3);
        folders.iter().map(|folder| run(&mut self.backup_command(folder, night)).expect(0)).collect()
    }

    /// Forgets what is known of snapshots that are gone, and sees that nobody else is.
    fn compare(&mut self) -> usize {
        let there: Vec<String> =
            self.treering.snapshots().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
        self.kept.retain(|name, _| there.contains(name));
        assert_eq!(there.len(), self.kept.len(), "there is a snapshot that nobody acknowledged");
        there.len()
    }
}

/// At three in the morning, from New Year on.
fn date(night: u32) -> String {
    let days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (mut day, mut month) = (night, 0);
    while day >= days[month] {
        (day, month) = (day - days[month], month + 1);
    }
    format!("2026-{:02}-{:02} 03:00:00", month + 1, day + 1)
}

/// What a night leaves: megabytes of the source and of the packs, and the number of snapshots.
#[derive(Default)]
struct Sizes {
    source: Vec<f64>,
    stored: Vec<f64>,
    counts: Vec<f64>,
}

impl Sizes {
    fn add(&mut self, source_bytes: u64, stored_bytes: u64, snapshots: usize) {
        self.source.push(source_bytes as f64 / 1e6);
        self.stored.push(stored_bytes as f64 / 1e6);
        self.counts.push(snapshots as f64);
    }

    fn print(&self) {
        for (night, ((source, stored), snapshots)) in self.source.iter().zip(&self.stored).zip(&self.counts).enumerate()
        {
            println!("night {:2}: source {source:.1} MB, repository {stored:.1} MB, {snapshots} snapshots", night + 1);
        }
    }

    /// Of the last night.
    fn last(&self) -> [f64; 3] {
        [&self.source, &self.stored, &self.counts].map(|all| all[all.len() - 1])
    }

    fn draw(self, path: &Path) {
        let lines = [("source", self.source), ("repository", self.stored), ("snapshots", self.counts)];
        let title = "A Jpom home and a JE environment: --keep-daily 14 --keep-weekly 8 --keep-monthly 12";
        std::fs::write(path, plot(title, "night", "MB", &lines)).unwrap();
    }
}

impl Rings {
    /// Backs both folders up, with what goes wrong in this night of so many. Gives the bytes that it found.
    fn night(&mut self, folders: &[PathBuf; 2], night: u32, nights: u32) -> u64 {
        if night == nights / 4 || night == nights * 3 / 4 {
            let killed = self.kill(self.backup_command(&folders[0], night));
            self.acknowledge(&killed, &folders[0]);
        }
        if night == nights / 3 {
            self.fill_disk_during(&folders[0], night);
        }
        let bytes = folders.iter().map(|folder| self.backup(folder, night)).sum();
        if night == nights * 2 / 3 {
            let healed = self.damage_a_pack(folders, night);
            let chunks: u64 = healed.iter().map(|ran| count(&ran.message("summary"), "healed_chunks")).sum();
            assert!(chunks > 0, "nothing was healed");
            healed.iter().zip(folders).for_each(|(ran, folder)| self.acknowledge(ran, folder));
            self.treering.check();
        }
        if night == nights / 2 {
            self.kill(self.prune_command());
        }
        run(&mut self.prune_command()).expect(0);
        bytes
    }

    /// Every snapshot is what its folder was. The real libraries find in the latest what they find in the source.
    fn assert_exact(&self, target: &Path, systems: &Systems) {
        let contents = (systems.h2.count(Access::ReadOnly).unwrap(), systems.je.count(Access::ReadOnly).unwrap());
        let latest: Vec<String> =
            self.treering.snapshots().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
        for (name, (folder, was)) in &self.kept {
            self.treering.restore(name, target);
            assert_same(was, &fingerprint(target));
            if latest.ends_with(std::slice::from_ref(name)) {
                let is_je = folder.ends_with("je");
                let found = if is_je {
                    Environment::open(target).unwrap().count(Access::ReadOnly).unwrap()
                } else {
                    h2::Database::open(target).unwrap().count(Access::ReadOnly).unwrap()
                };
                assert_eq!(found, if is_je { contents.1 } else { contents.0 });
            }
            std::fs::remove_dir_all(target).unwrap();
        }
    }
}

#[test]
fn every_snapshot_that_is_kept_stays_exact_whatever_happens_in_the_nights() {
    let campaign = Campaign::start("nights", 9);
    let nights = u32::try_from(campaign.rounds).unwrap();
    let temp = tempfile::tempdir().unwrap();
    let mounted = temp.path().join("disk");
    std::fs::create_dir(&mounted).unwrap();
    let disk = SmallDisk::mount(&mounted, DISK_BYTES);
    let treering = Treering::init_at(&mounted.join("repository"), temp.path(), disk.wrapper());
    let random = campaign.random("kills");
    let mut rings = Rings { disk, mounted, treering, kept: BTreeMap::new(), random };
    let (mut systems, mut sizes) = (Systems::create(temp.path()), Sizes::default());
    for night in 0..nights {
        if night > 0 {
            systems.next_day(night);
        }
        let bytes = rings.night(&systems.folders(), night, nights);
        let snapshots = rings.compare();
        sizes.add(bytes, rings.pack_bytes(), snapshots);
    }
    rings.treering.check();
    rings.assert_exact(&temp.path().join("restored"), &systems);
    sizes.print();
    let [grown, left, snapshots] = sizes.last();
    campaign.end(&format!(
        "{nights} nights, three kills, a full disk, a damaged pack; {grown:.0} MB of source, {left:.0} MB of packs and \
         {snapshots} snapshots at the end"
    ));
    if let Some(path) = std::env::var_os("TREERING_WRITE_PLOT") {
        sizes.draw(Path::new(&path));
    }
}
