//! `treering je last-file`.

use super::history::{files, histories};
use super::moment::only;
use crate::args::JeLastFileArgs;
use crate::choice;
use crate::context::Context;
use crate::exit::{Failure, Kind, Outcome};
use crate::output::messages::JeLastFile;
use crate::settings::snapshot_filter;

/// Prints the number.
pub(crate) fn run(context: &Context, args: &JeLastFileArgs) -> Outcome {
    context.with_repository(|opened| {
        let mut filter = snapshot_filter(&args.filter, &context.environment);
        let paths = std::mem::take(&mut filter.paths);
        let all = choice::all(&opened.repository, context.printer)?;
        let history = only(histories(&all, &filter, &paths))?;
        let mut reader = opened.repository.reader()?;
        let newest = history.snapshots.last().map(|named| files(&mut reader, named, &history.path)).transpose()?;
        let last = newest.and_then(|files| files.last_key_value().map(|(number, _)| *number));
        let last = last.ok_or_else(|| Failure::new(Kind::Failed, "the newest snapshot has no file of a log"))?;
        match context.printer.json {
            true => context.printer.json(&JeLastFile { last_file: last }),
            false => context.printer.result(&format!("{last}\n")),
        }
    })
}
