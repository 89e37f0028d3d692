//! Writing: chunks into frames, frames into packs, packs made durable and indexed, then a snapshot record last.
//!
//! ```text
//! Sink (one a thread) ─ frame full ─► compress, seal, verify (here or on rayon) ─► writer ─► publisher
//!                                                                                 (one thread each)
//! ```
//!
//! The *writer* appends frames to the open packs and closes them; the *publisher* makes closed packs durable, gives
//! them their names and tells the index. A pack has a key of its own; a frame's number in it is leased, used once, and
//! burnt if the frame never gets there.
//!
//! Follows rules A 1–8, 13 and 14 of `docs/protocol.md`. Invariant: [`Session::commit`] returns a name only when the
//! record and every pack that it relies on are durable and were present under the commit lock.

mod lease;
mod publish;
mod sink;
mod write;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::{Sender, bounded};
use parking_lot::{Condvar, Mutex};
use treering_chunk::{ChunkId, ChunkKind};

use crate::config::RepositoryId;
use crate::entropy::random;
use crate::error::{Result, StoreError};
use crate::index::{Index, Losses, PackNumber};
use crate::keys::Keys;
use crate::limits::{RECORD_BODY_MOST_BYTES, WRITER_QUEUE_FRAMES};
use crate::lost::LostChunks;
use crate::pack::PackName;
use crate::pack::frame::Compression;
use crate::record::{Record, RecordKind, RecordName};
use crate::repository::Repository;
use crate::storage::{Area, LockMode, Registered, Staged};

use lease::Leases;
pub use sink::{Sink, Stored};
use write::ToWriter;

/// Whether a session stores anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionMode {
    /// It does.
    Store,
    /// It does all the work up to writing, and counts.
    DryRun,
}

/// A writer at work. Others see it, and build on nothing that it has not committed.
pub struct Session {
    shared: Arc<Shared>,
    lost: LostChunks,
    trust: Trust,
    threads: Vec<std::thread::JoinHandle<()>>,
    /// What others see; `None` in a dry run.
    _registration: Option<Arc<Mutex<Box<dyn Registered>>>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({:?})", self.shared.repository)
    }
}

/// What a session knows of its parent beside that it is there.
struct Trust {
    /// `None` if the index could not say.
    begun: Option<Losses>,
    /// Whether all that the parent names is in packs.
    in_parent: AtomicBool,
}

impl Trust {
    fn new(index: &Index, parent: Option<RecordName>) -> Self {
        // Asked for first: what is lost later is noticed.
        let begun = index.losses().ok();
        let is_whole = begun.is_some() && parent.is_none_or(|parent| index.is_whole(&parent).unwrap_or(false));
        Self { begun, in_parent: AtomicBool::new(is_whole) }
    }
}

/// What all threads of a session share.
pub(crate) struct Shared {
    repository: Arc<Repository>,
    index: Arc<Index>,
    compression: Compression,
    leases: Leases,
    to_writer: Mutex<Option<Sender<ToWriter>>>,
    /// Chunks that are on their way and not in the index yet.
    under_way: UnderWay,
    /// Chunks that were stored again although the repository had them.
    again: UnderWay,
    /// Packs of others that chunks were found in.
    reused: Mutex<HashSet<PackNumber>>,
    /// Packs that this session published, with their lengths.
    own: Mutex<Vec<(PackName, u64)>>,
    tasks: Tasks,
    failure: Mutex<Option<StoreError>>,
    counters: Counters,
}

/// What a session has stored.
#[derive(Debug, Default)]
struct Counters {
    chunks: AtomicU64,
    raw_bytes: AtomicU64,
    data_stored_bytes: AtomicU64,
    meta_stored_bytes: AtomicU64,
}

/// Chunk ids in shards, so that threads seldom wait for each other.
pub(crate) struct UnderWay([Mutex<HashSet<ChunkId>>; 16]);

impl UnderWay {
    fn new() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }

    fn shard(&self, id: &ChunkId) -> &Mutex<HashSet<ChunkId>> {
        let [first, ..] = &self.0;
        self.0.get((id.prefix() >> 60) as usize).unwrap_or(first)
    }

    fn contains(&self, id: &ChunkId) -> bool {
        self.shard(id).lock().contains(id)
    }

    /// Whether it was new.
    fn insert(&self, id: ChunkId) -> bool {
        self.shard(&id).lock().insert(id)
    }

    fn remove(&self, id: &ChunkId) {
        self.shard(id).lock().remove(id);
    }

    fn clear(&self) {
        self.0.iter().for_each(|shard| shard.lock().clear());
    }
}

