//! `treering backup`.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use treering_snapshot::select::GroupBy;

use super::values::{AppChoice, IfPresent, TagList, group_by, read_concurrency, selector, size};
use super::{ExcludeArgs, H2BackupArgs, JeCaptureArgs, JeHandoverArgs, JpomBackupArgs};
use crate::selector::Selector;

/// Create a new snapshot of files and folders.
///
/// Only what changed since the parent, the newest snapshot of the same host and paths, is read. Applications among
/// the files (an SQLite database, for instance) are found and taken consistently. The snapshot is written last: if
/// the backup is interrupted, the next one goes on from what has been stored.
///
/// The id is printed only when the snapshot is durable. If files could not be read, the snapshot holds the others
/// and the exit code is 3.
#[derive(Debug, Clone, Args)]
pub(crate) struct BackupArgs {
    /// Files and folders; with --stdin-from-command the command and its arguments, behind `--`.
    #[arg(value_name = "PATH", required_unless_present_any = [
        "files_from", "files_from_verbatim", "files_from_raw", "stdin", "docker_volume", "je_env"
    ])]
    pub(crate) paths: Vec<OsString>,

    /// What to leave out.
    #[command(flatten)]
    pub(crate) exclude: ExcludeArgs,

    /// Leave out the contents of folders that hold a file of this name, perhaps with these first bytes.
    ///
    /// The file itself is kept. May be given several times.
    #[arg(long, value_name = "NAME[:HEADER]")]
    pub(crate) exclude_if_present: Vec<IfPresent>,

    /// Leave out the contents of cache folders: those with a CACHEDIR.TAG file (https://bford.info/cachedir/).
    #[arg(long)]
    pub(crate) exclude_caches: bool,

    /// Leave out files larger than this size, in bytes or with K, M, G, T.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) exclude_larger_than: Option<u64>,

    /// Do not enter other file systems than those of the given paths.
    ///
    /// Each given path is on its own file system, also beneath another one. Of a folder where something else is mounted,
    /// the folder is kept, empty.
    #[arg(short = 'x', long)]
    pub(crate) one_file_system: bool,

    /// Read more paths from this file, one a line, with wildcards and `#` comments; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) files_from: Vec<PathBuf>,

    /// Read more paths from this file, one a line, exactly as they are; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) files_from_verbatim: Vec<PathBuf>,

    /// Read more paths from this file, each ended by a NUL byte, as `find -print0` writes; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) files_from_raw: Vec<PathBuf>,

    /// Back up what comes from standard input, as one file.
    #[arg(long, conflicts_with_all = [
        "paths", "files_from", "files_from_verbatim", "files_from_raw", "stdin_from_command"
    ])]
    pub(crate) stdin: bool,

    /// Back up what a command prints, as one file: `--stdin-from-command -- pg_dump db`.
    ///
    /// If the command fails, so does the backup, and no snapshot is written.
    #[arg(long, requires = "paths", conflicts_with_all = ["files_from", "files_from_verbatim", "files_from_raw"])]
    pub(crate) stdin_from_command: bool,

    /// The path, in the snapshot, of what comes from standard input.
    #[arg(long, value_name = "PATH", default_value = "stdin")]
    pub(crate) stdin_filename: PathBuf,

    /// Give the snapshot these tags; may be given several times.
    #[arg(long, value_name = "TAG[,TAG…]")]
    pub(crate) tag: Vec<TagList>,

    /// The host name of the snapshot. [env: TREERING_HOST] [default: the name of this machine]
    #[arg(short = 'H', long, value_name = "HOST", alias = "hostname")]
    pub(crate) host: Option<String>,

    /// The time of the snapshot, local unless it has an offset: '2026-11-20 03:00'. [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) time: Option<String>,

    /// Compare with this snapshot. [default: the newest one of the same host and paths]
    #[arg(long, value_name = "SNAPSHOT", value_parser = selector(), conflicts_with = "force")]
    pub(crate) parent: Option<Selector>,

    /// The parent is the newest snapshot that has these in common: host, paths, tags; '' for the newest of all.
    #[arg(short = 'g', long, value_name = "LIST", value_parser = group_by, default_value = "host,paths")]
    #[arg(conflicts_with_all = ["parent", "force"])]
    pub(crate) group_by: GroupBy,

    /// Read all files, also those that have not changed.
    #[arg(short, long)]
    pub(crate) force: bool,

    /// Store nothing, only say what would be done.
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,

    /// Write no snapshot if nothing has changed since the parent.
    #[arg(long)]
    pub(crate) skip_if_unchanged: bool,

    /// Do not read a file again because of its inode number or ctime alone. [env: TREERING_IGNORE_INODE]
    #[arg(long)]
    pub(crate) ignore_inode: bool,

    /// Do not read a file again because of its ctime alone. [env: TREERING_IGNORE_CTIME]
    #[arg(long)]
    pub(crate) ignore_ctime: bool,

    /// Read this many files at once, 1 to 256. [env: TREERING_READ_CONCURRENCY] [default: the number of
    /// cores, at least 2]
    #[arg(long, value_name = "N", value_parser = read_concurrency)]
    pub(crate) read_concurrency: Option<NonZeroUsize>,

    /// Which applications to look for: auto (all that are known), none, or kinds such as sqlite; may be repeated.
    #[arg(long, value_name = "auto|none|KIND", default_value = "auto")]
    pub(crate) app: Vec<AppChoice>,

    /// How JE environments are taken.
    #[command(flatten)]
    pub(crate) je_capture: JeCaptureArgs,

    /// How a JE environment is handed over by its application.
    #[command(flatten)]
    pub(crate) je: JeHandoverArgs,

    /// Fail, and write no snapshot, if an application is not known to be consistent. Without it the exit code is 6.
    #[arg(long)]
    pub(crate) require_app_ok: bool,

    /// How H2 databases are taken.
    #[command(flatten)]
    pub(crate) h2: H2BackupArgs,

    /// How homes of Jpom are taken.
    #[command(flatten)]
    pub(crate) jpom: JpomBackupArgs,
}
