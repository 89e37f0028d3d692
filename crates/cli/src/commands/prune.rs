//! `treering prune`.
//!
//! Invariant: what is printed before the work is the plan that is carried out. Without --keep-* nothing is dropped.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::tz::TimeZone;
use treering_snapshot::prune::{Action, PruneOptions, PrunePlan, PruneReport, Pruning};
use treering_snapshot::retention::{self, Group, Policy};
use treering_snapshot::{SnapshotError, SnapshotName};

use crate::args::PruneArgs;
use crate::choice;
use crate::commands::forget::harmed;
use crate::commands::je;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Kind, Outcome};
use crate::output::Printer;
use crate::output::listener::Listener;
use crate::output::messages::{ItemError, Message, PruneSummary, PrunedPack};
use crate::output::progress::Task;
use crate::output::{groups, table};
use crate::process;
use crate::settings::{Verbosity, snapshot_filter};
use crate::size;

/// Frees space.
pub(crate) fn run(context: &Context, args: &PruneArgs) -> Outcome {
    let policy = args.keep.policy()?;
    let is_filtered = !(args.filter.host.is_empty() && args.filter.tag.is_empty() && args.filter.path.is_empty());
    if policy.is_none() && is_filtered {
        return Err(Failure::usage("--host, --tag and --path say which snapshots the --keep-… options are about")
            .next("Add a rule, such as --keep-daily 7, or leave them out."));
    }
    context.with_repository(|opened| prune(context, opened, args, policy.as_ref()))
}

fn prune(context: &Context, opened: &Opened, args: &PruneArgs, policy: Option<&Policy>) -> Outcome {
    process::catch_signals()?;
    let filter = snapshot_filter(&args.filter, &context.environment);
    let all = choice::all(&opened.repository, context.printer)?;
    let decided = match policy {
        Some(policy) => {
            let harmed = harmed(context, opened)?;
            let judged = (all.snapshots.as_slice(), &harmed);
            retention::decide(judged, &filter, policy, args.keep.group_by, &context.zone)?
        }
        None => Vec::new(),
    };
    let dropped = decided.iter().flat_map(|group| group.dropped().map(|decision| decision.snapshot.0));
    let dropped: BTreeSet<SnapshotName> = dropped.collect();
    if args.dry_run {
        je::ended::tell(context, opened, &all, &dropped)?;
    }
    let started = Instant::now();
    let clock = move || started.elapsed();
    let options = PruneOptions {
        max_unused: args.max_unused,
        max_repack_bytes: args.max_repack_size.unwrap_or(u64::MAX),
        repack_smaller_than: args.repack_smaller_than,
        max_duration: args.max_duration,
        may_free_most: args.yes,
        compression: context.settings.compression.for_store(),
        clock: &clock,
    };
    let listener = Listener::start(Task::Prune, &context.settings, context.printer);
    let pruning = Pruning::start(&opened.repository, dropped, &options, &listener)?;
    let shown = Shown { plan: pruning.plan().clone(), groups: &decided, zone: &context.zone, dry_run: args.dry_run };
    listener.progress().aside(|| shown.tell_plan(context.printer))?;
    if args.dry_run {
        listener.finish();
        shown.tell_end(context.printer, None)?;
        return Ok(pruning.refuse_most(&options)?);
    }
    let report = pruning.apply(&options, &listener);
    listener.finish();
    let report = report.map_err(explain)?;
    shown.tell_end(context.printer, Some(&report))?;
    verdict(context.printer, &report)
}

fn explain(error: SnapshotError) -> Failure {
    let safe = "Every snapshot is whole; what was freed before that stays free, and another run goes on.";
    match error {
        // Nothing was begun.
        SnapshotError::TooMuch { .. } => error.into(),
        other => Failure::from(other).safe(safe),
    }
}

/// What is told of a prune, before and after it.
struct Shown<'a> {
    plan: PrunePlan,
    groups: &'a [Group<'a>],
    zone: &'a TimeZone,
    dry_run: bool,
}

