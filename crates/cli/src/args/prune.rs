//! Freeing space, and taking back what was forgotten.

use std::time::Duration;

use clap::Args;
use treering_snapshot::prune::Unused;

use super::values::{ValueError, duration, selector, size};
use super::{KeepArgs, SnapshotFilterArgs};
use crate::selector::Selector;

/// Free the space of what no snapshot needs; with --keep-* options, forget by retention first.
///
/// Without a --keep-* option no snapshot is ever dropped: only what forgotten snapshots and interrupted backups left is
/// freed. Backups, restores and checks may run meanwhile. It can be interrupted or killed at any time; the next run goes
/// on. It also works on a disk that is full.
#[derive(Debug, Clone, Args)]
pub(crate) struct PruneArgs {
    /// What to keep.
    #[command(flatten)]
    pub(crate) keep: KeepArgs,
    /// Which snapshots the rules are about.
    #[command(flatten)]
    pub(crate) filter: SnapshotFilterArgs,

    /// Leave so much in place although nobody needs it: a size, a share of what is stored, or `unlimited`.
    ///
    /// Less takes more work: packs that are needed in part are written again without the rest.
    #[arg(long, value_name = "LIMIT", value_parser = unused, default_value = "5%")]
    pub(crate) max_unused: Unused,

    /// Write at most so many bytes of packs again; the next run goes on.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_repack_size: Option<u64>,

    /// Merge packs that are smaller than this, once there are many.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "8M")]
    pub(crate) repack_smaller_than: u64,

    /// Start nothing long any more after this time: 90s, 20m, 1h30m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) max_duration: Option<Duration>,

    /// Free more than half of what is stored without refusing.
    #[arg(long)]
    pub(crate) yes: bool,

    /// Change nothing, only say what would be done; a run right after it does exactly that.
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

/// Bring back snapshots that were forgotten, as long as they were not pruned.
///
/// Without a snapshot, list those that can be brought back.
#[derive(Debug, Clone, Args)]
pub(crate) struct UndeleteArgs {
    /// The snapshots to bring back.
    #[arg(value_name = "SNAPSHOT", value_parser = selector())]
    pub(crate) snapshots: Vec<Selector>,
    /// Bring back all of them.
    #[arg(long, conflicts_with = "snapshots")]
    pub(crate) all: bool,
}

fn unused(text: &str) -> Result<Unused, ValueError> {
    const WRONG: ValueError = ValueError("give a size as 500M, a share as 5%, or `unlimited`");
    if text == "unlimited" {
        return Ok(Unused::Unlimited);
    }
    match text.strip_suffix('%') {
        Some(percent) => match percent.parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Unused::Percent(percent)),
            _ => Err(WRONG),
        },
        None => size(text).map(Unused::Bytes).map_err(|_| WRONG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_or_refused() {
        assert_eq!(unused("5%").unwrap(), Unused::Percent(5.0));
        assert_eq!(unused("1K").unwrap(), Unused::Bytes(1024));
        assert_eq!(unused("unlimited").unwrap(), Unused::Unlimited);
        for wrong in ["", "%", "101%", "-1%", "NaN%", "1KB", "some"] {
            assert!(unused(wrong).is_err(), "{wrong}");
        }
    }
}
