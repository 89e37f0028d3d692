//! What is said about a backup at its end, in restic's words.

use std::collections::BTreeMap;
use std::time::Duration;

use treering_snapshot::backup::BackupOutcome;
use treering_snapshot::capture::Verdict;
use treering_snapshot::record::{AppEntry, Statistics};

use crate::args::BackupArgs;
use crate::context::Context;
use crate::exit::{Failure, Kind, Outcome};
use crate::output::Printer;
use crate::output::messages::{BackupSummary, Message};
use crate::output::{objects, table};
use crate::settings::Verbosity;
use crate::{escape, size, time};

/// More applications of one kind than these are counted and not named, where they are consistent.
const APPLICATIONS_NAMED_MOST: u64 = 20;

/// The snapshot is whole; those before it are not.
const PARENT_LACKS: &str = "some of what the parent snapshot holds is lost or cannot be read; the files concerned were \
                            read again. Run `treering check` to see which snapshots are affected";

/// Prints the summary; what is not as it should be makes a failure of it.
pub(super) fn tell(context: &Context, args: &BackupArgs, outcome: &BackupOutcome) -> Outcome {
    match context.printer.json {
        true => context.printer.json(&Message::BackupSummary(summary(context, args, outcome)))?,
        false => print(context.printer, args, outcome)?,
    }
    losses(&outcome.snapshot.applications).iter().for_each(|lost| context.printer.warn(lost));
    if outcome.parent_lacks {
        context.printer.warn(PARENT_LACKS);
    }
    verdict(outcome)
}

fn print(printer: Printer, args: &BackupArgs, outcome: &BackupOutcome) -> Outcome {
    let statistics = &outcome.snapshot.statistics;
    let say = |line: &str| printer.note(Verbosity::Normal, line);
    say("")?;
    say(&counts("Files:", [statistics.files_new, statistics.files_changed, statistics.files_unmodified]))?;
    say(&counts("Dirs:", [statistics.dirs_new, statistics.dirs_changed, statistics.dirs_unmodified]))?;
    app_lines(&outcome.snapshot.applications).iter().try_for_each(|line| say(line))?;
    let (added, stored) = (size::show(statistics.added_bytes), size::show(statistics.stored_bytes));
    let verb = if args.dry_run { "Would add" } else { "Added" };
    say(&format!("{verb} to the repository: {added} ({stored} stored)"))?;
    if outcome.healed.chunks > 0 {
        let (chunks, bytes) = (table::count(outcome.healed.chunks, "chunk"), size::show(outcome.healed.bytes));
        say(&format!("Healed: {chunks} ({bytes}) that were lost are there again, for older snapshots too"))?;
    }
    say("")?;
    let (total, took) = (size::show(statistics.total_bytes), time::show_duration(duration(statistics)));
    say(&format!("processed {} files, {total} in {took}", statistics.total_files))?;
    say(&last_line(args, outcome))
}

fn last_line(args: &BackupArgs, outcome: &BackupOutcome) -> String {
    match outcome.name {
        Some(name) => format!("snapshot {} saved", name.short()),
        None if args.dry_run => "nothing was stored (--dry-run)".to_owned(),
        None => "skipped creating snapshot: nothing has changed since the parent".to_owned(),
    }
}

fn counts(what: &str, [new, changed, unmodified]: [u64; 3]) -> String {
    format!("{what:<11} {new:>5} new, {changed:>5} changed, {unmodified:>5} unmodified")
}

/// A line for each application; but of one kind of which many are consistent, only those that are not.
fn app_lines(applications: &[AppEntry]) -> Vec<String> {
    let is_sure = |app: &&AppEntry| Verdict::from_word(&app.verdict) == Verdict::Consistent;
    let mut sure: BTreeMap<&str, u64> = BTreeMap::new();
    applications.iter().filter(is_sure).for_each(|app| *sure.entry(&app.kind).or_default() += 1);
    sure.retain(|_, number| *number > APPLICATIONS_NAMED_MOST);
    let many = sure.iter().map(|(kind, number)| {
        let kind = format!("{}:", escape::text(kind));
        format!("{kind:<11} {} consistent (`snapshots --json` has them all)", table::count(*number, "application"))
    });
    let named = applications.iter().filter(|app| !(is_sure(app) && sure.contains_key(app.kind.as_str())));
    many.chain(named.map(app_line)).collect()
}

