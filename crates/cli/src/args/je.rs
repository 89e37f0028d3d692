//! `treering je`, and what other commands take for Berkeley DB Java Edition environments.

use std::ffi::OsString;
use std::path::PathBuf;

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use treering_je::log::Lsn;
use treering_snapshot::retention::WATCH_TAG;

use super::values::duration;
use super::{BackupArgs, SnapshotFilterArgs};

/// Work with Berkeley DB Java Edition environments.
#[derive(Debug, Clone, Args)]
pub(crate) struct JeArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: JeCommand,
}

/// One command about environments. Those with arguments of their own are explained there.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum JeCommand {
    /// Verify an environment: every entry of its log, and what belongs together.
    ///
    /// Every entry is read, and checksums, links, checkpoints, names and places are compared, without JE and without a
    /// temporary copy. What a crash leaves at the end is normal, for JE mends it; damage makes the exit code 5, and the
    /// commits that JE would drop because of it are named. A log version that is not known makes it 13.
    Verify(JeLookArgs),
    /// Say what an environment's log holds: versions, files, checkpoint, commits.
    ///
    /// All of it is read, without JE and without a temporary copy.
    Info(JeLookArgs),
    Log(JeLogArgs),
    Range(JeRangeArgs),
    LastFile(JeLastFileArgs),
    Watch(JeWatchArgs),
    Failover(JeFailoverArgs),
}

/// List the moments that can be brought back, over all snapshots.
///
/// Each line is a range without a gap: `restore --je-until` and `--je-lsn` bring back the state after any commit in it.
/// A snapshot alone reaches from its last checkpoint to its end; two that follow on each other also cover what lies
/// between them, if no file was made and deleted meanwhile. `je watch` keeps gaps from coming.
#[derive(Debug, Clone, Args)]
pub(crate) struct JeRangeArgs {
    /// Which snapshots; `--path` is the folder of the environment.
    #[command(flatten)]
    pub(crate) filter: SnapshotFilterArgs,
}

/// Which environment to look at.
#[derive(Debug, Clone, Args)]
pub(crate) struct JeLookArgs {
    /// The folder of the environment, or a snapshot: its id or `latest`, with `:/path` if it has several environments.
    ///
    /// What is both is a folder; a folder may always be written with a slash, as in ./latest.
    #[arg(value_name = "FOLDER|SNAPSHOT")]
    pub(crate) what: OsString,

    /// Which snapshots `latest` is about.
    #[command(flatten)]
    pub(crate) filter: SnapshotFilterArgs,
}

/// List the commits of an environment with their places in the log and their times, in the order of the log.
///
/// The times are those of the machine that wrote them and need not ascend. Transactions that wrote nothing leave no commit.
#[derive(Debug, Clone, Args)]
pub(crate) struct JeLogArgs {
    /// Where to look.
    #[command(flatten)]
    pub(crate) look: JeLookArgs,

    /// Only commits made at or after this time, local unless it has an offset.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,

    /// Only commits made at or before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,

    /// Only the last so many of them.
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) last: Option<usize>,
}

/// What `backup` takes for the environments that it finds.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct JeCaptureArgs {
    /// Take JE environments only while no program has them open for writing, and keep writers out meanwhile.
    ///
    /// Without it they are taken while they are written, which needs nothing of the program.
    #[arg(long, help_heading = JE)]
    pub(crate) je_offline: bool,
}

/// What `restore` takes for an environment.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct JeRestoreArgs {
    /// Bring a JE environment back as it was at this time, local unless it has an offset: '2026-11-20 02:59:30'.
    ///
    /// The log is cut behind the last commit before the first one that was made later. It is done only where the
    /// snapshots prove that this is exactly the state of that moment; `treering je range` lists where. Without a snapshot,
    /// those that have the moment are chosen.
    #[arg(long, help_heading = JE, value_name = "TIME", conflicts_with = "je_lsn")]
    pub(crate) je_until: Option<String>,

    /// Bring a JE environment back with all commits up to this place, FILE/OFFSET as `treering je log` shows them.
    #[arg(long, help_heading = JE, value_name = "FILE/OFFSET")]
    pub(crate) je_lsn: Option<Lsn>,

    /// The je.jar of the application that will open the environment: refuse a log that is too new for it. Runs `java`.
    #[arg(long, help_heading = JE, value_name = "JAR")]
    pub(crate) je_jar: Option<PathBuf>,

    /// Open a copy of the environment with this je.jar before it takes its place, and have JE verify it. Runs `java`.
    #[arg(long, help_heading = JE, value_name = "JAR")]
    pub(crate) je_check_jar: Option<PathBuf>,
}

