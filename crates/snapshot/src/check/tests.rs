//! How it is damaged, what is damaged, and the exact finding.

use std::path::{Path, PathBuf};

use super::*;
use crate::node::NodeKind;
use crate::progress::{Event, Silent};
use crate::record::Snapshot;
use crate::stream::{Extent, Stream};
use crate::testing::{Home, Item, dir, file, node, noise};
use treering_chunk::{ChunkId, ChunkKind};
use treering_store::storage::Area;

fn items(last: &[u8]) -> Vec<Item> {
    vec![dir("d", vec![file("long", &noise(1, 60_000)), file("short", b"short")]), file("last", last)]
}

/// In seconds since 1970.
const NOW: u64 = 1_700_000_000;

fn check_at(repository: &Repository, data: Option<DataOptions>, now: u64) -> CheckReport {
    check(repository, &CheckOptions { data, clock: &|| Duration::from_secs(now) }, &Silent).unwrap()
}

struct Case {
    home: Home,
    first: SnapshotName,
    second: SnapshotName,
}

fn case() -> Case {
    let home = Home::new();
    let (first, _) = home.commit(items(b"first"));
    let (second, _) = home.commit(items(b"second"));
    Case { home, first, second }
}

impl Case {
    /// The pack that has a chunk.
    fn pack(&self, id: &ChunkId) -> PackName {
        let packs = self.home.repository.list_packs().unwrap();
        let has = |name: &PackName| {
            self.home.repository.pack_contents(*name).unwrap().chunks.iter().any(|(chunk, _, _)| chunk == id)
        };
        packs.into_iter().map(|(name, _)| name).find(has).unwrap()
    }

    fn data_id(&self, bytes: &[u8]) -> ChunkId {
        self.home.repository.namer().id(ChunkKind::Data, bytes)
    }

    fn root_id(&self, name: SnapshotName) -> ChunkId {
        let snapshot = Snapshot::read(&self.home.repository, name).unwrap();
        snapshot.root.tree().unwrap().extents[0].chunk().unwrap()
    }

    fn copy_id(&self, name: SnapshotName) -> ChunkId {
        let bytes = std::fs::read(self.home.path_of(Area::Snapshots, &name.to_string())).unwrap();
        self.home.repository.namer().id(ChunkKind::SnapshotCopy, &bytes)
    }

    fn remove_pack(&self, name: PackName) {
        std::fs::remove_file(self.home.path_of(Area::Packs, &name.to_string())).unwrap();
    }

    fn flip(&self, pack: PackName, at: i64) {
        self.home.flip(Area::Packs, &pack.to_string(), at);
    }

    fn check(&self, read_data: bool) -> CheckReport {
        check_at(&self.home.reopen(), read_data.then(DataOptions::default), NOW)
    }

    /// In the order they were made is the order of their names, for their times are the same.
    fn both(&self) -> Vec<SnapshotName> {
        let mut both = vec![self.first, self.second];
        both.sort_unstable();
        both
    }
}

fn one(report: &CheckReport) -> &CheckFinding {
    let errors: Vec<_> = report.findings.iter().filter(|finding| finding.severity > Severity::Leftover).collect();
    let [finding] = errors[..] else { panic!("{:#?}", report.findings) };
    finding
}

fn assert_one(
    report: &CheckReport,
    place: FindingPlace,
    severity: Severity,
    snapshots: &[SnapshotName],
    paths: &[&str],
) {
    let finding = one(report);
    assert_eq!((&finding.place, finding.severity), (&place, severity), "{finding:#?}");
    assert_eq!(finding.snapshots, snapshots, "{finding:#?}");
    assert_eq!(finding.paths, paths.iter().map(PathBuf::from).collect::<Vec<_>>(), "{finding:#?}");
    assert!(!finding.suggestion().is_empty() && !finding.detail.is_empty());
}

