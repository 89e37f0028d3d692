//! Judging a log file by file.
//!
//! Owns the rules of `docs/je-log.md` about what belongs together. Works on summaries, so that the bytes may come from a
//! folder, a snapshot or a capture that is under way.
//! Invariant: holds a few numbers for each file, whatever the files hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use super::{CheckpointPart, Finding, Problem, Report, Source};
use crate::log::{
    Checkpoint, Commit, Damage, Entry, EntryType, FILE_HEADER_BYTES, Fault, FileHeader, FileSummary, Item, Listing, Lsn,
};

/// So many entries before a commit are known by their places.
const RECENT_MOST: usize = 1 << 16;

/// Takes what is known of the files in order, then judges.
pub struct Verifier {
    report: Report,
    /// What is needed of each file.
    files: BTreeMap<u32, Known>,
    recent: Recent,
}

/// What is needed of a file once it was read.
struct Known {
    path: PathBuf,
    read_bytes: u64,
    valid_end: u64,
    last_entry: u64,
    last_kind: Option<EntryType>,
    is_only_header: bool,
    damage: Option<Damage>,
}

impl Verifier {
    /// Judges names and places at once.
    pub fn new(listing: &Listing) -> Self {
        let recent = Recent::default();
        let mut verifier = Verifier { report: Report::default(), files: BTreeMap::new(), recent };
        if listing.has_marker {
            verifier.find(None, Problem::RestoreMarker);
        }
        for remark in &listing.remarks {
            verifier.find(None, Problem::Place(remark.clone()));
        }
        verifier
    }

    /// Takes an entry of the file that comes next.
    pub fn entry(&mut self, entry: &Entry<'_>) {
        if entry.is_behind {
            return;
        }
        if entry.header.kind == EntryType::COMMIT
            && let Some((commit, last)) = self.recent.without_record(entry)
        {
            self.find(None, Problem::CommitWithoutRecord { commit, last });
        }
        self.recent.push(entry.lsn);
    }

    /// Takes a file that was read, or why it could not be. The files come in the order of their numbers.
    pub fn file(&mut self, number: u32, path: &Path, scanned: io::Result<FileSummary>) {
        match scanned {
            Ok(summary) => self.summary(number, path, summary),
            Err(error) => self.find(Some(path), Problem::Unreadable { reason: error.to_string() }),
        }
    }

    /// Takes a file that was verified before and is known to be unchanged, of so many bytes.
    pub(crate) fn known(&mut self, number: u32, path: &Path, bytes: u64, header: FileHeader) {
        self.report.versions.insert(header.version);
        self.report.headers.insert(number, header);
        let (path, last_entry, last_kind, damage) = (path.to_path_buf(), 0, None, None);
        let known =
            Known { path, read_bytes: bytes, valid_end: bytes, last_entry, last_kind, is_only_header: false, damage };
        self.files.insert(number, known);
    }

    fn summary(&mut self, number: u32, path: &Path, summary: FileSummary) {
        let report = &mut self.report;
        report.bytes += summary.read_bytes;
        report.entries += summary.entries;
        report.commits += summary.commits;
        report.erased += summary.erased;
        report.invisible += summary.invisible;
        report.versions.extend(summary.header.map(|header| header.version));
        report.headers.extend(summary.header.map(|header| (number, header)));
        report.first_commit = report.first_commit.or(summary.first_commit);
        report.last_commit = summary.last_commit.or(report.last_commit);
        report.checkpoint = summary.checkpoint.clone().or(report.checkpoint.take());
        if let Some(lsn) = summary.malformed {
            self.find(Some(path), Problem::Malformed { lsn });
        }
        if let Some(item) = &summary.restore_required {
            self.find(Some(path), Problem::RestoreRequired { reason: item.reason.clone() });
        }
        let is_only_header = summary.is_only_header();
        let FileSummary { read_bytes, valid_end, last_entry, last_kind, damage, .. } = summary;
        let path = path.to_path_buf();
        let known = Known { path, read_bytes, valid_end, last_entry, last_kind, is_only_header, damage };
        self.files.insert(number, known);
    }