/// Frames that are being encoded on other threads.
#[derive(Default)]
pub(crate) struct Tasks {
    running: Mutex<usize>,
    changed: Condvar,
}

impl Tasks {
    /// Starts one unless `most` are running.
    fn try_start(&self, most: usize) -> bool {
        let mut running = self.running.lock();
        let may = *running < most;
        *running += usize::from(may);
        may
    }

    fn end(&self) {
        *self.running.lock() -= 1;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let mut running = self.running.lock();
        while *running > 0 {
            self.changed.wait(&mut running);
        }
    }
}

impl Shared {
    /// Ends the session for everybody; the first failure is the one that is told.
    fn fail(&self, error: StoreError) {
        self.failure.lock().get_or_insert(error);
    }

    fn send(&self, message: ToWriter) -> Result<()> {
        let sender = self.to_writer.lock().clone().filter(|_| !self.has_failed());
        let sent = sender.is_some_and(|sender| sender.send(message).is_ok());
        if sent { Ok(()) } else { Err(self.poisoned()) }
    }

    /// The first failure itself for the first who asks, then a reminder of it.
    fn poisoned(&self) -> StoreError {
        let mut failure = self.failure.lock();
        let cause = failure.as_ref().map_or_else(|| "its writer ended".into(), ToString::to_string);
        let out_of_space = failure.as_ref().is_some_and(StoreError::is_out_of_space);
        let reminder = || StoreError::Poisoned { cause: cause.clone(), out_of_space };
        failure.replace(reminder()).unwrap_or_else(reminder)
    }

    fn has_failed(&self) -> bool {
        self.failure.lock().is_some()
    }
}

/// What a session's registration says.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Registration {
    parent: Option<[u8; 32]>,
}

/// The longest registration's body.
const REGISTRATION_MOST_BYTES: usize = 1024;

/// What a live session relies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSession {
    /// The snapshot that it builds on.
    pub parent: Option<RecordName>,
    /// The packs that it has published or is about to.
    pub packs: Vec<PackName>,
}

impl LiveSession {
    /// Reads a registration: a record, then the names of packs, the last of which may be half written.
    pub(crate) fn decode(bytes: &[u8], repository: &Repository) -> Result<Self> {
        Self::open(bytes, repository.config().repository, repository.keys())
    }

    pub(crate) fn open(bytes: &[u8], id: RepositoryId, keys: &Keys) -> Result<Self> {
        let (record, packs) = Record::open_front(bytes, id, keys)?;
        let registration: Registration = crate::codec::decode(&record.body, REGISTRATION_MOST_BYTES, "a registration")?;
        let (packs, _) = packs.as_chunks::<32>();
        let packs = packs.iter().copied().map(PackName::from_bytes).collect();
        Ok(Self { parent: registration.parent.map(RecordName::from_bytes), packs })
    }
}

impl Session {
    /// Starts writing on top of a parent snapshot, whose chunks need not be looked up if it
    /// [is whole](Session::trusts_parent): it is registered under the commit lock, and no prune takes what a registered
    /// parent needs.
    ///
    /// # Errors
    ///
    /// [`StoreError::ParentGone`] if the parent was forgotten meanwhile.
    pub fn start(
        repository: &Arc<Repository>,
        parent: Option<RecordName>,
        compression: Compression,
        mode: SessionMode,
    ) -> Result<Self> {
        let (index, lost) = (repository.index()?, repository.lost_chunks()?);
        let registration = match mode {
            SessionMode::DryRun => None,
            SessionMode::Store => Some(Arc::new(Mutex::new(register(repository, parent)?))),
        };
        let trust = Trust::new(&index, parent);
        let (to_writer, from_sinks) = bounded(WRITER_QUEUE_FRAMES);
        let shared = Arc::new(Shared {
            repository: Arc::clone(repository),
            index,
            compression,
            leases: Leases::default(),
            to_writer: Mutex::new(Some(to_writer)),
            under_way: UnderWay::new(),
            again: UnderWay::new(),
            reused: Mutex::default(),
            own: Mutex::default(),
            tasks: Tasks::default(),
            failure: Mutex::default(),
            counters: Counters::default(),
        });
        let (to_publisher, from_writer) = bounded(1);
        let (writer, publisher) = (Arc::clone(&shared), Arc::clone(&shared));
        let held = registration.clone();
        let threads = vec![
            std::thread::spawn(move || write::run(&writer, mode, &from_sinks, &to_publisher)),
            std::thread::spawn(move || publish::run(&publisher, held.as_deref(), &from_writer)),
        ];
        Ok(Self { shared, lost, trust, threads, _registration: registration })
    }

