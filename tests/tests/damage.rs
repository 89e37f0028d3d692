//! Every kind of damage to every kind of file: found, never restored as good, repaired without further loss.
//!
//! In the process, for the cases are many. Three campaigns: `flips`, `harms` and `surroundings`; a round is a case, and in
//! full they take all of them.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use treering_chunk::{ChunkId, ChunkKind, CutSizes};
use treering_snapshot::backup::{BackupOptions, Description, backup};
use treering_snapshot::check::{CheckOptions, CheckReport, DataOptions, check};
use treering_snapshot::progress::{Event, Progress, Silent};
use treering_snapshot::record::Snapshot;
use treering_snapshot::repair::{PackRepairOptions, SnapshotRepairOptions, repair_packs, repair_snapshots};
use treering_snapshot::restore::{RestoreOptions, layout, restore};
use treering_snapshot::{SnapshotError, SnapshotName, Time};
use treering_store::storage::Folder;
use treering_store::{
    Compression, DerivationCost, Encryption, FindingPlace, InitOptions, KeyFile, OsEntropy, PackName, Record,
    RecordKind, Repository, StoreError, Unlock, codec,
};
use treering_tests::Campaign;
use treering_workloads::Random;

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A small repository with every kind of file in it, as it was when it was whole.
struct Home {
    temp: tempfile::TempDir,
    key: KeyFile,
    /// All files of the repository, those of the index too.
    whole: Files,
    /// The files that were backed up: of all snapshots the same.
    tree: Files,
    snapshots: Vec<SnapshotName>,
}

fn read_all(folder: &Path) -> Files {
    let (mut files, mut folders) = (Files::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => drop(files.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap())),
            }
        }
    }
    files
}

/// So many of these as the campaign wants.
fn some<T>(mut all: Vec<T>, campaign: &Campaign) -> Vec<T> {
    let (of, mut random) = (all.len(), campaign.random("choice"));
    while all.len() as u64 > campaign.rounds {
        all.swap_remove(random.below(all.len() as u64) as usize);
    }
    println!("{} of {of} cases", all.len());
    all
}