impl Shown<'_> {
    fn dropped(&self) -> u64 {
        self.groups.iter().map(|group| group.dropped().count() as u64).sum()
    }

    fn tell_plan(&self, printer: Printer) -> Outcome {
        self.tell_lost(printer);
        if printer.json {
            return Ok(());
        }
        let plan = &self.plan;
        let packs = |action| {
            let (mut count, mut bytes) = (0, 0);
            for pack in plan.with(action) {
                (count, bytes) = (count + 1, bytes + pack.bytes);
            }
            format!("{} with {}", table::count(count, "pack"), size::show(bytes))
        };
        let dropping = match self.dropped() {
            0 => "none is dropped".to_owned(),
            some => format!("{} dropped", table::count(some, "snapshot")),
        };
        let lines = [
            format!("{} kept, {dropping}", table::count(plan.snapshots as u64, "snapshot")),
            format!("to keep:   {}, of which {} are not needed", packs(Action::Keep), size::show(plan.unused_bytes())),
            format!("to repack: {}", packs(Action::Repack)),
            format!("to delete: {}", packs(Action::Remove)),
            format!("to free:   {} of {}", size::show(plan.freed_bytes()), size::show(plan.stored_bytes())),
        ];
        if !self.groups.is_empty() {
            let verb = if self.dry_run { "would drop" } else { "will drop" };
            printer.note(Verbosity::Normal, groups::to_text(self.groups, self.zone, verb).trim_end())?;
        }
        lines.iter().try_for_each(|line| printer.note(Verbosity::Normal, line))?;
        if plan.ended > 0 {
            let ended = table::count(plan.ended as u64, "forgotten snapshot");
            let verb = if self.dry_run { "would become" } else { "becomes" };
            let line =
                format!("{ended} {verb} final: `treering undelete` brings back nothing that was forgotten before");
            printer.note(Verbosity::Normal, &line)?;
        }
        for pack in plan.packs.iter().filter(|pack| pack.action != Action::Keep) {
            let (verb, unused, bytes) = (verb(pack.action), size::show(pack.unused_bytes), size::show(pack.bytes));
            printer
                .note(Verbosity::Verbose, &format!("{verb} pack {}: {unused} of {bytes} are not needed", pack.name))?;
        }
        Ok(())
    }

    fn tell_lost(&self, printer: Printer) {
        if self.plan.lost.is_empty() {
            return;
        }
        let names: Vec<String> = self.plan.lost.iter().map(|name| name.short()).collect();
        printer.warn(&format!(
            "of {} only a copy of the record is there: {}. What it needs stays: `treering repair snapshots` brings back what \
             is whole, and then it can be forgotten",
            table::count(names.len() as u64, "snapshot"),
            names.join(", ")
        ));
    }

    fn tell_end(&self, printer: Printer, report: Option<&PruneReport>) -> Outcome {
        match report {
            _ if printer.json => printer.json(&Message::PruneSummary(Box::new(self.summary(report)))),
            Some(report) => tell_report(printer, report),
            None => printer.note(Verbosity::Normal, "nothing was changed (dry run)"),
        }
    }

    fn summary(&self, report: Option<&PruneReport>) -> PruneSummary {
        let plan = &self.plan;
        let planned = plan.packs.iter().filter(|pack| pack.action != Action::Keep);
        let planned = planned.map(|pack| PrunedPack {
            id: pack.name.to_string(),
            action: verb(pack.action),
            size: pack.bytes,
            unused: pack.unused_bytes,
        });
        let done = report.cloned().unwrap_or_default();
        PruneSummary {
            dry_run: self.dry_run,
            groups: groups::to_json(self.groups, self.zone, self.dry_run),
            snapshots_kept: plan.snapshots as u64,
            snapshots_removed: self.dropped(),
            snapshots_lost: plan.lost.iter().map(ToString::to_string).collect(),
            snapshots_ended: plan.ended as u64,
            packs_kept: plan.with(Action::Keep).count() as u64,
            packs_to_repack: plan.with(Action::Repack).count() as u64,
            packs_to_delete: plan.with(Action::Remove).count() as u64,
            bytes_stored: plan.stored_bytes(),
            bytes_to_free: plan.freed_bytes(),
            bytes_unused: plan.unused_bytes(),
            planned: planned.collect(),
            packs_deleted: done.removed.0,
            packs_repacked: done.repacked.0,
            packs_spared: done.spared,
            packs_without_room: done.without_room,
            bytes_deleted: done.removed.1 + done.repacked.1,
            bytes_written: done.written_bytes,
            lock_held_ms: done.longest_lock.as_millis() as u64,
            out_of_time: done.is_out_of_time,
        }
    }
}

fn tell_report(printer: Printer, report: &PruneReport) -> Outcome {
    let (removed, repacked) = (report.removed, report.repacked);
    let freed = (removed.1 + repacked.1).saturating_sub(report.written_bytes);
    let line = format!(
        "freed {}: {} deleted, {} repacked into {}; others waited at most {} ms",
        size::show(freed),
        table::count(removed.0, "pack"),
        table::count(repacked.0, "pack"),
        size::show(report.written_bytes),
        report.longest_lock.as_millis(),
    );
    printer.note(Verbosity::Normal, &line)?;
    if report.spared > 0 {
        let spared = table::count(report.spared, "pack");
        printer.note(Verbosity::Normal, &format!("{spared} stayed, because they are needed again"))?;
    }
    if report.is_out_of_time {
        printer.note(Verbosity::Normal, "the time was over before everything was repacked; the next run goes on")?;
    }
    Ok(())
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::Keep => "keep",
        Action::Repack => "repack",
        Action::Remove => "delete",
    }
}

fn verdict(printer: Printer, report: &PruneReport) -> Outcome {
    for (pack, detail) in &report.damaged {
        printer.error(&ItemError::new("prune", format!("pack {pack}").as_bytes(), detail.clone()));
    }
    if report.damaged.is_empty() {
        return without_room(report);
    }
    let happened = format!("{} could not be repacked", table::count(report.damaged.len() as u64, "damaged pack"));
    Err(Failure::new(Kind::Damaged, happened)
        .safe("They were left as they are; everything else was done.")
        .next("Run `treering check --read-data`, then `treering repair packs --read-data`."))
}

fn without_room(report: &PruneReport) -> Outcome {
    if report.without_room == 0 {
        return Ok(());
    }
    let packs = table::count(report.without_room, "pack");
    Err(Failure::new(Kind::OutOfSpace, format!("there was no room to repack {packs}"))
        .safe("They were left as they are; everything else was done.")
        .next("Free some space and run the command again."))
}
