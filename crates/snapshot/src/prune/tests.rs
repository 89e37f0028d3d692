//! Pruning beside everything that may happen meanwhile. The same from outside: `tests/tests/prune.rs`.

use super::*;
use crate::check::{CheckOptions, DataOptions, check};
use crate::progress::Silent;
use crate::record::Snapshot;
use crate::testing::{Home, Item, file, noise};
use crate::undelete;

const MB: usize = 1 << 20;

fn options(clock: &dyn Fn() -> Duration) -> PruneOptions<'_> {
    PruneOptions {
        max_unused: Unused::Bytes(0),
        max_repack_bytes: u64::MAX,
        repack_smaller_than: 0,
        max_duration: None,
        may_free_most: true,
        compression: Compression::DEFAULT,
        clock,
    }
}

fn still() -> Duration {
    Duration::ZERO
}

fn plan<'r>(repository: &'r Arc<Repository>, dropped: &[SnapshotName]) -> Result<Pruning<'r>> {
    Pruning::start(repository, dropped.iter().copied().collect(), &options(&still), &Silent)
}

fn apply(pruning: Pruning<'_>) -> PruneReport {
    pruning.apply(&options(&still), &Silent).unwrap()
}

fn prune(home: &Home, dropped: &[SnapshotName]) -> PruneReport {
    apply(plan(&home.repository, dropped).unwrap())
}

/// Frees all that can be freed, and says that these snapshots are lost.
pub(crate) fn prune_all(repository: &Arc<Repository>, lost: &[SnapshotName]) {
    let pruning = plan(repository, &[]).unwrap();
    assert_eq!(pruning.plan().lost, lost);
    apply(pruning);
}

fn files(seeds: std::ops::Range<u64>) -> Vec<Item> {
    seeds.map(|seed| file(&format!("f{seed:03}"), &noise(seed, 30_000))).collect()
}

fn stored(home: &Home) -> u64 {
    home.repository.list_packs().unwrap().iter().map(|(_, bytes)| bytes).sum()
}

/// Everything reads as it should, and nothing is left over but what is in packs that stay.
#[track_caller]
fn assert_whole(home: &Home, snapshots: u64) {
    let reopened = home.reopen();
    let report =
        check(&reopened, &CheckOptions { data: Some(DataOptions::default()), clock: &still }, &Silent).unwrap();
    assert_eq!(report.num_errors(), 0, "{:?}", report.findings);
    assert_eq!(report.snapshots, snapshots);
}

#[test]
fn what_only_a_dropped_snapshot_needs_goes_and_the_rest_stays_readable() {
    let home = Home::new();
    let (one, _) = home.commit(files(0..40));
    home.commit(files(20..60));
    let before = stored(&home);
    let pruning = plan(&home.repository, &[one]).unwrap();
    let planned = pruning.plan().clone();
    assert_eq!((planned.snapshots, planned.stored_bytes()), (1, before));
    let report = apply(pruning);
    assert_eq!(report.repacked.0, planned.with(Action::Repack).count() as u64);
    assert_eq!(report.removed.0, planned.with(Action::Remove).count() as u64);
    assert!(report.spared == 0 && report.damaged.is_empty() && !report.is_out_of_time, "{report:?}");
    let freed = before - stored(&home);
    assert!(freed.abs_diff(planned.freed_bytes()) < freed / 10, "{freed} of {} planned", planned.freed_bytes());
    assert!(freed > 550_000, "{freed}");
    assert_whole(&home, 1);
    let again = plan(&home.repository, &[]).unwrap();
    assert_eq!((again.plan().freed_bytes(), again.plan().with(Action::Keep).count()), (0, again.plan().packs.len()));
}

#[test]
fn nothing_is_dropped_unasked_and_an_equal_state_gives_an_equal_plan() {
    let home = Home::new();
    home.commit(files(0..5));
    home.commit(files(3..9));
    let before = home.repository.list_packs().unwrap();
    assert_eq!(plan(&home.repository, &[]).unwrap().plan(), plan(&home.reopen(), &[]).unwrap().plan());
    let report = prune(&home, &[]);
    assert_eq!((report.removed.0, report.repacked.0), (0, 0));
    let sorted = |mut packs: Vec<(PackName, u64)>| {
        packs.sort_unstable();
        packs
    };
    assert_eq!(sorted(home.repository.list_packs().unwrap()), sorted(before));
    assert_whole(&home, 2);
}