impl Home {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let (key, tree) = (KeyFile::generate(&OsEntropy).unwrap(), temp.path().join("tree"));
        let options = InitOptions {
            encryption: Encryption::Aes256Gcm,
            unlocks: vec![(Unlock::KeyFile(key.clone()), "test".into())],
            cost: DerivationCost::FLOOR,
            created: 0,
            cut_sizes: CutSizes::new(CutSizes::LEAST_BYTES, CutSizes::LEAST_BYTES).unwrap(),
            frame_bytes: 64 << 10,
        };
        let (storage, cache) = (Arc::new(Folder::new(temp.path().join("rings"))), temp.path().join("cache"));
        let repository = Arc::new(Repository::init(storage, &options, Arc::new(OsEntropy), cache).unwrap());
        let mut random = Random::named(1, "damage");
        for (folder, bytes) in [("one", 3000), ("two", 100), ("two/deep", 5000)] {
            fs::create_dir_all(tree.join(folder)).unwrap();
            (0..3).for_each(|n| fs::write(tree.join(folder).join(format!("f{n}")), random.bytes(bytes)).unwrap());
        }
        let mut home = Self { temp, key, whole: Files::new(), tree: Files::new(), snapshots: Vec::new() };
        // Each with packs of its own, so that a pack can be swapped with another.
        let taken: Vec<_> = ["one", "two"].map(|path| home.back_up(&repository, &tree.join(path)).unwrap()).into();
        let forgotten = home.back_up(&repository, &tree.join("one")).unwrap();
        repository.forget_snapshot(forgotten).unwrap();
        home.snapshots = taken;
        let unknown = BTreeMap::from([(ChunkId::from_bytes([9; 32]), ChunkKind::Data)]);
        repository.record_lost(&repository.lost_chunks().unwrap(), &unknown).unwrap();
        let ids = codec::encode(&vec![[8u8; 32]], 100).unwrap();
        repository.put_record(&Record::new(RecordKind::PRUNED, ids)).unwrap();
        drop(repository);
        let report = home.check(true).unwrap();
        assert_eq!(report.num_errors(), 0, "{report:#?}");
        home.whole = read_all(&home.rings());
        home.tree = read_all(&tree);
        home
    }

    fn rings(&self) -> PathBuf {
        self.temp.path().join("rings")
    }

    fn open(&self) -> Result<Arc<Repository>, StoreError> {
        let storage = Arc::new(Folder::new(self.rings()));
        let (unlock, cache) = (Unlock::KeyFile(self.key.clone()), self.temp.path().join("cache"));
        Repository::open(storage, &unlock, Arc::new(OsEntropy), cache).map(Arc::new)
    }

    fn back_up(&self, repository: &Arc<Repository>, path: &Path) -> Result<SnapshotName, SnapshotError> {
        let description = Description {
            time: Time { seconds: 1_000_000, nanoseconds: 0 },
            host: "host".into(),
            user: "user".into(),
            program: "test".into(),
            ..Description::default()
        };
        let forbidden = repository.local_folders();
        let options = BackupOptions { forbidden, ..BackupOptions::new(vec![path.to_owned()], description, &|| 0) };
        backup(repository, &options).map(|outcome| outcome.name.unwrap())
    }

    fn check(&self, read_data: bool) -> Result<CheckReport, SnapshotError> {
        let data = read_data.then(DataOptions::default);
        check(&*self.open()?, &CheckOptions { data, clock: &|| Duration::from_secs(1_700_000_000) }, &Silent)
    }

    /// What a check finds; not being able to open the repository is found too.
    fn errors(&self, read_data: bool) -> u64 {
        self.check(read_data).map_or(1, |report| report.num_errors())
    }

    fn write(&self, path: &Path, bytes: &[u8]) {
        let path = self.rings().join(path);
        drop(fs::remove_file(&path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Makes everything as it was when it was whole.
    fn reset(&self) {
        let now = read_all(&self.rings());
        for path in now.keys().filter(|path| !self.whole.contains_key(*path)) {
            fs::remove_file(self.rings().join(path)).unwrap();
        }
        for (path, bytes) in self.whole.iter().filter(|(path, bytes)| now.get(*path) != Some(bytes)) {
            self.write(path, bytes);
        }
    }

    /// The objects that no damage may leave unnoticed.
    fn objects(&self) -> Vec<(&'static str, &Path, &[u8])> {
        let kind_of = |path: &Path, bytes: &[u8]| match path.iter().next().unwrap().to_str().unwrap() {
            "config" | "copy" if path.ends_with("config") => Some("config"),
            "keys" | "copy" => Some("key slot"),
            "packs" if bytes[10] == 1 => Some("data pack"),
            "packs" => Some("meta pack"),
            "snapshots" => Some("snapshot"),
            "records" => Some(match bytes[6] {
                2 => "FORGOTTEN",
                4 => "LOST",
                5 => "LEDGER",
                6 => "PRUNED",
                other => panic!("a record of kind {other}"),
            }),
            _ => None,
        };
        let objects = self.whole.iter();
        objects.filter_map(|(path, bytes)| Some((kind_of(path, bytes)?, path.as_path(), bytes.as_slice()))).collect()
    }

    /// Restores a snapshot: what came back, and what was named. An error of the whole names everything.
    fn restore(&self, repository: &Arc<Repository>, name: SnapshotName) -> Option<(Files, BTreeSet<PathBuf>)> {
        #[derive(Default)]
        struct Failed(Mutex<BTreeSet<PathBuf>>);
        impl Progress for Failed {
            fn event(&self, event: Event<'_>) {
                if let Event::Failed { path, .. } = event {
                    self.0.lock().unwrap().insert(path.to_owned());
                }
            }
        }
        let (target, failed) = (self.temp.path().join("target"), Failed::default());
        drop(fs::remove_dir_all(&target));
        let snapshot = Snapshot::read(repository, name).ok()?;
        let roots = layout(&snapshot, &mut repository.reader().ok()?, None, true).ok()?;
        restore(repository, &snapshot, &RestoreOptions::new(&target, roots), &failed).ok()?;
        let tree = target.join(self.temp.path().join("tree").strip_prefix("/").unwrap());
        let named = failed.0.into_inner().unwrap();
        let prefix = self.temp.path().join("tree");
        let named = named.iter().map(|path| path.strip_prefix(&prefix).map_or(PathBuf::new(), Path::to_owned));
        Some((if tree.exists() { read_all(&tree) } else { Files::new() }, named.collect()))
    }

    /// No file came back with other bytes, and none is missing that was not named, or a folder above it.
    #[track_caller]
    fn assert_honest(&self, restored: &Files, named: &BTreeSet<PathBuf>, path: &str, case: &str) {
        for (file, bytes) in restored {
            assert_eq!(self.tree.get(file), Some(bytes), "{case}: {} came back wrong", file.display());
        }
        for file in self.tree.keys().filter(|file| file.starts_with(path) && !restored.contains_key(*file)) {
            assert!(file.ancestors().any(|above| named.contains(above)), "{case}: {} is missing", file.display());
        }
    }

    /// Files of a path that need one of these chunks.
    fn count_of(&self, path: &str) -> usize {
        self.tree.keys().filter(|file| file.starts_with(path)).count()
    }
}

/// Where the parts of a pack begin: of its trailer, and of each frame.
fn frames_of(repository: &Repository, name: PackName) -> (Vec<std::ops::Range<usize>>, usize) {
    let (mut at, mut frames) = (70, Vec::new());
    for frame in repository.packed_frames(name).unwrap().iter() {
        let end = at + frame.stored_bytes() as usize;
        frames.push(at..end);
        at = end;
    }
    (frames, at)
}

fn pack_name(path: &Path) -> PackName {
    PackName::from_hex(path.file_name().unwrap().to_str().unwrap()).unwrap()
}

/// Whether a check without `--read-data` must see damage at this byte: it follows trees and lists, and does not read the
/// frames of data, stat streams and second copies.
fn is_metadata(home: &Home, kind: &str, path: &Path) -> impl Fn(usize) -> bool + use<> {
    let mut unread = Vec::new();
    if kind.ends_with("pack") {
        let (repository, name) = (home.open().unwrap(), pack_name(path));
        let contents = repository.pack_contents(name).unwrap();
        let followed: BTreeSet<_> = contents.chunks.iter().filter(|(_, kind, _)| is_followed(*kind)).collect();
        let is_followed = |id: &ChunkId| followed.iter().any(|(followed, ..)| followed == id);
        let frames = repository.packed_frames(name).unwrap();
        let ranges = frames_of(&repository, name).0.into_iter().zip(frames.iter());
        unread.extend(ranges.filter(|(_, frame)| !frame.chunks().any(|id| is_followed(&id))).map(|(range, _)| range));
    }
    move |at| !unread.iter().any(|frame| frame.contains(&at))
}

fn is_followed(kind: ChunkKind) -> bool {
    matches!(kind, ChunkKind::Tree | ChunkKind::List)
}

/// One bit of every byte of every object that matters, each in turn.
#[test]
fn a_flip_of_any_byte_is_found_and_nothing_wrong_is_restored() {
    let home = Home::new();
    let mut cases = Vec::new();
    for (kind, path, bytes) in home.objects() {
        let is_metadata = is_metadata(&home, kind, path);
        cases.extend((0..bytes.len()).map(|at| (kind, path, at, is_metadata(at))));
    }
    let (campaign, of) = (Campaign::start("flips", 60), cases.len());
    let cases = some(cases, &campaign);
    let mut missed = BTreeMap::<String, Vec<usize>>::new();
    for (number, (kind, path, at, is_metadata)) in cases.iter().enumerate() {
        let mut bytes = home.whole[*path].clone();
        bytes[*at] ^= 1 << (at % 8);
        home.write(path, &bytes);
        if *is_metadata && home.errors(false) == 0 {
            missed.entry(format!("check, {kind}")).or_default().push(*at);
        }
        if home.errors(true) == 0 {
            missed.entry(format!("check --read-data, {kind}")).or_default().push(*at);
        }
        // Restoring takes longest; what was found above it cannot hide.
        if number % 10 == 0
            && let Ok(repository) = home.open()
        {
            for (name, part) in home.snapshots.iter().zip(["one", "two"]) {
                if let Some((restored, named)) = home.restore(&repository, *name) {
                    home.assert_honest(&restored, &named, part, &format!("{kind} byte {at}"));
                }
            }
        }
        home.reset();
    }
    assert!(missed.is_empty(), "{missed:?}");
    campaign.end(&format!("one bit of each of {} of {of} bytes", cases.len()));
}

#[derive(Debug, Clone, Copy)]
enum Harm {
    Flip(usize),
    Truncate(usize),
    ZeroBlock(usize),
    ZeroTail(usize),
    Swap,
    Duplicate,
    Delete,
}

impl Home {
    /// All harms to an object, with what of a pack is hit.
    fn harms(&self, kind: &str, path: &Path, bytes: &[u8]) -> Vec<Harm> {
        let length = bytes.len();
        let mut places = vec![0, length / 2, length - 1];
        if kind.ends_with("pack") {
            let (frames, trailer) = frames_of(&self.open().unwrap(), pack_name(path));
            let frame = frames[0].clone();
            places = vec![20, 40, frame.start, frame.start + 5, frame.start + 28, frame.end - 1];
            places.extend([trailer, trailer + 5, length - 102, length - 60, length - 20, length - 1]);
        }
        let mut harms: Vec<Harm> = places.iter().map(|at| Harm::Flip(*at)).collect();
        harms.extend([0, 1, length / 2, length - 102.min(length), length - 1].map(Harm::Truncate));
        harms.extend([0, length / 2].map(Harm::ZeroBlock));
        harms.extend([length / 2, length - 1, length - 60].map(Harm::ZeroTail));
        harms.extend([Harm::Swap, Harm::Duplicate, Harm::Delete]);
        harms
    }

    /// Whether anything became different.
    fn harm(&self, kind: &str, path: &Path, harm: Harm) -> bool {
        let mut bytes = self.whole[path].clone();
        match harm {
            Harm::Flip(at) => bytes[at] ^= 0x10,
            Harm::Truncate(at) => bytes.truncate(at),
            Harm::ZeroBlock(at) => bytes.iter_mut().skip(at).take(4096).for_each(|byte| *byte = 0),
            Harm::ZeroTail(at) => bytes.iter_mut().skip(at).for_each(|byte| *byte = 0),
            Harm::Swap => {
                let is_other = |object: &(&str, &Path, &[u8])| object.0 == kind && object.2 != self.whole[path];
                let Some((_, other, content)) = self.objects().into_iter().find(is_other) else { return false };
                self.write(other, &bytes);
                bytes = content.to_vec();
            }
            Harm::Duplicate => {
                let Some(name) = path.file_name().filter(|name| name.len() == 64) else { return false };
                let digits = name.to_str().unwrap();
                let turned = if digits.ends_with('0') { "1" } else { "0" };
                self.write(&path.with_file_name([&digits[..63], turned].concat()), &bytes);
                return true;
            }
            Harm::Delete => {
                fs::remove_file(self.rings().join(path)).unwrap();
                return true;
            }
        }
        let is_other = bytes != self.whole[path];
        self.write(path, &bytes);
        is_other
    }

    /// The repairs of the guide in their order. What the snapshots that were written again are called.
    fn repair(&self) -> Result<BTreeMap<SnapshotName, SnapshotName>, SnapshotError> {
        self.open()?.repair_config(false)?;
        self.open()?.repair_index()?;
        let compression = Compression::DEFAULT;
        let packs = PackRepairOptions { packs: vec![], read_data: true, compression, dry_run: false };
        repair_packs(&self.open()?, &packs, &Silent)?;
        let snapshots = SnapshotRepairOptions { only: vec![], compression, dry_run: false };
        let done = repair_snapshots(&self.open()?, &snapshots, &Silent)?;
        Ok(done.rewritten.iter().filter_map(|new| Some((new.original, new.name?))).collect())
    }
}

/// How many files a harm to an object may cost at most, of the two snapshots together.
fn may_cost(home: &Home, kind: &str, path: &Path, harm: Harm) -> usize {
    let all = home.tree.len();
    if !kind.ends_with("pack") {
        return 0;
    }
    let (frames, trailer) = frames_of(&home.open().unwrap(), pack_name(path));
    let (first, last) = (frames[0].start, trailer);
    let hits = |from: usize, to: usize| from < last && to > first;
    match harm {
        Harm::Flip(at) if !hits(at, at + 1) => 0,
        Harm::ZeroBlock(at) if !hits(at, at + 4096) => 0,
        Harm::Truncate(at) | Harm::ZeroTail(at) if !hits(at, usize::MAX) => 0,
        // The pack is whole under another name; its salt is the same, so it is read and stored again.
        Harm::Swap | Harm::Duplicate => 0,
        _ => all,
    }
}

/// Whether a pack holds anything that a visible snapshot needs, or the second copy of one.
fn is_needed(home: &Home, path: &Path) -> bool {
    let repository = home.open().unwrap();
    let contents = repository.pack_contents(pack_name(path)).unwrap();
    let id =
        |name: &SnapshotName| repository.namer().id(ChunkKind::SnapshotCopy, &repository.record_bytes(*name).unwrap());
    let copies: Vec<_> = home.snapshots.iter().map(id).collect();
    contents.chunks.iter().any(|(id, kind, _)| *kind != ChunkKind::SnapshotCopy || copies.contains(id))
}

/// A harm to an object.
struct Case<'h> {
    kind: &'static str,
    path: &'h Path,
    harm: Harm,
}

impl std::fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {:?}", self.kind, self.path.display(), self.harm)
    }
}

