//! Options that restic has and treering refuses, each with its reason.
//!
//! A meaningless option is never accepted in silence: a script that relies on it would believe it.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

const REASONS: &[(&str, &str)] = &[
    ("-o", "there are no extended options"),
    ("--option", "there are no extended options"),
    ("--no-cache", "a repository in a local folder needs no cache; see --cache-dir for others"),
    ("--cleanup-cache", "old caches are replaced by themselves"),
    ("--no-lock", "commands that only read take no lock that could be in anybody's way"),
    ("--retry-lock", "a lock dies with its process; run the command again"),
    ("--limit-upload", "the repository is a local folder; use ionice(1) or a cgroup"),
    ("--limit-download", "the repository is a local folder; use ionice(1) or a cgroup"),
    ("--pack-size", "the size of packs is fixed by the format"),
    ("--cacert", "the repository is a local folder"),
    ("--tls-client-cert", "the repository is a local folder"),
    ("--insecure-tls", "the repository is a local folder"),
    ("--insecure-no-password", "use `init --encryption none` for a repository without a key"),
    ("--no-extra-verify", "what was encoded is always decoded and compared before it is stored"),
    ("--repository-version", "new repositories have the newest version"),
    ("--with-atime", "access times are not stored"),
    ("--no-scan", "the size is estimated while the backup runs; there is no scan to leave out"),
    ("--prune", "dropping snapshots and freeing space are two commands: run `treering prune` afterwards"),
    ("--unsafe-allow-remove-all", "name the snapshots to drop all of them"),
    ("--exclude-cloud-files", "this is for Windows"),
    ("--use-fs-snapshot", "this is for Windows"),
];

/// Adds the reason to the error about an unknown option.
pub(super) fn explain(mut error: clap::Error) -> clap::Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    if let Some(reason) = reason(option) {
        let tip = StyledStr::from(reason.to_owned());
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

fn reason(option: &str) -> Option<&'static str> {
    let name = option.split('=').next()?;
    REASONS.iter().find(|(refused, _)| *refused == name).map(|(_, reason)| *reason)
}
