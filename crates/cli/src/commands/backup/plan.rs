//! What one backup is asked to do: the command line, the settings and the snapshots that are there, put together.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use treering_je::handover::Handover;
use treering_jpom::Homes;
use treering_snapshot::SnapshotName;
use treering_snapshot::backup::{BackupOptions, Description, Marker};
use treering_snapshot::capture::Application;
use treering_snapshot::record::AllSnapshots;
use treering_snapshot::select::{self, Filter, Named, Planned};
use treering_store::{Compression, SessionMode};

use crate::applications::Ways;
use crate::args::{BackupArgs, ExcludeArgs};
use crate::choice;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Outcome};
use crate::output::listener::Listener;
use crate::output::objects;
use crate::settings::{BackupSettings, Source, Verbosity};
use crate::{applications, clock, escape, owners, paths};

/// Says of a path, and whether it is a folder, whether it is left out.
type Exclusion<'a> = Box<dyn Fn(&Path, bool) -> bool + Sync + 'a>;

/// Everything that the library's options borrow or hold.
pub(super) struct Plan<'a> {
    args: &'a BackupArgs,
    settings: &'a BackupSettings,
    paths: Vec<PathBuf>,
    is_excluded: Exclusion<'a>,
    markers: Vec<Marker>,
    forbidden: Vec<PathBuf>,
    applications: Vec<Box<dyn Application>>,
    /// What was met of Jpom; it decides what of it is left out.
    pub(super) homes: Arc<Homes>,
    parent: Option<Named>,
    heads: Vec<SnapshotName>,
    description: Description,
    compression: Compression,
}

impl<'a> Plan<'a> {
    pub(super) fn make(
        context: &Context,
        opened: &Opened,
        args: &'a BackupArgs,
        settings: &'a BackupSettings,
        handed_over: Option<&Handover>,
    ) -> Result<Self, Failure> {
        let all = choice::all(&opened.repository, context.printer)?;
        let paths = stored_paths(&settings.source)?;
        let parent = parent(args, settings, &paths, &all)?;
        let homes = Arc::new(Homes::new(args.jpom.scope.scoping()));
        Ok(Plan {
            args,
            settings,
            is_excluded: exclusion(settings, Arc::clone(&homes)),
            markers: markers(args),
            forbidden: opened.repository.local_folders(),
            applications: applications(context, settings, &homes, handed_over)?,
            homes,
            parent,
            heads: heads(&all),
            description: description(context, args, settings),
            compression: context.settings.compression.for_store(),
            paths,
        })
    }

    /// The library's options, told to this listener.
    pub(super) fn options<'s>(&'s self, listener: &'s Listener) -> BackupOptions<'s> {
        let dry_run = self.args.dry_run;
        BackupOptions {
            paths: self.paths.clone(),
            is_excluded: &*self.is_excluded,
            markers: self.markers.clone(),
            exclude_larger_than: self.args.exclude_larger_than,
            one_file_system: self.args.one_file_system,
            forbidden: self.forbidden.clone(),
            applications: &self.applications,
            // A set that was handed over and not confirmed is nothing to keep.
            require_app_ok: self.args.require_app_ok || self.args.je.je_env.is_some(),
            parent: self.parent.clone(),
            heads: self.heads.clone(),
            ignore_inode: self.settings.ignore_inode,
            ignore_ctime: self.settings.ignore_ctime,
            skip_if_unchanged: self.args.skip_if_unchanged,
            read_concurrency: self.settings.read_concurrency.get(),
            compression: self.compression,
            mode: if dry_run { SessionMode::DryRun } else { SessionMode::Store },
            description: self.description.clone(),
            clock: &clock::now_ms,
            owners: &|users: &BTreeSet<u32>, groups: &BTreeSet<u32>| owners::names(users, groups),
            progress: listener,
        }
    }

    pub(super) fn tell(&self, context: &Context, args: &BackupArgs) -> Outcome {
        let said = match &self.parent {
            Some((name, _)) => format!("using parent snapshot {}", name.short()),
            None if args.force => "reading all files".to_owned(),
            None => "no parent snapshot found, will read all files".to_owned(),
        };
        context.printer.note(Verbosity::Normal, &said)?;
        for own in self.own_folders() {
            let said = format!("{} belongs to the repository and is left out", own.display());
            context.printer.note(Verbosity::Normal, &said)?;
        }
        Ok(())
    }