impl Case<'_> {
    /// Of a deleted record nothing else speaks, nor of the second copy of a snapshot that was forgotten.
    fn may_go_unseen(&self, is_copy_of_forgotten: bool) -> bool {
        matches!(self.harm, Harm::Delete) && (self.path.starts_with("records") || is_copy_of_forgotten)
    }
}

impl Home {
    /// Whatever the damage, nothing wrong comes back.
    fn assert_restores_honestly(&self, case: &Case<'_>) {
        let Ok(repository) = self.open() else { return };
        for (name, part) in self.snapshots.iter().zip(["one", "two"]) {
            if let Some((restored, named)) = self.restore(&repository, *name) {
                self.assert_honest(&restored, &named, part, &case.to_string());
            }
        }
    }

    /// Repairs, and says what is wrong after that.
    fn repair_case(&self, case: &Case<'_>, cost: usize, problems: &mut Vec<String>) {
        let rewritten = match self.repair() {
            Ok(rewritten) => rewritten,
            Err(e) => return problems.push(format!("{case}: the repair failed: {e}")),
        };
        let report = self.check(true).unwrap();
        let errors: Vec<_> = report.findings.iter().filter(|finding| finding.is_error()).collect();
        if !errors.is_empty() {
            problems.push(format!("{case}: after the repair {errors:?}"));
        }
        let lost = self.count_lost(&rewritten, case);
        if lost > cost {
            problems.push(format!("{case}: {lost} files are lost, not {cost}"));
        }
    }

