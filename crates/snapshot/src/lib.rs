//! What the bytes in a repository mean: trees, snapshots, and the ways between them and a file system.
//!
//! Owns nodes and trees ([`tree`]), streams ([`stream`]), snapshot records ([`record`]), the walk and the backup
//! ([`mod@backup`]), restoring ([`mod@restore`]), comparing, checking, repairing ([`mod@repair`]), retention
//! ([`mod@retention`]), reclaiming ([`mod@prune`]), and the seam for applications ([`capture`]).
//! Never names an application, never speaks SQL or pack offsets, never prints, reads the environment or a clock.
//!
//! Invariant: a snapshot holds exactly what was read, or names what it lacks.

mod ahead;
mod allowance;
pub mod backup;
pub mod capture;
pub mod check;
pub mod diff;
mod error;
pub mod filter;
mod follow;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod known;
pub mod list;
mod lock;
pub mod node;
pub mod progress;
pub mod prune;
pub mod record;
pub mod repair;
pub mod restore;
pub mod retention;
pub mod select;
mod source;
mod stat;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod undelete;
pub mod usage;
mod walk;

pub use error::{Result, SnapshotError, with_causes};
pub use node::{Node, NodeKind, Time};
pub use record::{AppEntry, Snapshot, SnapshotName};
pub use stream::Stream;
