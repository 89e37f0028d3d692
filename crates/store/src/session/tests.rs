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
        unlocks: vec![Unlock::KeyFile(key.clone())],
        cost: DerivationCost::FLOOR,
        created: 0,
        label: "test".into(),
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
fn a_parent_that_is_gone_is_refused() {
    let home = home();
    let session = start(&home.repository, None);
    let parent = session.commit(vec![]).unwrap();
    drop(session);
    home.repository.forget_snapshot(parent).unwrap();
    let refused = Session::start(&home.repository, Some(parent), Compression::DEFAULT, SessionMode::Store);
    assert!(matches!(refused, Err(StoreError::ParentGone { name }) if name == parent));
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
