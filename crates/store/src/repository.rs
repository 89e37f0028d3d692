//! An open repository: its configuration, keys, records, and the index that is opened when it is first needed.
//!
//! Owns making and opening a repository, its key slots and its records. Chunks are written by [`crate::Session`] and
//! read by [`crate::ChunkReader`].
//!
//! Invariant: a `Repository` exists only if its configuration was authenticated under the master key.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use treering_chunk::{CutSizes, Cutter, Namer};

use crate::config::{Config, Features, RepositoryId};
use crate::entropy::{Entropy, random};
use crate::error::{Result, StoreError};
use crate::index::{Index, IndexNotice, LearnedPack, PackNumber, PackRows};
use crate::keys::slot::{Slot, SlotDraft};
use crate::keys::{DerivationCost, Keys, MasterKey, SlotInfo, Unlock};
use crate::limits::{
    BALLAST_LEAST_BYTES, BALLAST_MOST_BYTES, CONFIG_MOST_BYTES, KEY_SLOTS_MOST, OPEN_PACKS_MOST, RECORD_MOST_BYTES,
};
use crate::pack::read::PackReader;
use crate::pack::{PackContents, PackName, PackedFrames};
use crate::record::{CRITICAL, Record, RecordKind, RecordName};
use crate::seal::Encryption;
use crate::storage::{Area, IndexHome, LockMode, Storage, put};

/// In which order they are written: whoever sees the first copy sees both.
const CONFIG_COPIES: [Area; 2] = [Area::ConfigCopy, Area::Config];

/// What a new repository is made with.
#[derive(Debug)]
pub struct InitOptions {
    /// How content is protected.
    pub encryption: Encryption,
    /// One slot is made for each, called so: usually user and host. None without encryption.
    pub unlocks: Vec<(Unlock, String)>,
    /// What a passphrase costs to try.
    pub cost: DerivationCost,
    /// Now, in seconds since 1970.
    pub created: i64,
    /// How streams are cut, for ever.
    pub cut_sizes: CutSizes,
    /// How much plaintext a frame collects.
    pub frame_bytes: u32,
}

/// Something that the user should know about a repository that opened all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// One of the two copies of the configuration is lost or damaged; the other is whole.
    ConfigCopy {
        /// Which one and why.
        detail: String,
    },
    /// A key slot cannot be read.
    KeySlot {
        /// Which one and why.
        detail: String,
    },
    /// Something happened to the index.
    Index(IndexNotice),
}

/// An open repository.
pub struct Repository {
    storage: Arc<dyn Storage>,
    config: Config,
    master: MasterKey,
    keys: Keys,
    cutter: Cutter,
    entropy: Arc<dyn Entropy>,
    index_cache: PathBuf,
    index: RwLock<Option<Arc<Index>>>,
    /// The index that was distrusted: places that it gave stay valid.
    distrusted: RwLock<Option<Arc<Index>>>,
    rebuilt: AtomicBool,
    notices: Mutex<Vec<Notice>>,
    open_packs: Mutex<OpenPacks>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repository({} at {})", self.config.repository, self.storage.place())
    }
}

#[derive(Default)]
struct OpenPacks {
    readers: HashMap<PackName, Arc<PackReader>>,
    order: VecDeque<PackName>,
}

impl Repository {
    /// Makes a repository. `index_cache` is the folder for its index where the storage cannot hold it.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotEmpty`] if something is there. After a failure nothing but empty folders and the lock is left, as far
    /// as the rest can be removed, and the next who makes a repository there uses them.
    pub fn init(
        storage: Arc<dyn Storage>,
        options: &InitOptions,
        entropy: Arc<dyn Entropy>,
        index_cache: PathBuf,
    ) -> Result<Self> {
        let repository = RepositoryId::from_bytes(random(&*entropy)?);
        let master = match options.encryption {
            Encryption::None => MasterKey::unencrypted(repository.as_bytes()),
            Encryption::Aes256Gcm if options.unlocks.is_empty() => return Err(StoreError::KeyNeeded),
            Encryption::Aes256Gcm => MasterKey::generate(&*entropy)?,
        };
        let config = Config {
            features: Features { incompatible: Features::DRAFT, ..Features::default() },
            encryption: options.encryption,
            repository,
            created: options.created,
            cut_sizes: options.cut_sizes,
            frame_bytes: options.frame_bytes,
            extensions: Vec::new(),
        };
        storage.create()?;
        let made = Self::assemble(storage, config, master, entropy, index_cache, Vec::new());
        let mut keys = Vec::new();
        if let Err(why) = made.write_first(options, &mut keys) {
            // The first failure is the one to tell of.
            drop(made.remove_first(&keys));
            return Err(why);
        }
        made.keep_ballast()?;
        Ok(made)
    }

