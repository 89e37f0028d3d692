//! Options and commands that restic has and treering refuses, each with its reason.
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
    ("--with-cache", "there is no cache that could be checked instead of the repository"),
    ("--repack-cacheable-only", "a repository in a local folder has no cache; see --max-unused and --max-repack-size"),
    ("--repack-small", "small packs are merged by themselves; see --repack-smaller-than"),
    ("--repack-uncompressed", "whatever compresses was compressed when it was stored"),
    ("--unsafe-recover-no-free-space", "a full disk needs no option: the repository keeps space to prune itself"),
    ("--read-all-packs", "the index is always made from all packs"),
    ("--forget", "the original is always forgotten, and `treering undelete` brings it back until the next prune"),
    ("--exclude-cloud-files", "this is for Windows"),
    ("--use-fs-snapshot", "this is for Windows"),
];

const COMMANDS: &[(&str, &str)] = &[
    ("unlock", "a lock dies with its process; there is none to remove"),
    ("recover", "`treering repair snapshots` brings lost snapshots back"),
    ("rebuild-index", "use `treering repair index`"),
    ("generate", "use `treering completions` and `treering man`"),
    ("self-update", "treering is updated as it was installed"),
    ("cache", "old caches are replaced by themselves"),
    ("migrate", "there is one version of the format so far"),
    ("list", "use `treering snapshots` and `treering key list`; `treering cat` shows single objects"),
];

/// Adds the reason to the error about an unknown option or command.
pub(super) fn explain(mut error: clap::Error) -> clap::Error {
    let (context, reasons) = match error.kind() {
        ErrorKind::UnknownArgument => (ContextKind::InvalidArg, REASONS),
        ErrorKind::InvalidSubcommand => (ContextKind::InvalidSubcommand, COMMANDS),
        _ => return error,
    };
    let Some(ContextValue::String(typed)) = error.get(context) else { return error };
    let name = typed.split('=').next().unwrap_or_default();
    if let Some((_, reason)) = reasons.iter().find(|(refused, _)| *refused == name) {
        let tip = StyledStr::from((*reason).to_owned());
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}