/// What `backup` takes from an application that helps, by JE's DbBackup.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct JeHandoverArgs {
    /// Back up this JE environment, with the files that its application hands over.
    #[arg(long, help_heading = JE, value_name = "FOLDER", requires = "je_files_from", conflicts_with_all = [
        "paths", "files_from", "files_from_verbatim", "files_from_raw", "stdin", "stdin_from_command", "dry_run"
    ])]
    pub(crate) je_env: Option<PathBuf>,

    /// The names that DbBackup.getLogFilesInBackupSet gives, one a line; `-` is standard input.
    ///
    /// `stored NAME` is printed when a file has been read to its end and its protection may be given up,
    /// `all-stored NUMBER` with the number of the last file when all have been. If the list ends with an empty line, the
    /// snapshot is written only when a line `end` follows, which says that DbBackup.endBackup went well.
    #[arg(long, help_heading = JE, value_name = "FILE", requires = "je_env")]
    pub(crate) je_files_from: Option<PathBuf>,

    /// The last file of the backup before this one: files up to it need not be named.
    #[arg(long, help_heading = JE, value_name = "NUMBER", requires = "je_env")]
    pub(crate) je_after: Option<u32>,
}

/// Say which file was the last one in the newest snapshot of an environment: the number that DbBackup and --je-after want.
#[derive(Debug, Clone, Args)]
pub(crate) struct JeLastFileArgs {
    /// Which snapshots; `--path` is the folder of the environment.
    #[command(flatten)]
    pub(crate) filter: SnapshotFilterArgs,
}

/// Set for each option: as a heading of the struct it would also stand over the options behind it.
const JE: &str = "Berkeley DB Java Edition";

/// Take a snapshot of an environment again and again, so that no moment of it is lost.
///
/// Each is a backup of the folder that reads only what is new, tagged `watch`, and is left out if nothing has changed.
/// `forget` and `prune` keep those of the last days by --keep-watch-within. It goes on until it is stopped by a signal; what
/// goes wrong with one snapshot is told, and the next one comes in its time.
#[derive(Debug, Clone, Args)]
pub(crate) struct JeWatchArgs {
    /// The folder of the environment.
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,

    /// How long to wait between two snapshots: 90s, 5m, 1h.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5m")]
    pub(crate) every: Duration,

    /// Take one snapshot only.
    #[arg(long)]
    pub(crate) once: bool,

    /// The host name of the snapshots. [env: TREERING_HOST] [default: the name of this machine]
    #[arg(short = 'H', long, value_name = "HOST")]
    pub(crate) host: Option<String>,
}

/// Keep a standby of an environment that can be opened at any instant.
///
/// The first pass copies everything, each further one what is new, with a look at every checksum. The standby is exchanged
/// as a whole, so that it can be opened whenever this is cut off. It refuses a standby that has been opened since: by then
/// that is the environment in use; and a home whose newest files are gone, for the standby still has them.
#[derive(Debug, Clone, Args)]
pub(crate) struct JeFailoverArgs {
    /// The folder of the environment; with --from-snapshots its path in them.
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,

    /// The folder of the standby. It is made if it does not exist, and must not be a mount point.
    #[arg(long, value_name = "STANDBY")]
    pub(crate) to: PathBuf,

    /// How long to wait between two passes: 60s, 5m.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub(crate) every: Duration,

    /// Make one pass only.
    #[arg(long)]
    pub(crate) once: bool,

    /// Follow the newest snapshot of the environment, whenever there is a new one; only what is new is read. Without this
    /// no repository is needed.
    #[arg(long)]
    pub(crate) from_snapshots: bool,

    /// With --from-snapshots, the host of the environment, where several have one of this path. [env: TREERING_HOST]
    #[arg(short = 'H', long, value_name = "HOST", requires = "from_snapshots")]
    pub(crate) host: Option<String>,
}

/// The command line of `backup` by itself, for a command that consists of backups.
#[derive(Debug, Parser)]
struct Alone {
    #[command(flatten)]
    args: BackupArgs,
}

impl JeWatchArgs {
    /// The backup that each of its snapshots is.
    pub(crate) fn backup(&self) -> Result<BackupArgs, clap::Error> {
        let mut words: Vec<OsString> =
            ["backup", "--skip-if-unchanged", "--app", "je", "--tag", WATCH_TAG].map(OsString::from).into();
        words.extend(self.host.iter().map(|host| OsString::from(format!("--host={host}"))));
        words.extend(["--".into(), self.folder.clone().into_os_string()]);
        Alone::try_parse_from(words).map(|alone| alone.args)
    }
}
