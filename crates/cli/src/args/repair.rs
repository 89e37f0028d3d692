//! `treering repair`.

use clap::{Args, Subcommand};

use super::values::id_prefix;
use crate::selector::IdPrefix;

/// Mend a damaged repository, keeping all that can be read.
///
/// If there is another copy of the repository, bring the damaged files back from it first: nothing is lost then.
/// Otherwise run `treering check`, then, as far as it says so, `repair config`, `repair index`, `repair packs`, a backup
/// of what is still there, and last `repair snapshots`. Each of them says with --dry-run what it would do. What is
/// damaged is not thrown away: it is moved to the folder `replaced` of the repository until a check finds no error.
#[derive(Debug, Clone, Args)]
pub(crate) struct RepairArgs {
    /// What to mend.
    #[command(subcommand)]
    pub(crate) command: RepairCommand,
}

/// One repair.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RepairCommand {
    /// Make the index anew from the packs.
    Index(DryRunArgs),
    /// Store again what can be read of damaged packs, move them aside, and record what is lost.
    ///
    /// The next backup that meets the content of lost chunks stores it again.
    Packs(RepairPacksArgs),
    /// Bring lost snapshots back from their second copies, and write snapshots with damage again without what is lost.
    ///
    /// A snapshot that was written again is tagged `repaired`; its original is forgotten and can be brought back until
    /// the next prune.
    Snapshots(RepairSnapshotsArgs),
    /// Make both copies of the configuration and of every key slot whole.
    Config(DryRunArgs),
}

/// Whether to do anything.
#[derive(Debug, Clone, Args)]
pub(crate) struct DryRunArgs {
    /// Change nothing, only say what would be done.
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

/// Which packs.
#[derive(Debug, Clone, Args)]
pub(crate) struct RepairPacksArgs {
    /// These packs, damaged or not. [default: those that are found to be damaged]
    #[arg(value_name = "PACK", value_parser = id_prefix)]
    pub(crate) packs: Vec<IdPrefix>,
    /// Read all data to find damaged packs. Otherwise only the structure is checked.
    #[arg(long, conflicts_with = "packs")]
    pub(crate) read_data: bool,
    /// Whether to do anything.
    #[command(flatten)]
    pub(crate) dry_run: DryRunArgs,
}

/// Which snapshots.
#[derive(Debug, Clone, Args)]
pub(crate) struct RepairSnapshotsArgs {
    /// Only these snapshots, by their ids. [default: all that have damage or are lost]
    #[arg(value_name = "SNAPSHOT", value_parser = id_prefix)]
    pub(crate) snapshots: Vec<IdPrefix>,
    /// Whether to do anything.
    #[command(flatten)]
    pub(crate) dry_run: DryRunArgs,
}
