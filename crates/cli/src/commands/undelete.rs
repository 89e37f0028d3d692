//! `treering undelete`.
//!
//! Invariant: every name is resolved before anything is brought back; a list that may lack something ends with an error.

use treering_snapshot::record::AllSnapshots;
use treering_snapshot::select::{Filter, Named};
use treering_snapshot::undelete as library;

use crate::args::UndeleteArgs;
use crate::choice;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Outcome};
use crate::output::listener::Listener;
use crate::output::messages::UndeleteResult;
use crate::output::objects;
use crate::output::progress::Task;
use crate::process;
use crate::settings::Verbosity;
use crate::{escape, time};

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
    for (done, (name, _)) in chosen.iter().enumerate().filter(|_| !is_list) {
        let Some(kept) = forgotten.iter().find(|((kept, _), _)| kept == name) else { continue };
        let so_far = format!("{done} of the snapshots were brought back before that.");
        library::undelete(&opened.repository, kept, &listener).map_err(|error| Failure::from(error).safe(so_far))?;
    }
    tell(context, &chosen, is_list)?;
    match args.snapshots.is_empty() {
        // All that there is was asked for.
        true => Ok(library::refuse_damaged_records(&opened.repository)?),
        false => Ok(()),
    }
}

fn tell(context: &Context, chosen: &[&Named], is_list: bool) -> Outcome {
    if context.printer.json {
        let objects = chosen.iter().map(|(name, snapshot)| objects::snapshot(*name, snapshot, &context.zone)).collect();
        let (forgotten, restored) = if is_list { (objects, Vec::new()) } else { (Vec::new(), objects) };
        return context.printer.json(&UndeleteResult { forgotten, restored });
    }
    let verb = if is_list { "can be brought back:" } else { "brought back" };
    for (name, snapshot) in chosen {
        let time = time::show(objects::timestamp(snapshot.time), &context.zone);
        let host = escape::text(&snapshot.host);
        context.printer.note(Verbosity::Normal, &format!("{verb} snapshot {} of {host}, {time}", name.short()))?;
    }
    match chosen.is_empty() {
        true => context.printer.note(Verbosity::Normal, "no forgotten snapshot can be brought back"),
        false => Ok(()),
    }
}