    /// How many files do not come back any more; the others are what they were.
    fn count_lost(&self, rewritten: &BTreeMap<SnapshotName, SnapshotName>, case: &Case<'_>) -> usize {
        let (repository, mut lost) = (self.open().unwrap(), 0);
        for (name, part) in self.snapshots.iter().zip(["one", "two"]) {
            let now = rewritten.get(name).unwrap_or(name);
            let Some((restored, named)) = self.restore(&repository, *now) else {
                lost += self.count_of(part);
                continue;
            };
            // What was left out was named by the repair, not by the restore.
            let everything = BTreeSet::from([PathBuf::new()]);
            let named = if now == name { &named } else { &everything };
            self.assert_honest(&restored, named, part, &case.to_string());
            lost += self.count_of(part) - restored.len();
        }
        lost
    }
}

#[test]
fn every_harm_to_every_object_is_found_and_repaired() {
    let home = Home::new();
    let mut cases = Vec::new();
    for (kind, path, bytes) in home.objects() {
        cases.extend(home.harms(kind, path, bytes).into_iter().map(|harm| Case { kind, path, harm }));
    }
    let (campaign, of) = (Campaign::start("harms", 25), cases.len());
    let (cases, mut problems, mut done) = (some(cases, &campaign), Vec::new(), 0);
    for case in cases {
        let cost = may_cost(&home, case.kind, case.path, case.harm);
        let is_copy_of_forgotten = case.kind == "meta pack" && !is_needed(&home, case.path);
        if home.harm(case.kind, case.path, case.harm) {
            done += 1;
            let is_seen = home.check(true).map_or(true, |report| !report.findings.is_empty());
            if !is_seen && !case.may_go_unseen(is_copy_of_forgotten) {
                problems.push(format!("{case}: not found"));
            }
            home.assert_restores_honestly(&case);
            home.repair_case(&case, cost, &mut problems);
        }
        home.reset();
    }
    assert!(done > 0 && problems.is_empty(), "{} of {done}:\n{}", problems.len(), problems.join("\n"));
    campaign.end(&format!("{done} harms of {of} that change anything"));
}

