//! What a restore does besides with homes of Jpom and their databases.
//!
//! Invariant: parts of a home are not written under a Jpom that runs.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use treering_h2::H2Restorer;
use treering_jpom::Home;
use treering_jpom::restore::{self as rules, DatabaseRestorer, JpomRestorer, LibraryCheck, Part, Parts, RestoreRules};
use treering_snapshot::restore::{Fate, RestoreSummary, Restorer};
use treering_snapshot::select::Named;
use treering_snapshot::with_causes;
use treering_store::{Entropy, OsEntropy};

use super::plan::Plan;
use crate::applications::temp_folder;
use crate::args::{JpomRestoreArgs, RestoreArgs};
use crate::clock;
use crate::context::Context;
use crate::exit::{Failure, Kind, Outcome};

/// What of an old home is named.
const NAMES_MOST: usize = 12;
/// How long the real library may take.
const LIBRARY_LIMIT: Duration = Duration::from_secs(1800);

/// Who brings homes and databases back. Where only parts of a home are wanted, its files are files like any others, but
/// the database is exchanged as ever, with its schema log.
pub(super) fn restorers(
    context: &Context,
    args: &JpomRestoreArgs,
    parts: Option<&Parts>,
) -> Result<Vec<Box<dyn Restorer>>, Failure> {
    let chosen = rules(context, args)?;
    rules::refuse_no_library(&chosen.library).map_err(|error| {
        Failure::of(Kind::Failed, &error)
            .safe("Nothing was changed.")
            .next("Name the jar of an H2, or leave the name away: then it is the one in Jpom's own jar.")
    })?;
    let h2 = || Box::new(H2Restorer::new()) as Box<dyn Restorer>;
    let databases = DatabaseRestorer::new(chosen.clone(), h2());
    Ok(match parts {
        Some(parts) if parts.has(Part::Database) => vec![Box::new(databases.with_schema_log())],
        Some(_) => Vec::new(),
        None => vec![Box::new(JpomRestorer::new(chosen, h2())), Box::new(databases)],
    })
}

fn rules(context: &Context, args: &JpomRestoreArgs) -> Result<RestoreRules, Failure> {
    let library = match args.h2_check_jar.as_deref() {
        None => LibraryCheck::No,
        Some(path) if path == Path::new("auto") => LibraryCheck::Auto,
        Some(path) => LibraryCheck::Jar(path.to_path_buf()),
    };
    let clone_as = if args.clone { Some(fresh_identity()?) } else { None };
    let temp_folder = temp_folder(&context.environment);
    Ok(RestoreRules { clone_as, library, library_limit: LIBRARY_LIMIT, temp_folder })
}

/// 32 hexadecimal digits, as Jpom makes them.
fn fresh_identity() -> Result<String, Failure> {
    let mut random = [0; 16];
    OsEntropy.fill(&mut random)?;
    Ok(format!("{:032x}", u128::from_le_bytes(random)))
}

/// The parts of homes that alone are wanted; `None`: everything.
pub(super) fn parts(args: &JpomRestoreArgs, named: &Named) -> Result<Option<Parts>, Failure> {
    if args.jpom_only.is_empty() {
        return Ok(None);
    }
    let homes = homes(named);
    if homes.is_empty() {
        return Err(Failure::usage("--jpom-only: there is no home of Jpom in this snapshot")
            .next("`treering snapshots --json` shows the applications of each snapshot."));
    }
    let parts = Parts::of(args.jpom_only.iter().map(|part| part.part()).collect(), homes);
    if parts.has(Part::Database) && !has_database(named) {
        return Err(Failure::new(Kind::Failed, "--jpom-only database: no database of a home is in this snapshot")
            .safe("Nothing was changed.")
            .next("An agent has none, MySQL and its like are elsewhere, and a capture may have failed: `treering snapshots --json` shows what was captured."));
    }
    Ok(Some(parts))
}

