//! Snapshots that are known to be whole: a backup takes over what they name without asking for it.
//!
//! Never says so of a snapshot that this index has not seen committed: one that has just been made knows of none.
//! Invariant: all chunks of a snapshot in the list were in packs of this index when it came there, and no pack has been
//! dropped from the index since but those that a prune deleted while it saw that snapshot. Any other pack that is dropped
//! empties the list and is counted as a loss, so that a session that began before it adds nothing.

use rusqlite::{Connection, params};

use super::Index;
use crate::error::Result;
use crate::record::RecordName;

/// How often packs have been lost to an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Losses(i64);

impl Index {
    /// How often packs have been lost, for whoever begins to rely on those that are there.
    pub(crate) fn losses(&self) -> Result<Losses> {
        let losses = self.write.lock().query_row("SELECT losses FROM meta", [], |row| row.get(0));
        losses.map(Losses).map_err(self.failed("read"))
    }

    /// Whether a snapshot is known to be whole.
    pub(crate) fn is_whole(&self, snapshot: &RecordName) -> Result<bool> {
        let select = "SELECT EXISTS (SELECT 1 FROM whole WHERE snapshot = ?1)";
        let known = self.write.lock().query_row(select, [snapshot.as_bytes()], |row| row.get(0));
        known.map_err(self.failed("read"))
    }

    /// From now on a snapshot is known to be whole, unless packs have been lost since it was begun. Not made durable by
    /// itself: if it is forgotten, the next backup asks for more than it must.
    pub(crate) fn add_whole(&self, snapshot: &RecordName, begun: Losses) -> Result<()> {
        let write = self.write.lock();
        let insert = "INSERT OR IGNORE INTO whole SELECT ?1 FROM meta WHERE losses = ?2";
        let added = write.pragma_update(None, "synchronous", "NORMAL");
        let added = added.and_then(|()| write.execute(insert, params![snapshot.as_bytes(), begun.0]));
        let restored = write.pragma_update(None, "synchronous", "FULL");
        added.and(restored).map_err(self.failed("write to"))
    }
}

/// Packs are gone, and any snapshot may have needed them.
pub(super) fn forget_all(transaction: &Connection) -> rusqlite::Result<()> {
    transaction.execute_batch("DELETE FROM whole; UPDATE meta SET losses = losses + 1")
}

/// Packs were deleted that none of these snapshots needs; of others nothing is known any more.
pub(super) fn forget_others(transaction: &Connection, kept: &[RecordName]) -> rusqlite::Result<()> {
    transaction.execute_batch("CREATE TEMP TABLE IF NOT EXISTS kept (snapshot BLOB PRIMARY KEY); DELETE FROM kept")?;
    let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO kept VALUES (?1)")?;
    kept.iter().try_for_each(|name| insert.execute([name.as_bytes()]).map(drop))?;
    transaction.execute_batch("DELETE FROM whole WHERE snapshot NOT IN (SELECT snapshot FROM kept)")
}