#[test]
fn whole_frames_are_copied_as_they_are() {
    let home = Home::new();
    let (dropped, _) = home.commit(vec![file("gone", &noise(1, MB))]);
    // Both files of this one share a pack, each with frames of its own.
    let (half, _) = home.commit(vec![file("goes", &noise(2, MB)), file("stays", &noise(3, MB))]);
    home.commit(vec![file("stays", &noise(3, MB))]);
    let report = prune(&home, &[dropped, half]);
    assert!(report.removed.0 >= 1 && report.repacked.0 >= 1, "{report:?}");
    assert!(report.written_bytes < MB as u64 + (MB / 4) as u64, "{report:?}");
    assert_whole(&home, 1);
}

#[test]
fn a_snapshot_that_appears_meanwhile_keeps_what_it_needs() {
    let home = Home::new();
    let (one, _) = home.commit(files(0..20));
    home.commit(files(50..52));
    let pruning = plan(&home.repository, &[one]).unwrap();
    assert!(pruning.plan().with(Action::Remove).count() > 0);
    // Found in packs that are to go.
    home.commit(files(0..20));
    let report = apply(pruning);
    assert!(report.spared > 0, "{report:?}");
    assert_whole(&home, 2);
}

#[test]
fn a_snapshot_that_appears_while_its_packs_are_repacked_keeps_what_it_needs() {
    let home = Home::new();
    let (one, _) = home.commit(files(0..20));
    home.commit(files(10..12));
    let pruning = plan(&home.repository, &[one]).unwrap();
    assert!(pruning.plan().with(Action::Repack).count() > 0);
    home.commit(files(0..20));
    apply(pruning);
    assert_whole(&home, 2);
}

#[test]
fn packs_and_parents_of_live_sessions_stay() {
    let home = Home::new();
    let (parent, made) = home.commit(files(0..20));
    home.commit(files(50..52));
    let session = Session::start(&home.repository, Some(parent), Compression::DEFAULT, SessionMode::Store).unwrap();
    let mut sink = session.sink().unwrap();
    sink.put(ChunkKind::Data, &noise(99, 5000)).unwrap();
    sink.flush().unwrap();
    session.flush().unwrap();
    let [(own, _)] = session.published()[..] else { panic!() };
    prune(&home, &[parent]);
    assert!(home.repository.list_packs().unwrap().iter().any(|(name, _)| *name == own));
    // It takes everything over from its parent without looking it up.
    let child = Snapshot { parent: Some(*parent.as_bytes()), ..made };
    session.commit(child.encode().unwrap()).unwrap();
    drop(session);
    assert_whole(&home, 2);
    // The parent itself can still be brought back: it was in use.
    let kept = undelete::list(&home.repository).unwrap();
    assert_eq!(kept.len(), 1);
    undelete::undelete(&home.repository, &kept[0], &Silent).unwrap();
    assert_whole(&home, 3);
}

#[test]
fn a_reader_follows_what_was_moved_and_says_what_is_gone() {
    let home = Home::new();
    let (one, _) = home.commit(files(0..40));
    home.commit(files(20..60));
    let elsewhere = home.reopen();
    let mut reader = elsewhere.reader().unwrap();
    let id = |seed| elsewhere.namer().id(ChunkKind::Data, &noise(seed, 30_000)[..1000]);
    reader.place(&id(5)).unwrap();
    prune(&home, &[one]);
    for seed in 20..60 {
        assert_eq!(reader.get(ChunkKind::Data, &id(seed)).unwrap(), noise(seed, 30_000)[..1000]);
    }
    assert!(matches!(reader.get(ChunkKind::Data, &id(5)), Err(StoreError::ChunkMissing { .. })));
}

#[test]
fn two_prunes_that_chose_alike_do_each_other_no_harm() {
    let home = Home::new();
    let (one, _) = home.commit(files(0..40));
    home.commit(files(20..60));
    home.repository.forget_snapshot(one).unwrap();
    let other = home.reopen();
    let (first, second) = (plan(&home.repository, &[]).unwrap(), plan(&other, &[]).unwrap());
    apply(first);
    apply(second);
    assert_whole(&home, 1);
    prune(&home, &[]);
    assert_whole(&home, 1);
}

