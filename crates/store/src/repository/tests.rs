//! What is around chunks: the index beside other processes, the configuration and the keys in every state of damage, an
//! `init` that does not come to its end.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::pack::PackKind;
use crate::storage::Folder;
use crate::{Compression, FindingPlace, OsEntropy, Session, SessionMode, check_copies};
use treering_chunk::ChunkKind;

struct Home {
    folder: tempfile::TempDir,
    storage: Arc<dyn Storage>,
    repository: Arc<Repository>,
    key: crate::KeyFile,
}

fn options(keys: &[&crate::KeyFile], encryption: Encryption) -> InitOptions {
    InitOptions {
        encryption,
        unlocks: keys.iter().map(|key| (Unlock::KeyFile((*key).clone()), "test".into())).collect(),
        cost: DerivationCost::FLOOR,
        created: 0,
        cut_sizes: CutSizes::new(64 << 10, 8 << 10).unwrap(),
        frame_bytes: 64 << 10,
    }
}

fn home() -> Home {
    let folder = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Folder::new(folder.path().join("rings")));
    let key = crate::KeyFile::generate(&OsEntropy).unwrap();
    let (options, cache) = (options(&[&key], Encryption::Aes256Gcm), folder.path().join("cache"));
    let repository = Repository::init(Arc::clone(&storage), &options, Arc::new(OsEntropy), cache).unwrap();
    Home { folder, storage, repository: Arc::new(repository), key }
}

impl Home {
    fn open(&self, unlock: &Unlock) -> Result<Repository> {
        Repository::open(Arc::clone(&self.storage), unlock, Arc::new(OsEntropy), self.folder.path().join("cache"))
    }

    fn reopen(&self) -> Arc<Repository> {
        Arc::new(self.open(&Unlock::KeyFile(self.key.clone())).unwrap())
    }

    /// Why it does not open with its own key.
    fn refusal(&self) -> StoreError {
        self.open(&Unlock::KeyFile(self.key.clone())).unwrap_err()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("rings").join(name)
    }

    fn configs(&self) -> [PathBuf; 2] {
        [self.path("config"), self.path("copy/config")]
    }
}

fn start(repository: &Arc<Repository>) -> Session {
    Session::start(repository, None, Compression::DEFAULT, SessionMode::Store).unwrap()
}

