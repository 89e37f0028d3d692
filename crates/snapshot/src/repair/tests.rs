//! What is left after each kind of damage, and what is said of what is lost.

use std::path::{Path, PathBuf};

use treering_chunk::{ChunkId, ChunkKind};
use treering_store::storage::Area;
use treering_store::{Compression, PackName, Record, RecordKind, Repository, StoreError};

use super::*;
use crate::SnapshotError;
use crate::check::{CheckOptions, DataOptions, check};
use crate::list::{Flow, walk_tree};
use crate::progress::Silent;
use crate::prune::read_pruned;
use crate::record::{AppEntry, REPAIRED_FROM_TAG, STATE_TAG, Snapshot, SnapshotName};
use crate::testing::{Home, Item, application, dir, file, noise, store_stream};

fn items() -> Vec<Item> {
    vec![dir("d", vec![file("long", &noise(1, 60_000)), file("short", b"short")]), file("last", b"last")]
}

fn app(path: &str) -> AppEntry {
    application("sqlite", path, None)
}

fn packs(home: &Home, read_data: bool, dry_run: bool) -> PacksRepaired {
    let options = PackRepairOptions { packs: vec![], read_data, compression: Compression::DEFAULT, dry_run };
    repair_packs(&home.reopen(), &options, &Silent).unwrap()
}

fn snapshots_of(home: &Home, only: &[String], dry_run: bool) -> crate::Result<SnapshotsRepaired> {
    let options = SnapshotRepairOptions { only: only.to_vec(), compression: Compression::DEFAULT, dry_run };
    repair_snapshots(&home.reopen(), &options, &Silent)
}

fn snapshots(home: &Home, dry_run: bool) -> SnapshotsRepaired {
    snapshots_of(home, &[], dry_run).unwrap()
}

fn errors(home: &Home) -> u64 {
    let options = CheckOptions { data: Some(DataOptions::default()), clock: &|| std::time::Duration::ZERO };
    check(&home.reopen(), &options, &Silent).unwrap().num_errors()
}

fn pack_of(repository: &Repository, id: &ChunkId) -> PackName {
    let has = |name: &PackName| repository.pack_contents(*name).unwrap().chunks.iter().any(|(chunk, _, _)| chunk == id);
    repository.list_packs().unwrap().into_iter().map(|(name, _)| name).find(has).unwrap()
}

fn data_id(home: &Home, bytes: &[u8]) -> ChunkId {
    home.repository.namer().id(ChunkKind::Data, bytes)
}

fn remove(home: &Home, pack: PackName) {
    std::fs::remove_file(home.path_of(Area::Packs, &pack.to_string())).unwrap();
}

fn paths(home: &Home, name: SnapshotName) -> Vec<String> {
    let repository = home.reopen();
    let (mut found, mut reader) = (Vec::new(), repository.reader().unwrap());
    let snapshot = Snapshot::read(&repository, name).unwrap();
    let walked = walk_tree(&mut reader, (&snapshot, &snapshot.root), Path::new("/"), |path, _| {
        found.push(path.to_str().unwrap().to_owned());
        Flow::Enter
    });
    assert!(walked.unwrap().damaged.is_empty());
    assert!(found.len() as u64 <= snapshot.statistics.entries(), "the record says less than there is");
    found
}

fn set(paths: &[&str]) -> std::collections::BTreeSet<PathBuf> {
    paths.iter().map(PathBuf::from).collect()
}

#[test]
fn a_sound_repository_has_nothing_to_mend() {
    let home = Home::new();
    home.commit(items());
    let before = home.repository.list_packs().unwrap();
    assert_eq!(packs(&home, true, false), PacksRepaired::default());
    assert_eq!(snapshots(&home, false), SnapshotsRepaired::default());
    assert_eq!(home.repository.list_packs().unwrap(), before);
    assert_eq!(home.reopen().replaced().unwrap(), []);
}