    /// It is no repository until the keys are there and, last, the configuration.
    fn write_first(&self, options: &InitOptions, keys: &mut Vec<String>) -> Result<()> {
        if options.encryption != Encryption::None {
            for (unlock, label) in &options.unlocks {
                keys.push(self.add_key(unlock, options.cost, options.created, label)?);
            }
        }
        let bytes = self.config.encode(&self.keys);
        CONFIG_COPIES.into_iter().try_for_each(|area| match put(&*self.storage, area, "config", &bytes) {
            // Another was quicker.
            Err(StoreError::Exists { .. }) => {
                Err(StoreError::NotEmpty { place: self.storage.place(), found: "config".into() })
            }
            done => done,
        })
    }

    /// Removes what this one has written, in the other order: at no time is there a configuration without its keys.
    fn remove_first(&self, keys: &[String]) -> Result<()> {
        let bytes = self.config.encode(&self.keys);
        for area in CONFIG_COPIES.into_iter().rev() {
            if self.storage.read(area, "config", CONFIG_MOST_BYTES).is_ok_and(|found| found == bytes) {
                self.storage.remove(area, "config")?;
                self.storage.sync(area, &["config"])?;
            }
        }
        keys.iter().try_for_each(|name| self.remove_slot(name))
    }

    /// Opens a repository.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoRepository`], [`StoreError::WrongKey`] and its kin, [`StoreError::Unsupported`],
    /// [`StoreError::ConfigLost`].
    pub fn open(
        storage: Arc<dyn Storage>,
        unlock: &Unlock,
        entropy: Arc<dyn Entropy>,
        index_cache: PathBuf,
    ) -> Result<Self> {
        Self::open_hinted(storage, unlock, "", entropy, index_cache)
    }

    /// Opens a repository, trying the slots first whose names begin with `hint`: each passphrase slot that is tried in
    /// vain costs a derivation.
    ///
    /// # Errors
    ///
    /// As for [`Repository::open`].
    pub fn open_hinted(
        storage: Arc<dyn Storage>,
        unlock: &Unlock,
        hint: &str,
        entropy: Arc<dyn Entropy>,
        index_cache: PathBuf,
    ) -> Result<Self> {
        let (mut notices, mut failures) = (Vec::new(), Vec::new());
        let mut tried = None;
        for area in [Area::Config, Area::ConfigCopy] {
            let bytes = match storage.read(area, "config", CONFIG_MOST_BYTES) {
                // A second copy of the same bytes says the same, and a passphrase is slow to try.
                Ok(bytes) if tried.as_ref() == Some(&bytes) => continue,
                Ok(bytes) => bytes,
                Err(e @ (StoreError::Damaged { .. } | StoreError::Missing { .. })) => {
                    failures.push(e);
                    continue;
                }
                Err(other) => return Err(other),
            };
            match open_config(&*storage, &bytes, (unlock, hint), &mut notices) {
                Ok((config, master)) => {
                    if area == Area::ConfigCopy {
                        let why: Vec<String> = failures.iter().map(ToString::to_string).collect();
                        notices.push(Notice::ConfigCopy { detail: why.join("; ") });
                    }
                    let opened = Self::assemble(storage, config, master, entropy, index_cache, notices);
                    opened.refuse_unknown_critical_records()?;
                    return Ok(opened);
                }
                // Nothing in a config is authenticated before it is open: a flipped bit can look like the future, like
                // another repository, or like one without encryption. The second copy decides.
                Err(e) => failures.push(e),
            }
            tried = Some(bytes);
        }
        Err(no_config(&*storage, failures))
    }

