//! `treering je verify` and `treering je info`.
//!
//! Invariant: everything that was found is said; damage decides the exit code of `verify`, and `info` says that there is.

use treering_je::log::{Commit, Entry, EntryType};
use treering_je::verify::{Finding, Report, Severity, verify};

use super::moment::{commit, show};
use super::source::{Environment, with_environment};
use crate::args::JeLookArgs;
use crate::context::Context;
use crate::exit::{Failure, Kind, Outcome};
use crate::output::Printer;
use crate::output::messages::{ItemError, JeEnvironment, JeFinding, JeStake, JeVerified, Message};
use crate::output::table::count;
use crate::settings::Verbosity;
use crate::{escape, process, size};

/// Verifies an environment.
pub(crate) fn verify_command(context: &Context, args: &JeLookArgs) -> Outcome {
    with_environment(context, args, |environment| {
        let (looked, report) = look(environment)?;
        if context.printer.json {
            let findings = report.findings.iter().map(|finding| message(context, finding)).collect();
            let environment = looked.message(context, &report);
            let verified = JeVerified { num_errors: report.errors() as u64, findings, environment };
            context.printer.json(&Message::JeVerified(Box::new(verified)))?;
        } else {
            report.findings.iter().try_for_each(|finding| tell(context.printer, &looked, finding))?;
            context.printer.note(Verbosity::Normal, &looked.sentence(&report))?;
        }
        judge(&report)
    })
}

/// Says what an environment holds.
pub(crate) fn info(context: &Context, args: &JeLookArgs) -> Outcome {
    with_environment(context, args, |environment| {
        let (looked, report) = look(environment)?;
        if context.printer.json {
            return context.printer.json(&Message::JeInfo(Box::new(looked.message(context, &report))));
        }
        context.printer.result(&looked.text(context, &report))
    })
}

/// What is known besides the report.
struct Looked {
    path: std::path::PathBuf,
    files: u64,
    data_folders: u64,
    range: Option<(u32, u32)>,
    /// The commits behind the last checkpoint: how many, and the first.
    restorable: (u64, Option<Commit>),
}

fn look(mut environment: Environment<'_>) -> Result<(Looked, Report), Failure> {
    process::catch_signals()?;
    let mut restorable = (0, None);
    let report = verify(&environment.listing, &mut *environment.source, &mut |entry| note(&mut restorable, entry));
    let listing = &environment.listing;
    let range = listing.files.first_key_value().zip(listing.files.last_key_value()).map(|(a, b)| (*a.0, *b.0));
    let looked = Looked {
        path: environment.path,
        files: listing.files.len() as u64,
        data_folders: listing.data_folders.len() as u64,
        range,
        restorable,
    };
    Ok((looked, report))
}

/// Counts commits from the last checkpoint on.
fn note(restorable: &mut (u64, Option<Commit>), entry: &Entry<'_>) {
    match entry.header.kind {
        _ if entry.is_behind => {}
        EntryType::CHECKPOINT_END => *restorable = (0, None),
        EntryType::COMMIT => {
            restorable.0 += 1;
            restorable.1 = restorable.1.or_else(|| Commit::of(entry));
        }
        _ => {}
    }
}

fn judge(report: &Report) -> Outcome {
    match report.worst() {
        Some(Severity::Error) => {
            let found = count(report.errors() as u64, "error");
            Err(Failure::new(Kind::Damaged, format!("the environment is not whole: {found}"))
                .safe("Nothing was changed.")
                .next(
                    "Keep a copy of it as it is, and restore a snapshot that is whole; `treering je log` lists what is \
                     readable.",
                ))
        }
        Some(Severity::Unknown) => {
            Err(Failure::new(Kind::Unsupported, "the environment cannot be judged: this program does not know its log")
                .safe("Nothing was changed, and nothing says that it is damaged."))
        }
        _ => Ok(()),
    }
}

fn tell(printer: Printer, looked: &Looked, finding: &Finding) -> Outcome {
    let place = finding.path.as_ref().map_or_else(|| looked.path.clone(), |path| looked.path.join(path));
    if finding.severity == Severity::Note {
        let said = format!("{}: {}", escape::path(&place), escape::text(&finding.problem.to_string()));
        return printer.note(Verbosity::Normal, &said);
    }
    printer.error(&ItemError::new("je verify", place.as_os_str().as_encoded_bytes(), finding.problem.to_string()));
    Ok(())
}

