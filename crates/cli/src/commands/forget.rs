//! `treering forget`.
//!
//! Invariant: what is dropped is chosen as a whole before anything is dropped, and no application loses its last good
//! snapshot unless that was asked for.

use std::collections::BTreeSet;

use treering_snapshot::retention::{self, Policy, refuse_last_good};
use treering_snapshot::select::{self, Named};
use treering_snapshot::{SnapshotName, check};

use crate::args::ForgetArgs;
use crate::choice;
use crate::commands::je;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Outcome};
use crate::output::listener::Listener;
use crate::output::progress::Task;
use crate::output::table::count;
use crate::output::{groups, objects};
use crate::settings::{Verbosity, snapshot_filter};
use crate::{escape, time};

/// What follows every drop that was not tried only.
const NOT_FREED: &str = "no space is freed by this: `treering prune` does that, and until then `treering undelete` \
                         brings dropped snapshots back";

/// Drops snapshots.
pub(crate) fn run(context: &Context, args: &ForgetArgs) -> Outcome {
    let policy = args.keep.policy()?;
    refuse_contradictions(args, policy.is_some())?;
    context.with_repository(|opened| match &policy {
        Some(policy) => by_policy(context, opened, args, policy),
        None => by_name(context, opened, args),
    })
}

/// Either snapshots are named or rules are given.
fn refuse_contradictions(args: &ForgetArgs, has_policy: bool) -> Outcome {
    match (args.snapshots.is_empty(), has_policy) {
        (true, false) => Err(Failure::usage("nothing says which snapshots to drop")
            .next("Name them by their ids, or say what to keep, as in --keep-daily 7.")),
        (false, true) => Err(Failure::usage("snapshots are named, and --keep-… options say otherwise what to drop")
            .next("Give one or the other.")),
        (true, true) if args.allow_last_good => {
            Err(Failure::usage("--allow-last-good is for snapshots that are named: no policy drops a last good one")
                .next("Name the snapshot, without --keep-… options."))
        }
        _ => Ok(()),
    }
}

fn by_policy(context: &Context, opened: &Opened, args: &ForgetArgs, policy: &Policy) -> Outcome {
    let filter = snapshot_filter(&args.filter, &context.environment);
    let all = choice::all(&opened.repository, context.printer)?;
    // What counts as the newest, and how many there are, cannot be told.
    select::refuse_unreadable(&all, "--keep-…")?;
    let harmed = harmed(context, opened)?;
    let judged = (all.snapshots.as_slice(), &harmed);
    let decided = retention::decide(judged, &filter, policy, args.keep.group_by, &context.zone)?;
    let dropped = decided.iter().flat_map(|group| group.dropped().map(|decision| decision.snapshot.0));
    let dropped: Vec<SnapshotName> = dropped.collect();
    drop_all(opened, &dropped, args.dry_run)?;
    if context.printer.json {
        return context.printer.json(&groups::to_json(&decided, &context.zone, args.dry_run));
    }
    let text = groups::to_text(&decided, &context.zone, verb(args.dry_run));
    if args.dry_run {
        je::ended::tell(context, opened, &all, &dropped.iter().copied().collect())?;
    }
    context.printer.note(Verbosity::Normal, &format!("{text}{}", ending(dropped.len(), args.dry_run)))
}

fn by_name(context: &Context, opened: &Opened, args: &ForgetArgs) -> Outcome {
    let filter = snapshot_filter(&args.filter, &context.environment);
    let all = choice::all(&opened.repository, context.printer)?;
    let chosen = choice::several(&all, &args.snapshots, &filter)?;
    let dropped: Vec<SnapshotName> = chosen.iter().map(|(name, _)| *name).collect();
    if !args.allow_last_good {
        refuse_last_good(&all.snapshots, &harmed(context, opened)?, &dropped)?;
    }
    drop_all(opened, &dropped, args.dry_run)?;
    tell_named(context, &chosen, args.dry_run)
}

/// Snapshots that are no good because something of them is lost.
pub(super) fn harmed(context: &Context, opened: &Opened) -> Result<BTreeSet<SnapshotName>, Failure> {
    let listener = Listener::silent(Task::Check, context.printer);
    Ok(check::harmed(&opened.repository, &listener)?)
}

fn drop_all(opened: &Opened, names: &[SnapshotName], dry_run: bool) -> Outcome {
    for (dropped, name) in names.iter().enumerate().filter(|_| !dry_run) {
        let forgotten = opened.repository.forget_snapshot(*name);
        forgotten.map_err(|error| Failure::from(error).safe(so_far(dropped)))?;
    }
    Ok(())
}

fn so_far(dropped: usize) -> String {
    if dropped == 0 {
        return "Nothing was dropped.".to_owned();
    }
    format!("{dropped} of the snapshots were dropped before that; the others are as they were.")
}

fn tell_named(context: &Context, chosen: &[&Named], dry_run: bool) -> Outcome {
    if context.printer.json {
        return context.printer.json(&[groups::named_to_json(chosen, &context.zone, dry_run)]);
    }
    for (name, snapshot) in chosen {
        let time = time::show(objects::timestamp(snapshot.time), &context.zone);
        let (verb, host) = (verb(dry_run), escape::text(&snapshot.host));
        context.printer.note(Verbosity::Normal, &format!("{verb} snapshot {} of {host}, {time}", name.short()))?;
    }
    context.printer.note(Verbosity::Normal, after(dry_run))
}

fn ending(dropped: usize, dry_run: bool) -> String {
    match dropped {
        0 => "there is nothing to drop".to_owned(),
        dropped => format!("{} {}\n{}", verb(dry_run), count(dropped as u64, "snapshot"), after(dry_run)),
    }
}

fn after(dry_run: bool) -> &'static str {
    if dry_run { "nothing was changed (dry run)" } else { NOT_FREED }
}

fn verb(dry_run: bool) -> &'static str {
    if dry_run { "would drop" } else { "dropped" }
}
