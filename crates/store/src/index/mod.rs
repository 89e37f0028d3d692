//! The index: where each chunk lies. Derived from the packs' trailers; it can be dropped at any time.
//!
//! A row is found by the first eight bytes of the chunk's id and proven by a 16-byte seal over the whole id and the
//! place. So a lookup compares all 32 bytes, and a flipped bit in a row makes it useless, never wrong. About 50 bytes a
//! chunk. Nothing is loaded ahead.
//!
//! Owns the database, its repair and its learning of new packs, and the list of snapshots that are known to be whole.
//! Never decides that a pack exists: whoever relies on a pack asks the storage.
//!
//! Invariants: every row that passes its seal was in the trailer of a pack of that name. All that an [`Index`] reads and
//! writes is one database, also when another process has put its own in the place of it meanwhile: each numbers the packs
//! in its own way.

mod compare;
mod schema;
mod whole;

pub use compare::PackRows;
use schema::Unusable;
pub(crate) use schema::assert_library;
pub(crate) use whole::Losses;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use rayon::prelude::*;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use treering_chunk::ChunkId;

use crate::config::RepositoryId;
use crate::error::{Result, StoreError};
use crate::pack::format::Trailer;
use crate::pack::{PackKind, PackName};
use crate::record::RecordName;
use crate::storage::LockMode;

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which index of this process the number of the pack belongs to: the first, or the one made anew in its place.
    pub(crate) generation: u8,
    /// The pack, by its number in that index.
    pub(crate) pack: PackNumber,
    /// Where the frame's header starts in the pack.
    pub(crate) frame: u64,
    /// Where the chunk starts in the frame's body.
    pub(crate) offset: u32,
    /// Its length.
    pub(crate) raw_len: u32,
}

impl Place {
    /// The pack and the frame: what must be read to have the chunk. Sorting by it sorts by position on disk.
    pub fn frame(&self) -> (u8, u32, u64) {
        (self.generation, self.pack.0, self.frame)
    }

    /// Its length.
    pub fn raw_len(&self) -> u32 {
        self.raw_len
    }
}

/// A pack in this index. Numbers are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PackNumber(pub(crate) u32);

/// A pack that the index is to learn.
#[derive(Debug, Clone)]
pub(crate) struct LearnedPack {
    pub(crate) name: PackName,
    pub(crate) kind: PackKind,
    pub(crate) bytes: u64,
    pub(crate) trailer: Trailer,
}

/// What happened to the index when the repository was opened. For the user to know; nothing is lost by any of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexNotice {
    /// There was none; it was made from the packs' trailers.
    Built {
        /// How many packs it learned.
        packs: usize,
    },
    /// It could not be used and was made anew from the packs' trailers.
    Rebuilt {
        /// Why.
        reason: String,
        /// How many packs it learned.
        packs: usize,
    },
    /// Packs of others, or of an interrupted run, were learned.
    Learned {
        /// How many.
        packs: usize,
    },
    /// Packs that are gone were dropped from it.
    Dropped {
        /// How many.
        packs: usize,
    },
    /// The trailer of this pack is damaged; its chunks were found by reading its frames.
    TrailerLost {
        /// The pack.
        pack: PackName,
        /// What is wrong with it.
        detail: String,
    },
}

#[derive(Debug, Clone, Copy)]
struct PackEntry {
    name: PackName,
    bytes: u64,
}

#[derive(Debug, Default)]
struct PackTable {
    by_number: HashMap<PackNumber, PackEntry>,
    by_name: HashMap<PackName, PackNumber>,
}

/// The open index.
pub(crate) struct Index {
    path: PathBuf,
    write: Mutex<Connection>,
    packs: RwLock<PackTable>,
    /// Whether `chunk_more` has rows: nearly never, so that lookups need not ask.
    has_more: AtomicBool,
    is_empty: AtomicBool,
    row_key: RowKey,
    generation: u8,
    /// Which file it is; `None` if that cannot be told.
    file: Option<schema::FileId>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Index({})", self.path.display())
    }
}

impl Index {
    /// Opens the index of this repository, without looking at any pack.
    ///
    /// The error says why it cannot be used; it is to be rebuilt then.
    pub(crate) fn open(path: &Path, repository: RepositoryId) -> Result<Self, String> {
        // On a full disk there may be no lock, and nobody who could make an index either.
        let _whole = schema::swap_lock(path, LockMode::Shared).ok();
        Self::open_locked(path, repository).map_err(|why| why.to_string())
    }

    fn open_locked(path: &Path, repository: RepositoryId) -> Result<Self, Unusable> {
        let connection = schema::open(path, repository)?;
        Ok(Self::load(path, connection, repository)?)
    }