    /// What would be read of the repository itself if the walk entered it.
    fn own_folders(&self) -> impl Iterator<Item = &PathBuf> {
        let walked: Vec<PathBuf> = self.paths.iter().filter_map(|path| path.canonicalize().ok()).collect();
        self.forbidden
            .iter()
            .filter(move |own| own.canonicalize().is_ok_and(|own| walked.iter().any(|path| own.starts_with(path))))
    }
}

/// What the user leaves out, and what the scope of a home does.
fn exclusion(settings: &BackupSettings, homes: Arc<Homes>) -> Exclusion<'_> {
    Box::new(move |path, _| settings.excludes.matches(path.as_os_str().as_bytes()) || homes.leaves_out(path))
}

/// Who may claim files, what was handed over first.
fn applications(
    context: &Context,
    settings: &BackupSettings,
    homes: &Arc<Homes>,
    handed_over: Option<&Handover>,
) -> Result<Vec<Box<dyn Application>>, Failure> {
    let ways = Ways { h2: settings.h2.clone(), je: settings.je.clone(), homes: Arc::clone(homes) };
    let known = applications::chosen(&settings.apps, &ways, &context.environment)?;
    let handed_over = handed_over.map(|set| Box::new(set.clone()) as Box<dyn Application>);
    Ok(handed_over.into_iter().chain(known).collect())
}

/// What the snapshot calls its sources.
fn stored_paths(source: &Source) -> Result<Vec<PathBuf>, Failure> {
    match source {
        Source::Paths(typed) => typed.iter().map(|path| paths::absolute(path)).collect(),
        Source::Stdin(stored_as) | Source::Command { stored_as, .. } => {
            let path = paths::clean(&Path::new("/").join(stored_as));
            if path.parent().is_none() {
                let failure = Failure::usage(format!("--stdin-filename {} names no file", stored_as.display()));
                return Err(failure.next("Give the path that the stream is to have in the snapshot, as in `db.sql`."));
            }
            Ok(vec![path])
        }
    }
}

/// What to compare with: what was typed, or the newest snapshot of the same group, by default of the same host and paths.
fn parent(
    args: &BackupArgs,
    settings: &BackupSettings,
    paths: &[PathBuf],
    all: &AllSnapshots,
) -> Result<Option<Named>, Failure> {
    if let Some(selector) = &args.parent {
        choice::refuse_path(selector)?;
        return choice::one(all, selector, &Filter::default()).map(|named| Some(named.clone()));
    }
    let paths: Vec<Vec<u8>> = paths.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect();
    let time = objects::stored_time(settings.time);
    let scope = args.jpom.scope.scoping().scope.asked_for();
    let planned = Planned { host: &settings.host, paths: &paths, tags: &settings.tags, scope, time };
    let found = select::find_parent(all, &planned, args.group_by).filter(|_| !args.force);
    Ok(found.cloned())
}

/// The snapshots that no other has seen: what the new one has seen, it need not repeat for those below them.
fn heads(all: &AllSnapshots) -> Vec<SnapshotName> {
    let seen: BTreeSet<[u8; 32]> = all.snapshots.iter().flat_map(|(_, snapshot)| snapshot.heads.clone()).collect();
    let names = all.snapshots.iter().map(|(name, _)| *name);
    names.filter(|name| !seen.contains(name.as_bytes())).collect()
}

fn markers(args: &BackupArgs) -> Vec<Marker> {
    let typed = args.exclude_if_present.iter().map(|marker| Marker {
        name: marker.name.clone(),
        header: marker.header.as_ref().map(|header| header.as_bytes().to_vec()),
    });
    typed.chain(args.exclude_caches.then(Marker::cache)).collect()
}

fn description(context: &Context, args: &BackupArgs, settings: &BackupSettings) -> Description {
    Description {
        time: objects::stored_time(settings.time),
        offset_seconds: context.zone.to_offset(settings.time).seconds(),
        host: settings.host.clone(),
        user: context.user_name(),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        tags: settings.tags.clone(),
        excludes: typed_excludes(&args.exclude),
        program: concat!("treering ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

fn typed_excludes(args: &ExcludeArgs) -> Vec<String> {
    let text = |pattern: &OsString| escape::lossy(pattern.as_bytes());
    args.exclude.iter().chain(&args.iexclude).map(text).collect()
}