#[test]
fn a_sound_repository_has_no_findings_and_is_counted() {
    let case = case();
    for read_data in [false, true] {
        let report = case.check(read_data);
        assert_eq!((report.findings.len(), report.num_errors(), report.unused_chunks), (0, 0, 0), "{report:#?}");
        assert_eq!((report.snapshots, report.tree_chunks, report.files), (2, 3, 4));
        // Data, one or more lists, trees, second copies.
        assert!(report.chunks >= 63 + 1 + 3 + 2, "{report:#?}");
        assert!(report.packs >= 4 && report.pack_bytes > 60_000 && !report.suggest_prune());
    }
}

#[test]
fn a_deleted_data_pack_costs_the_files_that_need_it() {
    let case = case();
    let id = case.data_id(b"second");
    case.remove_pack(case.pack(&id));
    for read_data in [false, true] {
        let report = case.check(read_data);
        assert_one(&report, FindingPlace::Chunk(id), Severity::Damage, &[case.second], &["/last"]);
        assert_eq!((report.num_errors(), report.affected.len()), (1, 1));
    }
}

#[test]
fn a_deleted_tree_pack_costs_every_snapshot_that_needs_it() {
    let case = case();
    let root = case.root_id(case.first);
    case.remove_pack(case.pack(&root));
    let report = case.check(false);
    // The root of the first, and the folder that both have, whose chunk lay beside it.
    assert_eq!(report.findings.len(), 2, "{:#?}", report.findings);
    let of = |id: ChunkId| report.findings.iter().find(|finding| finding.place == FindingPlace::Chunk(id)).unwrap();
    assert_eq!((of(root).snapshots.clone(), of(root).paths.clone()), (vec![case.first], vec![PathBuf::from("/")]));
    assert!(
        report.findings.iter().any(|finding| finding.snapshots == [case.second] && finding.paths == [Path::new("/d")])
    );
    assert_eq!(report.affected.len(), 2);
}

#[test]
fn a_flipped_bit_of_data_is_found_by_reading_and_names_the_files() {
    let case = case();
    let pack = case.pack(&case.data_id(b"first"));
    case.flip(pack, 120);
    assert_eq!(case.check(false).findings, []);
    let report = case.check(true);
    let finding = one(&report);
    assert_eq!((&finding.place, finding.severity), (&FindingPlace::Pack(pack), Severity::Damage));
    assert!(finding.detail.contains("do not fit its name"), "{}", finding.detail);
    assert!(finding.paths.contains(&PathBuf::from("/d/long")), "{finding:#?}");
    assert_eq!(finding.snapshots, case.both());
    assert_eq!(report.broken_packs().collect::<Vec<_>>(), [pack]);
}

#[test]
fn all_that_shares_damaged_data_is_named() {
    let home = Home::new();
    let long = || file("long", &noise(1, 60_000));
    let lost = || file("short", b"short");
    let copies = (0..PATHS_MOST).map(|i| file(&format!("z{i}"), b"short"));
    let mut items = vec![dir("a", vec![long()]), dir("b", vec![long()]), file("copy", &noise(1, 60_000)), lost()];
    items.extend(copies);
    let (name, _) = home.commit(items);
    let case = Case { home, first: name, second: name };
    let named = |report: &CheckReport, place: FindingPlace| {
        let finding = report.findings.iter().find(|finding| finding.place == place).unwrap();
        let paths: Vec<_> = finding.paths.iter().map(|path| path.to_str().unwrap().to_owned()).collect();
        (paths, finding.more_paths, finding.snapshots.clone())
    };
    let pack = case.pack(&case.data_id(b"short"));
    case.flip(pack, 120);
    let (paths, more, snapshots) = named(&case.check(true), FindingPlace::Pack(pack));
    assert_eq!((&paths[..3], &snapshots[..]), (&["/a/long", "/b", "/copy"].map(String::from)[..], &[name][..]));
    assert!(paths.len() < PATHS_MOST || more > 0, "{paths:?}");
    case.remove_pack(pack);
    let (paths, more, _) = named(&case.check(false), FindingPlace::Chunk(case.data_id(b"short")));
    let expected: Vec<_> = std::iter::once("/short".to_owned()).chain((0..7).map(|i| format!("/z{i}"))).collect();
    assert_eq!((paths, more), (expected, 1));
}

