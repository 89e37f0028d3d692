//! What is around chunks: the index beside other processes, an `init` that does not come to its end.

use std::ops::Range;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::pack::PackKind;
use crate::storage::Folder;
use crate::{Compression, OsEntropy, Session, SessionMode, check_copies};
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
    fn reopen(&self) -> Arc<Repository> {
        let (unlock, cache) = (Unlock::KeyFile(self.key.clone()), self.folder.path().join("cache"));
        Arc::new(Repository::open(Arc::clone(&self.storage), &unlock, Arc::new(OsEntropy), cache).unwrap())
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