/// A file that is no object, and what is put in its place; nothing if it is deleted.
type Surrounding = (PathBuf, Option<Vec<u8>>);

impl Home {
    /// Everything that is no object: the index, what a session left, the lock, the ballast, and what was replaced.
    fn surroundings(&self, random: &mut Random) -> Vec<Surrounding> {
        let index: Vec<&PathBuf> = self.whole.keys().filter(|path| path.starts_with("index")).collect();
        assert!(!index.is_empty());
        let mut cases: Vec<_> = index.into_iter().flat_map(|path| self.harmed_index(path, random)).collect();
        let noise = random.bytes(5000);
        for path in ["lock", "ballast"] {
            cases.push((path.into(), None));
        }
        for path in ["ballast", "sessions/leftover", "replaced/config", "tmp/leftover", "index/leftover"] {
            cases.push((path.into(), Some(noise.clone())));
        }
        cases.push((Path::new("sessions").join("5".repeat(64)), Some(noise)));
        cases
    }

    /// A file of the index deleted, cut off, with flipped bits, and noise instead.
    fn harmed_index(&self, path: &Path, random: &mut Random) -> Vec<Surrounding> {
        let whole = &self.whole[path];
        let mut harmed = vec![None];
        for cut in [0, 1, whole.len() / 2] {
            harmed.push(Some(whole[..cut.min(whole.len())].to_vec()));
        }
        for _ in 0..20.min(whole.len()) {
            let mut flipped = whole.clone();
            flipped[random.below(whole.len() as u64) as usize] ^= 1 << random.below(8);
            harmed.push(Some(flipped));
        }
        harmed.push(Some(random.bytes(whole.len())));
        harmed.into_iter().map(|bytes| (path.to_owned(), bytes)).collect()
    }