    /// A sink for one thread.
    ///
    /// # Errors
    ///
    /// If the index cannot be read.
    pub fn sink(&self) -> Result<Sink> {
        Sink::new(Arc::clone(&self.shared))
    }

    /// Chunks that were recorded as lost when the session started: what refers to one of them must not be taken over
    /// from the parent.
    pub fn lost(&self) -> &LostChunks {
        &self.lost
    }

    /// Whether what the parent names may be taken over without being looked up: the index saw it committed, or found all
    /// of it since, and no pack has been lost after that.
    pub fn trusts_parent(&self) -> bool {
        self.trust.in_parent.load(Ordering::Acquire)
    }

    /// Asks once more, for packs may have turned out to be lost meanwhile. From then on the parent is not trusted.
    pub fn still_trusts_parent(&self) -> bool {
        if self.trusts_parent() && self.shared.index.losses().ok() != self.trust.begun {
            self.trust.in_parent.store(false, Ordering::Release);
        }
        self.trusts_parent()
    }

    /// Says of a snapshot that is committed that all it names was stored by this session, or looked up, or taken over from
    /// a parent that was trusted to the end. The next session trusts it then.
    pub fn vouch_for(&self, snapshot: &RecordName) {
        // If it cannot be written down, the next session looks up more than it must.
        drop(self.trust.begun.map(|begun| self.shared.index.add_whole(snapshot, begun)));
    }

    /// The packs that it has published.
    pub fn packs(&self) -> Vec<PackName> {
        self.shared.own.lock().iter().map(|(name, _)| *name).collect()
    }

    /// Everything that sinks were given and flushed, durable and in the index.
    ///
    /// # Errors
    ///
    /// Whatever ended the session.
    pub fn flush(&self) -> Result<()> {
        self.shared.tasks.wait();
        for roll in self.shared.leases.roll_all() {
            self.shared.send(ToWriter::Roll(roll))?;
        }
        let (reply, done) = bounded(1);
        self.shared.send(ToWriter::Flush(reply))?;
        done.recv().map_err(|_| self.shared.poisoned())?;
        if self.shared.has_failed() { Err(self.shared.poisoned()) } else { Ok(()) }
    }

    /// Chunks that were new, and their bytes before and after compression and sealing: (chunks, raw, data, meta).
    pub fn stored(&self) -> (u64, u64, u64, u64) {
        let counters = &self.shared.counters;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (data, meta) = (load(&counters.data_stored_bytes), load(&counters.meta_stored_bytes));
        (load(&counters.chunks), load(&counters.raw_bytes), data, meta)
    }

    /// The packs that it has published so far, with their lengths.
    pub fn published(&self) -> Vec<(PackName, u64)> {
        self.shared.own.lock().clone()
    }

    /// Publishes a snapshot with this body. All sinks must have been flushed.
    ///
    /// # Errors
    ///
    /// [`StoreError::PacksGone`] if packs that chunks were found in were deleted meanwhile. The session goes on then:
    /// what was in them is not known any more, so storing the same data again stores what is missing, and `commit` can
    /// be called again.
    pub fn commit(&self, body: Vec<u8>) -> Result<RecordName> {
        let (name, bytes) = self.shared.repository.seal_record(&Record::new(RecordKind::SNAPSHOT, body))?;
        let mut sink = self.sink()?;
        sink.put(ChunkKind::SnapshotCopy, &bytes)?;
        sink.flush()?;
        self.flush()?;
        let storage = self.shared.repository.storage();
        let mut staged = storage.stage()?;
        staged.append(&bytes)?;
        staged.sync()?;
        let lock = self.shared.repository.lock(LockMode::Shared)?;
        let packs = self.check_packs().inspect_err(|_| self.disown(&bytes))?;
        let names: Vec<&str> = packs.iter().map(String::as_str).collect();
        storage.sync(Area::Packs, &names)?;
        publish_once(&self.shared.repository, staged, name)?;
        storage.sync(Area::Snapshots, &[&name.to_string()])?;
        drop(lock);
        Ok(name)
    }