#[test]
fn a_flipped_bit_that_no_snapshot_needs_affects_nobody() {
    let case = case();
    let pack = case.pack(&case.data_id(b"second"));
    case.home.repository.forget_snapshot(case.second).unwrap();
    case.flip(pack, 120);
    assert_one(&case.check(true), FindingPlace::Pack(pack), Severity::Damage, &[], &[]);
}

#[test]
fn a_lost_trailer_is_damage_but_what_is_in_the_pack_is_still_found() {
    let case = case();
    let pack = case.pack(&case.data_id(b"second"));
    case.flip(pack, -110);
    let report = case.check(false);
    assert_one(&report, FindingPlace::Pack(pack), Severity::Damage, &[], &[]);
    assert!(report.affected.is_empty());
}

#[test]
fn a_flipped_bit_of_a_tree_is_found_without_reading_data() {
    let case = case();
    let pack = case.pack(&case.root_id(case.second));
    case.flip(pack, 120);
    for read_data in [false, true] {
        assert_one(&case.check(read_data), FindingPlace::Pack(pack), Severity::Damage, &[case.second], &["/"]);
    }
}

#[test]
fn a_second_copy_that_is_gone_can_be_made_again() {
    let case = case();
    case.remove_pack(case.pack(&case.copy_id(case.first)));
    let report = case.check(false);
    let place = FindingPlace::SnapshotCopy(case.first);
    assert_one(&report, place, Severity::Repairable, &[case.first], &[]);
    assert!(report.affected.is_empty());
}

#[test]
fn a_damaged_record_is_lost_only_with_its_second_copy() {
    let case = case();
    let copy = case.pack(&case.copy_id(case.first));
    case.home.flip(Area::Snapshots, &case.first.to_string(), 90);
    let place = FindingPlace::Record(Area::Snapshots, case.first);
    for severity in [Severity::Repairable, Severity::Damage] {
        let report = case.check(false);
        assert_one(&report, place.clone(), severity, &[case.first], &[]);
        // Prune would take what the record refers to.
        assert!(!report.suggest_prune());
        drop(std::fs::remove_file(case.home.path_of(Area::Packs, &copy.to_string())));
    }
}

#[test]
fn a_garbled_copy_of_the_config_is_repairable() {
    for area in [Area::Config, Area::ConfigCopy] {
        let case = case();
        case.home.flip(area, "config", -1);
        assert_one(&case.check(false), FindingPlace::Config, Severity::Repairable, &[], &[]);
    }
}

#[test]
fn packs_that_nothing_refers_to_are_leftovers() {
    let case = case();
    let pack = case.pack(&case.data_id(b"second"));
    case.home.repository.forget_snapshot(case.second).unwrap();
    let report = case.check(false);
    assert_eq!((report.num_errors(), report.suggest_prune()), (0, true));
    assert!(report.findings.iter().any(|finding| finding.place == FindingPlace::Pack(pack)));
    assert_eq!((report.unused_chunks, report.records), (3, 1));
}

#[test]
fn a_lost_stat_stream_costs_time_only() {
    let home = Home::new();
    let lost = Stream { level: 0, extents: vec![Extent::Chunk { id: [3; 32], bytes: 9 }] };
    let (name, _) = home.commit_with(items(b""), |snapshot, _| snapshot.stat = Some(lost));
    let report = check_at(&home.repository, None, NOW);
    assert_one(&report, FindingPlace::Chunk(ChunkId::from_bytes([3; 32])), Severity::Repairable, &[name], &[]);
}

