//! `treering check`.
//!
//! Invariant: everything that was found is said with what it affects and what to do about it, and makes the exit code.

use treering_snapshot::check::{self as library, CheckFinding, CheckOptions, CheckReport, Severity};
use treering_store::FindingPlace;

use crate::args::CheckArgs;
use crate::context::{Context, Opened};
use crate::escape;
use crate::exit::{Failure, Kind, Outcome};
use crate::output::Printer;
use crate::output::listener::Listener;
use crate::output::messages::{CheckSummary, ItemError, Message};
use crate::output::progress::Task;
use crate::output::table;
use crate::process;
use crate::settings::Verbosity;
use crate::size;

/// Verifies the repository.
pub(crate) fn run(context: &Context, args: &CheckArgs) -> Outcome {
    context.with_repository(|opened| check(context, opened, args))
}

fn check(context: &Context, opened: &Opened, args: &CheckArgs) -> Outcome {
    process::catch_signals()?;
    let what = if args.read_data { "checking the structure and reading all data" } else { "checking the structure" };
    context.printer.note(Verbosity::Normal, what)?;
    let listener = Listener::start(Task::Check, &context.settings, context.printer);
    let options = CheckOptions { read_data: args.read_data };
    let report = library::check(&opened.repository, &options, &listener);
    listener.finish();
    let report = report?;
    for finding in &report.findings {
        tell_finding(context.printer, finding)?;
    }
    tell(context.printer, &report, args.read_data)?;
    verdict(&report)
}

fn tell_finding(printer: Printer, finding: &CheckFinding) -> Outcome {
    let place = place(&finding.place);
    if finding.severity == Severity::Leftover {
        let said = format!("{}: {} ({})", escape::text(&place), escape::text(&finding.detail), finding.suggestion());
        return printer.note(Verbosity::Normal, &said);
    }
    printer.error(&ItemError::new("check", place.as_bytes(), message(finding)));
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

fn place(place: &FindingPlace) -> String {
    match place {
        FindingPlace::Config => "config".to_owned(),
        FindingPlace::Key(name) => format!("key {name}"),
        FindingPlace::Pack(name) => format!("pack {name}"),
        FindingPlace::Record(area, name) => format!("{area} {name}"),
        FindingPlace::Chunk(id) => format!("chunk {id}"),
        FindingPlace::Index => "index".to_owned(),
        other => format!("{other:?}"),
    }
}

fn tell(printer: Printer, report: &CheckReport, read_data: bool) -> Outcome {
    if printer.json {
        return printer.json(&Message::CheckSummary(CheckSummary {
            num_errors: report.num_errors(),
            broken_packs: report.broken_packs().map(|name| name.to_string()).collect(),
            suggest_repair_index: report.suggest_repair_index(),
            suggest_prune: report.suggest_prune(),
            verified_fraction: if read_data { 1.0 } else { 0.0 },
        }));
    }
    let snapshots = table::count(report.snapshots, "snapshot");
    let (files, packs) = (table::count(report.files, "file"), table::count(report.packs, "pack"));
    let bytes = size::show(report.pack_bytes);
    printer.note(Verbosity::Normal, &format!("checked {snapshots}, {files}, {packs} with {bytes}"))?;
    if report.unused_bytes > 0 {
        let unused = size::show(report.unused_bytes);
        printer.note(Verbosity::Normal, &format!("{unused} (before compression) are used by no snapshot"))?;
    }
    match report.num_errors() {
        0 => printer.note(Verbosity::Normal, "no errors were found"),
        _ => Ok(()),
    }
}

fn verdict(report: &CheckReport) -> Outcome {
    let errors = report.num_errors();
    if errors == 0 {
        return Ok(());
    }
    let sound = report.snapshots.saturating_sub(report.affected.len() as u64);
    let failure = Failure::new(Kind::Damaged, format!("the check found {}", table::count(errors, "error")));
    let safe = match report.affected.len() {
        0 => "No snapshot is affected.".to_owned(),
        affected => format!("{affected} snapshots are affected; {sound} are whole, and so is what is not named."),
    };
    Err(failure.safe(safe).next("What to do is said with each error."))
}
