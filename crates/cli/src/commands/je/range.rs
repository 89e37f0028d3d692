//! `treering je range`.

use treering_je::log::Commit;
use treering_je::moment::{Range, ranges};

use super::history::{History, histories};
use super::moment::{commit, none_such, show};
use crate::args::JeRangeArgs;
use crate::context::{Context, Opened};
use crate::exit::Outcome;
use crate::output::messages::JeRange;
use crate::output::table::{Content, Table, count};
use crate::settings::{Verbosity, snapshot_filter};
use crate::{choice, escape};

/// Lists what can be brought back.
pub(crate) fn run(context: &Context, args: &JeRangeArgs) -> Outcome {
    context.with_repository(|opened| {
        let mut filter = snapshot_filter(&args.filter, &context.environment);
        let paths = std::mem::take(&mut filter.paths);
        let all = choice::all(&opened.repository, context.printer)?;
        let found = histories(&all, &filter, &paths);
        match context.printer.json {
            _ if found.is_empty() && !paths.is_empty() => Err(none_such()),
            true => document(context, opened, &found),
            false if found.is_empty() => {
                context.printer.note(Verbosity::Normal, "no snapshot has such a JE environment")
            }
            false => found.iter().try_for_each(|history| print(context, opened, history)),
        }
    })
}

fn document(context: &Context, opened: &Opened, found: &[History]) -> Outcome {
    let mut document = Vec::new();
    for history in found {
        let ranges = ranges(&history.images(opened)?);
        document.extend(ranges.iter().map(|range| message(context, history, range)));
    }
    context.printer.json(&document)
}

fn message(context: &Context, history: &History, range: &Range) -> JeRange {
    let id = |at: usize| history.snapshots.get(at).map(|(name, _)| name.to_string()).unwrap_or_default();
    JeRange {
        path: escape::lossy(history.path.as_os_str().as_encoded_bytes()),
        hostname: history.host.clone(),
        from: range.from.to_string(),
        to: range.to.to_string(),
        first_commit: range.first().map(|first| commit(first, &context.zone)),
        last_commit: range.last().map(|last| commit(last, &context.zone)),
        commits: range.commits.len() as u64,
        first_snapshot: id(range.images.0),
        last_snapshot: id(range.images.1),
    }
}

fn print(context: &Context, opened: &Opened, history: &History) -> Outcome {
    let ranges = ranges(&history.images(opened)?);
    let mut table = Table::new(&["From", "To", "First commit", "Last commit", "Commits", "Snapshots"]);
    let time = |commit: Option<&Commit>| commit.map_or_else(String::new, |commit| show(commit, &context.zone));
    let id = |at: usize| history.snapshots.get(at).map(|(name, _)| name.short().to_string()).unwrap_or_default();
    for range in &ranges {
        table.add([
            Content::Own(range.from.to_string()),
            Content::Own(range.to.to_string()),
            Content::Own(time(range.first())),
            Content::Own(time(range.last())),
            Content::Number(range.commits.len().to_string()),
            Content::Own(format!("{} to {}", id(range.images.0), id(range.images.1))),
        ]);
    }
    table.foot(count(ranges.len() as u64, "range"));
    let head = format!("{} of {}:\n", escape::path(&history.path), escape::text(&history.host));
    context.printer.result(&(head + &table.render()))
}
