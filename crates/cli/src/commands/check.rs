//! `treering check`.
//!
//! Invariant: everything that was found is said with what it affects and what to do about it, and makes the exit code.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use treering_snapshot::check::{
    self as library, CheckFinding, CheckOptions, CheckReport, DataOptions, DataPart, Verified,
};

use treering_store::FindingPlace;

use crate::args::{CheckArgs, DataSubset};
use crate::context::{Context, Opened};
use crate::exit::{Failure, Kind, Outcome};
use crate::output::Printer;
use crate::output::listener::Listener;
use crate::output::messages::{CheckSummary, ItemError, Message};
use crate::output::progress::Task;
use crate::output::table;
use crate::process;
use crate::settings::Verbosity;
use crate::{clock, escape, size, time};

/// Verifies the repository.
pub(crate) fn run(context: &Context, args: &CheckArgs) -> Outcome {
    match args.packs {
        true => check_names(context),
        false => context.with_repository(|opened| check(context, opened, args)),
    }
}

fn check(context: &Context, opened: &Opened, args: &CheckArgs) -> Outcome {
    process::catch_signals()?;
    let data = data(args);
    let what = match data.map(|data| data == DataOptions::default()) {
        None => "checking the structure",
        Some(true) => "checking the structure and reading all data",
        Some(false) => "checking the structure and reading data, longest unverified first",
    };
    context.printer.note(Verbosity::Normal, what)?;
    let listener = Listener::start(Task::Check, &context.settings, context.printer);
    // What somebody does to the clock meanwhile does not matter.
    let (since_1970, started) = (Duration::from_millis(clock::now_ms().unsigned_abs()), Instant::now());
    let options = CheckOptions { data, clock: &|| since_1970.saturating_add(started.elapsed()) };
    let report = library::check(&opened.repository, &options, &listener);
    listener.finish();
    let report = report?;
    tell_findings(context.printer, &report)?;
    if context.printer.json {
        context.printer.json(&Message::CheckSummary(with_verified(summary(&report), &report.verified, context)))?;
    } else {
        tell(context.printer, &report)?;
        tell_verified(context, &report.verified, data.and_then(|data| data.max_age))?;
    }
    verdict(context.printer, &report)?;
    // Without what repairs have moved aside everything is there and was read, so it need not be kept.
    match data.is_some() && report.verified.fraction() >= 1.0 {
        true => drop_replaced(context.printer, opened),
        false => Ok(()),
    }
}

/// Needs no key and asks for none.
fn check_names(context: &Context) -> Outcome {
    let storage = context.storage()?;
    process::catch_signals()?;
    context.printer.note(Verbosity::Normal, "comparing all objects with their names")?;
    let listener = Listener::start(Task::Check, &context.settings, context.printer);
    let report = library::check_names(&*storage, &listener);
    listener.finish();
    let report = report?;
    tell_findings(context.printer, &report)?;
    if context.printer.json {
        context.printer.json(&Message::CheckSummary(summary(&report)))?;
    } else {
        let packs = table::count(report.packs, "pack");
        let records = table::count(report.snapshots + report.records, "record");
        let bytes = size::show(report.pack_bytes);
        context.printer.note(Verbosity::Normal, &format!("compared {packs} with {bytes}, and {records}"))?;
    }
    match verdict(context.printer, &report) {
        Err(failure) if report.is_any_wrong => Err(failure
            .safe("What is not named has the bytes that it was stored with.")
            .next("Run `treering check` with a key to see which snapshots and files are affected.")),
        other => other,
    }
}

fn data(args: &CheckArgs) -> Option<DataOptions> {
    let CheckArgs { read_data, read_data_subset, max_age, max_duration, .. } = *args;
    let is_any = read_data || read_data_subset.is_some() || max_age.is_some() || max_duration.is_some();
    let part = match read_data_subset {
        None => DataPart::Whole,
        Some(DataSubset::Share(number, of)) => DataPart::Share { number, of },
        Some(DataSubset::Percent(percent)) => DataPart::Percent(percent),
        Some(DataSubset::Bytes(bytes)) => DataPart::Bytes(bytes),
    };
    is_any.then_some(DataOptions { part, max_age, max_duration })
}

