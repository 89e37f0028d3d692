//! Options about homes of Jpom, and `treering jpom`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use treering_jpom::restore::Part;
use treering_jpom::{Scope, Scoping};

/// How homes of Jpom servers and agents are taken.
///
/// Homes are found by themselves. Their database is captured live; nothing has to be stopped.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Jpom")]
pub(crate) struct JpomBackupArgs {
    /// What of a home to take.
    #[command(flatten)]
    pub(crate) scope: JpomScopeArgs,
    /// Back up this volume of Docker; may be given several times.
    ///
    /// Its folder is asked of the docker client; if there is none, it is looked for where Docker and Podman keep volumes.
    #[arg(long, value_name = "NAME", value_parser = volume_name)]
    pub(crate) docker_volume: Vec<String>,
    /// Stop the Jpom that runs in the given homes, and start it again as it was, also if the backup fails.
    ///
    /// A consistent snapshot does not need this.
    #[arg(long)]
    pub(crate) jpom_stop_start: bool,
    /// How many seconds to wait for its end. If it does not end, it is captured while it runs.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, requires = "jpom_stop_start")]
    pub(crate) jpom_stop_wait: u64,
}

/// What of a home to take.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct JpomScopeArgs {
    /// What of a home of Jpom to take: all but what is temporary, only what it needs to work again, or, of agents, all
    /// but scripts and what is temporary.
    #[arg(long, value_name = "SCOPE", value_enum, default_value_t = JpomScope::Full, help_heading = "Jpom")]
    pub(crate) jpom_scope: JpomScope,
    /// Take this path of each home in spite of the scope: `logs`, `data/build/*/source`. May be given several times.
    #[arg(long, value_name = "PATH", value_parser = inside, help_heading = "Jpom")]
    pub(crate) jpom_include: Vec<String>,
    /// Leave this path of each home out. May be given several times.
    #[arg(long, value_name = "PATH", value_parser = inside, help_heading = "Jpom")]
    pub(crate) jpom_exclude: Vec<String>,
}

/// How much of a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum JpomScope {
    /// Everything but what is temporary.
    #[default]
    Full,
    /// Settings, program, database, keys, certificates, uploads, scripts.
    Essential,
    /// Of agents: without scripts and what is temporary.
    Light,
}

impl JpomScopeArgs {
    /// As the library wants it.
    pub(crate) fn scoping(&self) -> Scoping {
        let scope = match self.jpom_scope {
            JpomScope::Full => Scope::Full,
            JpomScope::Essential => Scope::Essential,
            JpomScope::Light => Scope::Light,
        };
        Scoping { scope, include: self.jpom_include.clone(), exclude: self.jpom_exclude.clone() }
    }
}

impl JpomBackupArgs {
    /// How long to wait for the end of what is stopped; `None` if nothing is.
    pub(crate) fn stop_wait(&self) -> Option<Duration> {
        self.jpom_stop_start.then(|| Duration::from_secs(self.jpom_stop_wait))
    }
}

/// How homes of Jpom come back.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Jpom and H2")]
pub(crate) struct JpomRestoreArgs {
    /// Restore only these parts of a home of Jpom, into the home that is there.
    #[arg(long, value_name = "PART[,PART…]", value_enum, value_delimiter = ',')]
    pub(crate) jpom_only: Vec<JpomPart>,
    /// Give the restored Jpom an identity of its own: for a second server beside the first, not for a move.
    #[arg(long, conflicts_with = "jpom_only")]
    pub(crate) clone: bool,
    /// Have the real H2 library open a copy of the database before it takes its place.
    ///
    /// Without a path the library is taken out of the home's own program. It needs `java`.
    #[arg(long, value_name = "JAR", num_args = 0..=1, require_equals = true, default_missing_value = "auto")]
    pub(crate) h2_check_jar: Option<PathBuf>,
}

/// A part of a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum JpomPart {
    /// The database, and which schema scripts it has seen.
    Database,
    /// Certificates and keys.
    Certificates,
    /// Settings.
    Config,
    /// Uploaded files.
    FileStorage,
    /// The program.
    Installation,
}

impl JpomPart {
    /// As the library wants it.
    pub(crate) fn part(self) -> Part {
        match self {
            JpomPart::Database => Part::Database,
            JpomPart::Certificates => Part::Certificates,
            JpomPart::Config => Part::Config,
            JpomPart::FileStorage => Part::FileStorage,
            JpomPart::Installation => Part::Installation,
        }
    }
}

/// Look at homes of Jpom.
#[derive(Debug, Clone, Args)]
pub(crate) struct JpomArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: JpomCommand,
}

/// What to do with homes.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum JpomCommand {
    /// Show what is in a home, what of it a backup takes and why, and what belongs to it and lies elsewhere.
    Inspect(JpomInspectArgs),
}

/// Which home, and with which scope.
#[derive(Debug, Clone, Args)]
pub(crate) struct JpomInspectArgs {
    /// The home: the folder with `bin` and `lib`, or a volume with `data` and `db`.
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// What a backup would be told.
    #[command(flatten)]
    pub(crate) scope: JpomScopeArgs,
}

/// Docker's own rule, which also keeps a name from being a path.
fn volume_name(text: &str) -> Result<String, &'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    match starts_well && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("a volume's name has letters, digits, `_`, `.` and `-`, and begins with a letter or digit"),
    }
}

/// A path within a home.
fn inside(text: &str) -> Result<String, &'static str> {
    let is_inside = !text.is_empty() && text.split('/').all(|name| !matches!(name, "" | "." | ".."));
    match is_inside {
        true => Ok(text.to_owned()),
        false => Err("use a path relative to the home, such as data/build, without `.`, `..` and slashes at its ends"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_volumes_and_paths_in_homes() {
        assert!(volume_name("jpom-server-data").is_ok());
        assert!(["", "../etc", "-v", "a/b"].iter().all(|name| volume_name(name).is_err()));
        assert!(inside("data/build/*/source").is_ok());
        assert!(["", "/data", "data/", "../x", "a//b"].iter().all(|path| inside(path).is_err()));
    }
}
