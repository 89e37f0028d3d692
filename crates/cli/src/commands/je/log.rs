//! `treering je log`.

use std::collections::VecDeque;

use jiff::Timestamp;
use treering_je::log::Commit;
use treering_je::verify::verify;

use super::moment::{commit, show};
use super::source::with_environment;
use crate::args::JeLogArgs;
use crate::context::Context;
use crate::exit::{Failure, Kind, Outcome};
use crate::output::messages::Message;
use crate::output::table::count;
use crate::{process, time};

/// Lists commits.
pub(crate) fn run(context: &Context, args: &JeLogArgs) -> Outcome {
    let wanted = Wanted::new(context, args)?;
    with_environment(context, &args.look, |mut environment| {
        process::catch_signals()?;
        let (mut kept, mut outcome) = (VecDeque::new(), Ok(()));
        let report = verify(&environment.listing, &mut *environment.source, &mut |entry| {
            let found = Some(entry).filter(|entry| !entry.is_behind).and_then(Commit::of);
            match (found.filter(|commit| wanted.has(commit)), args.last) {
                (Some(found), None) if outcome.is_ok() => outcome = tell(context, &found),
                (Some(found), Some(most)) => {
                    kept.push_back(found);
                    kept.drain(..kept.len().saturating_sub(most));
                }
                _ => {}
            }
        });
        outcome?;
        kept.iter().try_for_each(|found| tell(context, found))?;
        match report.errors() as u64 {
            0 => Ok(()),
            errors => {
                Err(Failure::new(Kind::Damaged, format!("the environment is not whole: {}", count(errors, "error")))
                    .safe("What is listed is whole.")
                    .next("Run `treering je verify` to see what is damaged."))
            }
        }
    })
}

/// Which commits are listed.
struct Wanted {
    since_ms: Option<i64>,
    until_ms: Option<i64>,
}

impl Wanted {
    fn new(context: &Context, args: &JeLogArgs) -> Result<Wanted, Failure> {
        let moment = |typed: &Option<String>| {
            let parsed = typed.as_ref().map(|text| time::parse(text, &context.zone)).transpose();
            parsed.map(|moment| moment.map(Timestamp::as_millisecond))
        };
        let wrong = |error: time::TimeError| Failure::usage("a time is wrong").because(&error);
        Ok(Wanted { since_ms: moment(&args.since).map_err(wrong)?, until_ms: moment(&args.until).map_err(wrong)? })
    }

    fn has(&self, commit: &Commit) -> bool {
        self.since_ms.is_none_or(|since| commit.time_ms >= since)
            && self.until_ms.is_none_or(|until| commit.time_ms <= until)
    }
}

fn tell(context: &Context, found: &Commit) -> Outcome {
    match context.printer.json {
        true => context.printer.json(&Message::JeCommit(commit(found, &context.zone))),
        false => {
            context.printer.result(&format!("{}, transaction {}\n", show(found, &context.zone), found.transaction))
        }
    }
}
