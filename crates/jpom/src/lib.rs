//! Homes of [Jpom](https://jpom.top) servers and agents: what they are, what in them matters and why, in which order
//! they are captured, and by which rules they come back.
//!
//! [`Home`] recognises a home by evidence, not by its name. [`roles`] is the one table of what each path is;
//! [`Scope`] decides by it what a snapshot holds. [`Jpom`] is the application for the walk of a backup. [`restore`] holds
//! the rules of bringing a home back, [`Running`] the home's own process.
//!
//! What this crate never does: it walks no tree but to tell sizes, prints nothing, reads no clock of the day and no
//! environment but that of a home's own process, and stops nothing unasked. It knows no file format of a database: that
//! is H2's crate.
//!
//! Invariants:
//!
//! * A process is taken for a home's only if the home's own pid file names it and its command line names the home.
//! * What is not known is kept: a path without a role is in the scope `full`.

mod app;
mod capture;
mod error;
mod home;
mod inspect;
mod process;
pub mod restore;
pub mod roles;
mod scope;
mod stop;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod testing;

pub use app::{Homes, Jpom, Note, OtherDatabases};
pub use error::Error;
pub use home::database::{Database, Mode};
pub use home::program::{H2Library, Program};
pub use home::settings::Settings;
pub use home::{Home, Kind, Layout};
pub use inspect::{Inspection, Line, Outside, inspect};
pub use process::Running;
pub use scope::{Decision, Scope, Scoping};
pub use stop::{Stop, Stopped, stop};