#[test]
fn what_is_whole_of_a_damaged_pack_stays_and_what_is_lost_is_recorded() {
    let home = Home::new();
    // Each of them has a frame of its own, for their noise does not compress.
    let (name, _) = home.commit(vec![file("a", &noise(1, 64 << 10)), file("b", &noise(2, 64 << 10)), file("c", b"c")]);
    let pack = pack_of(&home.repository, &data_id(&home, b"c"));
    // A byte near its start is in the first frame, whichever that is: frames are encoded by several threads.
    home.flip(Area::Packs, &pack.to_string(), 200);
    let planned = packs(&home, true, true);
    assert_eq!(home.reopen().replaced().unwrap(), []);
    assert!(home.reopen().lost_chunks().unwrap().is_empty());
    let repaired = packs(&home, true, false);
    assert_eq!(planned, repaired);
    let [mended] = &repaired.packs[..] else { panic!("{repaired:?}") };
    assert_eq!(mended.name, pack);
    assert!(mended.salvage.has_trailer && mended.salvage.lost_chunks > 0, "{mended:?}");
    assert_eq!(repaired.lost.len() as u64, mended.salvage.lost_chunks);
    assert_eq!(*home.reopen().lost_chunks().unwrap().chunks(), repaired.lost);
    assert_eq!(home.reopen().replaced().unwrap()[0].name, pack.to_string());
    // Now the snapshot without what is lost.
    let planned = snapshots(&home, true);
    let mended = snapshots(&home, false);
    let [rewritten] = &mended.rewritten[..] else { panic!("{mended:?}") };
    assert_eq!(planned.rewritten[0].losses, rewritten.losses);
    assert!((1..3).contains(&rewritten.losses.files.len()), "{:?}", rewritten.losses);
    assert_eq!(rewritten.original, name);
    let kept = paths(&home, rewritten.name.unwrap());
    assert_eq!(kept.len() + rewritten.losses.files.len(), 3);
    assert_eq!(errors(&home), 0);
    assert!(home.reopen().lost_chunks().unwrap().is_empty(), "nobody needs them any more");
}

#[test]
fn without_its_trailer_a_pack_is_walked() {
    let home = Home::new();
    let (name, _) = home.commit(items());
    let pack = pack_of(&home.repository, &data_id(&home, b"last"));
    home.flip(Area::Packs, &pack.to_string(), -110);
    let repaired = packs(&home, false, false);
    assert!(!repaired.packs[0].salvage.has_trailer && repaired.lost.is_empty(), "{repaired:?}");
    assert_eq!(errors(&home), 0);
    assert_eq!(paths(&home, name).len(), 4);
}

/// Its seal is sound, so it was written like this.
#[test]
fn a_list_of_pruned_snapshots_that_nobody_understands_stops_nobody_and_is_moved_aside() {
    let home = Home::new();
    let (name, _) = home.commit(items());
    home.repository.put_record(&Record::new(RecordKind::PRUNED, b"no list".to_vec())).unwrap();
    assert_eq!(read_pruned(&home.repository).unwrap(), Default::default());
    assert_eq!(errors(&home), 1);
    let repaired = snapshots(&home, false);
    assert_eq!((repaired.aside.len(), repaired.returned.len()), (1, 0));
    assert_eq!((errors(&home), paths(&home, name).len()), (0, 4));
}

#[test]
fn a_list_of_lost_chunks_that_nobody_understands_is_an_error_and_is_moved_aside() {
    let home = Home::new();
    let (name, _) = home.commit(vec![file("a", &noise(1, 64 << 10)), file("b", b"b")]);
    home.repository.put_record(&Record::new(RecordKind::LOST, b"no list".to_vec())).unwrap();
    assert!(home.reopen().lost_chunks().unwrap().is_empty());
    assert_eq!(errors(&home), 1);
    let repaired = snapshots(&home, false);
    assert_eq!((repaired.aside.len(), &repaired.returned[..]), (1, &[][..]), "{repaired:?}");
    assert!(repaired.aside[0].2.contains("a record of lost chunks"), "{repaired:?}");
    assert_eq!((errors(&home), paths(&home, name)), (0, vec!["/a".to_owned(), "/b".to_owned()]));
}