fn chunk(seed: u32) -> Vec<u8> {
    let mut bytes = vec![0; 10_000];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn put(session: &Session, seeds: Range<u32>) {
    let mut sink = session.sink().unwrap();
    for seed in seeds {
        sink.put(ChunkKind::Data, &chunk(seed)).unwrap();
    }
    sink.flush().unwrap();
}

fn assert_readable(repository: &Repository, seeds: Range<u32>) {
    let mut reader = repository.reader().unwrap();
    for seed in seeds {
        let id = repository.namer().id(ChunkKind::Data, &chunk(seed));
        assert_eq!(reader.get(ChunkKind::Data, &id).unwrap(), chunk(seed), "chunk {seed}");
    }
}

fn data_packs(home: &Home) -> Vec<PackName> {
    let packs = home.repository.list_packs().unwrap().into_iter().map(|(name, _)| name);
    packs.filter(|name| home.repository.pack_contents(*name).unwrap().kind == PackKind::Data).collect()
}

/// What the index has of these packs is what it should have.
fn assert_index_is_whole(repository: &Repository) {
    let packs = repository.list_packs().unwrap();
    let rows = packs.iter().map(|(name, _)| (*name, repository.pack_contents_and_rows(*name).unwrap().1));
    assert_eq!(repository.check_index(&rows.collect::<Vec<_>>()).unwrap(), None);
}

/// Another process makes its own index after this one has opened its own, and does not know what this one stores then.
#[test]
fn an_index_that_another_has_replaced_is_used_to_the_end() {
    let home = home();
    let (mine, other) = (home.reopen(), home.reopen());
    let store = |seeds| {
        let session = start(&mine);
        put(&session, seeds);
        session.commit(vec![]).unwrap();
    };
    store(0..20);
    // From now on a chunk that is not found is called missing.
    mine.repair_index().unwrap();
    for (round, seeds) in [20..40, 40..60].into_iter().enumerate() {
        other.reader().unwrap();
        home.reopen().repair_index().unwrap();
        store(seeds);
        assert_readable(&mine, 0..20 * (round as u32 + 2));
        assert_index_is_whole(&mine);
    }
    std::fs::remove_dir_all(home.folder.path().join("rings/index")).unwrap();
    assert_readable(&mine, 0..60);
    assert_readable(&home.reopen(), 0..60);
}

/// Another process drops a pack's rows that this one has seen, as a repair does.
#[test]
fn what_another_does_to_the_index_is_no_finding() {
    let home = home();
    let session = start(&home.repository);
    put(&session, 0..20);
    session.commit(vec![]).unwrap();
    let (mine, other) = (home.reopen(), home.reopen());
    drop(mine.reader().unwrap());
    other.unindex_packs(&data_packs(&home)).unwrap();
    assert_index_is_whole(&mine);
}

/// A folder in the place of the index, or of what is beside it, is moved out of the way.
#[test]
fn a_folder_in_the_place_of_the_index_stops_nobody() {
    let home = home();
    let session = start(&home.repository);
    put(&session, 0..20);
    session.commit(vec![]).unwrap();
    let index = home.folder.path().join("rings/index");
    for name in ["index.db", "index.db-wal"] {
        std::fs::remove_dir_all(&index).unwrap();
        std::fs::create_dir_all(index.join(name).join("somebody's")).unwrap();
        assert_readable(&home.reopen(), 0..20);
        home.reopen().repair_index().unwrap();
        let kept = std::fs::read_dir(&index).unwrap().flatten().find(|entry| entry.path().is_dir()).unwrap();
        assert!(kept.path().join("somebody's").is_dir());
    }
}

fn flip(path: &std::path::Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn commit(home: &Home) {
    let session = start(&home.repository);
    put(&session, 0..5);
    session.commit(vec![]).unwrap();
}

/// Offsets are in features, in the id of the repository, in the sizes, in the tag: `docs/format.md`.
#[test]
fn a_config_that_is_damaged_in_both_copies_is_neither_a_wrong_key_nor_the_future() {
    for [first, second] in [[50, 55], [50, 50], [50, 90], [20, 30], [30, 33], [9, 40], [70, 70], [90, 91]] {
        let home = home();
        commit(&home);
        for (path, at) in home.configs().iter().zip([first, second]) {
            flip(path, at);
        }
        let refusal = home.refusal();
        assert!(matches!(refusal, StoreError::ConfigLost { .. }), "{first} {second}: {refusal}");
        let seen = check_copies(&*home.storage);
        // What is the same in both copies and not about the key slots can only be seen with the key.
        if [first, second] != [70, 70] {
            assert!(!seen.unwrap().is_empty(), "{first} {second}");
        }
        for (path, at) in home.configs().iter().zip([first, second]) {
            flip(path, at);
        }
        let wrong = Unlock::KeyFile(crate::KeyFile::generate(&OsEntropy).unwrap());
        assert!(matches!(home.open(&wrong), Err(StoreError::WrongKey { .. })));
        flip(&home.configs()[0], first);
        assert!(matches!(home.open(&wrong), Err(StoreError::WrongKey { .. })), "one copy is whole");
        assert_eq!(home.reopen().config(), home.repository.config());
    }
}

#[test]
fn a_future_that_both_copies_tell_of_is_one() {
    let home = home();
    home.configs().iter().for_each(|path| flip(path, 30));
    assert!(matches!(home.refusal(), StoreError::Unsupported { .. }));
    assert!(matches!(check_copies(&*home.storage), Err(StoreError::Unsupported { .. })));
}

#[test]
fn where_something_was_backed_up_a_config_that_is_gone_is_damage() {
    let home = home();
    home.configs().iter().for_each(|path| std::fs::rename(path, path.with_extension("aside")).unwrap());
    assert!(matches!(home.refusal(), StoreError::NoRepository { .. }), "an init may have been interrupted");
    home.configs().iter().for_each(|path| std::fs::rename(path.with_extension("aside"), path).unwrap());
    commit(&home);
    home.configs().iter().for_each(|path| std::fs::remove_file(path).unwrap());
    assert!(matches!(home.refusal(), StoreError::ConfigLost { .. }));
    let findings = check_copies(&*home.storage).unwrap();
    assert!(matches!(&findings[..], [found] if found.place == FindingPlace::LostConfig), "{findings:?}");
}

#[test]
fn an_unencrypted_config_needs_no_key_to_be_seen_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Folder::new(folder.path().join("rings")));
    let options = options(&[], Encryption::None);
    Repository::init(Arc::clone(&storage), &options, Arc::new(OsEntropy), folder.path().into()).unwrap();
    assert_eq!(check_copies(&*storage).unwrap(), []);
    for name in ["config", "copy/config"] {
        flip(&folder.path().join("rings").join(name), 70);
    }
    let findings = check_copies(&*storage).unwrap();
    assert!(matches!(&findings[..], [found] if found.place == FindingPlace::LostConfig), "{findings:?}");
}

