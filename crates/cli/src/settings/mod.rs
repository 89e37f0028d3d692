//! What was typed, resolved against the environment and the defaults.
//!
//! Owns: what beats what: the command line, then the environment, then the default.
//! Never: reads the environment, the clock or the terminal by itself; they are handed in.
//! Invariant: two sources of the same rank that contradict each other are an error, never a silent choice.

mod backup;
mod credentials;
mod filter;
mod repository;

use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use backup::{Apps, BackupSettings, Source, apps};
pub(crate) use credentials::{Credentials, NewSlot};
pub(crate) use filter::snapshot_filter;
pub(crate) use repository::RepositoryLocation;

use crate::args::GlobalArgs;
use crate::args::values::Compression;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::selector::IdPrefix;

/// How often progress is shown unless TREERING_PROGRESS_FPS says otherwise.
const DEFAULT_PROGRESS_FPS: f64 = 10.0;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Errors and results.
    Quiet,
    /// Also progress and remarks.
    Normal,
    /// Also what is done with folders and applications.
    Verbose,
    /// Also each file.
    Files,
}

/// What every command needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where the repository is, if anything says so.
    repository: Option<RepositoryLocation>,
    /// What opens it.
    pub(crate) credentials: Credentials,
    /// The key slot to try first.
    pub(crate) key_hint: Option<IdPrefix>,
    /// How much is said.
    pub(crate) verbosity: Verbosity,
    /// JSON instead of text.
    pub(crate) json: bool,
    /// Where things are kept that can be fetched again; `None` if there is no home folder either.
    pub(crate) cache_dir: Option<PathBuf>,
    /// How hard to compress.
    pub(crate) compression: Compression,
    /// The time between two redraws or status lines; `None` to show no progress.
    pub(crate) progress_interval: Option<Duration>,
}

impl Settings {
    /// Resolves the global options.
    pub(crate) fn resolve(args: &GlobalArgs, environment: &Environment) -> Result<Settings, Failure> {
        let verbosity = verbosity(args);
        let user_cache_dir = environment.user_cache_dir.as_ref().map(|folder| folder.join("treering"));
        Ok(Settings {
            repository: repository::resolve(args, environment)?,
            credentials: Credentials::resolve(args, environment)?,
            key_hint: args.key_hint.clone().or_else(|| environment.key_hint.clone()),
            verbosity,
            json: args.json,
            cache_dir: args.cache_dir.clone().or_else(|| environment.cache_dir.clone()).or(user_cache_dir),
            compression: args.compression.or(environment.compression).unwrap_or_default(),
            progress_interval: progress_interval(args, environment, std::io::stderr().is_terminal()),
        })
    }

    /// Where the repository is.
    pub(crate) fn repository(&self) -> Result<&RepositoryLocation, Failure> {
        self.repository.as_ref().ok_or_else(|| {
            Failure::usage("no repository was given").next("Use -r, --repository-file or TREERING_REPOSITORY.")
        })
    }
}

/// The fewest files to read at once if nobody says: one thread waits for the disk while another computes.
const LEAST_READ_CONCURRENCY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);
/// The most if nobody says: each reader holds a few MiB.
const MOST_READ_CONCURRENCY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);

/// How many files to read at once if nobody says: one for each core, up to a limit.
pub(crate) fn default_read_concurrency() -> NonZeroUsize {
    std::thread::available_parallelism()
        .map_or(LEAST_READ_CONCURRENCY, |cores| cores.clamp(LEAST_READ_CONCURRENCY, MOST_READ_CONCURRENCY))
}

/// The name of this machine.
pub(crate) fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn verbosity(args: &GlobalArgs) -> Verbosity {
    match (args.quiet, args.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, 0) => Verbosity::Normal,
        (false, 1) => Verbosity::Verbose,
        (false, _) => Verbosity::Files,
    }
}

/// Status lines in JSON are for a program and need no terminal; everything else would only fill a log.
fn progress_interval(args: &GlobalArgs, environment: &Environment, terminal: bool) -> Option<Duration> {
    let shown = !args.quiet && (args.json || terminal || environment.progress_fps.is_some());
    let fps = environment.progress_fps.unwrap_or(DEFAULT_PROGRESS_FPS);
    shown.then(|| Duration::try_from_secs_f64(1.0 / fps).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::tests::environment;

    #[test]
    fn the_command_line_beats_the_environment_which_beats_the_default() {
        let variables =
            environment(&[("TREERING_COMPRESSION", "max"), ("TREERING_CACHE_DIR", "/env"), ("HOME", "/home/u")])
                .unwrap();
        let resolved = Settings::resolve(&GlobalArgs::default(), &variables).unwrap();
        assert_eq!(resolved.compression, Compression::Max);
        assert_eq!(resolved.cache_dir.as_deref(), Some("/env".as_ref()));

        let typed =
            GlobalArgs { compression: Some(Compression::Off), cache_dir: Some("/typed".into()), ..Default::default() };
        let resolved = Settings::resolve(&typed, &variables).unwrap();
        assert_eq!(resolved.compression, Compression::Off);
        assert_eq!(resolved.cache_dir.as_deref(), Some("/typed".as_ref()));

        let home_only = environment(&[("HOME", "/home/u")]).unwrap();
        let resolved = Settings::resolve(&GlobalArgs::default(), &home_only).unwrap();
        assert_eq!(resolved.compression, Compression::Auto);
        assert_eq!(resolved.cache_dir.as_deref(), Some("/home/u/.cache/treering".as_ref()));
        assert!(resolved.repository().unwrap_err().next.unwrap().contains("TREERING_REPOSITORY"));
    }

    #[test]
    fn progress_is_shown_on_terminals_and_in_json() {
        let (none, fps) = (environment(&[]).unwrap(), environment(&[("TREERING_PROGRESS_FPS", "0.5")]).unwrap());
        let (plain, json) = (GlobalArgs::default(), GlobalArgs { json: true, ..Default::default() });
        let quiet = GlobalArgs { quiet: true, ..Default::default() };
        assert_eq!(progress_interval(&plain, &none, false), None);
        assert_eq!(progress_interval(&plain, &none, true), Some(Duration::from_millis(100)));
        assert_eq!(progress_interval(&json, &none, false), Some(Duration::from_millis(100)));
        assert_eq!(progress_interval(&plain, &fps, false), Some(Duration::from_secs(2)));
        assert_eq!(progress_interval(&quiet, &fps, true), None);
    }

    #[test]
    fn verbosity_is_ordered() {
        let of = |quiet, verbose| verbosity(&GlobalArgs { quiet, verbose, ..Default::default() });
        assert!(of(true, 0) < of(false, 0) && of(false, 0) < of(false, 1) && of(false, 1) < of(false, 9));
    }
}
