//! Which way a database is copied.
//!
//! Pure: from what was seen to a plan. Knows when SQLite's own reader would write to the source.
//!
//! Invariant: a way through SQLite is chosen only if it creates no file beside the source.

use crate::source::{Look, Sibling};

/// The plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// Through SQLite, with its shared lock on a database with a rollback journal.
    Online,
    /// Through SQLite, as one more reader of a database in WAL mode that has its `-wal` and `-shm`.
    OnlineInWal,
    /// WAL mode, but everything is in the main file: SQLite would create a `-wal` and a `-shm` only to look at it.
    IdleWal,
    /// The files as they are.
    Raw(Why),
}

/// Why the files are copied without SQLite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// The header names a format that this program does not know.
    NewerFormat,
    /// A sibling is no regular file.
    StrangeSibling,
    /// A `-wal` was left behind without its `-shm`; SQLite would create one.
    WalWithoutShm,
    /// A journal beside a database in WAL mode: a change of mode was interrupted.
    JournalBesideWal,
    /// A transaction was interrupted; SQLite would roll it back in the source.
    HotJournal,
    /// Somebody kept an exclusive lock.
    Locked,
    /// It was idle whenever we looked, and changed whenever we copied.
    Restless,
    /// SQLite refused, with these words.
    Refused(String),
}

impl Why {
    /// The first half of the sentence for the user.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Why::NewerFormat => "the file format is newer than this program".to_owned(),
            Why::StrangeSibling => "a -wal, -shm or -journal is not a regular file".to_owned(),
            Why::WalWithoutShm => "a -wal was left behind without its -shm".to_owned(),
            Why::JournalBesideWal => "a -journal was left behind beside a database in WAL mode".to_owned(),
            Why::HotJournal => "an interrupted transaction waits in the -journal to be rolled back".to_owned(),
            Why::Locked => "a writer kept the database locked for longer than the time limit".to_owned(),
            Why::Restless => "it was opened and changed again and again".to_owned(),
            Why::Refused(reason) => format!("SQLite would not read it in place ({reason})"),
        }
    }
}

impl Way {
    /// Whether the whole-file read lock is needed to go this way.
    pub(crate) fn needs_lock(&self) -> bool {
        matches!(self, Way::OnlineInWal | Way::IdleWal)
    }
}

/// Chooses the way.
pub(crate) fn decide(look: &Look) -> Way {
    if look.header.is_unknown() {
        return Way::Raw(Why::NewerFormat);
    }
    if [look.wal, look.shm, look.journal].contains(&Sibling::Strange) {
        return Way::Raw(Why::StrangeSibling);
    }
    // SQLite goes by the file: with a filled -wal it reads in WAL mode whatever the header says.
    if look.header.is_wal() || look.wal.is_filled() { decide_in_wal(look) } else { Way::Online }
}

fn decide_in_wal(look: &Look) -> Way {
    if look.journal_is_loaded {
        Way::Raw(Why::JournalBesideWal)
    } else if look.wal.is_plain() && look.shm.is_plain() {
        Way::OnlineInWal
    } else if look.wal.is_filled() {
        Way::Raw(Why::WalWithoutShm)
    } else {
        Way::IdleWal
    }
}
