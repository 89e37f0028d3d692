//! `treering forget`.

use clap::Args;

use super::values::selector;
use super::{KeepArgs, SnapshotFilterArgs};
use crate::selector::Selector;

/// Drop snapshots, by their ids or by rules of what to keep.
///
/// With --keep-… options, each snapshot that none of them keeps is dropped. Hours, days and weeks are those of this
/// machine's time zone; try with --dry-run first. The last good snapshot of an application is never dropped by a rule:
/// the newest in which it is consistent or, if it never was, the newest with the best verdict.
///
/// This frees no space: `treering prune` does, and until then `treering undelete` brings dropped snapshots back.
#[derive(Debug, Clone, Args)]
pub(crate) struct ForgetArgs {
    /// The snapshots to drop; without any --keep-… option.
    #[arg(value_name = "SNAPSHOT", value_parser = selector(), conflicts_with = "group_by")]
    pub(crate) snapshots: Vec<Selector>,
    /// What to keep.
    #[command(flatten)]
    pub(crate) keep: KeepArgs,
    /// Which snapshots `latest` and the rules are about.
    #[command(flatten)]
    pub(crate) filter: SnapshotFilterArgs,
    /// Drop the named snapshots although one of them is the last good one of an application.
    #[arg(long)]
    pub(crate) allow_last_good: bool,
    /// Drop nothing, only say what would be dropped.
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}
