//! How sure a capture is of what it took, and how that is said.

use std::collections::BTreeMap;
use std::time::Duration;

use treering_snapshot::Time;
use treering_snapshot::capture::{Conclusion, Verdict};

use super::lock::NotLocked;
use super::state::{State, is_settled};
use super::{Locking, PinnedSource, Taken};
use crate::log::{Commit, EntryType, Lsn};
use crate::verify::{Report, Severity, Verifier, kind_in};

/// How the detail of a capture without the readers' lock begins.
const UNLOCKED: &str = "unlocked";

/// How it is said that the log lacks what the parent had.
const LOST: &str = "entries of the last snapshot are gone";

/// Whether a capture whose detail this is had to do without JE's readers' lock. It may be consistent all the same, by
/// the argument in `pin.rs`: that needs the files open, and one machine; on a file system of several the verdict is unknown.
pub fn is_unlocked(detail: &str) -> bool {
    detail.starts_with(UNLOCKED)
}

/// The clause of a detail that says what of the parent snapshot is not in the log any more, if something is.
pub fn lost(detail: &str) -> Option<&str> {
    detail.split("; ").find(|clause| clause.contains(LOST))
}

/// Judges what was read.
pub(super) fn conclude(taken: Option<Taken>) -> Conclusion {
    let Some(mut taken) = taken else {
        let (verdict, detail) = (Verdict::Unknown, "nothing was taken".to_owned());
        return Conclusion { verdict, version: None, consistency_point: None, detail, state: Vec::new() };
    };
    let report = taken.report();
    let last_commit = report.last_commit.or_else(|| taken.previous.as_ref().and_then(|previous| previous.last_commit));
    let (verdict, reason) = taken.judge(&report);
    let state = if verdict == Verdict::Consistent { taken.state(&report, last_commit).encode() } else { Vec::new() };
    let detail = [vec![taken.how()], reason, taken.what(&report)].concat().join("; ");
    // Writers are kept out up to here.
    taken.held = None;
    Conclusion {
        verdict,
        version: report.newest_version().map(|version| format!("log {version}")),
        consistency_point: point(&report, last_commit),
        detail,
        state,
    }
}

impl Taken {
    /// What the captured files say, together with what is known of those that were not read again.
    fn report(&self) -> Report {
        let mut verifier = Verifier::new(&self.pinned.listing);
        let seen = self.seen.get();
        for (number, file) in &self.pinned.files {
            if self.dropped.contains(number) {
                continue;
            }
            match (self.unchanged.contains(number), seen.get(number), self.headers.get(number)) {
                (true, _, Some(header)) => verifier.known(*number, &file.path, file.stamp.size_bytes, *header),
                (_, Some(outcome), _) => verifier.file(*number, &file.path, Ok(outcome.summary.clone())),
                _ => verifier.file(*number, &file.path, Err(std::io::Error::other("it was not read to its end"))),
            }
        }
        drop(seen);
        verifier.finish(&mut PinnedSource(&self.pinned))
    }

    /// The verdict, and why if it is not the best.
    fn judge(&self, report: &Report) -> (Verdict, Vec<String>) {
        let changed: Vec<u32> = self.seen.get().iter().filter(|(_, seen)| seen.is_changed).map(|(n, _)| *n).collect();
        if let Some(number) = changed.first() {
            let said =
                format!("{number:08x}.jdb was changed while it was read, which JE does in a rollback: run it again");
            return (Verdict::Torn, vec![said]);
        }
        match report.worst() {
            Some(Severity::Error) => (Verdict::Torn, worst(report, Severity::Error)),
            Some(Severity::Unknown) => (Verdict::Unknown, worst(report, Severity::Unknown)),
            _ => match self.uncertain {
                Some(name) => {
                    let said = format!("it lies on {name}, where what is read need not be what another machine wrote");
                    (Verdict::Unknown, vec![said])
                }
                None => (Verdict::Consistent, Vec::new()),
            },
        }
    }

    fn how(&self) -> String {
        match &self.locking {
            Locking::Hot(_) if self.held.is_some() => {
                "hot: the readers' lock was held throughout, for there are more files than may be open".to_owned()
            }
            Locking::Hot(held) => format!("hot: the readers' lock was held for {}", milliseconds(*held)),
            Locking::Offline => "offline: writers were kept out".to_owned(),
            Locking::Unlocked(why) => format!("{UNLOCKED} ({}): all files were open before any was read", said(why)),
        }
    }

