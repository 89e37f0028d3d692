//! What a backup shall do.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{default_read_concurrency, machine_name};
use crate::args::BackupArgs;
use crate::args::values::AppChoice;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::patterns::Patterns;
use crate::{docker, files_from, time};

/// Where the bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Files and folders, as typed or listed; at least one.
    Paths(Vec<PathBuf>),
    /// Standard input, as the file of this path in the snapshot.
    Stdin(PathBuf),
    /// What a command prints, as the file of this path in the snapshot.
    Command {
        /// The path in the snapshot.
        stored_as: PathBuf,
        /// The program and its arguments; at least the program.
        words: Vec<OsString>,
    },
}

/// What a backup shall do, all lists read and all sources of settings merged.
#[derive(Debug)]
pub(crate) struct BackupSettings {
    /// Where the bytes come from.
    pub(crate) source: Source,
    /// Lines of `--files-from` that no file matches; worth a warning.
    pub(crate) unmatched: Vec<OsString>,
    /// What to leave out.
    pub(crate) excludes: Patterns,
    /// The host name of the snapshot.
    pub(crate) host: String,
    /// Its tags, each once, in the order in which they were given.
    pub(crate) tags: Vec<String>,
    /// Its time.
    pub(crate) time: Timestamp,
    /// How many files to read at once.
    pub(crate) read_concurrency: NonZeroUsize,
    /// Whether a changed inode number alone is no reason to read a file.
    pub(crate) ignore_inode: bool,
    /// Whether a changed ctime alone is no reason to read a file. Implied by `ignore_inode`, as in restic.
    pub(crate) ignore_ctime: bool,
    /// Which applications to look for: all, or these kinds; none if it is empty.
    pub(crate) apps: Apps,
    /// How H2 databases are taken.
    pub(crate) h2: treering_h2::Options,
    /// How JE environments are taken.
    pub(crate) je: treering_je::Options,
}

/// Which applications to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Apps {
    /// All that are known.
    All,
    /// Only these kinds; whether they are known is for the registry of applications to say.
    Kinds(Vec<String>),
}

impl BackupSettings {
    /// Reads the lists and merges what was typed with the environment.
    pub(crate) fn resolve(
        args: &BackupArgs,
        environment: &Environment,
        now: Timestamp,
        zone: &TimeZone,
    ) -> Result<BackupSettings, Failure> {
        let (source, unmatched) = source(args)?;
        let ignore_inode = args.ignore_inode || environment.ignore_inode;
        Ok(BackupSettings {
            source,
            unmatched,
            excludes: Patterns::of_excludes(&args.exclude)?,
            // An empty name is a variable in a script that is not set.
            host: [&args.host, &environment.host]
                .into_iter()
                .flatten()
                .find(|host| !host.is_empty())
                .map_or_else(machine_name, String::clone),
            tags: unique(args.tag.iter().flat_map(|list| &list.0)),
            time: snapshot_time(args.time.as_deref(), now, zone)?,
            read_concurrency: args
                .read_concurrency
                .or(environment.read_concurrency)
                .unwrap_or_else(default_read_concurrency),
            ignore_inode,
            ignore_ctime: ignore_inode || args.ignore_ctime || environment.ignore_ctime,
            apps: apps(&args.app)?,
            h2: args.h2.options(),
            je: je(args),
        })
    }
}

/// Where the bytes come from, and what of the lists matched nothing.
fn source(args: &BackupArgs) -> Result<(Source, Vec<OsString>), Failure> {
    if args.stdin {
        return Ok((Source::Stdin(args.stdin_filename.clone()), Vec::new()));
    }
    if args.stdin_from_command {
        let (stored_as, words) = (args.stdin_filename.clone(), args.paths.clone());
        return Ok((Source::Command { stored_as, words }, Vec::new()));
    }
    if let Some(environment) = &args.je.je_env {
        return Ok((Source::Paths(vec![environment.clone()]), Vec::new()));
    }
    let listed = files_from::read(&args.files_from, &args.files_from_verbatim, &args.files_from_raw)?;
    let mut paths = listed.paths;
    paths.extend(args.paths.iter().map(PathBuf::from));
    for volume in &args.jpom.docker_volume {
        paths.push(docker::volume(volume)?);
    }
    if paths.is_empty() {
        return Err(Failure::usage("there is nothing to back up: the lists name no existing file or folder")
            .next("Look into the lists of --files-from; their relative paths begin where treering was started."));
    }
    Ok((Source::Paths(paths), listed.unmatched))
}