#[test]
fn a_snapshot_without_what_is_lost_says_so_and_its_applications_are_torn() {
    let home = Home::new();
    let (name, original) = home.commit_with(items(), |snapshot, sink| {
        snapshot.applications = vec![app("/d/sh"), app("/last"), app("/d/long/x")];
        snapshot.applications.iter_mut().for_each(|app| app.extensions = vec![(STATE_TAG, vec![7])]);
        snapshot.tags = vec!["a".into(), "z".into()];
        snapshot.statistics.total_files = 3;
        snapshot.statistics.total_bytes = 60_009;
        snapshot.stat = Some(store_stream(sink, ChunkKind::Stat, b"stat"));
    });
    // One more, which has only what is not lost.
    let (other, _) = home.commit(vec![file("x", b"x")]);
    remove(&home, pack_of(&home.repository, &data_id(&home, b"short")));
    assert_eq!(home.reopen().lost_chunks().unwrap().chunks().len(), 0);
    let repaired = snapshots(&home, false);
    let [rewritten] = &repaired.rewritten[..] else { panic!("{repaired:?}") };
    assert_eq!(rewritten.losses.files, set(&["/d/long", "/d/short", "/last"]));
    let snapshot = Snapshot::read(&home.reopen(), rewritten.name.unwrap()).unwrap();
    assert_eq!(snapshot, rewritten.snapshot);
    assert_eq!(snapshot.tags, ["a", "repaired", "z"]);
    assert_eq!(snapshot.extensions, [(REPAIRED_FROM_TAG, name.as_bytes().to_vec())]);
    assert_eq!((snapshot.time, &snapshot.host, &snapshot.paths), (original.time, &original.host, &original.paths));
    assert_eq!((snapshot.statistics.total_files, snapshot.statistics.errors), (0, 3));
    assert_eq!(snapshot.statistics.total_bytes, 0);
    let verdicts: Vec<&str> = snapshot.applications.iter().map(|app| app.verdict.as_str()).collect();
    assert_eq!(verdicts, ["torn", "torn", "consistent"]);
    let states: Vec<usize> = snapshot.applications.iter().map(|app| app.extensions.len()).collect();
    assert_eq!(states, [0, 0, 1], "the next capture must not rely on what is lost");
    assert!(snapshot.applications[0].detail.contains("/d/short"), "{:?}", snapshot.applications);
    assert_eq!(paths(&home, rewritten.name.unwrap()), ["/d"]);
    assert_eq!(paths(&home, other), ["/x"]);
    assert_eq!(errors(&home), 0);
    // It is forgotten and can be brought back.
    let forgotten = home.reopen().list_forgotten().unwrap();
    assert_eq!(forgotten.iter().map(|kept| kept.snapshot).collect::<Vec<_>>(), [name]);
    assert_eq!(snapshots(&home, false), SnapshotsRepaired::default());
}

#[test]
fn of_a_folder_in_pieces_the_readable_pieces_stay() {
    let home = Home::new();
    let many: Vec<Item> = (0..2000).map(|i| file(&format!("n{i:04}"), b"same")).collect();
    let (name, snapshot) = home.commit(vec![dir("many", many), file("z", b"same")]);
    let repository = home.reopen();
    let mut reader = repository.reader().unwrap();
    let folder = crate::tree::find(&mut reader, snapshot.root.tree().unwrap(), b"many").unwrap().unwrap();
    let chunks = &folder.tree().unwrap().extents;
    assert!(chunks.len() > 3, "{}", chunks.len());
    // The trees again, but for one chunk of the folder: a pack that misses it takes the place of the others.
    let gone = chunks[1].chunk().unwrap();
    let old: Vec<PackName> = repository.list_packs().unwrap().into_iter().map(|(name, _)| name).collect();
    let session =
        treering_store::Session::start(&repository, None, Compression::DEFAULT, treering_store::SessionMode::Store)
            .unwrap();
    let mut sink = session.sink().unwrap();
    for pack in &old {
        repository
            .salvage(*pack, &mut |kind, bytes| {
                if sink.name(kind, bytes) != gone {
                    sink.put_again(kind, bytes)?;
                }
                Ok(())
            })
            .unwrap();
    }
    sink.flush().unwrap();
    session.flush().unwrap();
    old.iter().for_each(|pack| remove(&home, *pack));
    let repaired = snapshots(&home, false);
    let [rewritten] = &repaired.rewritten[..] else { panic!("{repaired:?}") };
    assert_eq!((rewritten.original, &rewritten.losses.folders), (name, &set(&["/many"])));
    assert!(rewritten.losses.files.is_empty());
    let kept = paths(&home, rewritten.name.unwrap());
    assert!(kept.len() > 500 && kept.len() < 2002, "{}", kept.len());
    assert_eq!((kept[1].as_str(), kept.last().unwrap().as_str()), ("/many/n0000", "/z"));
    assert_eq!(errors(&home), 0);
}

