//! H2 database files (MVStore): read, verified, captured while they are written, and closed after a crash.
//!
//! * [`store`] reads a file; it knows nothing of snapshots.
//! * [`mod@verify`] walks every map of the newest version and tells what is wrong.
//! * [`H2`] recognises databases in a folder, and [`DatabaseCapture`] takes one, live by default.
//! * [`H2Restorer`] brings one back.
//! * [`mod@normalise`] turns a file that was not closed into what a clean shutdown would have left.
//!
//! What this crate never does: it takes no lock on a source, writes to none, speaks no SQL, prints nothing.
//!
//! Invariant: a verdict is never better than what was proven about the very bytes that are handed out.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test says what it expects by panicking"))]

mod app;
mod capture;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod normalise;
mod options;
pub mod restore;
#[cfg(any(test, feature = "fuzzing"))]
mod sample;
pub mod store;
#[cfg(test)]
mod tests;
pub mod verify;

pub use app::H2;
pub use capture::DatabaseCapture;
pub use error::Error;
pub use normalise::normalise;
pub use options::{Down, Fallback, NotStarted, Options};
pub use restore::H2Restorer;
pub use verify::{Finding, MapInfo, Report, verify};
