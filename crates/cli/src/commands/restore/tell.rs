//! What is said about a restore at its end.

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use treering_snapshot::restore::{RestoreSummary, WithheldKind};

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
    match context.printer.json {
        true => context.printer.json(&Message::RestoreSummary(summary(plan, done, took)))?,
        false => print(context.printer, plan, done, took)?,
    }
    verdict(done)
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
    let rest =
        [("left as they are", done.files_skipped), ("deleted", done.files_deleted), ("verified", done.files_verified)];
    for (what, count) in rest.into_iter().filter(|(_, count)| *count > 0) {
        say(&format!("{what}: {}", table::count(count, "file")))?;
    }
    match plan.is_dry_run() {
        true => say("nothing was written (--dry-run)"),
        false => Ok(()),
    }
}

fn summary(plan: &Plan<'_>, done: &RestoreSummary, took: Duration) -> messages::RestoreSummary {
    messages::RestoreSummary {
        seconds_elapsed: took.as_secs(),
        total_files: done.total_files,
        files_restored: done.files_restored,
        files_skipped: done.files_skipped,
        files_deleted: done.files_deleted,
        total_bytes: done.total_bytes,
        bytes_restored: done.bytes_restored,
        bytes_skipped: done.bytes_skipped,
        privileged_skipped: done.withheld.count,
        files_verified: done.files_verified,
        dry_run: plan.is_dry_run(),
        error_count: done.errors,
        target: escape::lossy(plan.target.as_os_str().as_bytes()),
        snapshot_id: plan.named.0.to_string(),
    }
}

fn verdict(done: &RestoreSummary) -> Outcome {
    let failed = (done.errors > 0).then(|| format!("{} could not be restored", table::count(done.errors, "item")));
    let withheld = done.withheld.count;
    let withheld = (withheld > 0).then(|| format!("{} withheld", table::count(withheld, "item")));
    let advice = withheld.is_some().then_some("If you trust whoever can write to the repository, use --privileged.");
    let reasons: Vec<String> = failed.into_iter().chain(withheld).collect();
    if reasons.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(Kind::Incomplete, reasons.join("; ")).safe("Everything else was restored.");
    Err(Failure { next: advice.map(str::to_owned), ..failure })
}
