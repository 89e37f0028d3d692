//! What the next capture wants to know, and the proof that nothing changed.
//!
//! The argument, for a database with a rollback journal: the state was written down while SQLite's shared lock was
//! held, so the file was between two transactions. Every later transaction increments the change counter in the header
//! before it commits (a connection in exclusive locking mode does so for its first one). So with the same counter
//! nothing was committed, and with no `-wal`, `-shm` or `-journal` no other place holds pages. Inode, size and both times
//! guard against changes that did not go through SQLite.
//!
//! In WAL mode the counter may stand still while pages change, so nothing is ever called unchanged there.
//!
//! Invariant: a state that is not empty was taken of a copy with the verdict `Consistent`, in rollback mode.

use crate::source::{Look, Sibling};

/// Changes with the layout below. A state of another version never equals one of ours, which only costs a copy.
const VERSION: u8 = 1;

/// The state for a database in rollback mode as it was seen under the lock.
pub(crate) fn encode(look: &Look) -> Vec<u8> {
    let main = &look.main;
    let mut state = vec![VERSION];
    state.extend([main.device, main.inode, main.size_bytes].map(u64::to_le_bytes).concat());
    let times = [main.modified.0, main.modified.1, main.changed.0, main.changed.1];
    state.extend(times.map(i64::to_le_bytes).concat());
    state.extend(look.header.change_counter().to_le_bytes());
    state.extend(look.header.schema_cookie().to_le_bytes());
    state
}

/// Whether the database is proven to be what it was.
pub(crate) fn is_unchanged(look: &Look, previous: Option<&[u8]>) -> bool {
    let alone = [look.wal, look.shm, look.journal].iter().all(|sibling| *sibling == Sibling::Absent);
    alone && !look.header.is_wal() && !look.header.is_unknown() && previous == Some(encode(look).as_slice())
}
