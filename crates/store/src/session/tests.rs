//! The writer's half of the protocol, with packs and parents taken away under it.

use super::*;
use crate::pack::PackKind;
use crate::storage::{Folder, Storage};
use crate::{DerivationCost, Encryption, InitOptions, KeyFile, OsEntropy, Unlock};
use treering_chunk::CutSizes;

struct Home {
    _folder: tempfile::TempDir,
    storage: Arc<dyn Storage>,
    repository: Arc<Repository>,
    key: KeyFile,
}

fn home() -> Home {
    let folder = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Folder::new(folder.path().join("rings")));
    let key = KeyFile::generate(&OsEntropy).unwrap();
    let options = InitOptions {
        encryption: Encryption::Aes256Gcm,
        unlocks: vec![(Unlock::KeyFile(key.clone()), "test".into())],
        cost: DerivationCost::FLOOR,
        created: 0,
        cut_sizes: CutSizes::new(64 << 10, 8 << 10).unwrap(),
        frame_bytes: 64 << 10,
    };
    let cache = folder.path().join("cache");
    let repository = Repository::init(Arc::clone(&storage), &options, Arc::new(OsEntropy), cache).unwrap();
    Home { _folder: folder, storage, repository: Arc::new(repository), key }
}

impl Home {
    fn reopen(&self) -> Arc<Repository> {
        let cache = self._folder.path().join("cache");
        let unlock = Unlock::KeyFile(self.key.clone());
        Arc::new(Repository::open(Arc::clone(&self.storage), &unlock, Arc::new(OsEntropy), cache).unwrap())
    }
}

fn start(repository: &Arc<Repository>, parent: Option<RecordName>) -> Session {
    Session::start(repository, parent, Compression::DEFAULT, SessionMode::Store).unwrap()
}

fn chunk(seed: u32) -> Vec<u8> {
    let mut bytes = vec![0; 10_000];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Puts these chunks and says which were new.
fn put(session: &Session, seeds: std::ops::Range<u32>) -> Vec<Stored> {
    let mut sink = session.sink().unwrap();
    let stored = seeds.map(|seed| sink.put(ChunkKind::Data, &chunk(seed)).unwrap()).collect();
    sink.flush().unwrap();
    stored
}

fn assert_readable(repository: &Repository, seeds: std::ops::Range<u32>) {
    let mut reader = repository.reader().unwrap();
    for seed in seeds {
        let id = repository.namer().id(ChunkKind::Data, &chunk(seed));
        assert_eq!(reader.get(ChunkKind::Data, &id).unwrap(), chunk(seed), "chunk {seed}");
        assert!(reader.get(ChunkKind::Tree, &id).is_err());
    }
}

fn data_packs(home: &Home) -> Vec<PackName> {
    let packs = home.repository.list_packs().unwrap();
    packs
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| home.repository.pack_contents(*name).unwrap().kind == PackKind::Data)
        .collect()
}

#[test]
fn what_is_committed_is_read_back_and_never_stored_twice() {
    let home = home();
    let session = start(&home.repository, None);
    assert!(put(&session, 0..100).iter().all(|stored| stored.is_new));
    assert!(put(&session, 0..100).iter().all(|stored| !stored.is_new));
    let name = session.commit(b"one".to_vec()).unwrap();
    drop(session);
    let reopened = home.reopen();
    assert_eq!(reopened.read_record(Area::Snapshots, name).unwrap().body, b"one");
    assert_readable(&reopened, 0..100);
    let again = start(&reopened, Some(name));
    assert!(put(&again, 0..100).iter().all(|stored| !stored.is_new));
    assert_eq!(home.storage.list(Area::Snapshots).unwrap().len(), 1);
}

#[test]
fn an_interrupted_session_leaves_its_packs_for_the_next() {
    let home = home();
    let session = start(&home.repository, None);
    put(&session, 0..50);
    session.flush().unwrap();
    put(&session, 50..60);
    drop(session);
    let next = home.reopen();
    std::fs::remove_dir_all(home._folder.path().join("rings/index")).unwrap();
    let stored = put(&start(&next, None), 0..60);
    assert!(stored[..50].iter().all(|stored| !stored.is_new), "what was published is found again");
}

