//! Berkeley DB Java Edition: environments read, verified, captured while they are written, and brought back.
//!
//! What this crate owns: the format of the log ([`log`]), the judgement of a log ([`verify`](mod@verify)), the capture of
//! environments ([`Je`], [`handover`]), standbys that follow them ([`failover`]), the proof of which moments can be brought back ([`moment`]), and how they are
//! ([`restore`]). What it never does: it walks no tree, prints nothing, reads neither the environment nor the clock of the
//! day, and never writes to an environment that it captures.

mod capture;
mod error;
pub mod failover;
pub mod handover;
pub mod log;
pub mod moment;
mod options;
pub mod restore;
pub mod verify;

pub use capture::{Je, KIND, is_home, is_unlocked, lost};
pub use error::Error;
pub use options::Options;