#[test]
fn extents_must_be_as_long_as_their_chunks_and_of_their_kind() {
    let home = Home::new();
    let wrong = |name, id: ChunkId, bytes| {
        let content = Stream { level: 0, extents: vec![Extent::Chunk { id: *id.as_bytes(), bytes }] };
        Item::Other(node(name, NodeKind::File { content, links: 0 }))
    };
    let id = home.repository.namer().id(ChunkKind::Data, b"short");
    let (_, other) = home.commit(items(b""));
    let tree = other.root.tree().unwrap().extents[0];
    let mut all = items(b"");
    all.push(wrong("length", id, 6));
    all.push(wrong("tree", tree.chunk().unwrap(), tree.bytes()));
    let (name, _) = home.commit(all);
    let report = check_at(&home.repository, None, NOW);
    let found: Vec<_> =
        report.findings.iter().map(|f| (f.detail.clone(), f.paths.clone(), f.snapshots.clone())).collect();
    let expected = |detail: &str, path: &str| (detail.to_owned(), vec![PathBuf::from(path)], vec![name]);
    assert_eq!(found[0], expected("it is 5 bytes long, and what refers to it says 6", "/length"));
    assert_eq!(found[1], expected("it is of another kind than what refers to it says", "/tree"));
    assert_eq!(found.len(), 2);
}

#[test]
fn findings_are_bounded_and_the_rest_is_counted() {
    let home = Home::new();
    let lost = |i: u32| {
        let mut id = [9; 32];
        id[..4].copy_from_slice(&i.to_le_bytes());
        let content = Stream { level: 0, extents: vec![Extent::Chunk { id, bytes: 5 }] };
        Item::Other(node(&format!("{i:05}"), NodeKind::File { content, links: 0 }))
    };
    home.commit((0..1200).map(lost).collect());
    let report = check_at(&home.repository, None, NOW);
    assert_eq!((report.findings.len(), report.omitted, report.num_errors()), (1000, 200, 1200));
}