#[test]
fn a_pack_that_vanishes_is_noticed_and_its_chunks_are_stored_again() {
    let home = home();
    let first = start(&home.repository, None);
    put(&first, 0..20);
    let parent = first.commit(b"first".to_vec()).unwrap();
    drop(first);
    let session = start(&home.repository, None);
    assert!(put(&session, 0..30)[..20].iter().all(|stored| !stored.is_new));
    home.repository.forget_snapshot(parent).unwrap();
    let [pack] = data_packs(&home)[..] else { panic!() };
    home.storage.remove(Area::Packs, &pack.to_string()).unwrap();
    let refused = session.commit(b"second".to_vec());
    assert!(matches!(&refused, Err(StoreError::PacksGone { packs }) if *packs == [pack.to_string()]), "{refused:?}");
    assert_eq!(home.storage.list(Area::Snapshots).unwrap(), []);
    // Nobody is to take what was not committed for lost.
    let records = home.repository.list_records(Area::Records).unwrap().into_iter();
    let kinds: Vec<_> = records.map(|name| home.repository.read_record(Area::Records, name).unwrap().kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == RecordKind::PRUNED).count(), 1);
    let again = put(&session, 0..30);
    assert!(again[..20].iter().all(|stored| stored.is_new) && again[20..].iter().all(|stored| !stored.is_new));
    session.commit(b"second".to_vec()).unwrap();
    assert_readable(&home.reopen(), 0..30);
}

#[test]
fn an_own_pack_that_vanishes_is_noticed_too() {
    let home = home();
    let session = start(&home.repository, None);
    put(&session, 0..20);
    session.flush().unwrap();
    let [pack] = data_packs(&home)[..] else { panic!() };
    home.storage.remove(Area::Packs, &pack.to_string()).unwrap();
    assert!(matches!(session.commit(vec![]), Err(StoreError::PacksGone { .. })));
    assert!(put(&session, 0..20).iter().all(|stored| stored.is_new));
    session.commit(vec![]).unwrap();
    assert_readable(&home.reopen(), 0..20);
}

#[test]
fn no_more_keys_are_made_than_are_ever_tried() {
    let home = home();
    let add = || {
        let key = Unlock::KeyFile(KeyFile::generate(&OsEntropy).unwrap());
        home.repository.add_key(&key, DerivationCost::FLOOR, 0, "more")
    };
    for number in 2..crate::limits::KEY_SLOTS_MOST {
        std::fs::write(home._folder.path().join(format!("rings/keys/{number:064x}")), b"a slot").unwrap();
    }
    add().unwrap();
    assert!(matches!(add(), Err(StoreError::Limit { limit: 256, .. })));
}

#[test]
fn a_parent_that_is_gone_is_refused() {
    let home = home();
    let session = start(&home.repository, None);
    let parent = session.commit(vec![]).unwrap();
    drop(session);
    home.repository.forget_snapshot(parent).unwrap();
    let refused = Session::start(&home.repository, Some(parent), Compression::DEFAULT, SessionMode::Store);
    assert!(matches!(refused, Err(StoreError::ParentGone { name }) if name == parent));
}

/// A snapshot of these chunks on top of a parent, which is vouched for.
fn vouched(repository: &Arc<Repository>, parent: Option<RecordName>, seeds: std::ops::Range<u32>) -> RecordName {
    let session = start(repository, parent);
    put(&session, seeds);
    let name = session.commit(b"whole".to_vec()).unwrap();
    session.vouch_for(&name);
    name
}

fn is_trusted(repository: &Arc<Repository>, parent: RecordName) -> bool {
    start(repository, Some(parent)).trusts_parent()
}

