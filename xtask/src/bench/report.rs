//! Results as people read them.
//!
//! Owns: medians, ratios and the tables.
//! Never: decides whether results may be shown.
//! Invariant: a ratio is to the best peer in the same row: neither treering nor a plain copy is a peer, so what is
//! below 1 in treering's column is better than every other tool.

use std::fmt::Write;

use super::record::{Cell, Results};
use super::tool::{OURS, PLAIN_COPIES};

/// One table: a number that every cell has.
struct Measure {
    title: &'static str,
    value: fn(&Cell) -> f64,
    digits: usize,
    /// Whether less is better, so that a ratio says something.
    compared: bool,
    /// Which steps the number says something about.
    rows: fn(&str) -> bool,
}

const MEBIBYTE: f64 = 1_048_576.0;
const MEGABYTE: f64 = 1e6;

const MEASURES: [Measure; 6] = [
    Measure { title: "Wall time, s", value: |cell| cell.usage.wall_seconds, digits: 2, compared: true, rows: |_| true },
    Measure {
        title: "CPU time, s",
        value: |cell| cell.usage.user_seconds + cell.usage.system_seconds,
        digits: 2,
        compared: true,
        rows: |_| true,
    },
    Measure {
        title: "Peak memory, MiB",
        value: |cell| cell.usage.peak_bytes as f64 / MEBIBYTE,
        digits: 0,
        compared: true,
        rows: |_| true,
    },
    Measure {
        title: "Repository afterwards, MB",
        value: |cell| cell.repository_bytes as f64 / MEGABYTE,
        digits: 1,
        compared: true,
        rows: changes_it,
    },
    Measure {
        title: "Files in the repository",
        value: |cell| cell.repository_files as f64,
        digits: 0,
        compared: false,
        rows: changes_it,
    },
    Measure {
        title: "Noise: CPU time of everything else, s",
        value: |cell| cell.usage.others_cpu_seconds,
        digits: 2,
        compared: false,
        rows: |_| true,
    },
];

/// Only these change the repository.
fn changes_it(step: &str) -> bool {
    ["backup", "unchanged", "changed", "prune"].iter().any(|prefix| step.starts_with(prefix))
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
    text.push_str("\nMedians; in brackets the ratio to the best peer.\n");
    for measure in &MEASURES {
        table(&mut text, results, measure);
    }
    text.push_str(&failures(results));
    text
}

fn table(text: &mut String, results: &Results, measure: &Measure) {
    let tools = distinct(results.tools.iter().map(|tool| tool.name.as_str()));
    let _ = writeln!(text, "\n## {}\n\n| step | {} |", measure.title, tools.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(tools.len()));
    let steps = distinct(results.cells.iter().map(|cell| cell.step.as_str()));
    for step in steps.into_iter().filter(|step| (measure.rows)(step)) {
        let values: Vec<Option<f64>> = tools.iter().map(|tool| median(results, tool, step, measure)).collect();
        let best = if measure.compared { best_peer(&tools, &values) } else { None };
        let cells: Vec<String> = values.iter().map(|value| entry(*value, best, measure.digits)).collect();
        let _ = writeln!(text, "| {step} | {} |", cells.join(" | "));
    }
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
    let mut values: Vec<f64> = results.cells.iter().filter(same).map(measure.value).collect();
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
        .map(|cell| format!("{} {} in round {} (status {})", cell.tool, cell.step, cell.round, cell.usage.exit_code))
        .collect();
    match failed.is_empty() {
        true => "\nAll steps succeeded; every restore was equal to what was backed up.\n".to_owned(),
        false => format!("\nEvery restore was equal to what was backed up. Failed: {}.\n", failed.join(", ")),
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
        let mut results = results(&[("restic", "check", 1.0)]);
        results.cells[0].usage.exit_code = 3;
        let text = tables(&results);
        assert!(text.contains("| check | – |"));
        assert!(text.contains("restic check in round 0 (status 3)"));
    }
}