#[test]
fn a_snapshot_whose_root_is_lost_keeps_nothing_and_says_so() {
    let home = Home::new();
    let (_, snapshot) = home.commit(items());
    remove(&home, pack_of(&home.repository, &snapshot.root.tree().unwrap().extents[0].chunk().unwrap()));
    let repaired = packs(&home, false, false);
    assert_eq!(repaired.lost.values().copied().collect::<Vec<_>>(), [ChunkKind::Tree]);
    let repaired = snapshots(&home, false);
    assert_eq!(repaired.rewritten[0].losses.folders, set(&["/"]));
    assert_eq!(paths(&home, repaired.rewritten[0].name.unwrap()), [""; 0]);
    assert_eq!(errors(&home), 0);
}

#[test]
fn a_lost_record_comes_back_from_its_copy_if_it_is_whole_and_was_not_dropped() {
    let home = Home::new();
    let (deleted, _) = home.commit(vec![file("a", b"1")]);
    let (damaged, _) = home.commit(vec![file("a", b"2")]);
    let (forgotten, _) = home.commit(vec![file("a", b"3")]);
    let (incomplete, _) = home.commit(vec![file("a", b"4")]);
    home.repository.forget_snapshot(forgotten).unwrap();
    remove(&home, pack_of(&home.repository, &data_id(&home, b"4")));
    for name in [deleted, incomplete] {
        std::fs::remove_file(home.path_of(Area::Snapshots, &name.to_string())).unwrap();
    }
    home.flip(Area::Snapshots, &damaged.to_string(), 90);
    let planned = snapshots(&home, true);
    assert_eq!(home.reopen().list_records(Area::Snapshots).unwrap().len(), 1);
    let repaired = snapshots(&home, false);
    assert_eq!(planned, repaired);
    let mut expected = vec![
        (deleted, false, ReturnedAs::Back),
        (damaged, true, ReturnedAs::Back),
        (incomplete, false, ReturnedAs::Incomplete(Losses { files: set(&["/a"]), bytes: 1, ..Losses::default() })),
    ];
    expected.sort_by_key(|(name, _, _)| *name);
    let returned = repaired.returned.into_iter().map(|lost| (lost.name, lost.was_committed, lost.outcome));
    assert_eq!(returned.collect::<Vec<_>>(), expected);
    for name in [deleted, damaged] {
        assert_eq!(paths(&home, name), ["/a"]);
    }
    assert_eq!(home.reopen().replaced().unwrap()[0].name, damaged.to_string());
    assert_eq!(errors(&home), 0);
    assert!(matches!(snapshots_of(&home, &["abcdef".into()], false), Err(SnapshotError::NoSnapshot { .. })));
}