#[test]
fn a_parent_is_trusted_until_a_pack_is_lost() {
    let home = home();
    let one = vouched(&home.repository, None, 0..20);
    let [first] = data_packs(&home)[..] else { panic!() };
    let unvouched = start(&home.repository, Some(one)).commit(vec![]).unwrap();
    assert!(is_trusted(&home.reopen(), one) && !is_trusted(&home.reopen(), unvouched));
    // What a prune deletes was needed by none of the snapshots that it saw.
    let needless = vouched(&home.repository, Some(one), 20..30);
    home.repository.forget_snapshot(needless).unwrap();
    let doomed: Vec<_> = data_packs(&home).into_iter().filter(|pack| *pack != first).collect();
    home.repository.start_deletion().unwrap().remove(&doomed).unwrap();
    assert!(is_trusted(&home.repository, one) && is_trusted(&home.reopen(), one));
    assert!(!home.reopen().index().unwrap().is_whole(&needless).unwrap());
    // Whoever is at work when a loss is noticed vouches for nothing, and learns it.
    let early = start(&home.repository, Some(one));
    home.storage.remove(Area::Packs, &first.to_string()).unwrap();
    assert!(early.still_trusts_parent() && !is_trusted(&home.reopen(), one));
    early.vouch_for(&unvouched);
    assert!(early.trusts_parent() && !early.still_trusts_parent() && !early.trusts_parent());
    assert!(!is_trusted(&home.reopen(), one) && !is_trusted(&home.reopen(), unvouched));
    let two = vouched(&home.reopen(), Some(one), 0..20);
    assert!(is_trusted(&home.reopen(), two) && !is_trusted(&home.reopen(), one));
    // What a deletion finds gone already is lost.
    let packs = data_packs(&home);
    home.storage.remove(Area::Packs, &packs[0].to_string()).unwrap();
    home.repository.start_deletion().unwrap().remove(&[first]).unwrap();
    assert!(!is_trusted(&home.reopen(), two));
}

#[test]
fn an_index_made_anew_trusts_no_parent() {
    let home = home();
    let name = vouched(&home.repository, None, 0..20);
    std::fs::remove_dir_all(home._folder.path().join("rings/index")).unwrap();
    assert!(!is_trusted(&home.reopen(), name));
}

#[test]
fn a_commit_waits_for_a_deletion() {
    let home = home();
    let session = start(&home.repository, None);
    put(&session, 0..5);
    let deleting = home.storage.lock(LockMode::Exclusive).unwrap();
    std::thread::scope(|scope| {
        let committing = scope.spawn(|| session.commit(vec![]));
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(home.storage.list(Area::Snapshots).unwrap(), []);
        drop(deleting);
        committing.join().unwrap().unwrap();
    });
}

/// The failure comes while the flush waits in the queue behind the pack that fails.
#[test]
fn a_pack_that_cannot_be_published_ends_the_flush() {
    for _ in 0..5 {
        let home = home();
        let session = start(&home.repository, None);
        put(&session, 0..20);
        let packs = home._folder.path().join("rings/packs");
        std::fs::remove_dir_all(&packs).unwrap();
        // The folder itself would be made again.
        std::fs::write(&packs, b"").unwrap();
        let (sender, receiver) = bounded(1);
        std::thread::spawn(move || sender.send(session.flush()));
        let flushed = receiver.recv_timeout(std::time::Duration::from_secs(60)).expect("the flush hangs");
        assert!(matches!(flushed, Err(StoreError::Io { .. })), "{flushed:?}");
    }
}

#[test]
fn a_live_session_is_seen_and_names_its_packs_before_they_appear() {
    let home = home();
    let session = start(&home.repository, None);
    put(&session, 0..20);
    session.flush().unwrap();
    let registered = std::fs::read_dir(home._folder.path().join("rings/sessions")).unwrap().next().unwrap().unwrap();
    let bytes = std::fs::read(registered.path()).unwrap();
    for pack in data_packs(&home) {
        assert!(bytes.windows(32).any(|window| window == pack.as_bytes()));
    }
    assert!(std::fs::File::open(registered.path()).unwrap().try_lock().is_err());
    drop(session);
    assert!(!registered.path().exists());
}