fn tell_findings(printer: Printer, report: &CheckReport) -> Outcome {
    // For people, lost chunks of which the same is said are one error; programs get the name of each.
    let said_of_chunk = |finding: &CheckFinding| {
        let is_chunk = matches!(finding.place, FindingPlace::Chunk(_)) && finding.is_error();
        (is_chunk && !printer.json).then(|| message(finding))
    };
    let mut alike = BTreeMap::<String, u64>::new();
    report.findings.iter().filter_map(said_of_chunk).for_each(|said| *alike.entry(said).or_default() += 1);
    for finding in &report.findings {
        match said_of_chunk(finding).map(|said| alike.remove_entry(&said)) {
            // It was told with the first of its kind.
            Some(None) => {}
            Some(Some((said, count @ 2..))) => {
                let place = format!("{}, and {}", finding.place, table::count(count - 1, "more chunk"));
                printer.error(&ItemError::new("check", place.as_bytes(), said));
            }
            _ => tell_finding(printer, finding)?,
        }
    }
    for path in &report.unknown_files {
        let said = format!("{}: nothing of the repository; it is in nobody's way", escape::text(path));
        printer.note(Verbosity::Normal, &said)?;
    }
    Ok(())
}

fn tell_finding(printer: Printer, finding: &CheckFinding) -> Outcome {
    let place = finding.place.to_string();
    if !finding.is_error() {
        let said = format!("{}: {} ({})", escape::text(&place), escape::text(&finding.detail), finding.suggestion());
        // That a snapshot may be lost is no error, and must not go unseen.
        if let FindingPlace::SnapshotCopy(_) = finding.place {
            printer.warn(&said);
            return Ok(());
        }
        return printer.note(Verbosity::Normal, &said);
    }
    // A place that is called by a mere word is not named by that word in the advice.
    let message = match printer.json || place.contains(' ') {
        true => message(finding),
        false => format!("{place}: {}", message(finding)),
    };
    printer.error(&ItemError::new("check", place.as_bytes(), message));
    Ok(())
}

/// What is wrong, what is affected, what to do.
fn message(finding: &CheckFinding) -> String {
    let mut message = finding.detail.clone();
    let snapshots: Vec<String> = finding.snapshots.iter().map(|name| name.short()).collect();
    let paths: Vec<String> = finding.paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    for (what, list, more) in [("snapshots", snapshots, finding.more_snapshots), ("files", paths, finding.more_paths)] {
        if !list.is_empty() {
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            message += &format!("; affected {what}: {}{more}", list.join(", "));
        }
    }
    format!("{message}; what to do: {}", finding.suggestion())
}

fn summary(report: &CheckReport) -> CheckSummary {
    CheckSummary {
        num_errors: report.num_errors(),
        broken_packs: report.broken_packs().map(|name| name.to_string()).collect(),
        suggest_repair_index: report.suggest_repair_index(),
        suggest_prune: report.suggest_prune(),
        lost_snapshots: report.lost_snapshots().map(|name| name.to_string()).collect(),
        unknown_files: report.unknown_files.clone(),
        ..CheckSummary::default()
    }
}

fn with_verified(summary: CheckSummary, verified: &Verified, context: &Context) -> CheckSummary {
    let oldest = verified.oldest.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    CheckSummary {
        verified_fraction: Some(verified.fraction()),
        oldest_verified: oldest.map(|oldest| time::rfc3339(oldest, &context.zone)),
        packs_read: verified.read_packs,
        bytes_read: verified.read_bytes,
        more_runs: verified.more_runs(),
        ledger_not_written: verified.ledger_failed.clone(),
        ..summary
    }
}

fn tell(printer: Printer, report: &CheckReport) -> Outcome {
    let snapshots = table::count(report.snapshots, "snapshot");
    let (files, packs) = (table::count(report.files, "file"), table::count(report.packs, "pack"));
    let bytes = size::show(report.pack_bytes);
    printer.note(Verbosity::Normal, &format!("checked {snapshots}, {files}, {packs} with {bytes}"))?;
    if report.unused_bytes > 0 {
        let unused = size::show(report.unused_bytes);
        printer.note(Verbosity::Normal, &format!("{unused} (before compression) are used by no snapshot"))?;
    }
    Ok(())
}

fn tell_verified(context: &Context, verified: &Verified, max_age: Option<Duration>) -> Outcome {
    let printer = context.printer;
    if verified.read_packs > 0 {
        let (packs, bytes) = (table::count(verified.read_packs, "pack"), size::show(verified.read_bytes));
        printer.note(Verbosity::Normal, &format!("read {packs} with {bytes}"))?;
    }
    if let Some(why) = &verified.ledger_failed {
        let said = "what was read could not be written down, so the next check may read it again";
        printer.note(Verbosity::Normal, &format!("{said}: {}", escape::text(why)))?;
    }
    printer.note(Verbosity::Normal, &how_much(verified, max_age, clock::now().as_second()))
}

