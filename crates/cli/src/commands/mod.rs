//! One short file for each command: resolve what was typed, call the library, print.

pub(crate) mod backup;
pub(crate) mod cat;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod diff;
pub(crate) mod dump;
pub(crate) mod find;
pub(crate) mod forget;
pub(crate) mod h2;
pub(crate) mod init;
pub(crate) mod je;
pub(crate) mod jpom;
pub(crate) mod key;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod prune;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod snapshots;
pub(crate) mod stats;
pub(crate) mod undelete;
pub(crate) mod version;

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use treering_snapshot::{SnapshotError, with_causes};

use crate::exit::{Failure, Kind, Outcome};
use crate::output::messages::ItemError;
use crate::output::{Printer, table};

/// Names the folders that a command could not read; they make a failure of it.
fn damaged(printer: Printer, during: &'static str, unread: &[(PathBuf, SnapshotError)]) -> Outcome {
    for (path, error) in unread {
        printer.error(&ItemError::new(during, path.as_os_str().as_bytes(), with_causes(error)));
    }
    if unread.is_empty() {
        return Ok(());
    }
    let happened = format!("{} of the snapshot could not be read", table::count(unread.len() as u64, "folder"));
    Err(Failure::new(Kind::Damaged, happened)
        .safe("Everything else is as it is shown.")
        .next("Run `treering check` to see what is affected."))
}