/// Refuses to write parts into a home whose Jpom runs.
pub(super) fn refuse_running(args: &RestoreArgs, named: &Named, target: &Path) -> Outcome {
    if args.jpom.jpom_only.is_empty() {
        return Ok(());
    }
    let has_database = args.jpom.jpom_only.iter().any(|part| part.part() == Part::Database);
    if has_database && !args.original && target.symlink_metadata().is_err() {
        return Err(Failure::usage(format!("there is no home in {}, and a part goes into one", target.display()))
            .next("Without --jpom-only the whole home is restored."));
    }
    let places = if args.original { homes(named) } else { places(named, target) };
    for home in places.iter().filter_map(|place| Home::at(place).ok()) {
        rules::refuse_running(&home).map_err(|error| {
            Failure::new(Kind::Failed, error.to_string())
                .safe("Nothing was changed.")
                .next("Stop it (bash bin/Server.sh stop, or bin/Agent.sh) and run the restore again.")
        })?;
    }
    Ok(())
}

/// Where a home may come to: the target itself, or in it under its full path or as it lies beneath a path of the snapshot.
fn places(named: &Named, target: &Path) -> Vec<PathBuf> {
    let tops = named.1.paths.iter().map(|path| Path::new(OsStr::from_bytes(path))).chain([Path::new("/")]);
    let tops: Vec<&Path> = tops.collect();
    let inside = homes(named).into_iter().flat_map(|home| {
        let inside = tops.iter().filter_map(|top| home.strip_prefix(top).ok());
        inside.map(|inside| target.join(inside)).collect::<Vec<_>>()
    });
    inside.chain([target.to_path_buf()]).collect()
}

/// Whether a database was captured that is a home's own.
fn has_database(named: &Named) -> bool {
    let homes = homes(named);
    let mut databases = named.1.applications.iter().filter(|app| app.kind == treering_h2::restore::KIND);
    databases.any(|app| {
        let inside = homes.iter().find_map(|home| app.place().strip_prefix(home).ok());
        inside.is_some_and(rules::is_own_database)
    })
}

fn homes((_, snapshot): &Named) -> Vec<PathBuf> {
    let homes = snapshot.applications.iter().filter(|app| app.kind == "jpom");
    homes.map(|app| app.place().to_owned()).collect()
}

/// Warns if the parts that were asked for are empty.
pub(super) fn tell_nothing(context: &Context, args: &RestoreArgs, done: &RestoreSummary) {
    if !args.jpom.jpom_only.is_empty() && done.total_files == 0 {
        context.printer.warn("--jpom-only: nothing of these parts is in this snapshot");
    }
}

/// Puts the databases that were in the way where Jpom keeps such, and notes what else is to be known of an old home.
pub(super) fn keep_old(context: &Context, plan: &Plan<'_>, done: &mut RestoreSummary) {
    let time = clock::now().to_zoned(context.zone.clone()).strftime("%Y%m%d%H%M%S").to_string();
    for app in &mut done.applications {
        let is_of_jpom = plan.is_of_jpom(&app.path);
        let Fate::InPlace { old: Some(old), proof } = &mut app.fate else { continue };
        let is_home = app.kind == "jpom";
        if is_home {
            proof.notes.extend(only_in_old(&app.target, old));
        }
        let kept = match app.kind.as_str() {
            "jpom" => rules::keep_old_database(&app.target, old, &time),
            "h2" if is_of_jpom => rules::keep_old_file(&app.target, old, &time),
            _ => Ok(None),
        };
        match kept {
            Ok(None) => {}
            Ok(Some(kept)) => {
                let without = if is_home { ", without which the old home cannot be started" } else { "" };
                proof.notes.push(format!("the database that was there is now in {}{without}", kept.display()));
            }
            Err(error) => context.printer.warn(&with_causes(&error)),
        }
        if let Fate::InPlace { old, .. } = &mut app.fate
            && old.as_ref().is_some_and(|old| old.symlink_metadata().is_err())
        {
            *old = None;
        }
    }
}

/// What was in the old home and is not in the snapshot.
fn only_in_old(home: &Path, old: &Path) -> Option<String> {
    let found = rules::only_in_old(home, old);
    let mut shown: Vec<_> = found.iter().take(NAMES_MOST).map(|path| path.display().to_string()).collect();
    if found.len() > NAMES_MOST {
        shown.push(format!("{} more", found.len() - NAMES_MOST));
    }
    (!shown.is_empty()).then(|| format!("not in this snapshot, and only in the old home: {}", shown.join(", ")))
}