    /// Judges the whole, looking up the places that the last checkpoint names.
    pub fn finish(mut self, source: &mut dyn Source) -> Report {
        let last = self.effective_last();
        self.judge_damage(last);
        self.judge_links(source);
        self.judge_gaps();
        self.judge_checkpoint(source);
        let (erased, invisible) = (self.report.erased, self.report.invisible);
        if erased > 0 {
            self.find(None, Problem::Erased { count: erased });
        }
        if invisible > 0 {
            self.find(None, Problem::Invisible { count: invisible });
        }
        self.tell_end(last);
        self.report
    }

    fn find(&mut self, path: Option<&Path>, problem: Problem) {
        let (severity, path) = (problem.severity(), path.map(Path::to_path_buf));
        self.report.findings.push(Finding { severity, path, problem });
    }

    /// The file that JE takes for the last one: it passes over one with nothing but its header, whole or not.
    fn effective_last(&self) -> Option<u32> {
        let mut numbers = self.files.iter().rev();
        let (last, known) = numbers.next()?;
        let before = numbers.next().map(|(number, _)| *number);
        let is_passed_over = known.is_only_header && known.read_bytes <= FILE_HEADER_BYTES;
        Some(before.filter(|_| is_passed_over).unwrap_or(*last))
    }

    fn judge_damage(&mut self, last: Option<u32>) {
        let mut found = Vec::new();
        for (number, known) in &self.files {
            let is_last = last.is_some_and(|last| *number >= last);
            let problem = match &known.damage {
                Some(damage) => Some(judged(damage, known, is_last)),
                None => (known.read_bytes == 0 && !is_last).then_some(Problem::Empty),
            };
            found.extend(problem.map(|problem| (known.path.clone(), problem)));
        }
        for (path, problem) in found {
            self.find(Some(&path), problem);
        }
        if self.files.is_empty() && self.report.findings.is_empty() {
            self.find(None, Problem::NoFiles);
        }
    }

    /// The header of each file names the last entry of the one before, if that is there.
    fn judge_links(&mut self, source: &mut dyn Source) {
        let mut found = Vec::new();
        for (number, header) in &self.report.headers {
            let Some((before, known)) = number.checked_sub(1).and_then(|n| Some((n, self.files.get(&n)?))) else {
                continue;
            };
            let claimed = header.last_in_previous;
            let problem = match known.last_kind {
                _ if known.damage.is_some() => None,
                Some(_) if known.last_entry == claimed => None,
                Some(_) => Some(Problem::BrokenLink { claimed, found: known.last_entry }),
                None => has_no_entry(source, before, claimed).then_some(Problem::NoLink { claimed }),
            };
            let path = self.files.get(number).map(|known| known.path.clone());
            found.extend(problem.map(|problem| (path, problem)));
        }
        for (path, problem) in found {
            self.find(path.as_deref(), problem);
        }
    }

    fn judge_gaps(&mut self) {
        let numbers: BTreeSet<u32> = self.files.keys().copied().collect();
        let start = self.report.checkpoint.as_ref().and_then(|checkpoint| checkpoint.item.recovery_start());
        let mut found = Vec::new();
        for (first, last) in gaps(&numbers) {
            match start {
                // Recovery begins in one of them, or before them.
                Some(start) if start.file <= last => {
                    found.push(Problem::Missing { first: first.max(start.file), last, recovery_start: start });
                    if first < start.file {
                        found.push(Problem::Cleaned { first, last: start.file - 1 });
                    }
                }
                Some(_) => found.push(Problem::Cleaned { first, last }),
                None => {}
            }
        }
        let first = numbers.first().copied();
        match (first, start) {
            (Some(first), None) if first > 0 || !is_gapless(&numbers) => found.push(Problem::NoCheckpoint { first }),
            _ => {}
        }
        found.into_iter().for_each(|problem| self.find(None, problem));
    }

