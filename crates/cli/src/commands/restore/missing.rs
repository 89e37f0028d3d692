//! Applications that a snapshot should hold and does not, because they could not be captured.
//!
//! The record of a snapshot does not name them. It says that something could not be read; what that was is told by the
//! other snapshots of the same machine, which hold the application.

use std::path::{Path, PathBuf};

use treering_snapshot::record::{AllSnapshots, AppEntry};
use treering_snapshot::restore::{Choice, Restorer, Root, Selection, Unit, layout};
use treering_snapshot::select::Named;

use crate::context::Opened;
use crate::escape;
use crate::exit::Failure;

/// One of them.
pub(super) struct Missing {
    kind: String,
    path: PathBuf,
    /// The newest snapshot that holds it.
    last: String,
}

impl Missing {
    /// What is said of it.
    pub(super) fn says(&self) -> String {
        let (kind, path) = (escape::text(&self.kind), escape::path(&self.path));
        format!(
            "the {kind} application {path} is not in this snapshot, which was made when something could not be read; the \
             last snapshot that has it is {}",
            self.last
        )
    }
}

/// Those of the parts that are restored.
pub(super) fn find(
    opened: &Opened,
    all: &AllSnapshots,
    (_, snapshot): &Named,
    roots: &[Root],
    selection: Selection<'_>,
    restorers: &[Box<dyn Restorer>],
) -> Result<Vec<Missing>, Failure> {
    if snapshot.statistics.errors == 0 {
        return Ok(Vec::new());
    }
    let (mut found, mut reader) = (Vec::<Missing>::new(), opened.repository.reader()?);
    for (name, other) in all.snapshots.iter().rev().filter(|(_, other)| other.host == snapshot.host) {
        for entry in &other.applications {
            let path = entry.place().to_owned();
            let is_there = |have: &AppEntry| have.kind == entry.kind && have.path == entry.path;
            let Some(unit) = restorers.iter().find(|one| one.kind() == entry.kind).and_then(|one| one.unit(entry))
            else {
                continue;
            };
            let is_wanted = roots.iter().any(|root| path.starts_with(&root.path))
                && selection(&path, unit == Unit::Folder) == Choice::Take;
            let is_known = found.iter().any(|known| known.kind == entry.kind && known.path == path);
            if !is_wanted || is_known || snapshot.applications.iter().any(is_there) {
                continue;
            }
            let mut holds = |path: &Path| layout(snapshot, &mut reader, Some(path), false).is_ok();
            // Where its folder is gone too, it was gone when the snapshot was made.
            let is_missing = match unit {
                Unit::Folder => holds(&path),
                Unit::File { .. } => path.parent().is_some_and(&mut holds) && !holds(&path),
            };
            if is_missing {
                found.push(Missing { kind: entry.kind.clone(), path, last: name.short() });
            }
        }
    }
    Ok(found)
}