    fn assemble(
        storage: Arc<dyn Storage>,
        config: Config,
        master: MasterKey,
        entropy: Arc<dyn Entropy>,
        index_cache: PathBuf,
        notices: Vec<Notice>,
    ) -> Self {
        let keys = Keys::new(&master, config.encryption);
        let cutter = Cutter::new(config.cut_sizes, keys.chunker_seed);
        let (index, distrusted, rebuilt) = (RwLock::new(None), RwLock::new(None), AtomicBool::new(false));
        let (notices, open_packs) = (Mutex::new(notices), Mutex::default());
        Self {
            storage,
            config,
            master,
            keys,
            cutter,
            entropy,
            index_cache,
            index,
            distrusted,
            rebuilt,
            notices,
            open_packs,
        }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Names chunks.
    pub fn namer(&self) -> &Namer {
        &self.keys.namer
    }

    /// Cuts streams.
    pub fn cutter(&self) -> &Cutter {
        &self.cutter
    }

    /// What it is stored on.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Where random bytes come from.
    pub fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.entropy
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Refuses to write where features are not known that writers must know.
    pub(crate) fn assert_writable(&self) -> Result<()> {
        if self.config.features.writable() {
            return Ok(());
        }
        let what = format!("the features {:#x} for writing", self.config.features.read_compatible);
        Err(StoreError::Unsupported { what })
    }

    /// What the user should know, each once.
    pub fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock())
    }

    /// Folders on this machine that a walk must not enter.
    pub fn local_folders(&self) -> Vec<PathBuf> {
        let mut folders = self.storage.local_folders();
        folders.push(self.index_cache.clone());
        folders
    }
}

/// Records.
impl Repository {
    /// The records of an area, by name.
    ///
    /// # Errors
    ///
    /// If the listing may be incomplete.
    pub fn list_records(&self, area: Area) -> Result<Vec<RecordName>> {
        let mut names: Vec<_> =
            self.storage.list(area)?.iter().filter_map(|listed| RecordName::from_hex(&listed.name)).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Reads, checks and opens a record.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`], or damage.
    pub fn read_record(&self, area: Area, name: RecordName) -> Result<Record> {
        let bytes = self.storage.read(area, &name.to_string(), RECORD_MOST_BYTES)?;
        if RecordName::of(&bytes) != name {
            return Err(StoreError::damaged(format!("{area} {name}"), "its bytes do not fit its name"));
        }
        self.open_record(&bytes)
    }

    /// Opens the bytes of a record, for instance of its second copy.
    ///
    /// # Errors
    ///
    /// Damage.
    pub fn open_record(&self, bytes: &[u8]) -> Result<Record> {
        Record::open(bytes, self.config.repository, &self.keys)
    }

    pub(crate) fn seal_record(&self, record: &Record) -> Result<(RecordName, Vec<u8>)> {
        record.seal(self.config.repository, &self.keys, &*self.entropy)
    }

    /// Stores a record durably.
    ///
    /// # Errors
    ///
    /// If it may not be durable.
    pub fn put_record(&self, record: &Record) -> Result<RecordName> {
        self.assert_writable()?;
        let (name, bytes) = self.seal_record(record)?;
        put(&*self.storage, Area::Records, &name.to_string(), &bytes)?;
        Ok(name)
    }

    /// Drops a snapshot: what it said is kept in a record of its own first, so that it can be brought back until its
    /// chunks are reclaimed. On a full disk the room for that is taken from what is kept for it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`] if there is none of that name.
    pub fn forget_snapshot(&self, name: RecordName) -> Result<()> {
        self.assert_writable()?;
        let bytes = self.storage.read(Area::Snapshots, &name.to_string(), RECORD_MOST_BYTES)?;
        self.with_ballast(|| self.put_record(&Record::new(RecordKind::FORGOTTEN, bytes.clone())))?;
        self.storage.remove(Area::Snapshots, &name.to_string())?;
        self.storage.sync(Area::Snapshots, &[&name.to_string()])
    }

