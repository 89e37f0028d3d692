//! `cargo xtask bench`: treering beside its peers, on the same data, at the same time.
//!
//! Owns: the arguments, the order of rounds, and what becomes of the results.
//! Never: publishes a table when any tool restored something else than it was given.
//! Invariant: every tool does a step before any tool does the next, in an order that rotates, so the noise of a
//! shared machine falls on all of them alike; how much of it there was is in the results.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Context, Error, Result};
use dataset::{Dataset, Kind};
use record::{Results, Subject};
use tool::{OURS, Tool};

pub(crate) mod cell;
mod dataset;
mod record;
mod report;
mod round;
mod tool;

/// How `cargo xtask bench` was called.
#[derive(Args)]
pub(crate) struct Arguments {
    /// What to back up
    #[arg(long, value_enum, value_delimiter = ',', required_unless_present = "merge")]
    data: Vec<Kind>,
    /// The tools to compare [default: treering and whatever is found on PATH]
    #[arg(long, value_delimiter = ',')]
    tools: Vec<String>,
    /// Releases of a source tree for --data source: folders or tarballs, oldest first
    #[arg(long, value_delimiter = ',')]
    source: Vec<PathBuf>,
    /// How many times everything is done; tables show medians
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Multiplies the size of generated data
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Drop the page cache before every step (as root)
    #[arg(long)]
    cold: bool,
    /// Kill a step after this many seconds
    #[arg(long, default_value_t = 1800)]
    timeout_seconds: u64,
    /// Where data, repositories and restored folders go
    #[arg(long, default_value = "target/bench")]
    work: PathBuf,
    /// Where results go [default: <WORK>/results]
    #[arg(long)]
    out: Option<PathBuf>,
    /// The treering to measure
    #[arg(long, env = "TREERING", default_value = "target/release/treering")]
    treering: PathBuf,
    /// Measure nothing: print one table for each dataset in these result files
    #[arg(long, num_args = 1.., value_name = "JSON")]
    merge: Vec<PathBuf>,
}

/// Measures, or merges what was measured.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if !arguments.merge.is_empty() {
        return merge(&arguments.merge);
    }
    let tools = find_tools(arguments)?;
    std::fs::create_dir_all(&arguments.work).context("create the folder", &arguments.work)?;
    // Tools run elsewhere, so paths must not depend on where this program does.
    let work = arguments.work.canonicalize().context("find", &arguments.work)?;
    let out = arguments.out.clone().unwrap_or_else(|| work.join("results"));
    std::fs::create_dir_all(&out).context("create the folder", &out)?;
    let out = out.canonicalize().context("find", &out)?;
    arguments.data.iter().try_for_each(|kind| measure(arguments, *kind, &tools, &work, &out))
}

fn find_tools(arguments: &Arguments) -> Result<Vec<Tool>> {
    let tools = Tool::find(&arguments.tools, &arguments.treering);
    let is_missing = |name: &&String| !tools.iter().any(|tool| tool.name() == *name);
    if let Some(name) = arguments.tools.iter().find(is_missing) {
        return Err(Error::message(format!("no such tool here: {name}")));
    }
    if arguments.tools.is_empty() && !tools.iter().any(|tool| tool.name() == OURS) {
        let path = arguments.treering.display();
        return Err(Error::message(format!("{path} is not there: cargo build --release makes it")));
    }
    Ok(tools)
}

fn measure(arguments: &Arguments, kind: Kind, tools: &[Tool], work: &Path, out: &Path) -> Result<()> {
    let folder = work.join(kind.name());
    let dataset = Dataset::prepare(kind, arguments.scale, &arguments.source, &folder)?;
    let mut results = Results {
        subject: Subject { data: kind.name(), scale: arguments.scale, cold: arguments.cold },
        tools: tools.iter().map(record::version).collect(),
        changes: Vec::new(),
        cells: Vec::new(),
    };
    let name = results.subject.file_name();
    let plan = round::Plan {
        tools,
        dataset: &dataset,
        cold: arguments.cold,
        timeout_seconds: arguments.timeout_seconds,
        logs: out.join(format!("{name}.logs")),
        saved: out.join(format!("{name}.json")),
    };
    for number in 0..arguments.rounds {
        let round_folder = folder.join(format!("round-{number}"));
        round::run(&plan, number, &round_folder, &mut results)?;
    }
    publish(&results, &out.join(format!("{name}.md")))
}

fn publish(results: &Results, path: &Path) -> Result<()> {
    refuse_wrong_restores(results)?;
    let table = report::tables(results);
    std::fs::write(path, &table).context("write", path)?;
    println!("{table}");
    Ok(())
}

fn merge(files: &[PathBuf]) -> Result<()> {
    let mut all: Vec<Results> = Vec::new();
    for file in files {
        let results = Results::load(file)?;
        refuse_wrong_restores(&results)?;
        match all.iter_mut().find(|other| other.subject == results.subject) {
            Some(same) => same.absorb(results),
            None => all.push(results),
        }
    }
    all.iter().for_each(|results| println!("{}", report::tables(results)));
    Ok(())
}

/// A tool that restores something else may be as fast as it likes.
fn refuse_wrong_restores(results: &Results) -> Result<()> {
    let wrong: Vec<String> = results.cells.iter().flat_map(record::Cell::wrong_restore).collect();
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::message(format!(
            "no table is made, because what was restored is not what was backed up:\n{}",
            wrong.join("\n")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(differences: Option<Vec<String>>) -> Results {
        let mut results = record::tests::results(&[("restic", "restore", 1.0)]);
        results.cells[0].differences = differences;
        results
    }

    #[test]
    fn a_wrong_restore_is_not_published() {
        let temp = tempfile::tempdir().unwrap();
        let table = temp.path().join("table.md");
        let wrong = publish(&results(Some(vec!["\"a\" is missing".into()])), &table).unwrap_err();
        assert!(wrong.to_string().contains("restic: \"a\" is missing"));
        assert!(publish(&results(None), &table).is_err(), "an unverified restore is a wrong one");
        assert!(!table.exists());
        publish(&results(Some(Vec::new())), &table).unwrap();
        assert!(table.exists());
    }
}