fn snapshot_time(typed: Option<&str>, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, Failure> {
    let parse = |text| time::parse(text, zone).map_err(|error| Failure::usage("--time is wrong").because(&error));
    typed.map_or(Ok(now), parse)
}

/// What `--app` asks for.
pub(crate) fn apps(choices: &[AppChoice]) -> Result<Apps, Failure> {
    let kinds: Vec<String> = choices.iter().filter_map(AppChoice::kind).map(str::to_owned).collect();
    match (choices, kinds.len()) {
        ([AppChoice::Auto], _) => Ok(Apps::All),
        ([AppChoice::None], _) => Ok(Apps::Kinds(Vec::new())),
        (_, named) if named == choices.len() => Ok(Apps::Kinds(unique(&kinds))),
        _ => Err(Failure::usage("--app auto and --app none cannot be combined with others")),
    }
}

fn je(args: &BackupArgs) -> treering_je::Options {
    let mut options = treering_je::Options::default();
    options.offline = args.je_capture.je_offline;
    options
}

fn unique<'a>(words: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut unique: Vec<String> = Vec::new();
    for word in words {
        if !unique.contains(word) {
            unique.push(word.clone());
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};
    use crate::environment::tests::environment;

    fn resolve(line: &str, variables: &[(&str, &str)]) -> Result<BackupSettings, Failure> {
        let Command::Backup(args) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else {
            panic!("{line}");
        };
        BackupSettings::resolve(&args, &environment(variables).unwrap(), Timestamp::UNIX_EPOCH, &TimeZone::UTC)
    }

    #[test]
    fn paths_of_lists_come_before_typed_ones() {
        let list = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(list.path(), "/from a list\n").unwrap();
        let line = format!("treering backup /typed --files-from-verbatim {}", list.path().display());
        let source = resolve(&line, &[]).unwrap().source;
        assert_eq!(source, Source::Paths(vec!["/from a list".into(), "/typed".into()]));
        std::fs::write(list.path(), "").unwrap();
        let line = format!("treering backup --files-from {}", list.path().display());
        assert!(resolve(&line, &[]).is_err());
    }

    #[test]
    fn standard_input_and_commands() {
        assert_eq!(resolve("treering backup --stdin", &[]).unwrap().source, Source::Stdin("stdin".into()));
        let source =
            resolve("treering backup --stdin-from-command --stdin-filename d.sql -- pg_dump -x", &[]).unwrap().source;
        assert_eq!(source, Source::Command { stored_as: "d.sql".into(), words: vec!["pg_dump".into(), "-x".into()] });
    }

    #[test]
    fn typed_beats_environment_beats_default() {
        let variables = [("TREERING_HOST", "env"), ("TREERING_READ_CONCURRENCY", "3"), ("TREERING_IGNORE_INODE", "1")];
        let settings = resolve("treering backup /x -H typed --tag a,b --tag a", &variables).unwrap();
        assert_eq!((settings.host.as_str(), settings.read_concurrency.get()), ("typed", 3));
        assert_eq!(settings.tags, ["a", "b"]);
        assert!(settings.ignore_inode && settings.ignore_ctime);
        assert_eq!(resolve("treering backup /x", &variables).unwrap().host, "env");
        assert!(!resolve("treering backup /x", &[]).unwrap().host.is_empty());
        assert!(!resolve("treering backup /x --host=", &[("TREERING_HOST", "")]).unwrap().host.is_empty());
    }

    #[test]
    fn times_are_resolved() {
        assert_eq!(resolve("treering backup /x", &[]).unwrap().time, Timestamp::UNIX_EPOCH);
        let settings = resolve("treering backup /x --time 2026-11-20T03:00", &[]).unwrap();
        assert_eq!(settings.time.to_string(), "2026-11-20T03:00:00Z");
        assert!(resolve("treering backup /x --time noon", &[]).is_err());
    }

    #[test]
    fn applications() {
        let apps = |line| resolve(line, &[]).map(|settings| settings.apps);
        assert_eq!(apps("treering backup /x").unwrap(), Apps::All);
        assert_eq!(apps("treering backup /x --app none").unwrap(), Apps::Kinds(Vec::new()));
        assert_eq!(
            apps("treering backup /x --app je --app h2 --app je").unwrap(),
            Apps::Kinds(vec!["je".into(), "h2".into()])
        );
        assert!(apps("treering backup /x --app none --app je").is_err());
    }
}