/// `61 % of the data was verified within 30 days; the rest takes about 2 more runs like this`
fn how_much(verified: &Verified, max_age: Option<Duration>, now: i64) -> String {
    // Rounded down: it is not all before it is all.
    let percent = (verified.fraction() * 100.0).floor();
    let since = match (max_age, verified.oldest) {
        (Some(age), _) => format!(" within {}", rough(age)),
        (None, Some(oldest)) => {
            let ago = rough(Duration::from_secs(now.saturating_sub(oldest).unsigned_abs()));
            format!(" within the last {}", ago.strip_prefix("1 ").unwrap_or(&ago))
        }
        (None, None) => String::new(),
    };
    let rest = match verified.more_runs() {
        Some(1) => "; the rest takes about one more run like this".to_owned(),
        Some(more) => format!("; the rest takes about {more} more runs like this"),
        None => String::new(),
    };
    format!("{percent} % of the data was verified{since}{rest}")
}

/// In the largest unit that says it all, rounded up.
fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs().max(1);
    let units = [(90 * 60, 60, "minute"), (36 * 3600, 3600, "hour"), (u64::MAX, 86_400, "day")];
    let fitting = units.into_iter().find(|(most, _, _)| seconds <= *most);
    fitting.map_or_else(String::new, |(_, worth, unit)| table::count(seconds.div_ceil(worth), unit))
}

fn drop_replaced(printer: Printer, opened: &Opened) -> Outcome {
    match opened.repository.drop_replaced() {
        Ok(0) => Ok(()),
        Ok(objects) => {
            let objects = table::count(objects as u64, "object");
            printer.note(Verbosity::Normal, &format!("removed {objects} that repairs had replaced"))
        }
        Err(error) => {
            printer.warn(&format!("what repairs had replaced could not be removed: {error}"));
            Ok(())
        }
    }
}

fn verdict(printer: Printer, report: &CheckReport) -> Outcome {
    let errors = report.num_errors();
    if errors == 0 {
        return printer.note(Verbosity::Normal, "no errors were found");
    }
    if !report.is_any_wrong {
        let happened = format!("{} could not be read by this user or now", table::count(errors, "file"));
        return Err(Failure::new(Kind::Failed, happened)
            .safe("Nobody knows whether they are whole. Nothing else is wrong.")
            .next("What to do is said with each."));
    }
    let sound = report.snapshots.saturating_sub(report.affected.len() as u64);
    let failure = Failure::new(Kind::Damaged, format!("the check found {}", table::count(errors, "error")));
    let safe = match report.affected.len() {
        0 if report.findings.iter().any(|finding| finding.is_error() && !finding.snapshots.is_empty()) => {
            "Nothing that a snapshot needs is lost: what is affected can be made whole again.".to_owned()
        }
        0 if report.lost_snapshots().next().is_some() => {
            "No snapshot that is there is affected, and nothing frees what the lost ones need.".to_owned()
        }
        0 => "No snapshot is affected.".to_owned(),
        affected => {
            let affected = table::count(affected as u64, "snapshot");
            format!("{affected} affected, {sound} whole; what is not named is whole as well.")
        }
    };
    Err(failure.safe(safe).next("What to do is said with each error."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_verified_is_said_in_words() {
        const DAY: i64 = 86_400;
        let verified = |verified_bytes, oldest: Option<i64>, read_bytes| Verified {
            bytes: 1000,
            verified_bytes,
            oldest: oldest.map(|days| 100 * DAY - days * DAY),
            read_bytes,
            ..Verified::default()
        };
        let said = |verified: &Verified, max_age: Option<u64>| {
            how_much(verified, max_age.map(|days| Duration::from_secs(days * 86_400)), 100 * DAY)
        };
        let all = verified(1000, Some(23), 0);
        assert_eq!(said(&all, None), "100 % of the data was verified within the last 23 days");
        let part = verified(619, Some(30), 200);
        let rest = "61 % of the data was verified within 30 days; the rest takes about 2 more runs like this";
        assert_eq!(said(&part, Some(30)), rest);
        assert!(
            said(&verified(999, Some(0), 1), None)
                .starts_with("99 % of the data was verified within the last minute; ")
        );
        assert_eq!(said(&verified(0, None, 0), None), "0 % of the data was verified");
    }
}