#[test]
fn a_prune_that_dies_after_copying_is_finished_by_the_next() {
    let home = Home::new();
    let (one, _) = home.commit(files(0..40));
    home.commit(files(20..60));
    let pruning = plan(&home.repository, &[one]).unwrap();
    pruning.forget().unwrap();
    let batch: Vec<_> = pruning.plan.with(Action::Repack).copied().collect();
    let copied = copy(&home.repository, &pruning.live, &batch, &options(&still), &Silent).unwrap();
    assert!(!batch.is_empty() && copied.emptied.len() == batch.len() && copied.written_bytes > 0);
    drop(pruning);
    let doubled = stored(&home);
    assert_whole(&home, 1);
    prune(&home, &[]);
    assert!(stored(&home) + copied.written_bytes <= doubled);
    assert_whole(&home, 1);
}

#[test]
fn it_refuses_what_cannot_be_meant() {
    let home = Home::new();
    let (one, _) = home.commit(files(0..20));
    assert!(matches!(plan(&home.repository, &[one]), Err(SnapshotError::NothingWouldRemain)));
    home.commit(vec![file("small", b"x")]);
    let pruning = plan(&home.repository, &[one]).unwrap();
    assert!(pruning.frees_most());
    let careful = PruneOptions { may_free_most: false, ..options(&still) };
    assert!(matches!(pruning.apply(&careful, &Silent), Err(SnapshotError::TooMuch { .. })));
    assert_whole(&home, 2);
    home.flip(Area::Snapshots, &one.to_string(), -1);
    assert!(matches!(plan(&home.repository, &[]), Err(SnapshotError::NotWhole { snapshot, .. }) if snapshot == one));
}

#[test]
fn a_snapshot_whose_tree_is_damaged_stops_it() {
    let home = Home::new();
    home.commit(files(0..5));
    let packs = home.repository.list_packs().unwrap();
    let is_tree = |name: &PackName| {
        home.repository.pack_contents(*name).unwrap().chunks.iter().any(|(_, kind, _)| *kind == ChunkKind::Tree)
    };
    let tree = packs.iter().map(|(name, _)| *name).find(is_tree).unwrap();
    home.flip(Area::Packs, &tree.to_string(), 120);
    let refused = plan(&home.reopen(), &[]).map(|_| ());
    assert!(matches!(refused, Err(SnapshotError::NotWhole { .. })), "{refused:?}");
}

#[test]
fn a_damaged_pack_is_named_and_stays() {
    let home = Home::new();
    let (one, _) = home.commit(files(0..40));
    home.commit(files(20..40));
    let pruning = plan(&home.repository, &[one]).unwrap();
    let victim = *pruning.plan().with(Action::Repack).find(|pack| pack.kind == treering_store::PackKind::Data).unwrap();
    // Frames stand in the order in which they were encoded, so some of these places are in frames that are needed.
    for eighth in 2..=6 {
        home.flip(Area::Packs, &victim.name.to_string(), victim.bytes as i64 * eighth / 8);
    }
    drop(pruning);
    let reopened = home.reopen();
    let report = apply(plan(&reopened, &[one]).unwrap());
    assert_eq!(report.damaged.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [victim.name]);
    assert!(reopened.list_packs().unwrap().iter().any(|(name, _)| *name == victim.name));
}

#[test]
fn time_and_amount_of_repacking_are_bounded_and_the_next_run_goes_on() {
    let home = Home::new();
    let (one, _) = home.commit(files(0..40));
    home.commit(files(20..60));
    home.repository.forget_snapshot(one).unwrap();
    let minute = Duration::from_secs(60);
    let in_no_time = PruneOptions { max_duration: Some(Duration::ZERO), ..options(&still) };
    let pruning = Pruning::start(&home.repository, BTreeSet::new(), &in_no_time, &Silent).unwrap();
    let report = pruning.apply(&in_no_time, &Silent).unwrap();
    assert!(report.is_out_of_time && report.repacked.0 == 0);
    let nothing = PruneOptions { max_repack_bytes: 0, max_duration: Some(minute), ..options(&still) };
    let pruning = Pruning::start(&home.repository, BTreeSet::new(), &nothing, &Silent).unwrap();
    assert_eq!(pruning.plan().with(Action::Repack).count(), 0);
    assert!(prune(&home, &[]).repacked.0 > 0);
    assert_whole(&home, 1);
}