#[test]
fn a_dry_run_stores_nothing_and_counts() {
    let home = home();
    let session = Session::start(&home.repository, None, Compression::DEFAULT, SessionMode::DryRun).unwrap();
    put(&session, 0..20);
    session.flush().unwrap();
    let (chunks, raw, data, _) = session.stored();
    assert_eq!((chunks, raw), (20, 200_000));
    assert!(data > 200_000 && data < 203_000, "{data}");
    assert_eq!(home.storage.list(Area::Packs).unwrap(), []);
}

#[test]
fn the_index_may_be_lost_garbled_or_anothers_at_any_time() {
    let (home, other) = (home(), self::home());
    for home in [&home, &other] {
        let session = start(&home.repository, None);
        put(&session, 0..40);
        session.commit(vec![]).unwrap();
    }
    let path = |home: &Home| home._folder.path().join("rings/index/index.db");
    type Harm<'a> = Box<dyn Fn() + 'a>;
    let harms: [(&str, Harm<'_>); 4] = [
        ("deleted", Box::new(|| std::fs::remove_file(path(&home)).unwrap())),
        ("garbled", Box::new(|| std::fs::write(path(&home), [7; 20_000]).unwrap())),
        (
            "cut short",
            Box::new(|| std::fs::File::options().write(true).open(path(&home)).unwrap().set_len(5000).unwrap()),
        ),
        ("another repository's", Box::new(|| assert!(std::fs::copy(path(&other), path(&home)).unwrap() > 0))),
    ];
    for (how, harm) in harms {
        harm();
        for suffix in ["-wal", "-shm"] {
            drop(std::fs::remove_file(format!("{}{suffix}", path(&home).display())));
        }
        let reopened = home.reopen();
        assert_readable(&reopened, 0..40);
        let notices = format!("{:?}", reopened.take_notices());
        assert!(notices.contains("uilt"), "{how}: {notices}");
        assert_readable(&home.reopen(), 0..40);
        assert_eq!(home.reopen().take_notices(), []);
    }
}

#[test]
fn an_index_that_was_rolled_back_costs_time_only() {
    let home = home();
    let commit = |seeds| {
        let session = start(&home.reopen(), None);
        put(&session, seeds);
        session.commit(vec![]).unwrap();
    };
    commit(0..20);
    let packs = home.repository.list_packs().unwrap();
    let path = home._folder.path().join("rings/index/index.db");
    let old = home._folder.path().join("old.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("VACUUM INTO ?1", [old.to_str().unwrap()]).unwrap();
    drop(connection);
    commit(20..40);
    // What the old index knows is gone, and lies elsewhere.
    packs.iter().for_each(|(name, _)| home.storage.remove(Area::Packs, &name.to_string()).unwrap());
    commit(0..20);
    for suffix in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(format!("{}{suffix}", path.display())));
    }
    std::fs::rename(old, &path).unwrap();
    let reopened = home.reopen();
    assert_readable(&reopened, 0..40);
    let session = start(&reopened, None);
    assert!(put(&session, 0..40).iter().all(|stored| !stored.is_new));
}

#[test]
fn of_another_repositorys_pack_nothing_is_taken() {
    let (home, other) = (home(), self::home());
    let session = start(&other.repository, None);
    put(&session, 0..20);
    session.commit(vec![]).unwrap();
    let packs = other.repository.list_packs().unwrap();
    for (name, _) in &packs {
        let path = |home: &Home| home._folder.path().join(format!("rings/packs/{}/{name}", &name.to_string()[..2]));
        std::fs::create_dir_all(path(&home).parent().unwrap()).unwrap();
        std::fs::copy(path(&other), path(&home)).unwrap();
    }
    let reopened = home.reopen();
    let session = start(&reopened, None);
    assert!(put(&session, 0..20).iter().all(|stored| stored.is_new));
    session.commit(vec![]).unwrap();
    assert_readable(&reopened, 0..20);
    for (name, _) in packs {
        let [finding] = &reopened.check_pack(name, crate::PackCheck::Trailer).unwrap()[..] else { panic!("{name}") };
        assert!(finding.detail.contains("another repository"), "{finding:?}");
        assert_eq!(reopened.salvage(name, &mut |_, _| panic!("something was taken")).unwrap().chunks, 0);
    }
}

