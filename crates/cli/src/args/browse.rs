//! Commands that only look: `snapshots`, `ls`, `find`, `diff`, `dump`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::SnapshotFilterArgs;
use super::values::selector;
use crate::selector::Selector;

/// List the snapshots.
///
/// Shows id, time, host, tags, the applications with how sure their capture is, size and paths.
#[derive(Debug, Clone, Args)]
pub(crate) struct SnapshotsArgs {
    /// Only these snapshots.
    #[arg(value_name = "SNAPSHOT", value_parser = selector())]
    pub(crate) snapshots: Vec<Selector>,
    /// Which snapshots.
    #[command(flatten)]
    pub(crate) filter: SnapshotFilterArgs,
    /// Show only the newest N snapshots of each host and set of paths.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) latest: Option<u32>,
    /// Print one line a snapshot, with paths and applications cut short.
    #[arg(short, long)]
    pub(crate) compact: bool,
}

/// List the files of a snapshot.
#[derive(Debug, Clone, Args)]
pub(crate) struct LsArgs {
    /// The snapshot, perhaps with `:/sub/path`.
    #[arg(value_name = "SNAPSHOT", value_parser = selector())]
    pub(crate) snapshot: Selector,
    /// Only these absolute paths of the snapshot: files, and folders with their direct entries.
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<OsString>,
    /// Which snapshots `latest` is about.
    #[command(flatten)]
    pub(crate) filter: SnapshotFilterArgs,
    /// Show mode, owner, size and time as well.
    #[arg(short, long)]
    pub(crate) long: bool,
    /// List what is below the given paths at any depth. Without paths, all of the snapshot is always listed.
    #[arg(long)]
    pub(crate) recursive: bool,
    /// Print sizes with units instead of bytes.
    #[arg(long)]
    pub(crate) human_readable: bool,
    /// The order. Every order but `name` keeps the list in memory.
    #[arg(short, long, value_name = "KEY", value_enum, default_value_t = LsSort::Name)]
    pub(crate) sort: LsSort,
    /// Reverse the order.
    #[arg(long)]
    pub(crate) reverse: bool,
}

/// The order of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LsSort {
    /// By path.
    Name,
    /// By size, largest first.
    Size,
    /// By modification time, newest first.
    #[value(alias = "mtime")]
    Time,
    /// By what follows the last dot of the name.
    Extension,
}

/// Find files, by name, in snapshots.
///
/// A pattern without `/` is compared with names, one with `/` with paths, as --exclude of `backup` does it.
#[derive(Debug, Clone, Args)]
pub(crate) struct FindArgs {
    /// What to find.
    #[arg(value_name = "PATTERN", required = true)]
    pub(crate) patterns: Vec<OsString>,
    /// Search only this snapshot; may be given several times. [default: all of them]
    #[arg(short, long, value_name = "SNAPSHOT", value_parser = selector())]
    pub(crate) snapshot: Vec<Selector>,
    /// Which snapshots to search.
    #[command(flatten)]
    pub(crate) filter: SnapshotFilterArgs,
    /// Pay no regard to capitals.
    #[arg(short, long)]
    pub(crate) ignore_case: bool,
    /// Only files that were modified at or after this time, local unless it has an offset.
    #[arg(short = 'O', long, value_name = "TIME")]
    pub(crate) oldest: Option<String>,
    /// Only files that were modified at or before this time, local unless it has an offset.
    #[arg(short = 'N', long, value_name = "TIME")]
    pub(crate) newest: Option<String>,
    /// Show mode, owner, size and time as well.
    #[arg(short, long)]
    pub(crate) long: bool,
    /// Print sizes with units instead of bytes.
    #[arg(long)]
    pub(crate) human_readable: bool,
    /// Search the oldest snapshot first instead of the newest.
    #[arg(short = 'R', long)]
    pub(crate) reverse: bool,
}

/// Show what differs between two snapshots.
///
/// Each line starts with what happened: `+` added, `-` removed, `M` content changed, `T` type changed, `U` metadata
/// changed (with --metadata), `?` same size and different content while the modification time is the same.
#[derive(Debug, Clone, Args)]
pub(crate) struct DiffArgs {
    /// The older snapshot, perhaps with `:/sub/path`.
    #[arg(value_name = "A", value_parser = selector())]
    pub(crate) older: Selector,
    /// The newer snapshot, perhaps with `:/sub/path`.
    #[arg(value_name = "B", value_parser = selector())]
    pub(crate) newer: Selector,
    /// Which snapshots `latest` is about.
    #[command(flatten)]
    pub(crate) filter: SnapshotFilterArgs,
    /// Also show files of which only mode, owner, times or extended attributes changed.
    #[arg(long)]
    pub(crate) metadata: bool,
}

/// Write a file, or a folder as a tar archive, to standard output.
#[derive(Debug, Clone, Args)]
pub(crate) struct DumpArgs {
    /// The snapshot, perhaps with `:/sub/path`.
    #[arg(value_name = "SNAPSHOT", value_parser = selector())]
    pub(crate) snapshot: Selector,
    /// The absolute path in the snapshot, or with `:/sub/path` the path below it. `/` is all of it.
    #[arg(value_name = "PATH")]
    pub(crate) file: OsString,
    /// Which snapshots `latest` is about.
    #[command(flatten)]
    pub(crate) filter: SnapshotFilterArgs,
    /// The format of a folder.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Archive::Tar)]
    pub(crate) archive: Archive,
    /// Write to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) target: Option<PathBuf>,
}

/// The format of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Archive {
    /// POSIX tar (pax); GNU tar takes ACLs and extended attributes from it with --acls --xattrs.
    Tar,
}
