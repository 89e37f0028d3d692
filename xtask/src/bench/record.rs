//! Results as they are kept.
//!
//! Owns: the JSON form of what was measured.
//! Never: forgets a failure: a failed cell is kept as such.
//! Invariant: results are merged only when they are about the same data at the same size and cache.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::cell::Usage;
use super::tool::Tool;
use crate::error::{Context, Error, Result};

/// The step whose outcome decides whether anything is published.
pub(crate) const RESTORE: &str = "restore";
/// The step in which treering verifies the data itself, without a repository.
pub(crate) const VERIFY: &str = "verify";

/// Everything measured on one dataset.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Results {
    pub(crate) subject: Subject,
    pub(crate) tools: Vec<ToolVersion>,
    /// What happened to the data between the backups. Older results do not say.
    #[serde(default)]
    pub(crate) changes: Vec<Change>,
    pub(crate) cells: Vec<Cell>,
}

/// What was measured: results of equal subjects can be merged.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Subject {
    pub(crate) data: String,
    pub(crate) scale: f64,
    /// Whether the page cache was dropped before each step.
    pub(crate) cold: bool,
}

/// A tool and what it says its version is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct ToolVersion {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// What a change of the data came to.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Change {
    /// The backup after it.
    pub(crate) step: String,
    /// Files that are new or not as they were, and their bytes.
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// The bytes of all files.
    pub(crate) all_bytes: u64,
}

/// One tool doing one step in one round.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Cell {
    pub(crate) tool: String,
    pub(crate) step: String,
    pub(crate) round: u32,
    pub(crate) usage: Usage,
    /// What was not on disk yet when the command ended.
    pub(crate) sync_seconds: f64,
    /// The size of the repository afterwards.
    pub(crate) repository_bytes: u64,
    pub(crate) repository_files: u64,
    /// How much of the data was verified, if that is the step.
    pub(crate) verified_bytes: Option<u64>,
    /// The longest time for which the command says that it held a lock of an application.
    pub(crate) lock_held_ms: Option<f64>,
    /// After a restore: what differs, and nothing when all is equal. `None` when nothing was compared.
    pub(crate) differences: Option<Vec<String>>,
}

impl Subject {
    /// The name of the files that hold these results.
    pub(crate) fn file_name(&self) -> String {
        format!("{}-{}-{}", self.data, self.scale, if self.cold { "cold" } else { "warm" })
    }
}

impl Cell {
    /// One sentence for each thing that came back wrong.
    pub(crate) fn wrong_restore(&self) -> Vec<String> {
        match &self.differences {
            Some(differences) => differences.iter().map(|text| format!("{}: {text}", self.tool)).collect(),
            None if self.step == RESTORE => vec![format!("{}: the restore failed", self.tool)],
            None => Vec::new(),
        }
    }
}

impl Results {
    /// Writes the results as JSON.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let json =
            serde_json::to_vec_pretty(self).map_err(|source| Error::Json { what: "the results".into(), source })?;
        std::fs::write(path, json).context("write", path)
    }

    /// Reads what [`Results::save`] wrote.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let json = std::fs::read(path).context("read", path)?;
        serde_json::from_slice(&json).map_err(|source| Error::Json { what: path.display().to_string(), source })
    }

    /// Takes in results of the same subject; their rounds count on from those that are here.
    pub(crate) fn absorb(&mut self, other: Self) {
        let rounds = self.rounds();
        for tool in other.tools {
            if !self.tools.contains(&tool) {
                self.tools.push(tool);
            }
        }
        for change in other.changes {
            if self.changes.iter().all(|known| known.step != change.step) {
                self.changes.push(change);
            }
        }
        let renumbered = other.cells.into_iter().map(|cell| Cell { round: cell.round + rounds, ..cell });
        self.cells.extend(renumbered);
    }

    /// How many rounds there are.
    pub(crate) fn rounds(&self) -> u32 {
        self.cells.iter().map(|cell| cell.round + 1).max().unwrap_or(0)
    }
}

/// Asks a tool for its version. One that does not say is measured all the same.
pub(crate) fn version(tool: &Tool) -> ToolVersion {
    let ask = |argument: &str| {
        let output = Command::new(tool.binary()).arg(argument).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let line = text.lines().next().filter(|_| output.status.success())?;
        Some(line.trim().to_owned())
    };
    let version = ask("--version").or_else(|| ask("version"));
    ToolVersion { name: tool.name().to_owned(), version: version.unwrap_or_else(|| "unknown".into()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Cells of a tool, a step and a wall time, each in a round of its own.
    pub(crate) fn results(cells: &[(&str, &str, f64)]) -> Results {
        let mut results = Results {
            subject: Subject { data: "jpom".into(), scale: 1.0, cold: false },
            tools: Vec::new(),
            changes: Vec::new(),
            cells: Vec::new(),
        };
        for (tool, step, wall_seconds) in cells {
            let tool_version = ToolVersion { name: (*tool).into(), version: "1".into() };
            if !results.tools.contains(&tool_version) {
                results.tools.push(tool_version);
            }
            results.cells.push(Cell {
                tool: (*tool).into(),
                step: (*step).into(),
                round: 0,
                usage: Usage { wall_seconds: *wall_seconds, ..Usage::default() },
                sync_seconds: 0.0,
                repository_bytes: 0,
                repository_files: 0,
                verified_bytes: None,
                lock_held_ms: None,
                differences: (*step == RESTORE).then(Vec::new),
            });
        }
        results
    }

    #[test]
    fn results_survive_their_file() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("results.json");
        let results = results(&[("restic", "init", 0.5)]);
        results.save(&path).unwrap();
        let loaded = Results::load(&path).unwrap();
        assert_eq!(loaded.subject, results.subject);
        assert_eq!(loaded.cells[0].usage, results.cells[0].usage);
    }

    #[test]
    fn absorbed_rounds_are_counted_on() {
        let mut results = results(&[("restic", "init", 0.5)]);
        results.absorb(self::results(&[("borg", "init", 0.5)]));
        assert_eq!(results.rounds(), 2);
        assert_eq!(results.tools.len(), 2);
    }
}
