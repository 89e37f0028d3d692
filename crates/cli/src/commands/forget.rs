//! `treering forget`.
//!
//! Invariant: every name is resolved before anything is dropped; nothing is dropped by age.

use treering_snapshot::select::Named;

use crate::args::ForgetArgs;
use crate::choice;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Outcome};
use crate::output::messages::ForgetResult;
use crate::output::objects;
use crate::settings::{Verbosity, snapshot_filter};
use crate::{escape, time};

/// Drops snapshots.
pub(crate) fn run(context: &Context, args: &ForgetArgs) -> Outcome {
    context.with_repository(|opened| forget(context, opened, args))
}

fn forget(context: &Context, opened: &Opened, args: &ForgetArgs) -> Outcome {
    let filter = snapshot_filter(&args.filter, &context.environment);
    let all = choice::all(&opened.repository, context.printer)?;
    let chosen = choice::several(&all, &args.snapshots, &filter)?;
    for (dropped, (name, _)) in chosen.iter().enumerate() {
        if !args.dry_run {
            let forgotten = opened.repository.forget_snapshot(*name);
            forgotten.map_err(|error| Failure::from(error).safe(so_far(dropped)))?;
        }
    }
    tell(context, &chosen, args.dry_run)
}

fn so_far(dropped: usize) -> String {
    format!("{dropped} of the snapshots were dropped before that; the others are as they were.")
}

fn tell(context: &Context, chosen: &[&Named], dry_run: bool) -> Outcome {
    if context.printer.json {
        let remove = chosen.iter().map(|(name, snapshot)| objects::snapshot(*name, snapshot, &context.zone));
        return context.printer.json(&[ForgetResult { remove: remove.collect(), dry_run }]);
    }
    let verb = if dry_run { "would drop" } else { "dropped" };
    for (name, snapshot) in chosen {
        let time = time::show(objects::timestamp(snapshot.time), &context.zone);
        let host = escape::text(&snapshot.host);
        context.printer.note(Verbosity::Normal, &format!("{verb} snapshot {} of {host}, {time}", name.short()))?;
    }
    let freed = "no space is freed by this: what only they used is freed when the repository is pruned";
    context.printer.note(Verbosity::Normal, freed)
}