#[test]
fn a_slot_that_cannot_be_read_is_removed_by_its_name() {
    let home = home();
    let add = || {
        let unlock = Unlock::KeyFile(crate::KeyFile::generate(&OsEntropy).unwrap());
        home.repository.add_key(&unlock, DerivationCost::FLOOR, 0, "second").unwrap()
    };
    type Harm<'a> = &'a dyn Fn(&std::path::Path);
    let (damage, remove): (Harm<'_>, Harm<'_>) = (&|path| flip(path, 100), &|path| std::fs::remove_file(path).unwrap());
    let folder: Harm<'_> = &|path| {
        std::fs::remove_file(path).unwrap();
        std::fs::create_dir_all(path.join("x")).unwrap();
    };
    for harms in [[damage, damage], [remove, damage], [damage, remove], [folder, damage]] {
        let name = add();
        for (copy, harm) in ["keys", "copy/keys"].into_iter().zip(harms) {
            harm(&home.path(copy).join(&name));
        }
        let findings = check_copies(&*home.storage).unwrap();
        assert!(matches!(&findings[..], [found] if found.place == FindingPlace::LostKey(name.clone())), "{findings:?}");
        let last = home.repository.find_key(&Unlock::KeyFile(home.key.clone())).unwrap();
        assert!(matches!(home.repository.remove_key(&last), Err(StoreError::LastKey)));
        home.repository.remove_key(&name).unwrap();
        assert!(matches!(home.repository.remove_key(&name), Err(StoreError::Missing { .. })));
        assert_eq!(check_copies(&*home.storage).unwrap(), []);
    }
}

/// Gives so many times what it is asked for.
#[derive(Debug)]
struct LastingFor(AtomicUsize);

impl Entropy for LastingFor {
    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => OsEntropy.fill(bytes),
            Err(_) => Err(StoreError::io("read", "/dev/random")(std::io::ErrorKind::StorageFull.into())),
        }
    }
}

#[test]
fn an_init_that_failed_is_taken_up_again() {
    let keys = [1, 2].map(|_| crate::KeyFile::generate(&OsEntropy).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Folder::new(folder.path().join("rings")));
    let options = options(&keys.each_ref(), Encryption::Aes256Gcm);
    let init = |times| {
        let entropy = Arc::new(LastingFor(AtomicUsize::new(times)));
        Repository::init(Arc::clone(&storage), &options, entropy, folder.path().into())
    };
    let mut failed = 0;
    while let Err(why) = init(failed) {
        assert!(why.is_out_of_space(), "{why}");
        assert!(matches!(check_copies(&*storage), Err(StoreError::NoRepository { .. } | StoreError::Io { .. })));
        failed += 1;
    }
    assert!(failed > 2, "it fails before the first key and between the two");
    assert_eq!(storage.list(Area::Keys).unwrap().len(), 2);
    assert!(matches!(init(9), Err(StoreError::NotEmpty { .. })));
}

#[test]
fn what_an_init_has_not_made_is_no_place_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Folder::new(folder.path().join("rings"));
    storage.create().unwrap();
    storage.assert_unused().unwrap();
    let root = folder.path().join("rings");
    for name in ["keys/a", "packs/00/x", "config", "copy/config", "records/a", "index/index.db", "foreign"] {
        std::fs::write(root.join(name), "x").unwrap();
        let refused = storage.create().unwrap_err().to_string();
        assert!(refused.ends_with(&format!("{name} is there")), "{refused}");
        std::fs::remove_file(root.join(name)).unwrap();
    }
    std::fs::create_dir(root.join("packs/xx")).unwrap();
    storage.create().unwrap_err();
    std::fs::remove_dir(root.join("packs/xx")).unwrap();
    std::fs::remove_dir(root.join("records")).unwrap();
    std::os::unix::fs::symlink("/nowhere", root.join("records")).unwrap();
    storage.create().unwrap_err();
}