#[test]
fn one_damaged_copy_of_the_config_or_of_a_key_does_no_harm() {
    let home = home();
    let root = home._folder.path().join("rings");
    let key = std::fs::read_dir(root.join("keys")).unwrap().next().unwrap().unwrap().file_name();
    for copy in ["", "copy"] {
        for path in [root.join(copy).join("config"), root.join(copy).join("keys").join(&key)] {
            let whole = std::fs::read(&path).unwrap();
            for at in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] ^= 1;
                std::fs::write(&path, &damaged).unwrap();
                home.reopen();
            }
            std::fs::remove_file(&path).unwrap();
            home.reopen();
            std::fs::write(&path, &whole).unwrap();
        }
    }
    assert_eq!(home.reopen().take_notices(), []);
}

#[test]
fn one_damaged_header_of_a_pack_does_no_harm_and_is_found() {
    use crate::PackCheck;
    use crate::pack::format::{Footer, PackHeader};
    let home = home();
    let session = start(&home.repository, None);
    put(&session, 0..5);
    session.flush().unwrap();
    let [pack] = data_packs(&home)[..] else { panic!() };
    let path = home._folder.path().join(format!("rings/packs/{}/{pack}", &pack.to_string()[..2]));
    let whole = std::fs::read(&path).unwrap();
    for start in [0, whole.len() - Footer::BYTES] {
        for at in start..start + PackHeader::BYTES {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            let reopened = home.reopen();
            assert_readable(&reopened, 0..5);
            assert_eq!(reopened.check_pack(pack, PackCheck::Trailer).unwrap().len(), 1, "byte {at}");
        }
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(home.reopen().check_pack(pack, PackCheck::Name).unwrap(), []);
}

/// One pack of data with several frames.
fn one_pack(home: &Home, seeds: std::ops::Range<u32>) -> (PackName, std::path::PathBuf) {
    let session = start(&home.repository, None);
    let mut sink = session.sink().unwrap();
    // One after the other, so that frames lie in the order of their chunks.
    for seed in seeds {
        sink.put(ChunkKind::Data, &chunk(seed)).unwrap();
        sink.flush().unwrap();
    }
    session.flush().unwrap();
    let [pack] = data_packs(home)[..] else { panic!() };
    let path = home._folder.path().join(format!("rings/packs/{}/{pack}", &pack.to_string()[..2]));
    (pack, path)
}

fn salvaged(home: &Home, pack: PackName) -> (HashSet<Vec<u8>>, crate::Salvage) {
    let mut chunks = HashSet::new();
    let salvage = home.repository.salvage(pack, &mut |_, bytes| {
        chunks.insert(bytes.to_vec());
        Ok(())
    });
    (chunks, salvage.unwrap())
}

#[test]
fn what_is_whole_of_a_damaged_pack_is_read_with_and_without_its_trailer() {
    let home = home();
    let (pack, path) = one_pack(&home, 0..6);
    let whole = std::fs::read(&path).unwrap();
    let frames = home.repository.pack_unshared(pack).unwrap().trailer(home.repository.keys()).unwrap().frames;
    assert_eq!(frames.len(), 6);
    let end = frames[5].end() as usize;
    let all: HashSet<Vec<u8>> = (0..6).map(chunk).collect();
    let without = |lost: usize| {
        let id = frames[lost].chunks[0].id();
        all.iter().filter(|bytes| home.repository.namer().id(ChunkKind::Data, bytes) != id).cloned().collect()
    };
    for trailer_is_lost in [false, true] {
        // In the header of the frame, in its body, in its tag.
        for (frame, at) in [(0, 2), (0, 9), (2, 40), (3, 20), (5, 35), (5, 10_000)] {
            let mut damaged = whole.clone();
            damaged[frames[frame].offset as usize + at] ^= 1;
            if trailer_is_lost {
                damaged[end + 3] ^= 1;
            }
            std::fs::write(&path, &damaged).unwrap();
            let (chunks, salvage) = salvaged(&home, pack);
            assert_eq!(chunks, without(frame), "frame {frame} at {at}");
            assert_eq!((salvage.has_trailer, salvage.chunks), (!trailer_is_lost, 5));
            assert_eq!(salvage.lost_chunks, u64::from(!trailer_is_lost));
        }
    }
    // A hole in the middle, and an end that is missing.
    let hole = frames[1].offset as usize + 5..frames[3].offset as usize + 5;
    let mut damaged = whole[..frames[5].offset as usize + 100].to_vec();
    damaged[hole].fill(0);
    std::fs::write(&path, &damaged).unwrap();
    assert_eq!(salvaged(&home, pack).1.chunks, 2);
    std::fs::write(&path, []).unwrap();
    assert_eq!(salvaged(&home, pack).1, crate::Salvage::default());
}

/// A header that says it is one, in the midst of nothing, costs a bounded search and nothing else.
#[test]
fn forged_frame_headers_do_not_make_salvage_slow() {
    let home = home();
    let (pack, path) = one_pack(&home, 0..2);
    let whole = std::fs::read(&path).unwrap();
    let frames = home.repository.pack_unshared(pack).unwrap().trailer(home.repository.keys()).unwrap().frames;
    let header = &whole[frames[0].offset as usize..][..28];
    let mut damaged = whole[..frames[0].offset as usize].to_vec();
    (0..2000).for_each(|_| damaged.extend(header));
    damaged.extend(&whole[frames[1].offset as usize..frames[1].end() as usize]);
    std::fs::write(&path, &damaged).unwrap();
    // What would be 20 MB of vain opening in a pack of 66 kB is given up after four times that.
    assert_eq!(salvaged(&home, pack).1.chunks, 0);
}

#[test]
fn what_is_put_again_is_stored_once_more_and_outlives_its_pack() {
    let home = home();
    let (pack, _) = one_pack(&home, 0..5);
    let session = start(&home.repository, None);
    let mut sink = session.sink().unwrap();
    for round in [true, false] {
        for seed in 0..5 {
            assert_eq!(sink.put_again(ChunkKind::Data, &chunk(seed)).unwrap().is_new, round);
        }
    }
    sink.flush().unwrap();
    session.flush().unwrap();
    let [new] = session.packs()[..] else { panic!() };
    assert!(new != pack);
    home.repository.retire_pack(pack).unwrap();
    assert_readable(&home.repository, 0..5);
    assert_eq!(home.repository.take_notices(), []);
    let reopened = home.reopen();
    assert_readable(&reopened, 0..5);
    assert_eq!(reopened.take_notices(), []);
    assert!(put(&session, 0..5).iter().all(|stored| !stored.is_new));
    let [replaced] = &home.repository.replaced().unwrap()[..] else { panic!() };
    assert_eq!(replaced.name, pack.to_string());
    assert_eq!((home.repository.drop_replaced().unwrap(), home.repository.replaced().unwrap()), (1, vec![]));
}

#[test]
fn lost_chunks_are_recorded_and_taken_out_when_they_exist_again() {
    let home = home();
    let id = |seed| home.repository.namer().id(ChunkKind::Data, &chunk(seed));
    let none = home.repository.lost_chunks().unwrap();
    assert!(none.is_empty() && home.storage.list(Area::Records).unwrap().is_empty());
    let record = |seeds: std::ops::Range<u32>| {
        home.repository.record_lost(&none, &seeds.map(|seed| (id(seed), ChunkKind::Data)).collect()).unwrap();
    };
    record(0..3);
    record(2..5);
    // Two records count as one.
    let lost = home.reopen().lost_chunks().unwrap();
    assert_eq!((lost.chunks().len(), lost.contains(&id(4)), lost.contains(&id(5))), (5, true, false));
    let session = start(&home.repository, None);
    assert_eq!(*session.lost(), lost);
    put(&session, 1..4);
    assert_eq!(
        home.repository.heal(&lost, &session.packs()).unwrap(),
        crate::Healed::default(),
        "nothing is published yet"
    );
    session.flush().unwrap();
    let lost = home.repository.lost_chunks().unwrap();
    assert_eq!(home.repository.heal(&lost, &[]).unwrap(), crate::Healed { chunks: 3, bytes: 30_000 });
    let lost = home.reopen().lost_chunks().unwrap();
    assert_eq!(lost.chunks().keys().copied().collect::<HashSet<_>>(), HashSet::from([id(0), id(4)]));
    put(&session, 0..5);
    session.flush().unwrap();
    home.repository.heal(&lost, &session.packs()).unwrap();
    assert!(home.storage.list(Area::Records).unwrap().is_empty());
}

#[test]
fn indexes_that_are_made_anew_at_once_do_no_harm() {
    let home = home();
    let session = start(&home.repository, None);
    put(&session, 0..40);
    session.commit(vec![]).unwrap();
    std::fs::write(home._folder.path().join("rings/index/index.0.new"), b"left by the dead").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let mine = home.reopen();
                    mine.repair_index().unwrap();
                    assert_readable(&mine, 0..40);
                }
            });
        }
    });
    assert_readable(&home.reopen(), 0..40);
    assert_eq!(home.reopen().take_notices(), []);
    let names = std::fs::read_dir(home._folder.path().join("rings/index")).unwrap();
    assert!(names.flatten().all(|entry| entry.path().extension().is_none_or(|extension| extension != "new")));
}

