//! Applications that a snapshot should hold and does not, because they could not be captured.

use treering_snapshot::Snapshot;
use treering_snapshot::record::{AllSnapshots, NotCaptured};
use treering_snapshot::restore::{Choice, Restorer, Root, Selection};
use treering_snapshot::select::Named;

use crate::escape;

/// One of them, and the newest snapshot of the same host that has it.
pub(super) struct Missing {
    what: NotCaptured,
    last: Option<String>,
}

impl Missing {
    /// What is said of it.
    pub(super) fn says(&self) -> String {
        let NotCaptured { kind, path, detail } = &self.what;
        let (kind, path, detail) = (escape::text(kind), escape::terminal(path), escape::text(detail));
        let last = match &self.last {
            Some(last) => format!("the last snapshot that has it is {last}"),
            None => "no snapshot has it".to_owned(),
        };
        format!(
            "the {kind} application {path} is not in this snapshot, because it could not be captured ({detail}); {last}"
        )
    }
}

/// Those of the parts that are restored.
pub(super) fn find(
    all: &AllSnapshots,
    (_, snapshot): &Named,
    roots: &[Root],
    selection: Selection<'_>,
    restorers: &[Box<dyn Restorer>],
) -> Vec<Missing> {
    let is_wanted = |what: &&NotCaptured| {
        let restorer = restorers.iter().find(|one| one.kind() == what.kind);
        let place = what.place();
        restorer.is_some()
            && roots.iter().any(|root| place.starts_with(&root.path))
            && [false, true].iter().any(|is_folder| selection(place, *is_folder) == Choice::Take)
    };
    let missing = snapshot.not_captured.iter().filter(is_wanted);
    missing.map(|what| Missing { last: last_with(all, &snapshot.host, what), what: what.clone() }).collect()
}

fn last_with(all: &AllSnapshots, host: &str, what: &NotCaptured) -> Option<String> {
    let has = |other: &Snapshot| other.applications.iter().any(|app| app.kind == what.kind && app.path == what.path);
    let last = all.snapshots.iter().rev().find(|(_, other)| other.host == host && has(other));
    last.map(|(name, _)| name.short())
}
