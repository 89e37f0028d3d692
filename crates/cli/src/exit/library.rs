//! What the errors of the libraries mean for whoever runs the command.
//!
//! Owns: the kind of each error, what is safe in spite of it and what to do next.
//! Invariant: every error of the store means the same in every command; what only one command can promise (that no
//! snapshot was written, for instance) it adds by itself.

use treering_snapshot::SnapshotError;
use treering_store::StoreError;

use super::{Failure, Kind, kind_of_io};
use crate::process;

const FREE_SPACE: &str = "Free some space and run the command again.";
const CHECK: &str = "Run `treering check` to see what is affected.";

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let mut failure = Failure::of(kind_of_store(&error), &error);
        failure.safe = safe_of_store(&error).map(str::to_owned);
        match advice_of_store(&error) {
            Some(advice) => failure.next(advice),
            None => failure,
        }
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        if let SnapshotError::Store(error) = error {
            return error.into();
        }
        let mut failure = Failure::of(kind_of_snapshot(&error), &error);
        failure.safe = safe_of_snapshot(&error).map(str::to_owned);
        match advice_of_snapshot(&error) {
            Some(advice) => failure.next(advice),
            None => failure,
        }
    }
}

fn kind_of_store(error: &StoreError) -> Kind {
    match error {
        _ if error.is_out_of_space() => Kind::OutOfSpace,
        StoreError::NoRepository { .. } => Kind::NoRepository,
        StoreError::WrongKey { .. }
        | StoreError::KeyNeeded
        | StoreError::KeyUnexpected { .. }
        | StoreError::BadKeyFile { .. } => Kind::WrongKey,
        StoreError::Unsupported { .. } => Kind::Unsupported,
        StoreError::Damaged { .. }
        | StoreError::ConfigLost { .. }
        | StoreError::FoldersMissing { .. }
        | StoreError::ChunkMissing { .. } => Kind::Damaged,
        _ => Kind::Failed,
    }
}

fn safe_of_store(error: &StoreError) -> Option<&'static str> {
    Some(match error {
        _ if error.is_out_of_space() => "The repository is intact.",
        StoreError::NotEmpty { .. }
        | StoreError::WrongKey { .. }
        | StoreError::LastKey
        | StoreError::ConfigLost { .. }
        | StoreError::LockMissing { .. }
        | StoreError::FoldersMissing { .. }
        | StoreError::Unsupported { .. } => "Nothing was changed.",
        StoreError::PacksGone { .. } | StoreError::ParentGone { .. } | StoreError::Verify { .. } => {
            "The repository is intact."
        }
        StoreError::Index { .. } => "What is stored does not depend on the index, which can be made anew.",
        StoreError::Damaged { .. } | StoreError::ChunkMissing { .. } => "Everything else can be restored.",
        _ => return None,
    })
}

fn advice_of_store(error: &StoreError) -> Option<&'static str> {
    Some(match error {
        _ if error.is_out_of_space() => FREE_SPACE,
        StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            "Run treering as the user that the repository belongs to, or give the repository to the one that runs it \
             (`chown -R`)."
        }
        StoreError::NoRepository { .. } => {
            "Check -r and TREERING_REPOSITORY, or make a new repository with `treering init`."
        }
        StoreError::NotEmpty { .. } => {
            "Choose a folder that is empty or does not exist. If a repository is there already, use it without `init`."
        }
        StoreError::WrongKey { .. } => "`treering key list`, opened otherwise, shows what opens it.",
        StoreError::KeyNeeded => "Use --key-file, --password-file, --password-command or TREERING_PASSWORD.",
        StoreError::KeyUnexpected { .. } => {
            "If it was made with --encryption none, give neither passphrase nor key file. If it was not, somebody has \
             exchanged it: do not use it."
        }
        StoreError::BadKeyFile { .. } => "A key file is made by `treering key new-file`.",
        StoreError::Unsupported { .. } => "Use a newer version of treering.",
        StoreError::ConfigLost { .. } => {
            "Bring the file `config` back from another copy of the repository, however old: it is the same in all of them. \
             Without it nothing can be read."
        }
        StoreError::Damaged { .. } => CHECK,
        StoreError::ChunkMissing { .. } => {
            "If the snapshot was forgotten and pruned meanwhile, use a later one. Otherwise run `treering check` to see \
             what is affected."
        }
        StoreError::LockMissing { .. } => {
            "Everything can be read without it. When no other treering is at work on this repository, `treering repair \
             config` makes it again."
        }
        StoreError::FoldersMissing { .. } => {
            "Bring them back from another copy of the repository. Otherwise `treering repair config` makes them again, \
             empty; then `treering check` says what was in them, and how to mend that."
        }
        StoreError::LastKey => "Add another key first: `treering key add`.",
        StoreError::PacksGone { .. } | StoreError::ParentGone { .. } => {
            "Run the backup again; what was stored is not stored twice."
        }
        StoreError::Verify { .. } => "Test the memory of this machine.",
        _ => return None,
    })
}

