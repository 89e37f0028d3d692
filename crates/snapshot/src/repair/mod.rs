//! Repairs: bringing a damaged repository into a state that a check finds nothing wrong with, keeping all that can be
//! read.
//!
//! Owns the order in which things happen: what is whole of a damaged pack is stored again, durable and read back before
//! the pack is moved aside ([`repair_packs`]); what is lost is recorded, so that the next backup that meets it stores it;
//! lost snapshot records come back from their second copies, and snapshots with damage are written again without what
//! is lost ([`repair_snapshots`]). The bytes themselves are mended in the store.
//!
//! Invariant: nothing is thrown away. A damaged object goes to `replaced/`, a damaged snapshot is forgotten and can be
//! brought back. A dry run decides by the same code and writes nothing.

mod needs;
mod packs;
mod records;
mod rewrite;
mod snapshots;
mod strays;
mod torn;

pub use packs::{PackRepairOptions, PacksRepaired, RepairedPack, repair_packs};
pub use snapshots::{
    Hopeless, Returned, ReturnedAs, Rewritten, SnapshotRepairOptions, SnapshotsRepaired, repair_snapshots,
};
pub(crate) use strays::strays;
pub use torn::Losses;

#[cfg(test)]
mod tests;
