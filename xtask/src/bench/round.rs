//! One round: every step by every tool.
//!
//! Owns: the order of steps and tools, the state of the page cache, and the comparison of what was restored.
//! Never: keeps a number of a command that it did not run through a cell.
//! Invariant: restored folders stay until the end of the round. ext4 keeps away from inodes that were deleted in
//! the last minutes, so removing one tool's files would make creating the next tool's several times slower.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use treering_workloads::fingerprint::{Detail, Fingerprint, describe, differences};

use super::cell::{self, Usage};
use super::dataset::{Dataset, remove_folder};
use super::record::{Cell, Change, RESTORE, Results, VERIFY};
use super::tool::{Action, Tool};
use crate::error::{Context, Result};

/// How many differences of a wrong restore are kept.
const DIFFERENCES: usize = 5;
/// Tools that compare times of whole seconds must be able to see a change.
const AFTER_CHANGE: Duration = Duration::from_millis(1100);
/// Files that nobody has to bring back: JE makes its empty lock file anew, and so does treering, which does not take it.
const LOCKS: [&str; 1] = ["je.lck"];
/// Variables that a tool may see of this program's environment.
const INHERITED: [&str; 4] = ["PATH", "LANG", "TERM", "TMPDIR"];

/// What all rounds have in common.
pub(crate) struct Plan<'a> {
    pub(crate) tools: &'a [Tool],
    pub(crate) dataset: &'a Dataset,
    pub(crate) cold: bool,
    pub(crate) timeout_seconds: u64,
    /// Where the output of the tools goes.
    pub(crate) logs: PathBuf,
    /// Where the results are saved after each step, so that a later failure does not cost the earlier ones.
    pub(crate) saved: PathBuf,
}

struct Round<'a> {
    plan: &'a Plan<'a>,
    number: u32,
    folder: &'a Path,
    results: &'a mut Results,
    /// How many backups were begun.
    backups: u32,
    steps: usize,
    /// Tools whose repository could not be made.
    out: BTreeSet<&'static str>,
    /// What a restore must bring back.
    expected: Fingerprint,
    /// How much of the data the current step verifies.
    verified_bytes: Option<u64>,
}

/// Runs a round in a new folder, adds its cells to the results and removes the folder.
pub(crate) fn run(plan: &Plan<'_>, number: u32, folder: &Path, results: &mut Results) -> Result<()> {
    remove_folder(folder)?;
    std::fs::create_dir_all(folder).context("create the folder", folder)?;
    std::fs::create_dir_all(&plan.logs).context("create the folder", &plan.logs)?;
    plan.dataset.reset()?;
    let mut round = Round {
        plan,
        number,
        folder,
        results,
        backups: 0,
        steps: 0,
        out: BTreeSet::new(),
        expected: Fingerprint::new(),
        verified_bytes: None,
    };
    round.all_steps()?;
    remove_folder(folder)
}