fn app_line(app: &AppEntry) -> String {
    let path = escape::terminal(&app.path);
    let (kind, verdict, detail) = (escape::text(&app.kind), escape::text(&app.verdict), escape::text(&app.detail));
    format!("{:<11} {verdict}: {path} ({detail})", format!("{kind}:"))
}

fn duration(statistics: &Statistics) -> Duration {
    Duration::from_millis(u64::try_from(statistics.ended_ms - statistics.started_ms).unwrap_or(0))
}

fn summary(context: &Context, args: &BackupArgs, outcome: &BackupOutcome) -> BackupSummary {
    let statistics = &outcome.snapshot.statistics;
    BackupSummary {
        counts: objects::counts(statistics),
        total_duration: duration(statistics).as_secs_f64(),
        backup_start: objects::rfc3339_ms(statistics.started_ms, &context.zone),
        backup_end: objects::rfc3339_ms(statistics.ended_ms, &context.zone),
        snapshot_id: outcome.name.map(|name| name.to_string()),
        dry_run: args.dry_run,
        error_count: statistics.errors,
        healed_chunks: outcome.healed.chunks,
        healed_bytes: outcome.healed.bytes,
        apps: outcome.snapshot.applications.iter().map(objects::app).collect(),
        not_captured: outcome.snapshot.not_captured.iter().map(objects::not_captured).collect(),
    }
}

/// What is no doubt about the copy, and may be a loss all the same: an environment that lacks what its parent had.
fn losses(applications: &[AppEntry]) -> Vec<String> {
    let environments = applications.iter().filter(|app| app.kind == treering_je::KIND);
    let lost = environments.filter_map(|app| Some((&app.path, treering_je::lost(&app.detail)?)));
    lost.map(|(path, lost)| {
        let path = String::from_utf8_lossy(path);
        format!("je {path}: {lost}. If nobody has restored it, files are missing, or a disk of it: older snapshots have them")
    })
    .collect()
}

/// Missing files outweigh a doubtful application; both are said.
fn verdict(outcome: &BackupOutcome) -> Outcome {
    let doubtful = doubtful(&outcome.snapshot.applications);
    let errors = outcome.snapshot.statistics.errors;
    let kind = match (errors, doubtful.is_empty()) {
        (0, true) => return Ok(()),
        (0, false) => Kind::AppNotConsistent,
        _ => Kind::Incomplete,
    };
    let unread =
        (errors > 0).then(|| format!("{} could not be read, or not consistently", table::count(errors, "item")));
    let reasons: Vec<String> = unread.into_iter().chain(doubtful).collect();
    let safe = match outcome.name {
        Some(name) => format!("Snapshot {} is saved and holds everything else.", name.short()),
        None => "Nothing was stored.".to_owned(),
    };
    let next = match kind {
        Kind::AppNotConsistent => {
            "The reason in brackets says what to change; the other files are not concerned. With --require-app-ok no such \
             snapshot is saved."
        }
        _ => "Each is named above with its reason: mend it and run the backup again, or leave it out with --exclude.",
    };
    Err(Failure::new(kind, reasons.join("; ")).safe(safe).next(next))
}

fn doubtful(applications: &[AppEntry]) -> Vec<String> {
    let bad = applications.iter().filter(|app| Verdict::from_word(&app.verdict) != Verdict::Consistent);
    bad.map(|app| {
        let path = String::from_utf8_lossy(&app.path);
        format!("{} {path} is not known to be consistent ({}: {})", app.kind, app.verdict, app.detail)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_consistent_applications_are_counted_and_what_is_not_is_named() {
        let app = |number: usize, verdict: &str| AppEntry {
            kind: "sqlite".into(),
            path: format!("/{number}.db").into_bytes(),
            scope: None,
            verdict: verdict.into(),
            version: None,
            consistency_point: None,
            detail: "why".into(),
            bytes: 0,
            extensions: Vec::new(),
        };
        let mut all: Vec<AppEntry> = (0..20).map(|number| app(number, "consistent")).collect();
        all.push(app(20, "torn"));
        let named = app_lines(&all);
        assert_eq!((named.len(), named[20].as_str()), (21, "sqlite:     torn: /20.db (why)"));
        all.push(app(21, "consistent"));
        let counted = "sqlite:     21 applications consistent (`snapshots --json` has them all)";
        assert_eq!(app_lines(&all), [counted, "sqlite:     torn: /20.db (why)"]);
    }
}