#[test]
fn an_interruption_ends_it() {
    struct Stop;
    impl Progress for Stop {
        fn event(&self, _: Event<'_>) {}
        fn is_interrupted(&self) -> bool {
            true
        }
    }
    let options = CheckOptions { data: None, clock: &|| Duration::ZERO };
    let stopped = check(&case().home.repository, &options, &Stop);
    assert!(matches!(stopped, Err(SnapshotError::Interrupted)));
}

#[test]
fn when_the_time_is_up_no_further_pack_is_begun() {
    let case = case();
    let packs = case.home.repository.list_packs().unwrap();
    let data = DataOptions { max_duration: Some(Duration::ZERO), ..DataOptions::default() };
    for done in 1..=packs.len() as u64 {
        let report = check_at(&case.home.reopen(), Some(data), NOW + done);
        assert_eq!((report.verified.read_packs, report.num_errors()), (1, 0));
        // The larger ones first, for none was verified before.
        let verified: u64 = sorted(&packs).iter().take(done as usize).map(|(_, bytes)| bytes).sum();
        assert_eq!((report.verified.verified_bytes, report.verified.oldest), (verified, Some(NOW as i64 + 1)));
    }
}

fn sorted(packs: &[(PackName, u64)]) -> Vec<(PackName, u64)> {
    let mut packs = packs.to_vec();
    packs.sort_unstable_by_key(|(name, bytes)| (std::cmp::Reverse(*bytes), *name));
    packs
}

#[test]
fn what_was_read_is_in_the_ledger_although_the_check_was_interrupted() {
    /// Stops it when the first pack was read.
    struct Stop(std::sync::atomic::AtomicBool);
    impl Progress for Stop {
        fn event(&self, event: Event<'_>) {
            if let Event::Bytes { .. } = event {
                self.0.store(true, std::sync::atomic::Ordering::SeqCst);
            }
        }
        fn is_interrupted(&self) -> bool {
            self.0.load(std::sync::atomic::Ordering::SeqCst)
        }
    }
    let case = case();
    let options = CheckOptions { data: Some(DataOptions::default()), clock: &|| Duration::from_secs(NOW) };
    let stopped = check(&case.home.reopen(), &options, &Stop(false.into()));
    assert!(matches!(stopped, Err(SnapshotError::Interrupted)));
    let report = case.check(false);
    assert!(report.verified.verified_bytes > 0, "{report:#?}");
}

#[test]
fn damage_is_forgotten_by_the_ledger() {
    let case = case();
    assert_eq!(case.check(true).verified.fraction(), 1.0);
    let pack = case.pack(&case.data_id(b"second"));
    case.flip(pack, 120);
    assert!(case.check(true).verified.fraction() < 1.0);
    let max_age = Some(Duration::from_secs(10));
    let report = check_at(&case.home.reopen(), Some(DataOptions { max_age, ..DataOptions::default() }), NOW);
    assert_eq!((report.verified.read_packs, report.broken_packs().collect::<Vec<_>>()), (1, vec![pack]));
    // A tree is read without reading data; to be damaged is to be damaged.
    let trees = case.pack(&case.root_id(case.second));
    case.flip(trees, 120);
    let of = |report: CheckReport| report.verified.verified_bytes;
    let (before, after) = (of(report), of(case.check(false)));
    let lost = case.home.repository.list_packs().unwrap().into_iter().find(|(name, _)| *name == trees).unwrap().1;
    assert_eq!(before - after, lost);
}

#[test]
fn a_damaged_ledger_is_no_loss_and_written_anew() {
    let case = case();
    let body = vec![7; 41];
    case.home.repository.put_record(&treering_store::Record::new(treering_store::RecordKind::LEDGER, body)).unwrap();
    let report = case.check(true);
    assert_eq!(one(&report).severity, Severity::Repairable, "{report:#?}");
    assert_eq!(case.check(false).num_errors(), 0);
}

#[test]
fn a_copy_without_a_record_is_a_note_unless_it_was_forgotten() {
    let case = case();
    let record = case.home.path_of(Area::Snapshots, &case.first.to_string());
    let bytes = std::fs::read(&record).unwrap();
    std::fs::remove_file(&record).unwrap();
    let notes = |report: &CheckReport| -> Vec<FindingPlace> {
        let notes = report.findings.iter().filter(|finding| finding.severity == Severity::Note);
        notes.map(|finding| finding.place.clone()).collect()
    };
    let report = case.check(false);
    assert_eq!((notes(&report), report.num_errors()), (vec![FindingPlace::SnapshotCopy(case.first)], 0));
    std::fs::write(&record, bytes).unwrap();
    case.home.repository.forget_snapshot(case.first).unwrap();
    assert_eq!(notes(&case.check(false)), []);
}

#[test]
fn what_is_pruned_meanwhile_is_no_damage() {
    /// When packs and snapshots were listed, one snapshot goes, with a pack that only it needs.
    struct Prune<'c>(&'c Case, PackName, std::sync::Once);
    impl Progress for Prune<'_> {
        fn event(&self, _: Event<'_>) {}
        fn is_interrupted(&self) -> bool {
            let Self(case, pack, once) = self;
            once.call_once(|| {
                std::fs::remove_file(case.home.path_of(Area::Snapshots, &case.second.to_string())).unwrap();
                case.remove_pack(*pack);
            });
            false
        }
    }
    let case = case();
    let pack = case.pack(&case.data_id(b"second"));
    let options = CheckOptions { data: None, clock: &|| Duration::from_secs(NOW) };
    let prune = Prune(&case, pack, std::sync::Once::new());
    let report = check(&case.home.reopen(), &options, &prune).unwrap();
    assert!(prune.2.is_completed());
    assert_eq!((report.num_errors(), report.snapshots), (0, 1), "{report:#?}");
}

#[test]
fn packs_that_appear_after_the_index_was_opened_are_no_finding() {
    let home = Home::new();
    home.commit(vec![file("a", b"1")]);
    let other = home.reopen();
    drop(other.reader().unwrap());
    home.commit(vec![file("b", b"2")]);
    let report = check_at(&other, Some(DataOptions::default()), NOW);
    assert_eq!(report.num_errors(), 0, "{:?}", report.findings);
    assert_eq!(report.snapshots, 2);
}