#[test]
fn each_copy_of_the_config_and_of_a_key_is_made_whole_from_the_other() {
    use crate::CopyRepair::{Lost, Replaced, Restored};
    let home = home();
    let root = home._folder.path().join("rings");
    let key = std::fs::read_dir(root.join("keys")).unwrap().next().unwrap().unwrap().file_name();
    assert_eq!(home.repository.repair_config(false).unwrap(), []);
    for copy in ["", "copy"] {
        for path in [root.join(copy).join("config"), root.join(copy).join("keys").join(&key)] {
            let whole = std::fs::read(&path).unwrap();
            let harms: [(&dyn Fn(), crate::CopyRepair); 3] = [
                (&|| std::fs::remove_file(&path).unwrap(), Restored),
                (&|| std::fs::write(&path, [&whole[..70], &[0; 900]].concat()).unwrap(), Replaced),
                (&|| std::fs::write(&path, vec![0; 1 << 20]).unwrap(), Replaced),
            ];
            for (harm, expected) in harms {
                harm();
                let repository = home.reopen();
                let planned = repository.repair_config(true).unwrap();
                assert_eq!(planned.iter().map(|found| found.repair).collect::<Vec<_>>(), [expected]);
                assert_eq!(repository.repair_config(false).unwrap(), planned);
                assert_eq!(std::fs::read(&path).unwrap(), whole);
                assert_eq!(home.reopen().repair_config(false).unwrap(), []);
            }
        }
    }
    assert_eq!(home.repository.replaced().unwrap().len(), 8);
    for copy in ["keys", "copy/keys"] {
        std::fs::write(root.join(copy).join(&key), b"gone").unwrap();
    }
    let found = home.repository.repair_config(false).unwrap();
    assert_eq!(found.iter().map(|found| found.repair).collect::<Vec<_>>(), [Lost, Lost]);
}

