//! `treering snapshots`.

use treering_snapshot::Snapshot;
use treering_snapshot::record::{AppEntry, NotCaptured};
use treering_snapshot::select::Named;

use crate::args::SnapshotsArgs;
use crate::choice;
use crate::context::{Context, Opened};
use crate::exit::Outcome;
use crate::output::objects;
use crate::output::table::{Content, Table, count};
use crate::settings::snapshot_filter;
use crate::{escape, size, time};

/// Lists snapshots, oldest first.
pub(crate) fn run(context: &Context, args: &SnapshotsArgs) -> Outcome {
    context.with_repository(|opened| list(context, opened, args))
}

fn list(context: &Context, opened: &Opened, args: &SnapshotsArgs) -> Outcome {
    let filter = snapshot_filter(&args.filter, &context.environment);
    let all = choice::all(&opened.repository, context.printer)?;
    let mut chosen = choice::several(&all, &args.snapshots, &filter)?;
    if let Some(latest) = args.latest {
        chosen = newest_of_each(&chosen, latest as usize);
    }
    if context.printer.json {
        let objects = chosen.iter().map(|(name, snapshot)| objects::snapshot(*name, snapshot, &context.zone));
        return context.printer.json(&objects.collect::<Vec<_>>());
    }
    context.printer.result(&table(context, &chosen, args.compact))
}

/// The newest of each host and set of paths, in the order in which they come.
fn newest_of_each<'a>(chosen: &[&'a Named], most: usize) -> Vec<&'a Named> {
    let is_of = |one: &Snapshot, other: &Snapshot| one.host == other.host && one.paths == other.paths;
    let newer = |at: usize, snapshot: &Snapshot| chosen[at + 1..].iter().filter(|(_, o)| is_of(snapshot, o)).count();
    let kept = chosen.iter().enumerate().filter(|(at, (_, snapshot))| newer(*at, snapshot) < most);
    kept.map(|(_, named)| *named).collect()
}

fn table(context: &Context, chosen: &[&Named], compact: bool) -> String {
    let mut table = Table::new(&["ID", "Time", "Host", "Tags", "Apps", "Size", "Paths"]);
    for (name, snapshot) in chosen {
        let (apps, paths) = (apps(&snapshot.applications, &snapshot.not_captured), paths(snapshot));
        let id = name.short();
        let time = time::show(objects::timestamp(snapshot.time), &context.zone);
        let tags = snapshot.tags.join(",");
        table.add([
            Content::Text(&id),
            Content::Text(&time),
            Content::Text(&snapshot.host),
            Content::Text(&tags),
            lines(&apps, compact),
            Content::Number(size::show(snapshot.statistics.total_bytes)),
            lines(&paths, compact),
        ]);
    }
    table.foot(count(chosen.len() as u64, "snapshot")).render()
}

/// `sqlite:consistent`, with a number if there are several, and with what else matters of how it was captured.
fn apps(entries: &[AppEntry], not_captured: &[NotCaptured]) -> Vec<String> {
    let captured = entries.iter().map(|entry| {
        let scope = entry.scope.as_ref().map(|scope| format!(" ({scope})")).unwrap_or_default();
        let unlocked = if objects::is_unlocked(entry) { " (unlocked)" } else { "" };
        format!("{}:{}{scope}{unlocked}", entry.kind, entry.verdict)
    });
    let mut counted: Vec<(String, usize)> = Vec::new();
    for word in captured.chain(not_captured.iter().map(|entry| format!("{}:not captured", entry.kind))) {
        match counted.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => counted.push((word, 1)),
        }
    }
    let shown = counted.into_iter().map(|(word, count)| if count > 1 { format!("{count}×{word}") } else { word });
    shown.collect()
}

fn paths(snapshot: &Snapshot) -> Vec<String> {
    snapshot.paths.iter().map(|path| escape::terminal(path).into_owned()).collect()
}

/// All of them under each other, or the first and how many more there are.
fn lines(list: &[String], compact: bool) -> Content<'_> {
    match (compact, list) {
        (true, [first, rest @ ..]) if !rest.is_empty() => Content::Own(format!("{first} +{}", rest.len())),
        _ => Content::Lines(list.iter().map(String::as_str).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applications_of_one_kind_and_verdict_are_counted() {
        let entry = |kind: &str, verdict: &str| AppEntry {
            kind: kind.into(),
            path: b"/x".to_vec(),
            scope: None,
            verdict: verdict.into(),
            version: None,
            consistency_point: None,
            detail: String::new(),
            bytes: 0,
            extensions: Vec::new(),
        };
        let unlocked = AppEntry { detail: "unlocked (no je.lck)".into(), ..entry("je", "consistent") };
        let essential = AppEntry { scope: Some("essential".into()), ..entry("jpom", "consistent") };
        let entries =
            [entry("sqlite", "consistent"), entry("h2", "torn"), entry("sqlite", "consistent"), unlocked, essential];
        let gone = NotCaptured { kind: "h2".into(), path: b"/y".to_vec(), detail: String::new() };
        let expected = [
            "2×sqlite:consistent",
            "h2:torn",
            "je:consistent (unlocked)",
            "jpom:consistent (essential)",
            "h2:not captured",
        ];
        assert_eq!(apps(&entries, &[gone]), expected);
    }
}