fn message(context: &Context, finding: &Finding) -> JeFinding {
    let stake = finding.problem.at_stake().filter(|behind| behind.entries > 0);
    JeFinding {
        severity: match finding.severity {
            Severity::Note => "note",
            Severity::Unknown => "unknown",
            Severity::Error => "error",
        },
        path: finding.path.as_ref().map(|path| escape::lossy(path.as_os_str().as_encoded_bytes())),
        message: finding.problem.to_string(),
        at_stake: stake.map(|behind| JeStake {
            entries: behind.entries,
            commits: behind.commits,
            first_commit: behind.first_commit.as_ref().map(|first| commit(first, &context.zone)),
            last_commit: behind.last_commit.as_ref().map(|last| commit(last, &context.zone)),
        }),
    }
}

impl Looked {
    fn sentence(&self, report: &Report) -> String {
        let (files, bytes) = (count(self.files, "file"), size::show(report.bytes));
        let (entries, commits) = (entries(report.entries), count(report.commits, "commit"));
        format!("verified {files} with {bytes}: {entries}, {commits}")
    }

    fn message(&self, context: &Context, report: &Report) -> JeEnvironment {
        let zone = &context.zone;
        let restorable = self.restorable();
        JeEnvironment {
            path: escape::lossy(self.path.as_os_str().as_encoded_bytes()),
            log_versions: report.versions.iter().copied().collect(),
            files: self.files,
            first_file: self.range.map(|(first, _)| first),
            last_file: self.range.map(|(_, last)| last),
            data_folders: self.data_folders,
            bytes: report.bytes,
            entries: report.entries,
            commits: report.commits,
            last_checkpoint: report.checkpoint.as_ref().map(|checkpoint| checkpoint.lsn.to_string()),
            last_entry: report.last_entry.map(|(lsn, _)| lsn.to_string()),
            first_commit: report.first_commit.as_ref().map(|first| commit(first, zone)),
            last_commit: report.last_commit.as_ref().map(|last| commit(last, zone)),
            restorable_from: restorable.map(|first| commit(&first, zone)),
            restorable_commits: self.restorable.0,
            closed: report.is_closed(),
            recovery_bytes: report.recovery_bytes,
            erased: report.erased,
            invisible: report.invisible,
            num_errors: report.errors() as u64,
        }
    }

    fn restorable(&self) -> Option<Commit> {
        self.restorable.1
    }

    fn text(&self, context: &Context, report: &Report) -> String {
        let zone = &context.zone;
        let time = |found: Option<&Commit>| found.map_or_else(|| "none".to_owned(), |found| show(found, zone));
        let versions: Vec<String> = report.versions.iter().map(u32::to_string).collect();
        let range = self.range.map(|(a, b)| format!(", {a:08x}.jdb to {b:08x}.jdb")).unwrap_or_default();
        let folders = match self.data_folders {
            0 => String::new(),
            folders => format!(", in {}", count(folders, "data folder")),
        };
        let checkpoint = report.checkpoint.as_ref().map_or_else(|| "none".to_owned(), |found| found.lsn.to_string());
        let end = match (report.is_closed(), size::show(report.recovery_bytes)) {
            (true, _) => "closed properly".to_owned(),
            (false, bytes) => format!("not closed; JE's recovery reads {bytes}"),
        };
        let restorable = match self.restorable() {
            Some(first) => format!("{}, from {}", count(self.restorable.0, "commit"), show(&first, zone)),
            None => "no commit behind the last checkpoint".to_owned(),
        };
        let found = match report.errors() as u64 {
            0 => "none".to_owned(),
            errors => format!("{}; run `treering je verify`", count(errors, "error")),
        };
        let lines = [
            ("environment", escape::path(&self.path).into_owned()),
            ("log version", versions.join(", ")),
            ("files", format!("{}{range}{folders}, {}", self.files, size::show(report.bytes))),
            ("entries", format!("{}, {}", entries(report.entries), count(report.commits, "commit"))),
            ("first commit", time(report.first_commit.as_ref())),
            ("last commit", time(report.last_commit.as_ref())),
            ("last checkpoint", checkpoint),
            ("last entry", report.last_entry.map_or_else(String::new, |(lsn, kind)| format!("{lsn} {}", kind.name()))),
            ("end", end),
            ("can be cut at", restorable),
            ("damage", found),
        ];
        lines.iter().map(|(name, value)| format!("{name:<16} {value}\n")).collect()
    }
}

fn entries(number: u64) -> String {
    if number == 1 { "1 entry".to_owned() } else { format!("{number} entries") }
}