#[test]
fn where_nobody_knows_what_was_forgotten_a_snapshot_counts_as_forgotten_unless_it_is_named() {
    let home = Home::new();
    let (lost, _) = home.commit(items());
    let (forgotten, _) = home.commit(vec![]);
    home.repository.forget_snapshot(forgotten).unwrap();
    let record = home.repository.list_records(Area::Records).unwrap()[0];
    home.flip(Area::Records, &record.to_string(), 100);
    std::fs::remove_file(home.path_of(Area::Snapshots, &lost.to_string())).unwrap();
    snapshots_of(&home, &[lost.to_string()], false).unwrap();
    assert_eq!(home.reopen().list_records(Area::Snapshots).unwrap(), [lost]);
    std::fs::remove_file(home.path_of(Area::Snapshots, &lost.to_string())).unwrap();
    let planned = snapshots(&home, true);
    assert_eq!(home.reopen().replaced().unwrap(), []);
    let repaired = snapshots(&home, false);
    assert_eq!(planned, repaired);
    assert!(repaired.returned.iter().all(|lost| lost.outcome == ReturnedAs::PerhapsForgotten), "{repaired:?}");
    assert_eq!(repaired.aside.iter().map(|(_, name, _)| *name).collect::<Vec<_>>(), [record]);
    assert_eq!(home.reopen().list_records(Area::Snapshots).unwrap(), []);
    let mut kept: Vec<_> = home.reopen().list_forgotten().unwrap().into_iter().map(|kept| kept.snapshot).collect();
    kept.sort_unstable();
    let mut both = vec![lost, forgotten];
    both.sort_unstable();
    assert_eq!(kept, both);
    assert_eq!(home.reopen().replaced().unwrap()[0].name, record.to_string());
    assert_eq!(snapshots(&home, false), SnapshotsRepaired::default());
}

#[test]
fn a_record_under_a_wrong_name_gets_its_own_again() {
    let home = Home::new();
    let (renamed, _) = home.commit(items());
    let (twice, _) = home.commit(vec![]);
    let path = |name: SnapshotName| home.path_of(Area::Snapshots, &name.to_string());
    let wrong = [SnapshotName::from_bytes([1; 32]), SnapshotName::from_bytes([2; 32])];
    std::fs::rename(path(renamed), path(wrong[0])).unwrap();
    std::fs::copy(path(twice), path(wrong[1])).unwrap();
    assert_eq!(errors(&home), 2);
    let repaired = snapshots(&home, false);
    assert_eq!(
        repaired.returned.iter().map(|back| (back.name, back.was_committed)).collect::<Vec<_>>(),
        [(renamed, true)]
    );
    assert_eq!(repaired.aside.len(), 2);
    assert_eq!(errors(&home), 0);
    let mut visible = vec![renamed, twice];
    visible.sort_unstable();
    let mut listed = home.reopen().list_records(Area::Snapshots).unwrap();
    listed.sort_unstable();
    assert_eq!(listed, visible);
}

#[test]
fn records_that_have_changed_places_change_back() {
    let home = Home::new();
    let names = [home.commit(items()).0, home.commit(vec![]).0];
    let paths = names.map(|name| home.path_of(Area::Snapshots, &name.to_string()));
    let bytes = paths.clone().map(|path| std::fs::read(path).unwrap());
    std::fs::write(&paths[0], &bytes[1]).unwrap();
    std::fs::write(&paths[1], &bytes[0]).unwrap();
    assert_eq!(snapshots(&home, false).returned.len(), 2);
    assert_eq!(paths.map(|path| std::fs::read(path).unwrap()), bytes);
    assert_eq!(errors(&home), 0);
}

#[test]
fn a_damaged_snapshot_that_lacks_something_is_written_again_without_it() {
    let home = Home::new();
    // Two commits, so that the second snapshot's record and its other file are not in the pack that goes.
    home.commit(vec![file("a", b"lost")]);
    let (name, _) = home.commit(vec![file("a", b"lost"), file("b", b"kept")]);
    remove(&home, pack_of(&home.repository, &data_id(&home, b"lost")));
    home.flip(Area::Snapshots, &name.to_string(), 90);
    let planned = snapshots(&home, true);
    let repaired = snapshots(&home, false);
    assert_eq!(repaired.returned[0].outcome, ReturnedAs::Back);
    let losses =
        |repaired: &SnapshotsRepaired| repaired.rewritten.iter().map(|new| new.losses.clone()).collect::<Vec<_>>();
    assert_eq!(losses(&repaired), losses(&planned));
    let new = repaired.rewritten.iter().find(|new| new.original == name).unwrap();
    assert_eq!(new.losses.files, set(&["/a"]));
    assert_eq!(paths(&home, new.name.unwrap()), ["/b"]);
    assert_eq!(errors(&home), 0);
}

