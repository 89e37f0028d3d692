//! Options about H2 databases, and `treering h2`.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use treering_h2::{Fallback, Options};

use super::SnapshotFilterArgs;
use super::values::size;

/// How H2 databases (`*.mv.db`) are taken.
///
/// A database that is in use is captured live: nothing is locked, nothing waits. These options are for where that is not
/// possible, such as on a network file system.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "H2 databases")]
pub(crate) struct H2BackupArgs {
    /// What to do where an H2 database cannot be captured live.
    ///
    /// `raw` copies the file and calls it unknown; `freeze` stops the process that holds it (SIGSTOP) while it is copied;
    /// `stop-hook` runs the two commands; `fail` leaves the database out.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = H2Fallback::Raw)]
    pub(crate) h2_fallback: H2Fallback,
    /// The command that stops the program, for `--h2-fallback stop-hook`.
    #[arg(long, value_name = "COMMAND", requires = "h2_start_cmd", required_if_eq("h2_fallback", "stop-hook"))]
    pub(crate) h2_stop_cmd: Option<String>,
    /// The command that starts it again. It is run in any case, also if the capture fails.
    #[arg(long, value_name = "COMMAND", requires = "h2_stop_cmd")]
    pub(crate) h2_start_cmd: Option<String>,
    /// How many seconds the stop command may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) h2_stop_wait: u64,
    /// Keep what an H2 database has deleted and not overwritten yet. It takes space, and nothing needs it.
    #[arg(long)]
    pub(crate) h2_keep_dead: bool,
    /// Read H2 databases no faster than this many bytes a second.
    #[arg(long, value_name = "SIZE", value_parser = size, hide = true)]
    pub(crate) h2_read_rate: Option<u64>,
}

/// What to do where a live capture is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum H2Fallback {
    /// Run a command that stops the program, and another one that starts it again.
    StopHook,
    /// Stop the process that holds the database while it is copied.
    Freeze,
    /// Copy the file and call it unknown.
    #[default]
    Raw,
    /// Leave the database out.
    Fail,
}

impl H2BackupArgs {
    /// As the library wants it.
    pub(crate) fn options(&self) -> Options {
        let command = |command: &Option<String>| command.clone().unwrap_or_default();
        let fallback = match self.h2_fallback {
            H2Fallback::Freeze => Fallback::Freeze,
            H2Fallback::Raw => Fallback::Raw,
            H2Fallback::Fail => Fallback::Fail,
            H2Fallback::StopHook => Fallback::StopHook {
                stop: command(&self.h2_stop_cmd),
                start: command(&self.h2_start_cmd),
                wait: Duration::from_secs(self.h2_stop_wait),
            },
        };
        Options {
            fallback,
            keep_dead: self.h2_keep_dead,
            read_bytes_per_second: self.h2_read_rate,
            ..Options::default()
        }
    }
}

/// Look at H2 databases, in files or in snapshots.
#[derive(Debug, Clone, Args)]
pub(crate) struct H2Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: H2Command,
}

/// What to do with a database.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum H2Command {
    /// Check a database without H2: headers, every chunk of the newest version, and every page of every map.
    ///
    /// If H2 would silently open an older version than the file claims to hold, that is told as an error. Changed bytes
    /// within a value cannot be seen: H2 writes no checksum for them, a snapshot does.
    Verify(H2Target),
    /// Say what is in a database: format, version, the moment of its data, maps, space.
    Info(H2Target),
}

/// A database.
#[derive(Debug, Clone, Args)]
pub(crate) struct H2Target {
    /// A file, or a snapshot: all databases that were captured in it, or with `:/path` the file of that path.
    #[arg(value_name = "FILE|SNAPSHOT")]
    pub(crate) target: OsString,
    /// Which snapshots `latest` is about.
    #[command(flatten)]
    pub(crate) filter: SnapshotFilterArgs,
}