fn kind_of_snapshot(error: &SnapshotError) -> Kind {
    match error {
        SnapshotError::Store(error) => kind_of_store(error),
        SnapshotError::Io { source, .. } => kind_of_io(source),
        SnapshotError::Damaged { .. }
        | SnapshotError::Unreadable { .. }
        | SnapshotError::RecordsUnreadable { .. }
        | SnapshotError::NotWhole { .. }
        | SnapshotError::MoreThanSaid { .. } => Kind::Damaged,
        SnapshotError::Interrupted => process::interruption(),
        SnapshotError::BadPattern { .. }
        | SnapshotError::Ambiguous { .. }
        | SnapshotError::BadRule { .. }
        | SnapshotError::EmptyPolicy => Kind::Usage,
        _ => Kind::Failed,
    }
}

fn safe_of_snapshot(error: &SnapshotError) -> Option<&'static str> {
    match error {
        SnapshotError::NotWhole { .. } => Some("Nothing was deleted: what is needed cannot be told."),
        SnapshotError::RecordsUnreadable { .. } => Some("Nothing was deleted."),
        SnapshotError::NothingWouldRemain
        | SnapshotError::TooMuch { .. }
        | SnapshotError::CannotBringBack { .. }
        | SnapshotError::Unreadable { .. } => Some("Nothing was changed."),
        SnapshotError::OutOfReach { .. } => Some("It may be whole, so nothing that is stored was changed."),
        SnapshotError::KeepsNothing { .. } | SnapshotError::LastGood { .. } => Some("Nothing was dropped."),
        SnapshotError::InUse { .. }
        | SnapshotError::NotBroughtBack { .. }
        | SnapshotError::Mounted { .. }
        | SnapshotError::OfRepository { .. } => Some("Nothing was restored."),
        _ => None,
    }
}

fn advice_of_snapshot(error: &SnapshotError) -> Option<&'static str> {
    Some(match error {
        SnapshotError::Io { source, .. } if kind_of_io(source) == Kind::OutOfSpace => FREE_SPACE,
        SnapshotError::Damaged { .. } => CHECK,
        SnapshotError::NotWhole { .. } => "Run `treering check`, then the repairs that it names.",
        SnapshotError::NothingWouldRemain => {
            "If that is meant, remove the folder of the repository. If there should be snapshots, look for them first: \
             `treering undelete` lists what was forgotten, and `treering check` what is lost."
        }
        SnapshotError::TooMuch { .. } => "If that is meant, add --yes; `--dry-run --verbose` shows every pack.",
        SnapshotError::CannotBringBack { .. } => {
            "What it needs is gone, as after a prune that was killed, or damaged, which `treering check` tells. The next prune \
             ends what cannot come back."
        }
        SnapshotError::NothingToBackUp => "Check the paths; each is named above with the reason.",
        SnapshotError::NoSnapshot { .. } => "`treering snapshots` lists what there is.",
        SnapshotError::Unreadable { .. } => {
            "Run `treering repair snapshots` first, or name a snapshot by its id: `treering snapshots` lists those that can \
             be read."
        }
        SnapshotError::RecordsUnreadable { .. } => {
            "Run `treering repair snapshots`: it moves them aside, and what they may have kept counts as forgotten again, \
             as far as there are second copies. `treering undelete` lists it then."
        }
        SnapshotError::OutOfReach { .. } => {
            "Let the user that runs treering read it (`chown`, `chmod`), or run treering as a user who may; otherwise mend \
             what keeps it from being opened. A file that is gone for good must not be there."
        }
        SnapshotError::Ambiguous { .. } => "Give more digits.",
        SnapshotError::NoPath { .. } => "`treering ls` lists what is in a snapshot.",
        SnapshotError::InUse { .. } => "Stop whoever has it open, or restore to another place.",
        SnapshotError::OfRepository { .. } => "Restore to another place.",
        SnapshotError::NotBroughtBack { .. } => {
            "Mend that, or restore to another place. If it is a permission that is missing: restore as root, or as the \
             user that the application runs as."
        }
        SnapshotError::Mounted { .. } => {
            "Restore into a new folder on the file system that is mounted there, such as MOUNT/restored. Then, while \
             nobody has the application open, move the old content out of its place and the new content into it."
        }
        SnapshotError::KeepsNothing { .. } => {
            "Add a rule that keeps something, such as --keep-last 1, or name the snapshots to drop."
        }
        SnapshotError::LastGood { .. } => "Leave it out, or add --allow-last-good to drop it all the same.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_store_keep_their_kind_and_their_causes() {
        let full = std::io::Error::from_raw_os_error(28);
        let error = StoreError::Io { action: "write", path: "/r/pack".into(), source: full };
        let failure = Failure::from(SnapshotError::Store(error));
        assert_eq!(failure.kind, Kind::OutOfSpace);
        assert_eq!(failure.message(), "cannot write /r/pack: No space left on device (os error 28)");
        let failure = Failure::from(StoreError::NoRepository { place: "/r".into() });
        assert_eq!((failure.kind, failure.message().as_str()), (Kind::NoRepository, "there is no repository at /r"));
        assert!(failure.next.unwrap().contains("treering init"));
        assert_eq!(Failure::from(StoreError::WrongKey { what: "passphrase" }).kind, Kind::WrongKey);
        assert_eq!(Failure::from(StoreError::Unsupported { what: "x".into() }).kind, Kind::Unsupported);
    }
}