    fn back_up_all(&self, repository: &Arc<Repository>) -> Result<SnapshotName, SnapshotError> {
        self.back_up(repository, &self.temp.path().join("tree"))
    }

    /// All files of all snapshots come back.
    fn assert_restores_everything(&self, repository: &Arc<Repository>, case: &str) {
        for (name, part) in self.snapshots.iter().zip(["one", "two"]) {
            let (restored, named) = self.restore(repository, *name).unwrap_or_else(|| panic!("{case}"));
            assert!(named.is_empty() && restored.len() == self.count_of(part), "{case}: {named:?}");
            self.assert_honest(&restored, &named, part, case);
        }
    }

    /// Somebody may hold the lock that was deleted: no other is put in its place unasked. Nothing is written.
    fn assert_waits_for_a_lock(&self, repository: &Arc<Repository>, case: &str) {
        assert!(self.back_up_all(repository).unwrap_err().to_string().contains("lock"), "{case}");
        assert_eq!(self.errors(false), 1, "{case}");
        assert!(repository.repair_lock(true).unwrap() && repository.repair_lock(false).unwrap(), "{case}");
        assert!(!repository.repair_lock(false).unwrap(), "{case}");
        self.back_up_all(repository).unwrap();
        assert_eq!(self.errors(false), 0, "{case}");
    }

    /// It can be backed up to, and nothing is wrong with it.
    fn assert_goes_on(&self, repository: Arc<Repository>, case: &str) {
        let added = self.back_up_all(&repository).unwrap_or_else(|e| panic!("{case}: {e}"));
        let (restored, _) = self.restore(&repository, added).unwrap_or_else(|| panic!("{case}"));
        assert_eq!(restored, self.tree, "{case}");
        drop(repository);
        let report = self.check(true).unwrap();
        let errors: Vec<_> = report.findings.iter().filter(|finding| finding.is_error()).collect();
        // A row of the index that is wrong may be said; the index is then made anew.
        if !errors.is_empty() {
            assert!(errors.iter().all(|finding| finding.place == FindingPlace::Index), "{case}: {errors:?}");
            self.open().unwrap().repair_index().unwrap();
            assert_eq!(self.errors(true), 0, "{case}");
        }
    }
}

#[test]
fn what_is_no_object_costs_time_only() {
    let home = Home::new();
    let campaign = Campaign::start("surroundings", 15);
    let cases = home.surroundings(&mut campaign.random("surroundings"));
    let of = cases.len();
    let cases = some(cases, &campaign);
    for (path, bytes) in &cases {
        let case = format!("{}: {:?} bytes", path.display(), bytes.as_ref().map(Vec::len));
        match bytes {
            Some(bytes) => home.write(path, bytes),
            None => drop(fs::remove_file(home.rings().join(path))),
        }
        let repository = home.open().unwrap_or_else(|e| panic!("{case}: {e}"));
        home.assert_restores_everything(&repository, &case);
        match path == Path::new("lock") {
            true => home.assert_waits_for_a_lock(&repository, &case),
            false => home.assert_goes_on(repository, &case),
        }
        home.reset();
    }
    campaign.end(&format!("{} of {of} cases", cases.len()));
}