    /// Does work that frees space; if there is no room for it, once more after giving up the space that is kept for
    /// this.
    ///
    /// # Errors
    ///
    /// What the work says.
    pub fn with_ballast<T>(&self, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        match work() {
            Err(full) if full.is_out_of_space() && self.storage.release_ballast()? => {
                let done = work();
                // What is left of it serves the next who needs room.
                self.keep_ballast()?;
                done
            }
            done => done,
        }
    }

    /// Sets space aside, a hundredth of what the packs take within bounds, so that forgetting and pruning work on a full
    /// disk. That there is no room for it is no error.
    ///
    /// # Errors
    ///
    /// If packs cannot be listed.
    pub fn keep_ballast(&self) -> Result<()> {
        let stored: u64 = self.list_packs()?.iter().map(|(_, bytes)| bytes).sum();
        let wanted = (stored / 100).clamp(BALLAST_LEAST_BYTES, BALLAST_MOST_BYTES);
        match self.storage.keep_ballast(wanted) {
            Err(full) if full.is_out_of_space() => Ok(()),
            done => done,
        }
    }

    /// A record that must be understood and is not makes the repository unusable for this version.
    fn refuse_unknown_critical_records(&self) -> Result<()> {
        for name in self.list_records(Area::Records)? {
            let record = match self.read_record(Area::Records, name) {
                Ok(record) => record,
                Err(e @ StoreError::Unsupported { .. }) => return Err(e),
                // A check finds it.
                Err(_) => continue,
            };
            if record.flags & CRITICAL != 0 && !RecordKind::KNOWN.contains(&record.kind) {
                return Err(StoreError::Unsupported { what: format!("records of kind {}", record.kind.0) });
            }
        }
        Ok(())
    }
}

/// Key slots.
impl Repository {
    /// Adds a slot that opens with this; durable, in both copies, when it returns the slot's name. If it fails, neither is
    /// left, as far as they can be removed.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyNeeded`] for [`Unlock::Nothing`]; [`StoreError::Limit`] if there are as many as are ever tried.
    pub fn add_key(&self, unlock: &Unlock, cost: DerivationCost, created: i64, label: &str) -> Result<String> {
        if self.config.encryption == Encryption::None {
            return Err(StoreError::KeyUnexpected { what: unlock.describe() });
        }
        if self.storage.list(Area::Keys)?.len() >= KEY_SLOTS_MOST {
            return Err(StoreError::Limit { what: "the number of keys", limit: KEY_SLOTS_MOST as u64 });
        }
        let draft = SlotDraft { repository: self.config.repository, cost, created, label };
        let bytes = Slot::new(&draft, unlock, &self.master, &*self.entropy)?.encode();
        let name = blake3::hash(&bytes).to_hex().to_string();
        let mut copies = [Area::KeysCopy, Area::Keys].into_iter();
        match copies.try_for_each(|area| put(&*self.storage, area, &name, &bytes)) {
            Ok(()) => Ok(name),
            Err(why) => {
                // The first failure is the one to tell of.
                drop(self.remove_slot(&name));
                Err(why)
            }
        }
    }