    fn judge_checkpoint(&mut self, source: &mut dyn Source) {
        let Some(Checkpoint { lsn, item, .. }) = self.report.checkpoint.clone() else { return };
        let parts = [
            (CheckpointPart::Start, item.start, Some(EntryType::CHECKPOINT_START)),
            (CheckpointPart::Root, item.root, Some(EntryType::ROOT)),
            (CheckpointPart::FirstActive, item.first_active, None),
        ];
        for (part, target, kind) in parts {
            let Some(target) = target.filter(|target| self.files.contains_key(&target.file)) else { continue };
            let is_there = match source.kind_at(target) {
                Ok(found) => found.is_some_and(|found| kind.is_none_or(|kind| kind == found)),
                Err(_) => false,
            };
            if !is_there {
                self.find(None, Problem::CheckpointTarget { checkpoint: lsn, part, target });
            }
        }
    }

    fn tell_end(&mut self, last: Option<u32>) {
        let Some((last, known)) = last.and_then(|last| Some((last, self.files.get(&last)?))) else { return };
        let entry = u32::try_from(known.last_entry).ok().zip(known.last_kind);
        self.report.last_entry = entry.map(|(offset, kind)| (Lsn::new(last, offset), kind));
        self.report.end = Some((last, known.valid_end));
        let start = self.report.checkpoint.as_ref().and_then(|checkpoint| checkpoint.item.recovery_start());
        let start = start.unwrap_or(Lsn::new(0, 0));
        let read = self.files.range(start.file..).map(|(_, known)| known.valid_end).sum::<u64>();
        self.report.recovery_bytes = read.saturating_sub(start.offset.into());
    }
}

/// Whether no entry begins at that place of a file that was not read again.
fn has_no_entry(source: &mut dyn Source, file: u32, offset: u64) -> bool {
    let place = u32::try_from(offset).ok().map(|offset| Lsn::new(file, offset));
    !place.is_some_and(|place| matches!(source.kind_at(place), Ok(Some(_))))
}

/// What a break is: a torn end is what recovery is made for, but only at the end of the log.
fn judged(damage: &Damage, known: &Known, is_last: bool) -> Problem {
    let Damage { offset, fault, behind } = damage.clone();
    let is_short = known.read_bytes <= FILE_HEADER_BYTES;
    let is_torn = behind.entries == 0 && !behind.is_incomplete && (offset > 0 || is_short);
    match fault {
        Fault::UnknownVersion { version } => Problem::UnknownVersion { version },
        _ if is_last && is_torn => Problem::TornTail { offset, bytes: known.read_bytes.saturating_sub(offset), fault },
        // With a broken header JE refuses, and nothing is lost without a word.
        _ if is_last && offset > 0 => Problem::SilentLoss { offset, fault, behind },
        _ => Problem::Damaged { offset, fault, behind },
    }
}

/// Runs of numbers that are missing between others, and below the first one.
fn gaps(numbers: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let below = numbers.first().filter(|first| **first > 0).map(|first| (0, first - 1));
    let between = numbers.iter().zip(numbers.iter().skip(1));
    let between = between.filter(|(a, b)| *b - *a > 1).map(|(a, b)| (a + 1, b - 1));
    below.into_iter().chain(between).collect()
}

fn is_gapless(numbers: &BTreeSet<u32>) -> bool {
    gaps(numbers).is_empty()
}

/// The places of the entries before the one that is looked at, as many as fit.
#[derive(Default)]
struct Recent {
    places: VecDeque<Lsn>,
    files: BTreeSet<u32>,
}

impl Recent {
    fn push(&mut self, lsn: Lsn) {
        if self.places.len() == RECENT_MOST {
            self.places.pop_front();
        }
        if self.places.back().is_none_or(|last| last.file != lsn.file) {
            self.files.insert(lsn.file);
        }
        self.places.push_back(lsn);
    }

    /// A commit whose last record should be among the recent entries and is not.
    fn without_record(&self, entry: &Entry<'_>) -> Option<(Commit, Lsn)> {
        let Some(Item::TransactionEnd(end)) = entry.item() else { return None };
        let last = end.last.filter(|last| *last < entry.lsn && self.files.contains(&last.file))?;
        let is_recent = self.places.front().is_some_and(|oldest| *oldest <= last);
        let is_missing = is_recent && self.places.binary_search(&last).is_err();
        is_missing.then(|| Commit::of(entry)).flatten().map(|commit| (commit, last))
    }
}