#[test]
fn a_damaged_record_without_a_second_copy_is_moved_aside_only_if_it_is_named() {
    let home = Home::new();
    let (kept, _) = home.commit(items());
    let (name, _) = home.commit(vec![]);
    let bytes = std::fs::read(home.path_of(Area::Snapshots, &name.to_string())).unwrap();
    remove(&home, pack_of(&home.repository, &home.repository.namer().id(ChunkKind::SnapshotCopy, &bytes)));
    home.flip(Area::Snapshots, &name.to_string(), 90);
    assert!(!snapshots(&home, false).hopeless[0].given_up);
    assert_eq!(home.reopen().list_records(Area::Snapshots).unwrap().len(), 2);
    assert!(snapshots_of(&home, &[name.to_string()], false).unwrap().hopeless[0].given_up);
    assert_eq!(home.reopen().list_records(Area::Snapshots).unwrap(), [kept]);
    assert_eq!(errors(&home), 0);
}

#[test]
fn second_copies_of_records_are_stored_again() {
    let home = Home::new();
    let (name, _) = home.commit(items());
    let bytes = std::fs::read(home.path_of(Area::Snapshots, &name.to_string())).unwrap();
    let id = home.repository.namer().id(ChunkKind::SnapshotCopy, &bytes);
    for repair in [|home: &Home| packs(home, false, false).copies, |home: &Home| snapshots(home, false).copies] {
        remove(&home, pack_of(&home.reopen(), &id));
        assert_eq!(errors(&home), 1);
        assert_eq!(repair(&home), 1);
        assert_eq!(errors(&home), 0);
    }
}

#[test]
fn a_pack_that_is_not_there_is_refused_and_a_sound_one_may_be_written_again() {
    let home = Home::new();
    home.commit(items());
    let pack = pack_of(&home.repository, &data_id(&home, b"last"));
    let repair = |pack| {
        let options = PackRepairOptions {
            packs: vec![pack],
            read_data: false,
            compression: Compression::DEFAULT,
            dry_run: false,
        };
        repair_packs(&home.reopen(), &options, &Silent)
    };
    let missing = repair(PackName::from_bytes([7; 32]));
    assert!(matches!(missing, Err(SnapshotError::Store(StoreError::Missing { .. }))), "{missing:?}");
    assert!(repair(pack).unwrap().lost.is_empty());
    assert!(pack_of(&home.repository, &data_id(&home, b"last")) != pack);
    assert_eq!(errors(&home), 0);
}

/// Two snapshots, the second of which has seen the first. Of neither anything is lost.
fn seen(home: &Home) -> [SnapshotName; 2] {
    let (first, _) = home.commit(items());
    let (second, _) = home.commit_with(vec![file("x", b"x")], |snapshot, _| snapshot.heads = vec![*first.as_bytes()]);
    [first, second]
}

fn lose(home: &Home, name: SnapshotName) {
    std::fs::remove_file(home.path_of(Area::Snapshots, &name.to_string())).unwrap();
}

fn look(home: &Home) -> (u64, Vec<SnapshotName>, bool) {
    let report = check(&home.reopen(), &CheckOptions { data: None, clock: &|| std::time::Duration::ZERO }, &Silent);
    let report = report.unwrap();
    (report.num_errors(), report.lost_snapshots().collect(), report.suggest_prune())
}