    /// Removes both copies of a slot, as far as they are there.
    fn remove_slot(&self, name: &str) -> Result<()> {
        for area in [Area::Keys, Area::KeysCopy] {
            match self.storage.remove(area, name) {
                Ok(()) => self.storage.sync(area, &[name])?,
                Err(StoreError::Missing { .. }) => {}
                // What is in its place may be a folder.
                Err(_) if matches!(self.storage.length(area, name), Err(StoreError::Damaged { .. })) => {
                    drop(self.storage.set_aside(area, name)?);
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// All slots that can be read.
    ///
    /// # Errors
    ///
    /// If they cannot be listed.
    pub fn list_keys(&self) -> Result<Vec<SlotInfo>> {
        let slots = read_slots(&*self.storage, self.config.repository, &mut self.notices.lock())?;
        Ok(slots.into_iter().map(|(name, slot)| slot.info(name)).collect())
    }

    /// The slot that this opens.
    ///
    /// # Errors
    ///
    /// [`StoreError::WrongKey`] if it opens none.
    pub fn find_key(&self, unlock: &Unlock) -> Result<String> {
        for (name, slot) in read_slots(&*self.storage, self.config.repository, &mut self.notices.lock())? {
            if slot.open(unlock)?.is_some() {
                return Ok(name);
            }
        }
        Err(StoreError::WrongKey { what: unlock.describe() })
    }

    /// The names of all slots, also of those that cannot be read.
    ///
    /// # Errors
    ///
    /// If they cannot be listed.
    pub fn list_key_names(&self) -> Result<Vec<String>> {
        let mut names = BTreeSet::new();
        for area in [Area::Keys, Area::KeysCopy] {
            names.extend(self.storage.list(area)?.into_iter().map(|listed| listed.name));
        }
        Ok(names.into_iter().collect())
    }

    /// Removes a slot in both copies, also one that cannot be read. Whoever copied the repository before can still open that
    /// copy.
    ///
    /// # Errors
    ///
    /// [`StoreError::LastKey`] if nothing else opens the repository; [`StoreError::Missing`].
    pub fn remove_key(&self, name: &str) -> Result<()> {
        // Two that remove the last but one together would leave none.
        let _alone = self.lock(LockMode::Exclusive)?;
        let slots = read_slots(&*self.storage, self.config.repository, &mut Vec::new())?;
        if !self.list_key_names()?.iter().any(|known| known == name) {
            return Err(StoreError::Missing { area: Area::Keys, name: name.into() });
        }
        if slots.keys().all(|other| other == name) {
            return Err(StoreError::LastKey);
        }
        self.remove_slot(name)
    }
}

fn find_master(
    storage: &dyn Storage,
    encryption: Encryption,
    repository: RepositoryId,
    (unlock, hint): (&Unlock, &str),
    notices: &mut Vec<Notice>,
) -> Result<MasterKey> {
    match (encryption, unlock) {
        (Encryption::None, Unlock::Nothing) => Ok(MasterKey::unencrypted(repository.as_bytes())),
        // A hostile store could swap in a config of its own that asks for no key; who has a key says so.
        (Encryption::None, given) => Err(StoreError::KeyUnexpected { what: given.describe() }),
        (Encryption::Aes256Gcm, Unlock::Nothing) => Err(StoreError::KeyNeeded),
        (Encryption::Aes256Gcm, given) => {
            let slots = read_slots(storage, repository, notices)?;
            let (first, rest): (Vec<_>, Vec<_>) = slots.iter().partition(|(name, _)| name.starts_with(hint));
            for (_, slot) in first.into_iter().chain(rest) {
                if let Some(master) = slot.open(given)? {
                    return Ok(master);
                }
            }
            assert_slots_fit(storage, repository)?;
            Err(StoreError::WrongKey { what: given.describe() })
        }
    }
}

/// The slots of both copies; one that is damaged in one place is read in the other.
fn read_slots(storage: &dyn Storage, id: RepositoryId, notices: &mut Vec<Notice>) -> Result<BTreeMap<String, Slot>> {
    let mut slots = BTreeMap::new();
    for area in [Area::Keys, Area::KeysCopy] {
        for listed in storage.list(area)?.into_iter().take(KEY_SLOTS_MOST) {
            if slots.contains_key(&listed.name) {
                continue;
            }
            match read_slot(storage, area, &listed.name) {
                Ok(slot) if slot.repository() == id => drop(slots.insert(listed.name, slot)),
                Ok(_) => notices.push(Notice::KeySlot { detail: format!("{} is of another repository", listed.name) }),
                Err(e) => notices.push(Notice::KeySlot { detail: format!("{}: {e}", listed.name) }),
            }
        }
    }
    Ok(slots)
}

fn is_writable(folder: &std::path::Path) -> bool {
    // Somebody may have removed the whole folder.
    drop(std::fs::create_dir(folder));
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

fn read_slot(storage: &dyn Storage, area: Area, name: &str) -> Result<Slot> {
    let bytes = storage.read(area, name, CONFIG_MOST_BYTES)?;
    if blake3::hash(&bytes).to_hex().as_str() != name {
        return Err(StoreError::damaged(format!("key {name}"), "its bytes do not fit its name"));
    }
    Slot::decode(&bytes)
}

fn open_config(
    storage: &dyn Storage,
    bytes: &[u8],
    unlock: (&Unlock, &str),
    notices: &mut Vec<Notice>,
) -> Result<(Config, MasterKey)> {
    let unverified = Config::decode(bytes)?;
    let (encryption, repository) = unverified.claims();
    let master = find_master(storage, encryption, repository, unlock, notices)?;
    Ok((unverified.verify(&Keys::new(&master, encryption))?, master))
}

/// Why neither copy can be used, from what is wrong with each; with the one thing that is wrong if both have the same bytes.
/// A reason that is not damage is what the user can mend.
pub(crate) fn no_config(storage: &dyn Storage, failures: Vec<StoreError>) -> StoreError {
    if failures.iter().all(|e| matches!(e, StoreError::Missing { .. })) && !holds_backups(storage) {
        return StoreError::NoRepository { place: storage.place() };
    }
    let mut details: Vec<String> = failures.iter().map(ToString::to_string).collect();
    details.dedup();
    // Both copies of a sound config are the same: if the other one says something else, this one's future is damage, too.
    let are_two = failures.iter().filter(|e| !matches!(e, StoreError::Missing { .. })).count() > 1;
    let is_damage = |e: &StoreError| match e {
        StoreError::Damaged { .. } | StoreError::Missing { .. } => true,
        StoreError::Unsupported { .. } => are_two,
        _ => false,
    };
    let telling = failures.into_iter().find(|e| !is_damage(e));
    telling.unwrap_or(StoreError::ConfigLost { detail: details.join("; ") })
}

/// Whether anything that was backed up is there. Keys alone are left by an `init` that never came to its end.
fn holds_backups(storage: &dyn Storage) -> bool {
    let areas = [Area::Snapshots, Area::Records, Area::Packs];
    areas.into_iter().any(|area| storage.list(area).is_ok_and(|listed| !listed.is_empty()))
}

/// Nothing in a config is authenticated before a slot was opened. But if there are slots that can be read, and all are of
/// another repository, it is not the wrong key that was given.
///
/// # Errors
///
/// [`StoreError::Damaged`] then.
pub(crate) fn assert_slots_fit(storage: &dyn Storage, id: RepositoryId) -> Result<()> {
    let mut is_any_of_others = false;
    for area in [Area::Keys, Area::KeysCopy] {
        for listed in storage.list(area)?.into_iter().take(KEY_SLOTS_MOST) {
            match read_slot(storage, area, &listed.name) {
                Ok(slot) if slot.repository() == id => return Ok(()),
                slot => is_any_of_others |= slot.is_ok(),
            }
        }
    }
    match is_any_of_others {
        true => Err(StoreError::damaged("the config", "the key slots are of another repository than it says")),
        false => Ok(()),
    }
}

/// The index and the packs.
impl Repository {
    /// The index, opened and brought up to date with the packs that are there.
    pub(crate) fn index(&self) -> Result<Arc<Index>> {
        if let Some(index) = &*self.index.read() {
            return Ok(Arc::clone(index));
        }
        let mut slot = self.index.write();
        if let Some(index) = &*slot {
            return Ok(Arc::clone(index));
        }
        let index = Arc::new(self.open_index()?);
        *slot = Some(Arc::clone(&index));
        Ok(index)
    }

    /// Opens the index where it belongs; where that cannot be written, on a full or read-only disk, in the cache: what
    /// can be read is read all the same.
    fn open_index(&self) -> Result<Index> {
        crate::index::assert_library()?;
        let inside = match self.storage.index_home() {
            IndexHome::Inside(folder) if is_writable(&folder) => Some(folder),
            _ => None,
        };
        match inside.map(|folder| self.open_index_in(&folder)) {
            Some(Err(e)) if e.is_out_of_space() => self.open_index_in(&self.cache_folder()),
            None => self.open_index_in(&self.cache_folder()),
            Some(opened) => opened,
        }
    }

    fn cache_folder(&self) -> PathBuf {
        self.index_cache.join(self.config.repository.to_string())
    }

    fn open_index_in(&self, folder: &std::path::Path) -> Result<Index> {
        std::fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
        let path = folder.join("index.db");
        let is_new = !path.exists();
        match Index::open(&path, self.config.repository) {
            // Listed after it was read: a pack that others publish and tell it of in between would look as if it were
            // gone, and lose its rows.
            Ok(index) => match self.catch_up(&index, &self.list_packs()?) {
                Err(e @ StoreError::Index { .. }) if e.is_out_of_space() => Err(e),
                Err(StoreError::Index { source, .. }) => self.rebuild_index(&path, source.to_string()),
                done => done.map(|()| index),
            },
            Err(_) if is_new => {
                let index = self.make_index(&path)?;
                let packs = index.pack_names().len();
                if packs > 0 {
                    self.notices.lock().push(Notice::Index(IndexNotice::Built { packs }));
                }
                Ok(index)
            }
            Err(reason) => self.rebuild_index(&path, reason),
        }
    }

    /// Learns packs of others and of interrupted runs; drops those that are gone.
    pub(crate) fn catch_up(&self, index: &Index, packs: &[(PackName, u64)]) -> Result<()> {
        let (unknown, gone) = index.compare(packs);
        if !gone.is_empty() {
            index.remove(&gone)?;
            self.notices.lock().push(Notice::Index(IndexNotice::Dropped { packs: gone.len() }));
        }
        if !unknown.is_empty() {
            index.learn(&unknown, |name| self.learn_pack(name))?;
            self.notices.lock().push(Notice::Index(IndexNotice::Learned { packs: unknown.len() }));
        }
        Ok(())
    }

    /// The index, once more brought up to date with the packs that are there.
    pub(crate) fn caught_up_index(&self) -> Result<Arc<Index>> {
        let index = self.index()?;
        self.catch_up_if_writable(&index)?;
        Ok(index)
    }

    /// The index that is in its place now, opened beside the one in use; `None` if it cannot be.
    pub(crate) fn index_as_it_is(&self) -> Result<Option<Arc<Index>>> {
        let Ok(index) = Index::open(self.index()?.path(), self.config.repository) else { return Ok(None) };
        self.catch_up_if_writable(&index)?;
        Ok(Some(Arc::new(index)))
    }

    fn catch_up_if_writable(&self, index: &Index) -> Result<()> {
        match self.catch_up(index, &self.list_packs()?) {
            // What cannot be written to can be examined all the same.
            Err(StoreError::Index { .. }) => Ok(()),
            done => done,
        }
    }

    fn make_index(&self, path: &std::path::Path) -> Result<Index> {
        let names: Vec<_> = self.list_packs()?.into_iter().map(|(name, _)| name).collect();
        Index::rebuild(path, self.config.repository, &names, |name| self.learn_pack(name))
    }

    fn rebuild_index(&self, path: &std::path::Path, reason: String) -> Result<Index> {
        let index = self.make_index(path)?;
        let packs = index.pack_names().len();
        self.notices.lock().push(Notice::Index(IndexNotice::Rebuilt { reason, packs }));
        Ok(index)
    }

    /// Whether a chunk that the index does not know is worth a look for new packs: until the index was made anew, so
    /// that many chunks that are missing do not cost a listing each.
    pub(crate) fn learns_in_doubt(&self) -> bool {
        !self.rebuilt.load(Ordering::Acquire)
    }

    /// Makes the index anew because it lacks what it should have; once in the life of a `Repository`.
    pub(crate) fn distrust_index(&self, reason: &str) -> Result<()> {
        let mut slot = self.index.write();
        if self.rebuilt.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let Some(distrusted) = slot.take() else { return Ok(()) };
        let rebuilt = self.rebuild_index(distrusted.path(), reason.to_owned());
        *self.distrusted.write() = Some(distrusted);
        *slot = Some(Arc::new(rebuilt?.succeed(1)));
        Ok(())
    }

    /// Makes the index anew, without opening the one that is there unless it is open already.
    pub(crate) fn replace_index(&self) -> Result<()> {
        let mut slot = self.index.write();
        if slot.is_some() {
            drop(slot);
            return self.distrust_index("it is to be repaired");
        }
        crate::index::assert_library()?;
        let folder = match self.storage.index_home() {
            IndexHome::Inside(folder) if is_writable(&folder) => folder,
            _ => self.cache_folder(),
        };
        std::fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        *slot = Some(Arc::new(self.make_index(&folder.join("index.db"))?));
        Ok(())
    }

    /// The index that gave a place of this generation.
    pub(crate) fn index_of(&self, generation: u8) -> Result<Arc<Index>> {
        let old = self.distrusted.read().clone().filter(|index| index.generation() == generation);
        old.map_or_else(|| self.index(), Ok)
    }

    /// All packs with their lengths.
    ///
    /// # Errors
    ///
    /// If the listing may be incomplete.
    pub fn list_packs(&self) -> Result<Vec<(PackName, u64)>> {
        let listed = self.storage.list(Area::Packs)?;
        Ok(listed.into_iter().filter_map(|pack| Some((PackName::from_hex(&pack.name)?, pack.bytes))).collect())
    }

    fn learn_pack(&self, name: PackName) -> Option<LearnedPack> {
        let pack = self.pack_unshared(name).inspect_err(|e| self.trailer_lost(name, e)).ok()?;
        let read = pack.trailer(&self.keys).inspect_err(|e| self.trailer_lost(name, e));
        let trailer = read.unwrap_or_else(|_| pack.rebuild_trailer(&self.keys.namer));
        Some(LearnedPack { name, kind: pack.kind(), bytes: pack.bytes(), trailer })
    }

    fn trailer_lost(&self, pack: PackName, error: &StoreError) {
        let detail = error.to_string();
        self.notices.lock().push(Notice::Index(IndexNotice::TrailerLost { pack, detail }));
    }

    /// What a pack's trailer says is in it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`], or damage.
    pub fn pack_contents(&self, name: PackName) -> Result<PackContents> {
        let pack = self.pack_unshared(name)?;
        Ok(PackContents::new(&pack, &pack.trailer(&self.keys)?))
    }

    /// The frames of a pack that is about to be emptied.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`], or damage.
    pub fn packed_frames(&self, name: PackName) -> Result<PackedFrames> {
        PackedFrames::new(self.pack_unshared(name)?, &self.keys)
    }

    /// Brings the index up to date with the packs that are there now. One that cannot be is made anew.
    ///
    /// # Errors
    ///
    /// If packs cannot be listed, or the index cannot be written.
    pub fn learn_packs(&self) -> Result<()> {
        match self.catch_up(&*self.index()?, &self.list_packs()?) {
            Err(e) if e.is_of_index() && self.learns_in_doubt() => self.distrust_index(&e.to_string()),
            done => done,
        }
    }

    /// The same, and the rows that the index should have of it; the trailer is opened once.
    ///
    /// # Errors
    ///
    /// As for [`Repository::pack_contents`].
    pub fn pack_contents_and_rows(&self, name: PackName) -> Result<(PackContents, PackRows)> {
        let pack = self.pack_unshared(name)?;
        let trailer = pack.trailer(&self.keys)?;
        Ok((PackContents::new(&pack, &trailer), PackRows::of(self.config.repository, name, &trailer)))
    }

    pub(crate) fn pack_unshared(&self, name: PackName) -> Result<PackReader> {
        PackReader::open(&*self.storage, name, self.config.repository, &self.keys)
    }

    /// A pack that stays open for others.
    pub(crate) fn pack(&self, name: PackName) -> Result<Arc<PackReader>> {
        if let Some(reader) = self.open_packs.lock().readers.get(&name) {
            return Ok(Arc::clone(reader));
        }
        let reader = Arc::new(self.pack_unshared(name)?);
        let mut open = self.open_packs.lock();
        if open.readers.insert(name, Arc::clone(&reader)).is_none() {
            open.order.push_back(name);
        }
        if open.order.len() > OPEN_PACKS_MOST {
            let oldest = open.order.pop_front();
            oldest.and_then(|name| open.readers.remove(&name));
        }
        Ok(reader)
    }

    pub(crate) fn pack_numbered(&self, index: &Index, number: PackNumber) -> Result<Arc<PackReader>> {
        let name = index.pack_name(number).ok_or_else(|| StoreError::damaged("the index", "it has no such pack"))?;
        self.pack(name)
    }

    /// Holds the lock that commits share and deletions have alone.
    pub(crate) fn lock(&self, mode: LockMode) -> Result<Box<dyn crate::storage::Held>> {
        self.storage.lock(mode)
    }
}

#[cfg(test)]
mod tests;