/// Breaks the table of chunks under whoever has the index open.
fn damage_index(home: &Home) {
    let path = home._folder.path().join("rings/index/index.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    let page = "SELECT rootpage FROM sqlite_schema WHERE name = 'chunk'";
    let page: i64 = connection.query_row(page, [], |row| row.get(0)).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[7; 4096], (page as u64 - 1) * 4096).unwrap();
}

#[test]
fn an_own_pack_that_vanishes_is_noticed_also_if_the_index_was_never_told_of_it() {
    let home = home();
    let first = start(&home.repository, None);
    put(&first, 0..400);
    first.commit(vec![]).unwrap();
    drop(first);
    let (before, reopened) = (data_packs(&home), home.reopen());
    reopened.index().unwrap();
    damage_index(&home);
    let session = start(&reopened, None);
    put(&session, 400..420);
    session.flush().unwrap();
    let own: Vec<_> = data_packs(&home).into_iter().filter(|pack| !before.contains(pack)).collect();
    let [pack] = own[..] else { panic!() };
    home.storage.remove(Area::Packs, &pack.to_string()).unwrap();
    assert!(matches!(session.commit(vec![]), Err(StoreError::PacksGone { .. })));
    assert!(put(&session, 400..420).iter().all(|stored| stored.is_new));
    session.commit(vec![]).unwrap();
    assert_readable(&home.reopen(), 0..420);
}