#[test]
fn what_another_snapshot_has_seen_is_lost_and_what_nobody_has_seen_may_be() {
    let home = Home::new();
    let [first, second] = seen(&home);
    lose(&home, first);
    assert_eq!(look(&home), (1, vec![first], false));
    assert_eq!(snapshots(&home, false).returned[0].outcome, ReturnedAs::Back);
    lose(&home, second);
    assert_eq!(look(&home), (0, vec![second], false), "its backup may never have come to its end");
    assert!(!snapshots(&home, false).returned[0].was_committed);
    assert_eq!((look(&home), paths(&home, first).len()), ((0, vec![], false), 4));
    home.repository.forget_snapshot(first).unwrap();
    assert_eq!(look(&home), (0, vec![], true), "it was dropped on purpose, and others have seen it");
}

#[test]
fn a_prune_keeps_what_a_lost_snapshot_needs_until_it_is_brought_back() {
    let home = Home::new();
    for lost in [0, 1] {
        let both = seen(&home);
        lose(&home, both[lost]);
        let repository = home.reopen();
        crate::prune::tests::prune_all(&repository, &[both[lost]]);
        assert_eq!(snapshots(&home, false).returned[0].outcome, ReturnedAs::Back);
        assert_eq!(paths(&home, both[0]).len(), 4);
        assert_eq!(errors(&home), 0);
    }
}

#[test]
fn of_a_lost_snapshot_that_is_not_whole_the_rest_comes_back_if_it_is_named() {
    let home = Home::new();
    home.commit(vec![file("a", b"lost")]);
    let (name, _) = home.commit(vec![file("a", b"lost"), file("b", b"kept")]);
    remove(&home, pack_of(&home.repository, &data_id(&home, b"lost")));
    lose(&home, name);
    assert!(matches!(snapshots(&home, false).returned[0].outcome, ReturnedAs::Incomplete(_)));
    let named = snapshots_of(&home, &[name.to_string()], false).unwrap();
    assert_eq!(named.returned[0].outcome, ReturnedAs::Back);
    assert_eq!(paths(&home, named.rewritten[0].name.unwrap()), ["/b"]);
    assert_eq!(errors(&home), 0);
}

#[test]
fn what_a_live_session_is_about_to_commit_is_left_to_it() {
    let home = Home::new();
    let (name, _) = home.commit(items());
    let path = home.path_of(Area::Snapshots, &name.to_string());
    let bytes = std::fs::read(&path).unwrap();
    // Its copy gets into a pack of a session that is at work.
    remove(&home, pack_of(&home.repository, &home.repository.namer().id(ChunkKind::SnapshotCopy, &bytes)));
    let (mode, repository) = (treering_store::SessionMode::Store, home.reopen());
    let session = treering_store::Session::start(&repository, None, Compression::DEFAULT, mode).unwrap();
    let mut sink = session.sink().unwrap();
    sink.put_again(ChunkKind::SnapshotCopy, &bytes).unwrap();
    sink.flush().unwrap();
    session.flush().unwrap();
    lose(&home, name);
    assert_eq!(snapshots(&home, false), SnapshotsRepaired::default());
    assert!(!path.exists());
    drop((sink, session));
    assert_eq!(snapshots(&home, false).returned[0].outcome, ReturnedAs::Back);
}

#[test]
fn the_original_is_newer_than_what_a_repair_has_made_of_it() {
    let home = Home::new();
    let (name, _) = home.commit(items());
    let pack = pack_of(&home.repository, &data_id(&home, b"last"));
    let (path, aside) = (home.path_of(Area::Packs, &pack.to_string()), home.folder.path().join("aside"));
    std::fs::rename(&path, &aside).unwrap();
    assert_eq!(snapshots(&home, false).rewritten.len(), 1);
    std::fs::rename(&aside, &path).unwrap();
    let repository = home.reopen();
    let [kept] = &crate::undelete::list(&repository).unwrap()[..] else { panic!() };
    crate::undelete::undelete(&repository, kept, &Silent).unwrap();
    let all = Snapshot::read_all(&repository).unwrap();
    let latest = crate::select::resolve(&all, "latest", &Default::default()).unwrap();
    assert_eq!((all.snapshots.len(), latest.0), (2, name));
}