impl Round<'_> {
    fn all_steps(&mut self) -> Result<()> {
        self.step("init", Action::Init)?;
        self.backup("backup1")?;
        self.backup("unchanged")?;
        for change in 1..=self.plan.dataset.changes() {
            let name = format!("changed{change}");
            self.change(change, &name)?;
            self.backup(&name)?;
        }
        self.expected = describe(self.plan.dataset.live(), &compared())?;
        self.verify_data()?;
        self.step("list", Action::List)?;
        self.step(RESTORE, Action::Restore)?;
        self.step("check", Action::Check)?;
        self.step("check_data", Action::CheckData)?;
        self.step("prune", Action::Prune)?;
        self.step("check_pruned", Action::CheckData)
    }

    fn change(&mut self, number: u32, name: &str) -> Result<()> {
        let dataset = self.plan.dataset;
        let before = files(dataset.live())?;
        dataset.change(number)?;
        std::thread::sleep(AFTER_CHANGE);
        if self.number == 0 {
            self.results.changes.push(difference(name, &before, &files(dataset.live())?));
        }
        Ok(())
    }

    /// Has treering verify the data, which has just been read and so is in the cache.
    fn verify_data(&mut self) -> Result<()> {
        let Some((command, what)) = self.plan.dataset.verify() else { return Ok(()) };
        self.verified_bytes = Some(size(&what)?.0);
        self.step(VERIFY, Action::Verify(command))?;
        self.verified_bytes = None;
        Ok(())
    }

    fn backup(&mut self, name: &str) -> Result<()> {
        self.backups += 1;
        if !self.plan.cold {
            // Reading everything puts it into the page cache, for the first tool as for the last.
            describe(self.plan.dataset.live(), &Detail::content())?;
        }
        self.step(name, Action::Backup)
    }

    /// Every tool once, beginning with another one each time.
    fn step(&mut self, name: &str, action: Action) -> Result<()> {
        let tools = self.plan.tools;
        let first = (self.steps + self.number as usize) % tools.len().max(1);
        self.steps += 1;
        for tool in tools[first..].iter().chain(&tools[..first]) {
            self.cell(name, action, tool)?;
        }
        self.results.save(&self.plan.saved)
    }

    fn cell(&mut self, step: &str, action: Action, tool: &Tool) -> Result<()> {
        let Some(command) = tool.command(action).filter(|_| !self.out.contains(tool.name())) else {
            return Ok(());
        };
        let paths = Paths::of(&self.folder.join(tool.name()))?;
        self.settle()?;
        let log = self.plan.logs.join(format!("{}.log", tool.name()));
        let said_before = std::fs::metadata(&log).map_or(0, |log| log.len());
        let usage = self.measure(tool, command, &paths, log.clone())?;
        let written = Instant::now();
        rustix::fs::sync();
        let mut cell = self.judge(step, tool, &paths, usage, written.elapsed())?;
        if tool.is_ours() && action == Action::Backup {
            cell.lock_held_ms = lock_held_ms(&read_from(&log, said_before)?);
        }
        if action == Action::Init && cell.usage.exit_code != 0 {
            self.out.insert(tool.name());
        }
        progress(&cell);
        self.results.cells.push(cell);
        Ok(())
    }

    /// Nobody pays for what was written before.
    fn settle(&self) -> Result<()> {
        rustix::fs::sync();
        if !self.plan.cold {
            return Ok(());
        }
        let path = "/proc/sys/vm/drop_caches";
        std::fs::write(path, "3").context("write", path)
    }

    fn measure(&self, tool: &Tool, command: &str, paths: &Paths, log: PathBuf) -> Result<Usage> {
        let live = self.plan.dataset.live();
        let arguments =
            cell::Arguments { log, timeout_seconds: self.plan.timeout_seconds, command: command.to_owned() };
        cell::start(&arguments, live, &self.environment(tool, paths))
    }

    fn environment(&self, tool: &Tool, paths: &Paths) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        let (repo, cache) = (text(&paths.repo), text(&paths.cache));
        let inherited = INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let mut all: Vec<(String, String)> = inherited.collect();
        let previous = self.backups.checked_sub(1).filter(|number| *number > 0);
        for (name, value) in [
            ("BIN", text(tool.binary())),
            ("REPO", repo.clone()),
            ("LIVE", text(self.plan.dataset.live())),
            ("TARGET", text(&paths.target)),
            ("CACHE", cache.clone()),
            ("N", self.backups.to_string()),
            ("PREVIOUS", previous.map(|number| number.to_string()).unwrap_or_default()),
            // No tool may find settings, or leave a cache, in the developer's home.
            ("HOME", cache.clone()),
            ("XDG_CACHE_HOME", cache.clone()),
        ] {
            all.push((name.to_owned(), value));
        }
        all.extend(tool.environment(&repo, &cache));
        all
    }

    fn judge(&self, step: &str, tool: &Tool, paths: &Paths, usage: Usage, sync: Duration) -> Result<Cell> {
        let (repository_bytes, repository_files) = size(&paths.repo)?;
        let restored = step == RESTORE && usage.exit_code == 0;
        Ok(Cell {
            tool: tool.name().to_owned(),
            step: step.to_owned(),
            round: self.number,
            usage,
            sync_seconds: sync.as_secs_f64(),
            repository_bytes,
            repository_files,
            verified_bytes: self.verified_bytes,
            lock_held_ms: None,
            differences: if restored { Some(self.compare(&paths.target)?) } else { None },
        })
    }

    fn compare(&self, target: &Path) -> Result<Vec<String>> {
        let mut actual = describe(&restored_root(target, self.plan.dataset.live()), &compared())?;
        // The folder that was asked for is not part of the snapshot for every tool.
        let mut expected = self.expected.clone();
        for tree in [&mut expected, &mut actual] {
            tree.retain(|path, _| path != Path::new("") && !LOCKS.iter().any(|lock| path.ends_with(lock)));
        }
        Ok(differences(&expected, &actual, DIFFERENCES))
    }
}

/// Where a tool keeps what.
struct Paths {
    repo: PathBuf,
    cache: PathBuf,
    target: PathBuf,
}

impl Paths {
    fn of(base: &Path) -> Result<Self> {
        let cache = base.join("cache");
        std::fs::create_dir_all(&cache).context("create the folder", &cache)?;
        Ok(Self { repo: base.join("repo"), cache, target: base.join("restored") })
    }
}

/// What every tool promises to bring back.
fn compared() -> Detail {
    Detail { times: true, ..Detail::content() }
}

/// Some tools restore the folder's content into the target, some its whole path below it.
fn restored_root(target: &Path, live: &Path) -> PathBuf {
    let whole = target.join(live.strip_prefix("/").unwrap_or(live));
    let name = target.join(live.file_name().unwrap_or_default());
    [whole, name].into_iter().find(|path| path.is_dir()).unwrap_or_else(|| target.to_path_buf())
}

