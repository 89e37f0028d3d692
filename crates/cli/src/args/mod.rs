//! What was typed: the command line as clap reads it, which is also the manual.
//!
//! Owns: names, help texts, conflicts and the syntax of single values.
//! Never: reads the environment, the clock or a file; `settings` resolves what was typed against those.
//! Invariant: a value that got through here is well formed; nothing behind it parses text again, except times, which
//! need a time zone.

mod backup;
mod browse;
mod check;
mod choose;
mod forget;
mod global;
mod h2;
mod je;
mod jpom;
mod keep;
mod key;
mod prune;
mod refused;
mod repair;
mod repository;
mod restore;
pub(crate) mod values;

use clap::{CommandFactory, Parser, Subcommand};

pub(crate) use backup::BackupArgs;
pub(crate) use browse::{Archive, DiffArgs, DumpArgs, FindArgs, LsArgs, LsSort, SnapshotsArgs};
pub(crate) use check::{CheckArgs, DataSubset};
pub(crate) use choose::{ExcludeArgs, IncludeArgs, SnapshotFilterArgs};
pub(crate) use forget::ForgetArgs;
pub(crate) use global::GlobalArgs;
pub(crate) use h2::{H2Args, H2BackupArgs, H2Command, H2Target};
pub(crate) use je::{
    JeArgs, JeCaptureArgs, JeCommand, JeFailoverArgs, JeHandoverArgs, JeLastFileArgs, JeLogArgs, JeLookArgs,
    JeRangeArgs, JeRestoreArgs, JeWatchArgs,
};
pub(crate) use jpom::{JpomArgs, JpomBackupArgs, JpomCommand, JpomInspectArgs, JpomRestoreArgs};
pub(crate) use keep::KeepArgs;
pub(crate) use key::{KeyArgs, KeyCommand, NewSlotArgs};
pub(crate) use prune::{PruneArgs, UndeleteArgs};
pub(crate) use repair::{RepairArgs, RepairCommand, RepairPacksArgs, RepairSnapshotsArgs};
pub(crate) use repository::{CatArgs, CatKind, CompletionsArgs, Encryption, InitArgs, ManArgs, StatsArgs, StatsMode};
pub(crate) use restore::{Overwrite, RestoreArgs};

/// Deduplicating, encrypted snapshots of folders and of the applications in them.
///
/// Each snapshot adds only what changed since the last one, and any of them can be brought back exactly.
#[derive(Debug, Parser)]
#[command(name = "treering", version, max_term_width = 100, after_long_help = AFTER_HELP, propagate_version = false)]
pub(crate) struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Exit codes:
    0   done
    1   failed, nothing was committed
    2   the command line or a TREERING_* variable is wrong
    3   done, but incomplete: a source could not be read, or an entry was not restored
    5   something in the repository, or in an application's files, is damaged
    6   the snapshot is saved, but an application in it is not known to be consistent
    10  there is no repository at this place
    12  wrong passphrase or key file
    13  the repository's version or one of its features is not supported
    14  out of space; the repository is intact
    130 interrupted (SIGINT), 143 terminated (SIGTERM); the repository is intact
    141 whoever read standard output has left

Environment variables; what is typed beats them, and an invalid value is an error:
    TREERING_REPOSITORY, TREERING_REPOSITORY_FILE
        where the repository is
    TREERING_KEY_FILE, TREERING_PASSWORD, TREERING_PASSWORD_FILE, TREERING_PASSWORD_COMMAND
        what opens it; if an option of that kind is typed, none of these counts
    TREERING_KEY_HINT, TREERING_CACHE_DIR, TREERING_COMPRESSION
        as the options of these names
    TREERING_HOST
        the host name of new snapshots, and the one whose snapshots commands consider
    TREERING_READ_CONCURRENCY, TREERING_IGNORE_INODE, TREERING_IGNORE_CTIME
        as the options of backup
    TREERING_PROGRESS_FPS
        how often a second progress is shown, above 0 and up to 60; also where there is no terminal

Sizes are powers of 1024: 10M, 1.5G. Times are local unless they carry an offset: '2026-11-20 03:00'.
A snapshot is named by its id (at least 4 digits of it), `latest` or `latest~N`; `:/sub/path` behind it picks a part.";

/// One command. Each is explained where its arguments are: what stands here would take the place of that.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(InitArgs),
    Backup(Box<BackupArgs>),
    Snapshots(SnapshotsArgs),
    Ls(LsArgs),
    Find(FindArgs),
    Diff(DiffArgs),
    Dump(DumpArgs),
    Restore(Box<RestoreArgs>),
    Stats(StatsArgs),
    Cat(CatArgs),
    Key(KeyArgs),
    Prune(Box<PruneArgs>),
    Undelete(UndeleteArgs),
    Forget(Box<ForgetArgs>),
    Check(CheckArgs),
    Repair(RepairArgs),
    Je(JeArgs),
    H2(H2Args),
    Jpom(JpomArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
    /// Print the version of treering.
    Version,
}

/// Reads the command line; for an option that restic has and treering has not, the error says why.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    Cli::try_parse().map_err(refused::explain)
}

/// The command as clap knows it, for completions and manual pages.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests;