#[test]
fn forgotten_snapshots_come_back_until_they_are_pruned() {
    let home = Home::new();
    let (one, _) = home.commit(files(0..20));
    home.commit(files(10..30));
    home.repository.forget_snapshot(one).unwrap();
    let kept = undelete::list(&home.repository).unwrap();
    assert_eq!(kept.iter().map(|((name, _), _)| *name).collect::<Vec<_>>(), [one]);
    undelete::undelete(&home.repository, &kept[0], &Silent).unwrap();
    assert_eq!(undelete::list(&home.repository).unwrap().len(), 0);
    assert_whole(&home, 2);
    home.repository.forget_snapshot(one).unwrap();
    let [kept] = &undelete::list(&home.repository).unwrap()[..] else { panic!() };
    assert_eq!(plan(&home.repository, &[]).unwrap().plan().ended, 1);
    prune(&home, &[]);
    assert_eq!(plan(&home.repository, &[]).unwrap().plan().ended, 0);
    assert_eq!(undelete::list(&home.repository).unwrap().len(), 0);
    let refused = undelete::undelete(&home.reopen(), kept, &Silent);
    assert!(matches!(refused, Err(SnapshotError::CannotBringBack { snapshot, .. }) if snapshot == one), "{refused:?}");
    assert_whole(&home, 1);
}

#[test]
fn second_copies_of_pruned_snapshots_are_remembered_while_they_lie_in_packs() {
    let home = Home::new();
    let (one, _) = home.commit(files(0..3));
    home.commit(files(0..3));
    let bytes = home.repository.record_bytes(one).unwrap();
    let copy = home.repository.namer().id(ChunkKind::SnapshotCopy, &bytes);
    home.repository.forget_snapshot(one).unwrap();
    let lazy = PruneOptions { max_unused: Unused::Unlimited, ..options(&still) };
    // Alone in its pack, the copy would go with it: here it lies beside the tree that both share.
    let alone = plan(&home.repository, &[]).unwrap().plan().with(Action::Remove).count();
    Pruning::start(&home.repository, BTreeSet::new(), &lazy, &Silent).unwrap().apply(&lazy, &Silent).unwrap();
    let (_, pruned) = read_pruned(&home.repository).unwrap();
    let is_there = home.reopen().reader().unwrap().has(&copy).unwrap();
    assert_eq!(pruned.contains(&copy), is_there, "{alone}");
    prune(&home, &[]);
    assert!(!read_pruned(&home.repository).unwrap().1.contains(&copy));
    assert_whole(&home, 1);
}

#[test]
fn a_snapshot_that_is_visible_is_never_counted_among_the_pruned() {
    let home = Home::new();
    let (one, _) = home.commit(files(0..5));
    let bytes = home.repository.record_bytes(one).unwrap();
    // A forget that died before it could remove the snapshot.
    home.repository.put_record(&Record::new(RecordKind::FORGOTTEN, bytes.clone())).unwrap();
    let [kept] = &home.repository.list_forgotten().unwrap()[..] else { panic!() };
    prune(&home, &[]);
    assert_eq!(read_pruned(&home.repository).unwrap().1, BTreeSet::new());
    assert_eq!(home.repository.list_forgotten().unwrap(), []);
    // Nor is one brought back that a prune has ended since it was listed.
    let refused = home.repository.bring_back(kept, &[]);
    assert!(matches!(refused, Err(StoreError::Missing { .. })), "{refused:?}");
    assert_whole(&home, 1);
}

#[test]
fn a_snapshot_comes_back_with_the_second_copy_that_an_interrupted_prune_took() {
    let home = Home::new();
    let (one, _) = home.commit(files(0..5));
    home.commit(files(0..5));
    home.repository.forget_snapshot(one).unwrap();
    // It got as far as the packs that nobody needs: that of the copy.
    let pruning = plan(&home.repository, &[]).unwrap();
    let removed: Vec<_> = pruning.plan().with(Action::Remove).map(|pack| pack.name).collect();
    assert_eq!(removed.len(), 1);
    home.repository.start_deletion().unwrap().remove(&removed).unwrap();
    drop(pruning);
    let reopened = home.reopen();
    undelete::undelete(&reopened, &undelete::list(&reopened).unwrap()[0], &Silent).unwrap();
    assert_whole(&home, 2);
}