    fn load(path: &Path, connection: Connection, repository: RepositoryId) -> rusqlite::Result<Self> {
        let mut packs = PackTable::default();
        {
            let mut select = connection.prepare("SELECT id, name, bytes FROM pack")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let (number, name) = (PackNumber(row.get(0)?), PackName::from_bytes(row.get(1)?));
                let bytes = row.get::<_, i64>(2)? as u64;
                packs.by_number.insert(number, PackEntry { name, bytes });
                packs.by_name.insert(name, number);
            }
        }
        let any = |table| connection.query_row(&format!("SELECT EXISTS (SELECT 1 FROM {table})"), [], |row| row.get(0));
        let (has_more, has_any): (bool, bool) = (any("chunk_more")?, any("chunk")?);
        Ok(Self {
            path: path.to_owned(),
            write: Mutex::new(connection),
            packs: RwLock::new(packs),
            has_more: AtomicBool::new(has_more),
            is_empty: AtomicBool::new(!has_any && !has_more),
            row_key: RowKey::of(repository),
            generation: 0,
            file: schema::file_id(path),
        })
    }

    /// Marks an index that takes the place of another in this process.
    pub(crate) fn succeed(self, generation: u8) -> Self {
        Self { generation, ..self }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn generation(&self) -> u8 {
        self.generation
    }

    /// Makes a new index of these packs and puts it in place of whatever is there.
    ///
    /// `read` is called for each name on several threads. The old database stays until the new one is complete, so
    /// that a rebuild that is killed costs only its time. Two that rebuild at once do not meet until the end: each has a
    /// database of its own, and the last one stays.
    pub(crate) fn rebuild(
        path: &Path,
        repository: RepositoryId,
        names: &[PackName],
        read: impl Fn(PackName) -> Option<LearnedPack> + Sync,
    ) -> Result<Self> {
        let (fresh, _held) = schema::fresh(path)?;
        let fail = |action| move |source| StoreError::Index { action, path: path.to_owned(), source };
        let connection = schema::create(&fresh, repository).map_err(fail("create"))?;
        let index = Self::load(&fresh, connection, repository).map_err(fail("create"))?;
        index.learn(names, read)?;
        schema::close(index.write.into_inner()).map_err(fail("finish"))?;
        // Between the two the log of the old database must not come back to life beside the new one.
        let _alone = schema::swap_lock(path, LockMode::Exclusive)?;
        schema::remove(path)?;
        std::fs::rename(&fresh, path).map_err(StoreError::io("put in place", path))?;
        Self::open_locked(path, repository).map_err(|why| match why {
            Unusable::Sqlite(error) => fail("open")(error),
            Unusable::Other(why) => StoreError::damaged("the index just made", why),
        })
    }

    /// Reads and adds packs, a few at a time so that memory stays bounded.
    pub(crate) fn learn(
        &self,
        names: &[PackName],
        read: impl Fn(PackName) -> Option<LearnedPack> + Sync,
    ) -> Result<()> {
        const PACKS_AT_A_TIME: usize = 8;
        for names in names.chunks(PACKS_AT_A_TIME) {
            let learned: Vec<_> = names.par_iter().filter_map(|name| read(*name)).collect();
            self.add(&learned)?;
        }
        Ok(())
    }

    /// The packs that the storage has and the index lacks, and the other way round.
    pub(crate) fn compare(&self, listed: &[(PackName, u64)]) -> (Vec<PackName>, Vec<PackName>) {
        let packs = self.packs.read();
        let present: HashSet<PackName> = listed.iter().map(|(name, _)| *name).collect();
        let unknown = listed.iter().map(|(name, _)| *name).filter(|name| !packs.by_name.contains_key(name)).collect();
        let gone = packs.by_name.keys().copied().filter(|name| !present.contains(name)).collect();
        (unknown, gone)
    }

    /// Adds packs with all their chunks in one transaction, sorted: random inserts would rewrite most of the tree.
    pub(crate) fn add(&self, packs: &[LearnedPack]) -> Result<()> {
        let mut write = self.write.lock();
        let added = self.add_rows(&mut write, packs).map_err(self.failed("add packs to"))?;
        let mut table = self.packs.write();
        for (number, pack) in added {
            table.by_number.insert(number, PackEntry { name: pack.name, bytes: pack.bytes });
            table.by_name.insert(pack.name, number);
            if !pack.trailer.frames.is_empty() {
                self.is_empty.store(false, Ordering::Release);
            }
        }
        Ok(())
    }

    fn add_rows<'a>(
        &self,
        write: &mut Connection,
        packs: &'a [LearnedPack],
    ) -> rusqlite::Result<Vec<(PackNumber, &'a LearnedPack)>> {
        let transaction = write.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut added = Vec::new();
        for pack in packs {
            // Another process may have learned it already; then its number is learned here, and no row is written twice.
            let insert = "INSERT OR IGNORE INTO pack (name, kind, bytes) VALUES (?1, ?2, ?3)";
            let new =
                transaction.execute(insert, params![pack.name.as_bytes(), pack.kind as u8, pack.bytes as i64])? > 0;
            let find = "SELECT id FROM pack WHERE name = ?1";
            let number = PackNumber(transaction.query_row(find, [pack.name.as_bytes()], |row| row.get(0))?);
            added.push((number, pack, new));
        }
        let mut rows: Vec<_> = added
            .iter()
            .filter(|(_, _, new)| *new)
            .flat_map(|(n, pack, _)| self.row_key.rows(pack.name, *n, &pack.trailer))
            .collect();
        rows.sort_unstable_by_key(|row| row.key);
        self.insert_sorted(&transaction, &rows)?;
        transaction.commit()?;
        Ok(added.into_iter().map(|(number, pack, _)| (number, pack)).collect())
    }

    fn insert_sorted(&self, transaction: &Connection, rows: &[Row]) -> rusqlite::Result<()> {
        let mut first = transaction.prepare_cached("INSERT OR IGNORE INTO chunk VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        let mut more = transaction.prepare_cached("INSERT INTO chunk_more VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        for Row { key, seal, place } in rows {
            let values = params![key, seal, place.pack.0, place.frame as i64, place.offset, place.raw_len];
            if first.execute(values)? == 0 {
                more.execute(values)?;
                self.has_more.store(true, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Drops packs that are gone, and their rows. Snapshots may have needed them: none counts as whole any more.
    pub(crate) fn remove(&self, names: &[PackName]) -> Result<()> {
        self.remove_and(names, whole::forget_all)
    }

    /// Drops packs that were deleted because none of these snapshots, which are all that there are, needs them.
    pub(crate) fn remove_needless(&self, names: &[PackName], snapshots: &[RecordName]) -> Result<()> {
        self.remove_and(names, |transaction| whole::forget_others(transaction, snapshots))
    }

    fn remove_and(&self, names: &[PackName], forget: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let mut table = self.packs.write();
        let numbers: Vec<_> = names.iter().filter_map(|name| table.by_name.remove(name)).collect();
        for number in &numbers {
            table.by_number.remove(number);
        }
        drop(table);
        let mut write = self.write.lock();
        remove_rows(&mut write, &numbers, forget).map_err(self.failed("drop packs from"))
    }

    pub(crate) fn pack_name(&self, number: PackNumber) -> Option<PackName> {
        self.packs.read().by_number.get(&number).map(|entry| entry.name)
    }

    pub(crate) fn pack_bytes(&self, number: PackNumber) -> Option<u64> {
        self.packs.read().by_number.get(&number).map(|entry| entry.bytes)
    }

    pub(crate) fn pack_names(&self) -> Vec<PackName> {
        self.packs.read().by_name.keys().copied().collect()
    }

    fn failed(&self, action: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        move |source| StoreError::Index { action, path: path.clone(), source }
    }

    /// A reader for one thread.
    pub(crate) fn reader(self: &Arc<Self>) -> Result<IndexReader> {
        let _whole = schema::swap_lock(&self.path, LockMode::Shared).ok();
        let connection = match self.is_in_place() {
            true => Some(schema::open_reader(&self.path).map_err(self.failed("read"))?),
            false => None,
        };
        Ok(IndexReader { index: Arc::clone(self), connection })
    }

    /// Whether its database still has its name. While it is open here, no other file is the same.
    fn is_in_place(&self) -> bool {
        self.file.is_some() && schema::file_id(&self.path) == self.file
    }
}

struct Row {
    key: i64,
    seal: [u8; 16],
    place: Place,
}

/// Proves rows: known to whoever knows the repository's id, it tells damage from a row and keeps no secret.
struct RowKey([u8; 32]);

impl RowKey {
    fn of(repository: RepositoryId) -> Self {
        Self(blake3::derive_key("treering 2026-11 index rows v1", repository.as_bytes()))
    }

    fn seal(&self, id: &ChunkId, pack: PackName, place: &Place) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(id.as_bytes()).update(pack.as_bytes()).update(&place.frame.to_le_bytes());
        hasher.update(&place.offset.to_le_bytes()).update(&place.raw_len.to_le_bytes());
        let mut seal = [0; 16];
        hasher.finalize_xof().fill(&mut seal);
        seal
    }

    /// The rows of a pack, in the order of its chunks.
    fn rows(&self, name: PackName, number: PackNumber, trailer: &Trailer) -> Vec<Row> {
        let mut rows = Vec::new();
        for frame in &trailer.frames {
            let mut offset = 0;
            for chunk in &frame.chunks {
                let place = Place { generation: 0, pack: number, frame: frame.offset, offset, raw_len: chunk.raw_len };
                rows.push(Row { key: chunk.id().prefix() as i64, seal: self.seal(&chunk.id(), name, &place), place });
                offset = offset.saturating_add(chunk.raw_len);
            }
        }
        rows
    }
}

/// Drops all rows of these packs in one pass, then moves rows that stood second for their key to the first place.
fn remove_rows(
    write: &mut Connection,
    numbers: &[PackNumber],
    forget: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let transaction = write.transaction_with_behavior(TransactionBehavior::Immediate)?;
    forget(&transaction)?;
    transaction.execute_batch("CREATE TEMP TABLE IF NOT EXISTS gone (id INTEGER PRIMARY KEY); DELETE FROM gone")?;
    {
        let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO gone VALUES (?1)")?;
        numbers.iter().try_for_each(|number| insert.execute([number.0]).map(drop))?;
    }
    transaction.execute_batch(
        "DELETE FROM chunk WHERE pack IN (SELECT id FROM gone);
         DELETE FROM chunk_more WHERE pack IN (SELECT id FROM gone);
         DELETE FROM pack WHERE id IN (SELECT id FROM gone);
         INSERT OR IGNORE INTO chunk SELECT * FROM chunk_more ORDER BY key;
         DELETE FROM chunk_more WHERE EXISTS (SELECT 1 FROM chunk WHERE chunk.key = chunk_more.key
             AND chunk.pack = chunk_more.pack AND chunk.frame = chunk_more.frame AND chunk.offset = chunk_more.offset);",
    )?;
    transaction.commit()
}

/// Looks chunks up, on one thread.
pub(crate) struct IndexReader {
    index: Arc<Index>,
    /// Its own; none if another database has taken the place of this one, which has no name then. Such a reader shares the
    /// connection that writes.
    connection: Option<Connection>,
}

impl IndexReader {
    /// Where a chunk lies; one place if it has several. `None` if no sound row says so.
    pub(crate) fn find(&self, id: &ChunkId) -> Result<Option<Place>> {
        if self.index.is_empty.load(Ordering::Acquire) {
            return Ok(None);
        }
        self.with(|connection| self.find_in(connection, id))
    }

    fn with<T>(&self, look: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let looked = match &self.connection {
            Some(connection) => look(connection),
            None => look(&self.index.write.lock()),
        };
        looked.map_err(self.index.failed("read"))
    }

    fn find_in(&self, connection: &Connection, id: &ChunkId) -> rusqlite::Result<Option<Place>> {
        match self.find_first(connection, id)? {
            Some(Some(place)) => return Ok(Some(place)),
            None if !self.index.has_more.load(Ordering::Acquire) => return Ok(None),
            // The row is of another chunk, or of a pack that another process has learned since: then also rows of that
            // process may stand behind it.
            _ => {}
        }
        self.find_more(connection, id)
    }

    /// The first row of the key, if there is one, and the place that it proves.
    fn find_first(&self, connection: &Connection, id: &ChunkId) -> rusqlite::Result<Option<Option<Place>>> {
        let mut select =
            connection.prepare_cached("SELECT seal, pack, frame, offset, length FROM chunk WHERE key = ?1")?;
        let row = select.query_row([id.prefix() as i64], read_row).optional()?;
        Ok(row.map(|row| row.and_then(|(seal, place)| self.proven(id, seal, place))))
    }

    fn find_more(&self, connection: &Connection, id: &ChunkId) -> rusqlite::Result<Option<Place>> {
        let mut select =
            connection.prepare_cached("SELECT seal, pack, frame, offset, length FROM chunk_more WHERE key = ?1")?;
        let mut rows = select.query([id.prefix() as i64])?;
        while let Some(row) = rows.next()? {
            if let Some(place) = read_row(row)?.and_then(|(seal, place)| self.proven(id, seal, place)) {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    fn proven(&self, id: &ChunkId, seal: [u8; 16], place: Place) -> Option<Place> {
        let pack = self.index.pack_name(place.pack)?;
        let place = Place { generation: self.index.generation, ..place };
        (self.index.row_key.seal(id, pack, &place) == seal).then_some(place)
    }
}

/// A row, or `None` if its values are of impossible types or sizes: then it is damaged and as good as absent.
fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<([u8; 16], Place)>> {
    let values = (row.get(0), row.get(1), row.get::<_, i64>(2), row.get(3), row.get(4));
    let (Ok(seal), Ok(pack), Ok(frame), Ok(offset), Ok(raw_len)) = values else { return Ok(None) };
    let Ok(frame) = u64::try_from(frame) else { return Ok(None) };
    Ok(Some((seal, Place { generation: 0, pack: PackNumber(pack), frame, offset, raw_len })))
}
