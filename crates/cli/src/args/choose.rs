//! Options that several commands share: which snapshots, which files.

use std::path::PathBuf;

use clap::Args;

use super::values::TagList;

/// Set for each option: as a heading of the struct it would also stand over the options behind it.
const WHICH: &str = "Which snapshots";

/// Which snapshots `latest` and lists are about.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SnapshotFilterArgs {
    /// Only consider snapshots of this host; may be given several times. [env: TREERING_HOST]
    ///
    /// An empty name considers all hosts, whatever TREERING_HOST says.
    #[arg(short = 'H', long, help_heading = WHICH, value_name = "HOST")]
    pub(crate) host: Vec<String>,

    /// Only consider snapshots that have all of these tags, separated by commas.
    ///
    /// If it is given several times, one of the lists has to fit. An empty list means snapshots without tags.
    #[arg(long, help_heading = WHICH, value_name = "TAG[,TAG…]")]
    pub(crate) tag: Vec<TagList>,

    /// Only consider snapshots that include this absolute path; if given several times, all of them.
    #[arg(long, help_heading = WHICH, value_name = "PATH")]
    pub(crate) path: Vec<PathBuf>,
}

/// What to leave out.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ExcludeArgs {
    /// Leave out what matches this pattern; may be given several times.
    ///
    /// A pattern is a path whose components may hold `*`, `?` and `[a-z]`; `**` stands for any number of components.
    /// One that starts with `/` matches full paths from the root, any other matches at every depth. A folder that
    /// matches is left out with all that is in it. `!` in front takes back what patterns before it have left out.
    #[arg(short, long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<std::ffi::OsString>,

    /// Like --exclude, without regard to capitals.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) iexclude: Vec<std::ffi::OsString>,

    /// Read patterns for --exclude from this file, one a line; may be given several times.
    ///
    /// Empty lines and lines that start with `#` are skipped. `$NAME` and `${NAME}` are replaced by the environment
    /// variable, which must exist; `$$` is a dollar sign.
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude_file: Vec<PathBuf>,

    /// Like --exclude-file, without regard to capitals.
    #[arg(long, value_name = "FILE")]
    pub(crate) iexclude_file: Vec<PathBuf>,
}

/// What alone to take.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct IncludeArgs {
    /// Take only what matches this pattern, and what lies below it; may be given several times.
    ///
    /// The patterns are those of --exclude, and match paths as they are in the snapshot.
    #[arg(short, long, value_name = "PATTERN")]
    pub(crate) include: Vec<std::ffi::OsString>,

    /// Like --include, without regard to capitals.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) iinclude: Vec<std::ffi::OsString>,

    /// Read patterns for --include from this file, one a line, as --exclude-file does; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) include_file: Vec<PathBuf>,

    /// Like --include-file, without regard to capitals.
    #[arg(long, value_name = "FILE")]
    pub(crate) iinclude_file: Vec<PathBuf>,
}