    /// It is not committed, or under another name later: nobody is to take its second copy for that of a lost snapshot.
    /// If that cannot be written down, a prune keeps what it needs for nothing.
    fn disown(&self, bytes: &[u8]) {
        let repository = &self.shared.repository;
        let copies = [*repository.namer().id(ChunkKind::SnapshotCopy, bytes).as_bytes()];
        let body = crate::codec::encode(&copies.as_slice(), RECORD_BODY_MOST_BYTES);
        body.and_then(|body| repository.put_record(&Record::new(RecordKind::PRUNED, body))).ok();
    }

    /// Rule A3: every pack that the snapshot relies on, own or not, is asked for in the storage, never in the index.
    fn check_packs(&self) -> Result<Vec<String>> {
        let shared = &self.shared;
        let mut needed = shared.own.lock().clone();
        let reused: Vec<_> = shared.reused.lock().iter().copied().collect();
        let mut gone = Vec::new();
        for number in reused {
            match (shared.index.pack_name(number), shared.index.pack_bytes(number)) {
                (Some(name), Some(bytes)) => needed.push((name, bytes)),
                // Dropped from the index since a chunk was found in it: it is gone.
                _ => gone.push((None, number)),
            }
        }
        let mut present = Vec::new();
        for (name, bytes) in needed {
            if shared.repository.storage().length(Area::Packs, &name.to_string())? == Some(bytes) {
                present.push(name.to_string());
            } else {
                gone.push((Some(name), PackNumber(0)));
            }
        }
        if gone.is_empty() { Ok(present) } else { Err(self.forget_packs(&gone)?) }
    }

    /// What was in these packs is not known any more, here and in the index.
    fn forget_packs(&self, gone: &[(Option<PackName>, PackNumber)]) -> Result<StoreError> {
        let names: Vec<_> = gone.iter().filter_map(|(name, _)| *name).collect();
        self.shared.own.lock().retain(|(own, _)| !names.contains(own));
        self.shared.reused.lock().clear();
        // All is flushed: what is still under way was published, and the index could not be told of it.
        self.shared.under_way.clear();
        self.trust.in_parent.store(false, Ordering::Release);
        match self.shared.index.remove(&names) {
            // Here they are dropped all the same; whoever opens the index next drops them there.
            Err(e) if !e.is_of_index() => return Err(e),
            _ => {}
        }
        let shown =
            gone.iter().map(|(name, number)| name.map_or_else(|| format!("number {}", number.0), |n| n.to_string()));
        Ok(StoreError::PacksGone { packs: shown.collect() })
    }
}

/// A repair that took it for lost may have published the same bytes.
fn publish_once(repository: &Repository, staged: Box<dyn Staged>, name: RecordName) -> Result<()> {
    match staged.publish(Area::Snapshots, &name.to_string()) {
        Err(StoreError::Exists { .. }) if repository.read_record(Area::Snapshots, name).is_ok() => Ok(()),
        published => published,
    }
}

/// Rule A14: under the shared lock the parent is seen to be there, and registered.
fn register(repository: &Repository, parent: Option<RecordName>) -> Result<Box<dyn Registered>> {
    repository.assert_writable()?;
    let body = Registration { parent: parent.map(|name| *name.as_bytes()) };
    let body = crate::codec::encode(&body, REGISTRATION_MOST_BYTES)?;
    let (_, bytes) = repository.seal_record(&Record::new(RecordKind::SESSION, body))?;
    let name = blake3::Hash::from_bytes(random(&**repository.entropy())?).to_hex();
    let lock = repository.lock(LockMode::Shared)?;
    if let Some(parent) = parent {
        let there = repository.storage().length(Area::Snapshots, &parent.to_string())?;
        there.ok_or(StoreError::ParentGone { name: parent })?;
    }
    let registered = repository.storage().register(&name, &bytes)?;
    drop(lock);
    Ok(registered)
}

impl Drop for Session {
    fn drop(&mut self) {
        // Packs that are open now are abandoned; those that were published serve the next run.
        *self.shared.to_writer.lock() = None;
        for thread in self.threads.drain(..) {
            // A panicked thread has already been reported by its message.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests;
