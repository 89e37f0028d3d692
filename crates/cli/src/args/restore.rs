//! `treering restore`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use super::values::{AppChoice, selector};
use super::{ExcludeArgs, IncludeArgs, JeRestoreArgs, JpomRestoreArgs, SnapshotFilterArgs};
use crate::selector::Selector;

/// Bring files back from a snapshot.
///
/// Where things go, which the first line of output says: a snapshot of one path puts that path's content into the
/// target; one of several paths puts each under its full path in the target. `SNAPSHOT:/sub/path` and --path put the
/// content of that folder into the target. --full-paths always uses full paths.
///
/// An application that knows how to come back (a JE environment, for instance) is restored beside its place, verified,
/// and exchanged as a whole, while its own locks are held; the restore refuses if somebody has it open. What was there
/// is moved aside, to a name that is told, or deleted with --delete. --app none restores its files like any others. What
/// somebody has open in the target is not touched either if the snapshot does not hold that application, unless with
/// --app none.
///
/// A file that exists and is the same is not touched; one that differs is rebuilt beside the old one and renamed
/// over it. What a restore that was killed has left unfinished, under names such as .treering-….tmp, is removed by the
/// next one into the same folders. Set-uid and set-gid bits of files, file capabilities and device nodes are restored
/// only with --privileged; without it they are counted, named, and make the exit code 3, unless they are there already on
/// an entry that stays. The set-gid bit of a folder, which lends nobody any rights, is always restored.
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("which").args(["positional", "snapshot", "at"])))]
#[command(group(ArgGroup::new("where").required(true).args(["target", "original"])))]
pub(crate) struct RestoreArgs {
    /// The snapshot: its id, `latest` or `latest~N`, perhaps with `:/sub/path`.
    #[arg(value_name = "SNAPSHOT", value_parser = selector(), required_unless_present_any = [
        "snapshot", "at", "je_until", "je_lsn"
    ])]
    pub(crate) positional: Option<Selector>,

    /// The snapshot, as an option.
    #[arg(short, long, value_name = "SNAPSHOT", value_parser = selector())]
    pub(crate) snapshot: Option<Selector>,

    /// The newest snapshot that is not younger than this time, local unless it has an offset: '2026-11-20 03:00'.
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,

    /// Which snapshots; `--path` also says what of them to restore.
    #[command(flatten)]
    pub(crate) filter: SnapshotFilterArgs,

    /// Restore into this folder. It is created if it does not exist. It must not be, or lie in, the repository.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) target: Option<PathBuf>,

    /// Restore to where everything came from.
    #[arg(long, conflicts_with = "full_paths")]
    pub(crate) original: bool,

    /// Put everything under its full path in the target.
    #[arg(long)]
    pub(crate) full_paths: bool,

    /// What alone to restore.
    #[command(flatten)]
    pub(crate) include: IncludeArgs,

    /// What not to restore.
    #[command(flatten)]
    pub(crate) exclude: ExcludeArgs,

    /// What to do with a file that exists.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Overwrite::Always)]
    pub(crate) overwrite: Overwrite,

    /// Delete from the restored folders what is not in the snapshot. See what with --dry-run -v -v first.
    ///
    /// Nothing is deleted on a file system that is mounted beneath a folder that was asked for (the target or, with
    /// --original and --full-paths, each path): that is named, and the exit code is 3.
    /// The repository itself is never deleted.
    #[arg(long)]
    pub(crate) delete: bool,

    /// Make holes also where a file was not sparse but holds long runs of zeros.
    #[arg(long)]
    pub(crate) sparse: bool,

    /// Read every restored file again and compare it with the snapshot.
    #[arg(long)]
    pub(crate) verify: bool,

    /// Also restore set-uid and set-gid bits of files, file capabilities and device nodes.
    ///
    /// Only for a repository that you trust: whoever can write to it chooses what these are.
    #[arg(long)]
    pub(crate) privileged: bool,

    /// Which applications to bring back as a whole: auto (all that are known), none, or kinds; may be repeated.
    #[arg(long, value_name = "auto|none|KIND", default_value = "auto")]
    pub(crate) app: Vec<AppChoice>,

    /// What to do with an environment of Berkeley DB Java Edition.
    #[command(flatten)]
    pub(crate) je: JeRestoreArgs,

    /// Write nothing, only say what would be done.
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,

    /// How homes of Jpom come back.
    #[command(flatten)]
    pub(crate) jpom: JpomRestoreArgs,
}

/// What to do with a file that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Overwrite {
    /// Compare its content with the snapshot's, and write what differs.
    Always,
    /// Believe that a file of the same size and modification time is the same.
    IfChanged,
    /// Replace it only if the snapshot's modification time is newer.
    IfNewer,
    /// Leave it.
    Never,
}
