//! Results as people read them.
//!
//! Owns: medians, ratios and the tables.
//! Never: decides whether results may be shown.
//! Invariant: a ratio is to the best peer in the same row: neither treering nor a plain copy is a peer, so what is
//! below 1 in treering's column is better than every other tool.

use std::fmt::Write;

use super::record::{Cell, Change, Results, VERIFY};
use super::tool::{OURS, PLAIN_COPIES};

/// One table: a number that cells have.
struct Measure {
    title: &'static str,
    value: fn(&Cell) -> Option<f64>,
    digits: usize,
    /// Whether less is better, so that a ratio says something.
    compared: bool,
    /// Which steps the number says something about.
    rows: fn(&str) -> bool,
}

const MEBIBYTE: f64 = 1_048_576.0;
const MEGABYTE: f64 = 1e6;
const GIGABYTE: f64 = 1e9;

const MEASURES: [Measure; 9] = [
    Measure {
        title: "Wall time, s",
        value: |cell| Some(cell.usage.wall_seconds),
        digits: 2,
        compared: true,
        rows: |_| true,
    },
    Measure {
        title: "CPU time, s",
        value: |cell| Some(cell.usage.cpu_seconds()),
        digits: 2,
        compared: true,
        rows: |_| true,
    },
    Measure {
        title: "Peak memory, MiB",
        value: |cell| Some(cell.usage.peak_bytes as f64 / MEBIBYTE),
        digits: 0,
        compared: true,
        rows: |_| true,
    },
    Measure {
        title: "Read by the command, from disks or caches, MB",
        value: |cell| cell.usage.asked_bytes.map(|bytes| bytes as f64 / MEGABYTE),
        digits: 1,
        compared: true,
        rows: reads_the_data,
    },
    Measure {
        title: "Repository afterwards, MB",
        value: |cell| Some(cell.repository_bytes as f64 / MEGABYTE),
        digits: 1,
        compared: true,
        rows: changes_it,
    },
    Measure {
        title: "Files in the repository",
        value: |cell| Some(cell.repository_files as f64),
        digits: 0,
        compared: false,
        rows: changes_it,
    },
    Measure {
        title: "Verified in a second of CPU time, GB",
        value: |cell| cell.verified_bytes.map(|bytes| bytes as f64 / cell.usage.cpu_seconds() / GIGABYTE),
        digits: 2,
        compared: false,
        rows: |step| step == VERIFY,
    },
    Measure {
        title: "The application's lock was held for, ms",
        value: |cell| cell.lock_held_ms,
        digits: 1,
        compared: false,
        rows: backs_up,
    },
    Measure {
        title: "Noise: CPU time of everything else, s",
        value: |cell| Some(cell.usage.others_cpu_seconds),
        digits: 2,
        compared: false,
        rows: |_| true,
    },
];

fn backs_up(step: &str) -> bool {
    ["backup", "unchanged", "changed"].iter().any(|prefix| step.starts_with(prefix))
}

/// Only these are done with what is backed up.
fn reads_the_data(step: &str) -> bool {
    backs_up(step) || step == VERIFY
}

/// Only these change the repository.
fn changes_it(step: &str) -> bool {
    backs_up(step) || step.starts_with("prune")
}

/// All tables of a dataset, in Markdown.
pub(crate) fn tables(results: &Results) -> String {
    let subject = &results.subject;
    let cache = if subject.cold { "cold" } else { "warm" };
    let mut text =
        format!("# {}, scale {}, {cache} cache, rounds: {}\n\n", subject.data, subject.scale, results.rounds());
    // Writing into a String cannot fail, here and below.
    for tool in &results.tools {
        let _ = writeln!(text, "- {}: {}", tool.name, tool.version);
    }
    text.push_str(&changes(results));
    text.push_str("\nMedians; in brackets the ratio to the best peer.\n");
    for measure in &MEASURES {
        table(&mut text, results, measure);
    }
    text.push_str(&failures(results));
    text
}

/// How much of the data was not as before.
fn changes(results: &Results) -> String {
    let megabytes = |bytes: u64| bytes as f64 / MEGABYTE;
    let line = |change: &Change| {
        let (part, all) = (megabytes(change.bytes), megabytes(change.all_bytes));
        format!("- before {}: {} new or changed files with {part:.1} of {all:.1} MB\n", change.step, change.files)
    };
    let lines: String = results.changes.iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("\nThe data:\n\n{lines}") }
}

/// Adds nothing if no cell has such a number.
fn table(text: &mut String, results: &Results, measure: &Measure) {
    if results.cells.iter().all(|cell| (measure.value)(cell).is_none()) {
        return;
    }
    let tools = distinct(results.tools.iter().map(|tool| tool.name.as_str()));
    let _ = writeln!(text, "\n## {}\n\n| step | {} |", measure.title, tools.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(tools.len()));
    let steps = distinct(results.cells.iter().map(|cell| cell.step.as_str()));
    for step in steps.into_iter().filter(|step| (measure.rows)(step)) {
        let values: Vec<Option<f64>> = tools.iter().map(|tool| median(results, tool, step, measure)).collect();
        let best = if measure.compared { best_peer(&tools, &values) } else { None };
        let entry = |(tool, value): (&&str, &Option<f64>)| match value {
            None if has_failed(results, tool, step) => "failed".to_owned(),
            value => entry(*value, best, measure.digits),
        };
        let cells: Vec<String> = tools.iter().zip(&values).map(entry).collect();
        let _ = writeln!(text, "| {step} | {} |", cells.join(" | "));
    }
}