    fn what(&self, report: &Report) -> Vec<String> {
        let mut said = Vec::new();
        let (files, same) = (self.pinned.files.len() - self.dropped.len(), self.unchanged.len());
        said.push(match same {
            0 if files == 1 => "1 file, read and verified".to_owned(),
            0 => format!("{files} files, all of them read and verified"),
            _ => format!(
                "{files} files, {same} of them unchanged since they were verified, the others read and verified"
            ),
        });
        if self.cut_off > 0 {
            said.push(format!("{} bytes at the end were no whole entry yet and were left out", self.cut_off));
        }
        said.extend(self.new_time_line());
        said.push(match report.is_closed() {
            true => "it was closed properly".to_owned(),
            false => format!("recovery reads {} bytes", report.recovery_bytes),
        });
        said.extend(worst(report, Severity::Note));
        said
    }

    /// That this log does not continue the parent's, and why, if it does not.
    fn new_time_line(&self) -> Option<String> {
        let previous = self.previous.as_ref()?;
        let (last, checksum) = previous.last_entry?;
        let began = |number: &u32| self.headers.get(number).map(|header| header.time_ms);
        let is_another = |(number, time): &(&u32, &i64)| began(number).is_some_and(|found| found != **time);
        let another = previous.headers.iter().find(is_another).map(|(number, _)| *number);
        let is_behind = self.pinned.last().is_none_or(|file| last.file > file.number);
        let why = match another {
            Some(number) => format!("{number:08x}.jdb was begun at another time than in it"),
            None if is_behind || self.pinned.files.contains_key(&last.file) && !self.has(last, checksum) => {
                format!("its last one, {last}, is not in the log any more")
            }
            None => return None,
        };
        let is_gone =
            |commit: Commit| another.is_some_and(|from| commit.lsn.file >= from) || !self.has_commit(commit.lsn);
        let committed = if previous.last_commit.is_some_and(is_gone) { "committed " } else { "" };
        Some(format!("{committed}{LOST}: {why} (a new time line)"))
    }

    /// Whether a commit is at this place. One in a file that is below the others may have been cleaned.
    fn has_commit(&self, lsn: Lsn) -> bool {
        match self.pinned.files.get(&lsn.file) {
            Some(file) => {
                file.open().is_ok_and(|file| kind_in(&file, lsn.offset).ok().flatten() == Some(EntryType::COMMIT))
            }
            None => self.pinned.last().is_some_and(|last| lsn.file < last.number),
        }
    }

    /// Whether an entry with this checksum begins there.
    fn has(&self, lsn: Lsn, checksum: u32) -> bool {
        self.checksum(lsn) == Some(checksum)
    }

    fn state(&self, report: &Report, last_commit: Option<Commit>) -> State {
        let newest = self.pinned.files.values().map(|file| file.stamp.changed).max().unwrap_or_default();
        let checkpoint = report.checkpoint.as_ref().map(|checkpoint| checkpoint.lsn.file);
        let may_stay = |number: &u32| {
            let file = self.pinned.files.get(number);
            let is_settled = file.is_some_and(|file| is_settled(&file.stamp, newest));
            is_settled && !self.is_end(*number) && !self.dropped.contains(number) && checkpoint != Some(*number)
        };
        let files = self.fingerprints.iter().filter(|(number, _)| may_stay(number));
        State {
            last_entry: report.last_entry.and_then(|(lsn, _)| Some((lsn, self.checksum(lsn)?))),
            last_commit,
            headers: self.headers.iter().map(|(number, header)| (*number, header.time_ms)).collect(),
            files: files.map(|(number, fingerprint)| (*number, *fingerprint)).collect::<BTreeMap<_, _>>(),
        }
    }

    fn checksum(&self, lsn: Lsn) -> Option<u32> {
        self.pinned.files.get(&lsn.file)?.checksum_at(lsn.offset)
    }
}

/// The last entry, and the last commit with its time.
fn point(report: &Report, last_commit: Option<Commit>) -> Option<String> {
    let (last, _) = report.last_entry?;
    Some(match last_commit {
        Some(commit) => format!("{last}, last commit {} at {}", commit.lsn, moment(commit.time_ms)),
        None => last.to_string(),
    })
}

/// RFC 3339 in UTC.
fn moment(time_ms: i64) -> String {
    let (seconds, milliseconds) = (time_ms.div_euclid(1000), time_ms.rem_euclid(1000) as u32);
    Time { seconds, nanoseconds: milliseconds * 1_000_000 }.timestamp().to_string()
}

/// The first finding of that severity, and how many more there are.
fn worst(report: &Report, severity: Severity) -> Vec<String> {
    let mut found = report.findings.iter().filter(|finding| finding.severity == severity);
    let Some(first) = found.next() else { return Vec::new() };
    let place = first.path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default();
    let more = match found.count() {
        0 => String::new(),
        more => format!(" (and {more} more like it; see `treering je verify`)"),
    };
    vec![format!("{place}{}{more}", first.problem)]
}

fn said(why: &NotLocked) -> String {
    match why {
        NotLocked::NoFile => "there is no je.lck".to_owned(),
        NotLocked::Busy => "somebody kept the lock".to_owned(),
        NotLocked::Refused(error) => error.to_string(),
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
