//! What is said about a restore at its end.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use treering_snapshot::restore::{BroughtBack, Fate, RestoreSummary, WithheldKind};

use super::plan::Plan;
use crate::context::Context;
use crate::exit::{Failure, Kind, Outcome};
use crate::output::Printer;
use crate::output::messages::{self, ItemError, Message};
use crate::output::table;
use crate::settings::Verbosity;
use crate::{escape, size, time};

/// Prints the summary; what is missing makes a failure of it.
pub(super) fn tell(context: &Context, plan: &Plan<'_>, done: &RestoreSummary, took: Duration) -> Outcome {
    for (path, kind) in &done.withheld.named {
        let message = format!("{} is withheld: it needs --privileged", describe(kind));
        context.printer.error(&ItemError::new("restore", path.as_os_str().as_bytes(), message));
    }
    for own in &done.spared {
        context.printer.warn(&format!("{} belongs to the repository: it is not deleted", own.display()));
    }
    match context.printer.json {
        true => context.printer.json(&Message::RestoreSummary(summary(plan, done, took)))?,
        false => print(context.printer, plan, done, took)?,
    }
    verdict(plan, done)
}

fn describe(kind: &WithheldKind) -> String {
    match kind {
        WithheldKind::SetId => "its set-uid or set-gid bit".to_owned(),
        WithheldKind::Device => "the device".to_owned(),
        WithheldKind::Attribute { name } => format!("its attribute {}", String::from_utf8_lossy(name)),
    }
}

fn print(printer: Printer, plan: &Plan<'_>, done: &RestoreSummary, took: Duration) -> Outcome {
    let say = |line: &str| printer.note(Verbosity::Normal, line);
    let verb = if plan.is_dry_run() { "would restore" } else { "restored" };
    let (files, bytes) = (table::count(done.files_restored, "file"), size::show(done.bytes_restored));
    say(&format!("{verb} {files} ({bytes}) in {}", time::show_duration(took)))?;
    let deleted = if plan.is_dry_run() { "would be deleted" } else { "deleted" };
    let rest = [
        ("left as they are", done.files_skipped, "file"),
        // Folders are counted too.
        (deleted, done.files_deleted, "item"),
        ("verified", done.files_verified, "file"),
    ];
    for (what, count, kind) in rest.into_iter().filter(|(_, count, _)| *count > 0) {
        say(&format!("{what}: {}", table::count(count, kind)))?;
    }
    done.applications.iter().flat_map(lines).try_for_each(|line| say(&line))?;
    match plan.is_dry_run() {
        true => say("nothing was written (--dry-run)"),
        false => Ok(()),
    }
}

/// What is said about an application.
fn lines(app: &BroughtBack) -> Vec<String> {
    let (kind, target) = (escape::text(&app.kind), escape::path(&app.target));
    let mut lines = Vec::new();
    match &app.fate {
        Fate::InPlace { proof, old } => {
            let point = proof.point.iter().map(|point| format!(" at {}", escape::text(point))).collect::<String>();
            lines.push(format!("{kind}: {target} is back{point} ({})", escape::text(&proof.detail)));
            lines.extend(proof.notes.iter().map(|note| format!("{kind}: {}", escape::text(note))));
            let moved = |old: &PathBuf| format!("{kind}: what was there before is now {}", escape::path(old));
            lines.extend(old.iter().map(moved));
        }
        Fate::Staged { stage, why } => lines.push(format!(
            "{kind}: nothing was put in the place of {target}, what was restored is in {}: {}",
            escape::path(stage),
            escape::text(why)
        )),
    }
    let left = |path: &PathBuf| format!("{kind}: left by an earlier restore: {}", escape::path(path));
    lines.extend(app.leftovers.iter().map(left));
    lines
}

fn brought_back(app: &BroughtBack) -> messages::BroughtBack {
    let path = |path: &Path| escape::lossy(path.as_os_str().as_bytes());
    let (verified, notes) = match &app.fate {
        Fate::InPlace { proof, .. } => (Some(proof.detail.clone()), proof.notes.clone()),
        Fate::Staged { .. } => (None, Vec::new()),
    };
    let (point, moved_to, stage, reason) = match &app.fate {
        Fate::InPlace { proof, old } => (proof.point.clone(), old.as_deref().map(path), None, None),
        Fate::Staged { stage, why } => (None, None, Some(path(stage)), Some(why.clone())),
    };
    let leftovers = app.leftovers.iter().map(|left| path(left)).collect();
    let (kind, target, path) = (app.kind.clone(), path(&app.target), path(&app.path));
    messages::BroughtBack { kind, path, target, verified, point, notes, moved_to, stage, reason, leftovers }
}

fn summary(plan: &Plan<'_>, done: &RestoreSummary, took: Duration) -> messages::RestoreSummary {
    messages::RestoreSummary {
        seconds_elapsed: took.as_secs(),
        counts: messages::RestoreCounts {
            total_files: done.total_files,
            files_restored: done.files_restored,
            files_skipped: done.files_skipped,
            files_deleted: done.files_deleted,
            total_bytes: done.total_bytes,
            bytes_restored: done.bytes_restored,
            bytes_skipped: done.bytes_skipped,
        },
        privileged_skipped: done.withheld.count,
        files_verified: done.files_verified,
        dry_run: plan.is_dry_run(),
        error_count: done.errors,
        target: escape::lossy(plan.target.as_os_str().as_bytes()),
        snapshot_id: plan.named.0.to_string(),
        apps: done.applications.iter().map(brought_back).collect(),
    }
}

/// What was not restored outweighs an application that was not exchanged; both are said.
fn verdict(plan: &Plan<'_>, done: &RestoreSummary) -> Outcome {
    let staged: Vec<String> = done.applications.iter().filter_map(not_exchanged).collect();
    let failed = (done.errors > 0).then(|| format!("{} could not be restored", table::count(done.errors, "item")));
    let withheld = done.withheld.count;
    let withheld = (withheld > 0).then(|| format!("{} withheld", table::count(withheld, "item")));
    let missing = plan.missing.len() as u64;
    let missing = (missing > 0).then(|| format!("{} missing in the snapshot", table::count(missing, "application")));
    let is_whole = failed.is_none() && withheld.is_none() && missing.is_none();
    let advice = if withheld.is_some() {
        "If you trust whoever can write to the repository, use --privileged."
    } else if failed.is_some() {
        "Each is named above with its reason: mend it and run the restore again. If the repository is damaged, `treering \
         check` tells what is affected."
    } else if missing.is_some() {
        "Restore the snapshot that is named above, which has it."
    } else {
        "Another snapshot may be sound; --app none restores the files as they are."
    };
    let kind = match is_whole {
        true if staged.is_empty() => return Ok(()),
        true => Kind::AppNotConsistent,
        false => Kind::Incomplete,
    };
    let safe = match staged.is_empty() {
        true => "Everything else was restored.",
        false => "What was in its place before, if anything, is as it was. Whatever else was asked for was restored.",
    };
    let reasons: Vec<String> = failed.into_iter().chain(withheld).chain(missing).chain(staged).collect();
    Err(Failure::new(kind, reasons.join("; ")).safe(safe).next(advice))
}

fn not_exchanged(app: &BroughtBack) -> Option<String> {
    let Fate::Staged { stage, why } = &app.fate else { return None };
    let (target, stage) = (app.target.display(), stage.display());
    Some(format!("{} {target} was not put in its place, what was restored is in {stage}: {why}", app.kind))
}