fn has_failed(results: &Results, tool: &str, step: &str) -> bool {
    let mut same = results.cells.iter().filter(|cell| cell.tool == tool && cell.step == step);
    same.any(|cell| cell.usage.exit_code != 0)
}

fn entry(value: Option<f64>, best: Option<f64>, digits: usize) -> String {
    match (value, best) {
        (None, _) => "–".to_owned(),
        (Some(value), Some(best)) if best > 0.0 => {
            format!("{value:.digits$} (×{:.2})", value / best)
        }
        (Some(value), _) => format!("{value:.digits$}"),
    }
}

fn best_peer(tools: &[&str], values: &[Option<f64>]) -> Option<f64> {
    tools
        .iter()
        .zip(values)
        .filter(|(tool, _)| **tool != OURS && !PLAIN_COPIES.contains(*tool))
        .filter_map(|(_, value)| *value)
        .min_by(f64::total_cmp)
}

/// The median over the rounds in which the step succeeded.
fn median(results: &Results, tool: &str, step: &str, measure: &Measure) -> Option<f64> {
    let same = |cell: &&Cell| cell.tool == tool && cell.step == step && cell.usage.exit_code == 0;
    let mut values: Vec<f64> = results.cells.iter().filter(same).filter_map(measure.value).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

fn failures(results: &Results) -> String {
    let failed: Vec<String> = results
        .cells
        .iter()
        .filter(|cell| cell.usage.exit_code != 0)
        .map(|cell| format!("{} {} in round {} ({})", cell.tool, cell.step, cell.round, how_it_ended(cell)))
        .collect();
    match failed.is_empty() {
        true => "\nAll steps succeeded; every restore was equal to what was backed up.\n".to_owned(),
        false => format!("\nEvery restore was equal to what was backed up. Failed: {}.\n", failed.join(", ")),
    }
}

fn how_it_ended(cell: &Cell) -> String {
    match cell.usage.timed_out {
        true => format!("killed after {:.0} s", cell.usage.wall_seconds),
        false => format!("status {}", cell.usage.exit_code),
    }
}

/// Each of these once, in the order they first come.
fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut once = Vec::new();
    for one in all {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::results;
    use super::*;

    #[test]
    fn ratios_are_to_the_best_peer() {
        let results = results(&[
            ("treering", "backup1", 1.0),
            ("restic", "backup1", 2.0),
            ("borg", "backup1", 5.0),
            ("rsync", "backup1", 0.1),
        ]);
        let text = tables(&results);
        assert!(text.contains("| backup1 | 1.00 (×0.50) | 2.00 (×1.00) | 5.00 (×2.50) | 0.10 (×0.05) |"), "{text}");
    }

    #[test]
    fn the_repository_is_shown_for_backups_only() {
        let text = tables(&results(&[("restic", "changed1", 1.0), ("restic", "list", 1.0)]));
        let (_, repository) = text.split_once("## Repository").unwrap();
        let (repository, _) = repository.split_once("## ").unwrap();
        assert!(repository.contains("| changed1 |") && !repository.contains("| list |"));
    }

    #[test]
    fn rounds_are_summed_up_by_their_median() {
        let rounds = [("restic", "list", 9.0), ("restic", "list", 1.0), ("restic", "list", 2.0)];
        assert!(tables(&results(&rounds)).contains("| list | 2.00 (×1.00) |"));
        assert!(tables(&results(&rounds[..2])).contains("| list | 5.00 (×1.00) |"));
    }

    #[test]
    fn a_failed_step_is_named_and_not_measured() {
        let mut results = results(&[("restic", "check", 1.0), ("borg", "check", 1800.2), ("rustic", "list", 1.0)]);
        results.cells[0].usage.exit_code = 3;
        results.cells[1].usage.exit_code = 137;
        results.cells[1].usage.timed_out = true;
        let text = tables(&results);
        assert!(text.contains("| check | failed | failed | – |"), "{text}");
        assert!(text.contains("restic check in round 0 (status 3), borg check in round 0 (killed after 1800 s)"));
        assert!(!text.contains("All steps succeeded"));
    }

    #[test]
    fn what_only_some_cells_have_is_shown_where_it_is() {
        let mut results =
            results(&[("treering", "changed1", 1.0), ("treering", "verify", 1.0), ("restic", "list", 1.0)]);
        let text = tables(&results);
        assert!(!text.contains("Verified") && !text.contains("lock") && !text.contains("Read by"), "{text}");
        results.cells[0].lock_held_ms = Some(1.25);
        results.cells[0].usage.asked_bytes = Some(2_000_000);
        results.cells[1].usage.user_seconds = 2.0;
        results.cells[1].verified_bytes = Some(3_000_000_000);
        let change = Change { step: "changed1".into(), files: 2, bytes: 1_000_000, all_bytes: 9_000_000 };
        results.changes = vec![change];
        let text = tables(&results);
        for line in ["| verify | 1.50 | – |", "| changed1 | 1.2 | – |", "| changed1 | 2.0 | – |"] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(text.contains("- before changed1: 2 new or changed files with 1.0 of 9.0 MB\n"));
    }
}
