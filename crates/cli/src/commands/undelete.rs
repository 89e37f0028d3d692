//! `treering undelete`.
//!
//! Invariant: every name is resolved before anything is brought back; what cannot come back is named and keeps none of the
//! others from it; a list that may lack something ends with an error.

use treering_snapshot::SnapshotError;
use treering_snapshot::record::AllSnapshots;
use treering_snapshot::select::{Filter, Named};
use treering_snapshot::undelete as library;
use treering_store::Forgotten;

use crate::args::UndeleteArgs;
use crate::choice;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Kind, Outcome};
use crate::output::listener::Listener;
use crate::output::messages::{NotWhole, UndeleteResult};
use crate::output::progress::Task;
use crate::output::{objects, table};
use crate::process;
use crate::settings::Verbosity;
use crate::{escape, time};

/// A forgotten snapshot, and what keeps it.
type Kept = (Named, Forgotten);

/// What to do about those that cannot come back.
const NOT_WHOLE: &str = "What they need is gone, as after a prune that was killed, or damaged, which `treering check` tells. \
                         The next prune ends what cannot come back.";

/// Brings snapshots back.
pub(crate) fn run(context: &Context, args: &UndeleteArgs) -> Outcome {
    context.with_repository(|opened| undelete(context, opened, args))
}

fn undelete(context: &Context, opened: &Opened, args: &UndeleteArgs) -> Outcome {
    process::catch_signals()?;
    let forgotten = library::list(&opened.repository)?;
    let snapshots: Vec<Named> = forgotten.iter().map(|(named, _)| named.clone()).collect();
    let all = AllSnapshots { snapshots, damaged: Vec::new() };
    let is_list = args.snapshots.is_empty() && !args.all;
    let chosen = choice::several(&all, &args.snapshots, &Filter::default());
    let chosen = match chosen {
        Ok(chosen) => chosen,
        Err(failure) => {
            // What was asked for may be in a record that cannot be read.
            library::refuse_damaged_records(&opened.repository)?;
            return Err(failure.next("`treering undelete` lists what can be brought back."));
        }
    };
    let listener = Listener::silent(Task::Prune, context.printer);
    let result = match is_list {
        true => list(opened, &forgotten, &listener)?,
        false => bring_back(opened, &forgotten, &chosen, &listener)?,
    };
    tell(context, &result, is_list)?;
    refuse_not_whole(&result, is_list)?;
    match args.snapshots.is_empty() {
        // All that there is was asked for.
        true => Ok(library::refuse_damaged_records(&opened.repository)?),
        false => Ok(()),
    }
}

/// What can come back or did, and what cannot, with the reason.
#[derive(Default)]
struct Sorted<'a> {
    whole: Vec<&'a Named>,
    not_whole: Vec<(&'a Named, String)>,
}

fn list<'a>(opened: &Opened, forgotten: &'a [Kept], listener: &Listener) -> Result<Sorted<'a>, Failure> {
    let (mut sorted, missing) = (Sorted::default(), library::missing(&opened.repository, forgotten, listener)?);
    for ((named, _), missing) in forgotten.iter().zip(missing) {
        match missing {
            None => sorted.whole.push(named),
            Some(reason) => sorted.not_whole.push((named, reason)),
        }
    }
    Ok(sorted)
}

/// One that cannot come back keeps none of the others from it.
fn bring_back<'a>(
    opened: &Opened,
    forgotten: &'a [Kept],
    chosen: &[&Named],
    listener: &Listener,
) -> Result<Sorted<'a>, Failure> {
    let mut sorted = Sorted::default();
    let is_chosen = |(named, _): &&Kept| chosen.iter().any(|(name, _)| *name == named.0);
    for kept in forgotten.iter().filter(is_chosen) {
        match library::undelete(&opened.repository, kept, listener) {
            Ok(()) => sorted.whole.push(&kept.0),
            Err(SnapshotError::CannotBringBack { detail, .. }) => sorted.not_whole.push((&kept.0, detail)),
            Err(error) => {
                let done = sorted.whole.len();
                let so_far = format!("{done} of the snapshots were brought back before that.");
                return Err(Failure::from(error).safe(so_far));
            }
        }
    }
    Ok(sorted)
}

/// A list names what cannot come back, and has done all that it should.
fn refuse_not_whole(sorted: &Sorted<'_>, is_list: bool) -> Outcome {
    let [((name, _), reason), rest @ ..] = &sorted.not_whole[..] else { return Ok(()) };
    if is_list {
        return Ok(());
    }
    let (failure, done) = match (rest.len(), sorted.whole.len()) {
        (0, 0) => {
            let (snapshot, detail) = (*name, reason.clone());
            return Err(SnapshotError::CannotBringBack { snapshot, detail }.into());
        }
        (more, done) => {
            let kind = if done == 0 { Kind::Failed } else { Kind::Incomplete };
            let all = table::count(more as u64 + 1, "snapshot");
            (Failure::new(kind, format!("{all} cannot be brought back")), done)
        }
    };
    let done = table::count(done as u64, "snapshot");
    Err(failure.safe(format!("{done} brought back; the others are as they were.")).next(NOT_WHOLE))
}

fn tell(context: &Context, sorted: &Sorted<'_>, is_list: bool) -> Outcome {
    if context.printer.json {
        let objects = sorted.whole.iter();
        let objects = objects.map(|(name, snapshot)| objects::snapshot(*name, snapshot, &context.zone)).collect();
        let (forgotten, restored) = if is_list { (objects, Vec::new()) } else { (Vec::new(), objects) };
        let not_whole = sorted.not_whole.iter();
        let not_whole =
            not_whole.map(|((name, _), reason)| NotWhole { snapshot_id: name.to_string(), reason: reason.clone() });
        return context.printer.json(&UndeleteResult { forgotten, restored, not_whole: not_whole.collect() });
    }
    let verb = if is_list { "can be brought back:" } else { "brought back" };
    let show = |(name, snapshot): &Named| {
        let time = time::show(objects::timestamp(snapshot.time), &context.zone);
        format!("snapshot {} of {}, {time}", name.short(), escape::text(&snapshot.host))
    };
    for named in &sorted.whole {
        context.printer.note(Verbosity::Normal, &format!("{verb} {}", show(named)))?;
    }
    for (named, reason) in &sorted.not_whole {
        let line = format!("cannot be brought back: {}: {}", show(named), escape::text(reason));
        context.printer.note(Verbosity::Normal, &line)?;
    }
    match sorted.whole.is_empty() && sorted.not_whole.is_empty() {
        true => context.printer.note(Verbosity::Normal, "no forgotten snapshot can be brought back"),
        false => Ok(()),
    }
}