/// Damage in pages that opening does not read shows when the index is told of new packs.
#[test]
fn an_index_that_turns_out_to_be_damaged_stops_nobody() {
    let home = home();
    let first = start(&home.repository, None);
    put(&first, 0..400);
    first.commit(vec![]).unwrap();
    drop(first);
    let reopened = home.reopen();
    reopened.index().unwrap();
    damage_index(&home);
    let session = start(&reopened, None);
    put(&session, 400..420);
    session.commit(b"second".to_vec()).unwrap();
    drop(session);
    assert_readable(&home.reopen(), 0..420);
    let pruning = home.reopen();
    pruning.index().unwrap();
    damage_index(&home);
    pruning.take_notices();
    let [.., pack] = data_packs(&home)[..] else { panic!() };
    home.storage.remove(Area::Packs, &pack.to_string()).unwrap();
    pruning.learn_packs().unwrap();
    assert!(format!("{:?}", pruning.take_notices()).contains("Rebuilt"));
}

/// Another process has stored a chunk again and deleted the pack in which this one knew it.
#[test]
fn a_chunk_that_others_have_repacked_is_found_without_a_new_index() {
    let home = home();
    let first = start(&home.repository, None);
    put(&first, 0..20);
    first.commit(vec![]).unwrap();
    drop(first);
    // One looks the chunks up before, one after.
    let (looking, reading) = (home.reopen(), home.reopen());
    drop((looking.reader().unwrap(), reading.reader().unwrap()));
    let [old] = data_packs(&home)[..] else { panic!() };
    let repacking = start(&home.repository, None);
    let mut sink = repacking.sink().unwrap();
    for seed in 0..20 {
        sink.put_again(ChunkKind::Data, &chunk(seed)).unwrap();
    }
    sink.flush().unwrap();
    repacking.flush().unwrap();
    home.storage.remove(Area::Packs, &old.to_string()).unwrap();
    assert_readable(&looking, 0..20);
    home.repository.learn_packs().unwrap();
    assert_readable(&reading, 0..20);
    let notices = format!("{:?}", [looking.take_notices(), reading.take_notices()]);
    assert!(!notices.contains("Rebuilt"), "{notices}");
}

#[test]
fn a_snapshot_that_a_repair_was_quicker_to_publish_is_committed() {
    let home = home();
    let (name, bytes) = home.repository.seal_record(&Record::new(RecordKind::SNAPSHOT, b"body".to_vec())).unwrap();
    let staged = || {
        let mut staged = home.storage.stage().unwrap();
        staged.append(&bytes).unwrap();
        staged
    };
    home.repository.publish_snapshot(&bytes).unwrap();
    publish_once(&home.repository, staged(), name).unwrap();
    let other = RecordName::from_bytes([7; 32]);
    staged().publish(Area::Snapshots, &other.to_string()).unwrap();
    let refused = publish_once(&home.repository, staged(), other);
    assert!(matches!(refused, Err(StoreError::Exists { .. })), "{refused:?}");
}
