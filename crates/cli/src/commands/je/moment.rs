//! `restore --je-until` and `--je-lsn`: the snapshots that have a moment, and the cut.
//!
//! Invariant: a restore begins only when a proof holds for the moment; what it is cut at is said before.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use treering_je::log::Commit;
use treering_je::moment::{Cut, Goal, NoCut, Source, find, ranges};
use treering_je::restore::PlannedCut;
use treering_snapshot::record::AllSnapshots;
use treering_snapshot::select::{Filter, Named};

use super::history::{History, environments, histories};
use crate::args::JeRestoreArgs;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Kind, Outcome};
use crate::output::messages::{JeCommit, JeCut, Message};
use crate::settings::Verbosity;
use crate::{escape, time};

/// A moment that can be brought back.
pub(crate) struct Moment {
    /// The environment.
    path: PathBuf,
    cut: Cut,
    base: Named,
    newer: Option<Named>,
}

impl JeRestoreArgs {
    /// What was asked for.
    pub(crate) fn goal(&self, zone: &TimeZone) -> Result<Option<Goal>, Failure> {
        if let Some(lsn) = self.je_lsn {
            return Ok(Some(Goal::Lsn(lsn)));
        }
        let parse = |typed: &String| time::parse(typed, zone);
        let moment = self.je_until.as_ref().map(parse).transpose();
        let moment = moment.map_err(|error| Failure::usage("--je-until is wrong").because(&error))?;
        Ok(moment.map(|moment| Goal::Until(moment.as_millisecond())))
    }
}

impl Moment {
    /// Finds it. `named` is the snapshot that was asked for, if one was.
    pub(crate) fn choose(
        context: &Context,
        opened: &Opened,
        all: &AllSnapshots,
        filter: &Filter,
        named: Option<&Named>,
        wanted: &[PathBuf],
        goal: Goal,
    ) -> Result<Moment, Failure> {
        let mut found = histories(all, filter, wanted);
        if let Some(named) = named {
            let inside = environments(named);
            found.retain(|history| history.host == named.1.host && inside.contains(&history.path));
        }
        let history = only(found)?;
        let found = ranges(&history.images(opened)?);
        let cut = find(&found, goal).map_err(|none| refused(context, &history, goal, &none))?;
        let at = |at: usize| history.snapshots.get(at).cloned();
        let (base, newer) = match cut.source {
            Source::One(one) => (at(one), None),
            Source::Two(older, newer) => (at(older), at(newer)),
        };
        let base = base.ok_or_else(|| Failure::new(Kind::Failed, "the snapshots have changed meanwhile"))?;
        Ok(Moment { path: history.path, cut, base, newer })
    }

    /// The snapshot that everything else comes from, unless another one was asked for.
    pub(crate) fn base(&self) -> &Named {
        &self.base
    }

    /// The environment.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the library does.
    pub(crate) fn planned(&self) -> PlannedCut {
        let first = |named: &Named| (self.cut.first_of_newer, named.1.clone());
        PlannedCut { at: self.cut.at, base: self.base.1.clone(), newer: self.newer.as_ref().map(first) }
    }

    /// Says where the log is cut.
    pub(crate) fn tell(&self, context: &Context) -> Outcome {
        let zone = &context.zone;
        let of = |commit: &Commit| show(commit, zone);
        let last = self.cut.last.as_ref().map_or_else(String::new, |last| format!(" after the commit of {}", of(last)));
        let next = match &self.cut.next {
            Some(next) => format!("; the next one is of {}", of(next)),
            None => "; there is no later one".to_owned(),
        };
        let (path, at) = (escape::path(&self.path), self.cut.at);
        context.printer.note(Verbosity::Normal, &format!("je: {path} is cut at {at},{last}{next}"))?;
        match context.printer.json {
            true => context.printer.json(&Message::JeCut(self.message(zone))),
            false => Ok(()),
        }
    }

    fn message(&self, zone: &TimeZone) -> JeCut {
        JeCut {
            path: escape::lossy(self.path.as_os_str().as_encoded_bytes()),
            at: self.cut.at.to_string(),
            last_commit: self.cut.last.as_ref().map(|last| commit(last, zone)),
            next_commit: self.cut.next.as_ref().map(|next| commit(next, zone)),
            snapshots: std::iter::once(&self.base).chain(&self.newer).map(|(name, _)| name.to_string()).collect(),
        }
    }
}

/// A moment is one environment's.
pub(crate) fn only(mut found: Vec<History>) -> Result<History, Failure> {
    match (found.pop(), found.is_empty()) {
        (Some(history), true) => Ok(history),
        (None, _) => Err(none_such()),
        (Some(history), false) => {
            found.push(history);
            let names: Vec<_> = found.iter().map(|one| format!("{} of {}", one.path.display(), one.host)).collect();
            Err(Failure::usage(format!("there are several JE environments: {}", names.join(", ")))
                .next("Pick one with its own path and, where hosts have the same, --host."))
        }
    }
}

/// Nothing of what was asked for is there.
pub(super) fn none_such() -> Failure {
    Failure::new(Kind::Failed, "no snapshot has such a JE environment")
        .safe("Nothing was changed.")
        .next("`treering snapshots` shows what applications there are.")
}

fn refused(context: &Context, history: &History, goal: Goal, none: &NoCut) -> Failure {
    let zone = &context.zone;
    let why = match (none.before, none.after) {
        (Some(_), Some(_)) => "files of the log were made and deleted between two snapshots, and no snapshot has them",
        (Some(_), None) => "it lies behind the newest snapshot",
        (None, Some(_)) => "it lies before what the oldest snapshot can be cut at, its last checkpoint",
        (None, None) => "no snapshot of it can be cut",
    };
    let goal = match goal {
        Goal::Until(ms) => {
            Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| time::rfc3339(at, zone))
        }
        Goal::Lsn(lsn) => lsn.to_string(),
    };
    let near = [("the nearest before it", none.before), ("the nearest behind it", none.after)];
    let near = near.iter().filter_map(|(what, commit)| Some((what, commit.as_ref()?)));
    let near: Vec<_> = near.map(|(what, commit)| format!("{what} is {}", show(commit, zone))).collect();
    let path = history.path.display();
    Failure::new(Kind::Failed, format!("the state of {path} at {goal} cannot be proven: {why}"))
        .safe("Nothing was restored.")
        .next(match near.is_empty() {
            true => "`treering restore` without a moment brings a whole snapshot back.".to_owned(),
            false => format!("Of the moments that can be brought back, {}.", near.join(", ")),
        })
}

/// A commit for eyes: its time and its place.
pub(crate) fn show(commit: &Commit, zone: &TimeZone) -> String {
    format!("{} ({})", moment(commit, zone), commit.lsn)
}

fn moment(commit: &Commit, zone: &TimeZone) -> String {
    let at = Timestamp::from_millisecond(commit.time_ms);
    at.map_or_else(|_| commit.time_ms.to_string(), |at| time::rfc3339(at, zone))
}

/// A commit for programs.
pub(crate) fn commit(commit: &Commit, zone: &TimeZone) -> JeCommit {
    JeCommit { lsn: commit.lsn.to_string(), time: moment(commit, zone), transaction: commit.transaction }
}