/// The bytes and the number of files below a folder, or of a file; a file with several names counts once.
fn size(folder: &Path) -> Result<(u64, u64)> {
    let (mut seen, mut total) = (BTreeSet::new(), (0, 0));
    visit(folder, &mut |_, metadata| {
        if metadata.nlink() == 1 || seen.insert(metadata.ino()) {
            total = (total.0 + metadata.len(), total.1 + 1);
        }
    })?;
    Ok(total)
}

/// What tells one state of a file from another: inode, size and time.
pub(crate) type State = (u64, u64, (i64, i64));

/// The files below a folder.
pub(crate) fn files(folder: &Path) -> Result<BTreeMap<PathBuf, State>> {
    let mut all = BTreeMap::new();
    visit(folder, &mut |path, metadata| {
        let time = (metadata.mtime(), metadata.mtime_nsec());
        all.insert(path.to_path_buf(), (metadata.ino(), metadata.len(), time));
    })?;
    Ok(all)
}

/// Shows everything but folders, of what is there: a repository that could not be made is not.
fn visit(path: &Path, show: &mut dyn FnMut(&Path, &Metadata)) -> Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.is_dir() {
        show(path, &metadata);
        return Ok(());
    }
    for entry in std::fs::read_dir(path).context("list", path)? {
        visit(&entry.context("list", path)?.path(), show)?;
    }
    Ok(())
}

fn difference(step: &str, before: &BTreeMap<PathBuf, State>, after: &BTreeMap<PathBuf, State>) -> Change {
    let changed = || after.iter().filter(|(path, state)| before.get(*path) != Some(state));
    Change {
        step: step.to_owned(),
        files: changed().count() as u64,
        bytes: changed().map(|(_, (_, bytes, _))| bytes).sum(),
        all_bytes: after.values().map(|(_, bytes, _)| bytes).sum(),
    }
}

/// What was added to a log.
fn read_from(log: &Path, start: u64) -> Result<String> {
    let mut file = File::open(log).context("open", log)?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(start)).and_then(|_| file.read_to_end(&mut bytes)).context("read", log)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The longest time for which a lock was held, in what a backup says.
fn lock_held_ms(said: &str) -> Option<f64> {
    let times = said.split("lock was held for ").skip(1);
    times.filter_map(|rest| rest.split_once(" ms")?.0.parse().ok()).max_by(f64::total_cmp)
}

fn progress(cell: &Cell) {
    let Usage { exit_code, wall_seconds, user_seconds, system_seconds, peak_bytes, others_cpu_seconds, .. } =
        cell.usage;
    eprintln!(
        "round {} {:10} {:9} status {exit_code} wall {wall_seconds:8.2} cpu {:8.2} peak {:5} MiB repository {:9.1} MB others {others_cpu_seconds:.1}{}",
        cell.round,
        cell.step,
        cell.tool,
        user_seconds + system_seconds,
        peak_bytes >> 20,
        cell.repository_bytes as f64 / 1e6,
        cell.wrong_restore().first().map(|wrong| format!(" WRONG {wrong}")).unwrap_or_default(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_restored_is_found_at_any_depth() {
        let temp = tempfile::tempdir().unwrap();
        let live = Path::new("/srv/data/live");
        assert_eq!(restored_root(temp.path(), live), temp.path());
        std::fs::create_dir(temp.path().join("live")).unwrap();
        assert_eq!(restored_root(temp.path(), live), temp.path().join("live"));
        std::fs::create_dir_all(temp.path().join("srv/data/live")).unwrap();
        assert_eq!(restored_root(temp.path(), live), temp.path().join("srv/data/live"));
    }

    #[test]
    fn a_file_with_two_names_is_counted_once() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("a"), [0; 100]).unwrap();
        std::fs::hard_link(temp.path().join("a"), temp.path().join("b")).unwrap();
        std::fs::write(temp.path().join("c"), [0; 10]).unwrap();
        assert_eq!(size(temp.path()).unwrap(), (110, 2));
        assert_eq!(size(&temp.path().join("none")).unwrap(), (0, 0));
        assert_eq!(size(&temp.path().join("c")).unwrap(), (10, 1));
    }

    #[test]
    fn new_and_changed_files_are_counted() {
        let temp = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: usize| std::fs::write(temp.path().join(name), vec![0; bytes]).unwrap();
        ["same", "longer", "gone"].iter().for_each(|name| write(name, 10));
        let before = files(temp.path()).unwrap();
        write("longer", 11);
        write("new", 100);
        std::fs::remove_file(temp.path().join("gone")).unwrap();
        let change = difference("changed1", &before, &files(temp.path()).unwrap());
        assert_eq!(change, Change { step: "changed1".into(), files: 2, bytes: 111, all_bytes: 121 });
    }

    #[test]
    fn the_longest_lock_counts() {
        let said = r#"{"apps":[{"detail":"hot: the readers' lock was held for 1.5 ms; 3 files"},
            {"detail":"hot: the readers' lock was held for 12.0 ms"}]}"#;
        assert_eq!(lock_held_ms(said), Some(12.0));
        assert_eq!(lock_held_ms("offline: writers were kept out"), None);
    }
}
