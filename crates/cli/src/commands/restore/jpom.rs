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
use treering_snapshot::restore::{BroughtBack, Fate, RestoreSummary, Restorer};
use treering_snapshot::select::Named;
use treering_snapshot::with_causes;
use treering_store::{Entropy, OsEntropy};

use super::plan::Plan;
use crate::applications::temp_folder;
use crate::args::{JpomRestoreArgs, RestoreArgs};
use crate::context::Context;
use crate::exit::{Failure, Kind, Outcome};
use crate::settings::Verbosity;
use crate::{clock, escape};

/// How long the real library may take.
const LIBRARY_LIMIT: Duration = Duration::from_secs(1800);

/// Who brings homes and databases back. Where only parts of a home are wanted, its files are files like any others, but
/// the database is exchanged as ever, with its schema log.
pub(super) fn restorers(
    context: &Context,
    args: &JpomRestoreArgs,
    parts: Option<&Parts>,
) -> Result<Vec<Box<dyn Restorer>>, Failure> {
    let rules = rules(context, args)?;
    let h2 = || Box::new(H2Restorer::new()) as Box<dyn Restorer>;
    let databases = DatabaseRestorer::new(rules.clone(), h2());
    Ok(match parts {
        Some(parts) if parts.has(Part::Database) => vec![Box::new(databases.with_schema_log())],
        Some(_) => Vec::new(),
        None => vec![Box::new(JpomRestorer::new(rules, h2())), Box::new(databases)],
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
    Ok(Some(Parts::of(args.jpom_only.iter().map(|part| part.part()).collect(), homes)))
}

/// Refuses to write parts into a home whose Jpom runs.
pub(super) fn refuse_running(args: &RestoreArgs, named: &Named, target: &Path) -> Outcome {
    if args.jpom.jpom_only.is_empty() || args.dry_run {
        return Ok(());
    }
    let places = if args.original { homes(named) } else { vec![target.to_path_buf()] };
    for home in places.iter().filter_map(|place| Home::at(place).ok()) {
        rules::refuse_running(&home).map_err(|error| {
            Failure::new(Kind::Failed, error.to_string())
                .safe("Nothing was changed.")
                .next("Stop it (bash bin/Server.sh stop, or bin/Agent.sh) and run the restore again.")
        })?;
    }
    Ok(())
}

fn homes((_, snapshot): &Named) -> Vec<PathBuf> {
    let homes = snapshot.applications.iter().filter(|app| app.kind == "jpom");
    homes.map(|app| PathBuf::from(OsStr::from_bytes(&app.path))).collect()
}

/// Puts the databases that were in the way where Jpom keeps such.
pub(super) fn keep_old(context: &Context, plan: &Plan<'_>, done: &RestoreSummary) -> Outcome {
    let time = clock::now().to_zoned(context.zone.clone()).strftime("%Y%m%d%H%M%S").to_string();
    for app in &done.applications {
        let Fate::InPlace { old: Some(old), .. } = &app.fate else { continue };
        match kept(app, old, plan.is_of_jpom(&app.path), &time) {
            Ok(None) => {}
            Ok(Some(kept)) => {
                let said = format!("jpom: the database that was there is now in {}", escape::path(&kept));
                context.printer.note(Verbosity::Normal, &said)?;
            }
            Err(error) => context.printer.warn(&with_causes(&error)),
        }
    }
    Ok(())
}

fn kept(app: &BroughtBack, old: &Path, is_of_jpom: bool, time: &str) -> Result<Option<PathBuf>, treering_jpom::Error> {
    match app.kind.as_str() {
        "jpom" => rules::keep_old_database(&app.target, old, time),
        "h2" if is_of_jpom => rules::keep_old_file(&app.target, old, time),
        _ => Ok(None),
    }
}
