//! The items that tell what happened: ends of transactions, checkpoints, a restore that is needed.
//!
//! Owns their layout in each version (`txn/VersionedWriteTxnEnd.java`, `recovery/CheckpointStart.java`,
//! `recovery/CheckpointEnd.java`, `log/entry/RestoreRequired.java`).
//! Invariant: an item is read as a whole or not at all.

use super::fields::Fields;
use super::{EntryType, Lsn};

/// Says that the place of the root follows.
const HAS_ROOT: u8 = 1;
/// Says that files were cleaned before this checkpoint and are deleted behind it.
const CLEANED_FILES: u8 = 2;

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A transaction ends.
    TransactionEnd(TransactionEnd),
    /// A checkpoint begins.
    CheckpointStart(CheckpointStart),
    /// A checkpoint is complete.
    CheckpointEnd(CheckpointEnd),
    /// The environment must be restored before it is used.
    RestoreRequired(RestoreRequired),
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Committed.
    Commit,
    /// Undone.
    Abort,
}

/// The end of a transaction that has written something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionEnd {
    /// How it ends.
    pub outcome: Outcome,
    /// The number of the transaction; negative for replicated ones.
    pub transaction: i64,
    /// When, in milliseconds since 1970, by the clock of the machine that it was made on. Taken before the entry's place
    /// in the log is, so that times need not ascend.
    pub time_ms: i64,
    /// The last entry that the transaction has written.
    pub last: Option<Lsn>,
}

/// The beginning of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointStart {
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
    /// Its number.
    pub id: i64,
    /// Who asked for it.
    pub invoker: String,
}

/// The end of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointEnd {
    /// Who asked for it.
    pub invoker: String,
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
    /// Where it began.
    pub start: Option<Lsn>,
    /// Where the root of all databases is; `None`: it has not changed since an earlier checkpoint.
    pub root: Option<Lsn>,
    /// The oldest entry of the transactions that were open: recovery reads from there.
    pub first_active: Option<Lsn>,
    /// Whether files that were cleaned before it may be deleted behind it. Up to version 6 any checkpoint may.
    pub may_delete_files: bool,
    /// Its number.
    pub id: i64,
}

impl CheckpointEnd {
    /// The oldest place that recovery from this checkpoint reads.
    pub fn recovery_start(&self) -> Option<Lsn> {
        [self.start, self.first_active].into_iter().flatten().min()
    }
}

/// Why the environment must be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreRequired {
    /// `NETWORK_RESTORE`, `LOG_CHECKSUM` or `BTREE_CORRUPTION`.
    pub reason: String,
    /// Since when, in milliseconds since 1970.
    pub time_ms: i64,
}

/// Whether [`read`] knows items of that kind.
pub(crate) fn is_read(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::COMMIT
            | EntryType::ABORT
            | EntryType::CHECKPOINT_START
            | EntryType::CHECKPOINT_END
            | EntryType::RESTORE_REQUIRED
    )
}

/// Reads the item of an entry of that kind in a log of that version.
pub(crate) fn read(kind: EntryType, item: &[u8], version: u32) -> Option<Item> {
    let mut fields = Fields::new(item);
    match kind {
        EntryType::COMMIT => transaction_end(&mut fields, version, Outcome::Commit).map(Item::TransactionEnd),
        EntryType::ABORT => transaction_end(&mut fields, version, Outcome::Abort).map(Item::TransactionEnd),
        EntryType::CHECKPOINT_START => checkpoint_start(&mut fields).map(Item::CheckpointStart),
        EntryType::CHECKPOINT_END => checkpoint_end(&mut fields, version).map(Item::CheckpointEnd),
        EntryType::RESTORE_REQUIRED => restore_required(&mut fields).map(Item::RestoreRequired),
        _ => None,
    }
}

/// From version 12 on the last entry comes first. The master's number, and from 13 on a durable VLSN, follow.
fn transaction_end(fields: &mut Fields<'_>, version: u32, outcome: Outcome) -> Option<TransactionEnd> {
    let early = if version >= 12 { Some(fields.packed()?) } else { None };
    let (transaction, time_ms) = (fields.packed()?, fields.packed()?);
    let last = match early {
        Some(last) => last,
        None => fields.packed()?,
    };
    fields.skip_packed(if version >= 13 { 2 } else { 1 })?;
    Some(TransactionEnd { outcome, transaction, time_ms, last: Lsn::from_stored(last) })
}

fn checkpoint_start(fields: &mut Fields<'_>) -> Option<CheckpointStart> {
    let (time_ms, id) = (fields.packed()?, fields.packed()?);
    Some(CheckpointStart { time_ms, id, invoker: fields.text()? })
}

fn checkpoint_end(fields: &mut Fields<'_>, version: u32) -> Option<CheckpointEnd> {
    let (invoker, time_ms) = (fields.text()?, fields.packed()?);
    let start = Lsn::from_stored(fields.packed()?);
    let flags = fields.byte()?;
    let root = if flags & HAS_ROOT != 0 { Lsn::from_stored(fields.packed()?) } else { None };
    let first_active = Lsn::from_stored(fields.packed()?);
    // The last numbers of nodes, databases and transactions, local and replicated; later those of extinctions too.
    fields.skip_packed(if version >= 17 { 8 } else { 6 })?;
    let id = fields.packed()?;
    let may_delete_files = version <= 6 || flags & CLEANED_FILES != 0;
    Some(CheckpointEnd { invoker, time_ms, start, root, first_active, may_delete_files, id })
}

fn restore_required(fields: &mut Fields<'_>) -> Option<RestoreRequired> {
    Some(RestoreRequired { reason: fields.text()?, time_ms: fields.packed()? })
}
