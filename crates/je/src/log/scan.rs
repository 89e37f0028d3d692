//! One pass over the bytes of a log file.
//!
//! A [`Scanner`] takes the bytes as they come, follows the chain of entries from the file's header on, and shows each
//! whole entry. Where the chain breaks it goes on byte by byte, looking for a whole entry that links to a place behind
//! the break, and follows the chain from there: so it tells the torn end that a crash leaves from damage that has
//! committed transactions behind it.
//!
//! Owns what counts as an entry. Never seeks, never reads a file but through [`scan`].
//! Invariant: holds at most one entry of up to [`HOLD_MOST_BYTES`] besides the bytes it is given, whatever they are.

use std::io::{self, ErrorKind, Read};

use simd_adler32::Adler32;

use super::{
    Behind, Checkpoint, Commit, Damage, Entry, EntryHeader, EntryType, FILE_HEADER_BYTES, Fault, FileHeader,
    FileSummary, Item, Lsn, NEWEST_VERSION, is_known_version,
};

/// An entry up to this size is held until it is whole, so that it can be searched if it turns out to be none. A longer
/// one is only summed up.
const HOLD_MOST_BYTES: u64 = 64 << 20;
/// Behind a break only entries up to this size are recognised. Commits and most others are far smaller.
const SEARCH_MOST_BYTES: u64 = 1 << 20;
/// What looks like an entry is summed up for nothing no further than this, and so many times the bytes searched: by
/// chance few do, but somebody may have written headers that overlap.
const SUMMED_LEAST_BYTES: u64 = 256 << 20;
const SUMMED_MOST_TIMES: u64 = 4;
const HEADER_LEAST_BYTES: usize = EntryHeader::LEAST_BYTES;
/// Small enough to stay in a core's own cache between reading and summing up.
const READ_BYTES: usize = 256 << 10;

/// Scans one file of the log, pushed in pieces of any size.
pub struct Scanner {
    number: u32,
    length: Option<u64>,
    /// Where the first byte that is not yet told apart lies.
    at: u64,
    /// Bytes from there on that were too few.
    held: Vec<u8>,
    /// How many are needed to go on.
    wanted: usize,
    state: State,
    version: u32,
    /// Where the last entry of the present chain begins.
    previous: u64,
    is_behind: bool,
    has_ended: bool,
    sum: Adler32,
    /// What a search has summed up for nothing, in bytes.
    summed_bytes: u64,
    summary: FileSummary,
}

enum State {
    /// Before the file's header.
    Header,
    /// Within a chain.
    Chain,
    /// Within an entry that is too long to be held.
    Long { header: EntryHeader, missing: u64 },
    /// Behind a break at that offset.
    Search { from: u64 },
    /// Nothing more can be told.
    Stopped,
}

/// What the bytes at hand turn out to be.
enum Look {
    Entry(EntryHeader),
    Long(EntryHeader),
    /// So many bytes are needed.
    More(usize),
    Broken(Fault),
    /// Not the beginning of an entry.
    Nothing,
}

impl Scanner {
    /// A scanner for the file of that number. `length`, in bytes, is what will be pushed, if that is known; then a
    /// length that leads behind it is seen at once.
    pub fn new(number: u32, length: Option<u64>) -> Self {
        Scanner {
            number,
            length,
            at: 0,
            held: Vec::new(),
            wanted: FILE_HEADER_BYTES as usize,
            state: State::Header,
            version: NEWEST_VERSION,
            previous: 0,
            is_behind: false,
            has_ended: false,
            sum: Adler32::new(),
            summed_bytes: 0,
            summary: FileSummary::default(),
        }
    }

    /// Takes the next bytes and shows the entries that they complete, in order, those behind a break too.
    pub fn push(&mut self, bytes: &[u8], visit: &mut dyn FnMut(&Entry<'_>)) {
        self.summary.read_bytes += bytes.len() as u64;
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match &mut self.state {
                State::Stopped => &[],
                State::Long { .. } => self.take_long(rest, visit),
                _ if self.held.is_empty() => self.take(rest, visit),
                _ => self.top_up(rest, visit),
            };
        }
    }

    /// Says what was found, once all bytes were pushed.
    pub fn finish(mut self, visit: &mut dyn FnMut(&Entry<'_>)) -> FileSummary {
        self.has_ended = true;
        if matches!(self.state, State::Long { .. }) {
            self.break_long(Fault::Truncated);
        }
        let held = std::mem::take(&mut self.held);
        self.consume(&held, visit);
        self.summary
    }

    /// Works on bytes as they were given, and holds what is left of them.
    fn take<'b>(&mut self, bytes: &'b [u8], visit: &mut dyn FnMut(&Entry<'_>)) -> &'b [u8] {
        let used = self.consume(bytes, visit);
        let rest = bytes.get(used..).unwrap_or_default();
        if matches!(self.state, State::Long { .. } | State::Stopped) {
            return rest;
        }
        self.held.extend_from_slice(rest);
        &[]
    }

    /// Adds to what is held as much as is needed, or everything where it is not known what comes.
    fn top_up<'b>(&mut self, bytes: &'b [u8], visit: &mut dyn FnMut(&Entry<'_>)) -> &'b [u8] {
        let missing = match self.state {
            State::Search { .. } => bytes.len(),
            _ => self.wanted.saturating_sub(self.held.len()).min(bytes.len()),
        };
        let (taken, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        self.held.extend_from_slice(taken);
        if self.held.len() >= self.wanted {
            let mut held = std::mem::take(&mut self.held);
            let used = self.consume(&held, visit);
            held.drain(..used.min(held.len()));
            self.held = held;
        }
        rest
    }

    /// Tells apart as many of these bytes as can be, and returns how many those are.
    fn consume(&mut self, bytes: &[u8], visit: &mut dyn FnMut(&Entry<'_>)) -> usize {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            let step = match self.look(rest) {
                Look::Entry(header) => self.accept(header, rest, visit),
                Look::Long(header) => {
                    let head = rest.get(..header.header_bytes).unwrap_or_default();
                    header.begin_sum(head, self.version, &mut self.sum);
                    self.state = State::Long { header, missing: u64::from(header.item_bytes) };
                    return used + header.header_bytes;
                }
                Look::More(wanted) => {
                    self.wanted = wanted;
                    return used;
                }
                Look::Broken(fault) => self.break_at(fault),
                Look::Nothing => 1,
            };
            if matches!(self.state, State::Stopped) {
                return bytes.len();
            }
            used += step;
            self.at += step as u64;
        }
        self.wanted = HEADER_LEAST_BYTES;
        used
    }

    fn look(&mut self, bytes: &[u8]) -> Look {
        match self.state {
            State::Header => self.look_at_file_header(bytes),
            State::Chain => self.look_in_chain(bytes),
            State::Search { from } => self.search(bytes, from),
            State::Long { .. } | State::Stopped => Look::Nothing,
        }
    }

    fn look_at_file_header(&mut self, bytes: &[u8]) -> Look {
        let Some(head) = bytes.get(..FILE_HEADER_BYTES as usize) else {
            return self.more(FILE_HEADER_BYTES as usize);
        };
        // Also of a header that is not whole: what is behind it is searched with the version that it claims.
        let claimed = FileHeader::claimed_version(head);
        self.version = claimed.filter(|version| is_known_version(*version)).unwrap_or(NEWEST_VERSION);
        let (Some(file), Some(header)) = (FileHeader::read(head), EntryHeader::read(head, NEWEST_VERSION)) else {
            return Look::Broken(Fault::NoFileHeader);
        };
        if !self.is_sum_right(&header, head) {
            return Look::Broken(Fault::WrongChecksum);
        }
        if !is_known_version(file.version) {
            return Look::Broken(Fault::UnknownVersion { version: file.version });
        }
        if file.number != self.number {
            return Look::Broken(Fault::WrongNumber { found: file.number });
        }
        self.summary.header = Some(file);
        Look::Entry(header)
    }

    fn look_in_chain(&mut self, bytes: &[u8]) -> Look {
        if bytes.len() < HEADER_LEAST_BYTES {
            return self.more(HEADER_LEAST_BYTES);
        }
        let Some(header) = EntryHeader::read(bytes, self.version) else { return Look::Broken(Fault::BadLength) };
        if !header.is_possible(self.version) {
            return Look::Broken(Fault::UnknownType);
        }
        if u64::from(header.previous) != self.previous {
            return Look::Broken(Fault::BrokenLink);
        }
        let whole = header.entry_bytes();
        match bytes.get(..usize::try_from(whole).unwrap_or(usize::MAX)) {
            _ if self.leads_out(whole) => Look::Broken(Fault::Truncated),
            Some(entry) if header.kind == EntryType::ERASED || self.is_sum_right(&header, entry) => Look::Entry(header),
            Some(_) => Look::Broken(Fault::WrongChecksum),
            None if self.has_ended || whole <= HOLD_MOST_BYTES || bytes.len() < header.header_bytes => {
                self.more(whole as usize)
            }
            None => Look::Long(header),
        }
    }

    /// Whether a whole entry begins here that follows on something behind the break.
    fn search(&mut self, bytes: &[u8], from: u64) -> Look {
        if bytes.len() < HEADER_LEAST_BYTES {
            return self.more(HEADER_LEAST_BYTES);
        }
        let follows = |header: &EntryHeader| (from..self.at).contains(&u64::from(header.previous));
        let likely = EntryHeader::read(bytes, self.version)
            .filter(|header| follows(header) && header.is_possible(self.version) && header.kind != EntryType::ERASED);
        let Some(header) = likely else { return Look::Nothing };
        let whole = header.entry_bytes();
        if whole > SEARCH_MOST_BYTES || self.leads_out(whole) {
            return Look::Nothing;
        }
        match bytes.get(..whole as usize) {
            Some(entry) if self.is_sum_right(&header, entry) => Look::Entry(header),
            Some(_) => {
                self.summed_bytes += whole;
                let most = SUMMED_LEAST_BYTES.max(SUMMED_MOST_TIMES.saturating_mul(self.at - from));
                if self.summed_bytes > most {
                    self.give_up();
                }
                Look::Nothing
            }
            None => self.more(whole as usize),
        }
    }

    /// Nobody knows what is behind here.
    fn give_up(&mut self) {
        if let Some(damage) = &mut self.summary.damage {
            damage.behind.is_incomplete = true;
        }
        self.state = State::Stopped;
    }

    fn leads_out(&self, whole: u64) -> bool {
        self.length.is_some_and(|length| self.at.saturating_add(whole) > length)
    }

    /// More bytes are needed, and if there are none this is no entry.
    fn more(&self, wanted: usize) -> Look {
        match self.state {
            _ if !self.has_ended => Look::More(wanted),
            State::Search { .. } => Look::Nothing,
            _ => Look::Broken(Fault::Truncated),
        }
    }

    fn is_sum_right(&mut self, header: &EntryHeader, entry: &[u8]) -> bool {
        header.is_sum_right(entry, self.version, &mut self.sum)
    }

    /// Takes in a whole entry and returns its length.
    fn accept(&mut self, header: EntryHeader, bytes: &[u8], visit: &mut dyn FnMut(&Entry<'_>)) -> usize {
        let whole = header.entry_bytes() as usize;
        let item = bytes.get(header.header_bytes..whole).unwrap_or_default();
        match u32::try_from(self.at) {
            Ok(offset) => self.note(header, offset, item, visit),
            Err(_) => return self.break_at(Fault::TooLong),
        }
        whole
    }

    fn note(&mut self, header: EntryHeader, offset: u32, item: &[u8], visit: &mut dyn FnMut(&Entry<'_>)) {
        if matches!(self.state, State::Search { .. }) {
            self.is_behind = true;
        }
        let lsn = Lsn::new(self.number, offset);
        let entry = Entry { version: self.version, lsn, header, item, is_behind: self.is_behind };
        match (self.is_behind, &mut self.summary.damage) {
            (true, Some(damage)) => note_behind(&mut damage.behind, &entry),
            _ => note(&mut self.summary, &entry),
        }
        visit(&entry);
        self.previous = self.at;
        self.state = State::Chain;
    }

    /// The chain ends here. Returns how far to go on: the entry that begins here is none.
    fn break_at(&mut self, fault: Fault) -> usize {
        let offset = self.at;
        self.summary.damage.get_or_insert(Damage { offset, fault, behind: Behind::default() });
        self.state = match fault {
            Fault::UnknownVersion { .. } | Fault::TooLong => State::Stopped,
            _ => State::Search { from: offset },
        };
        1
    }

    fn take_long<'b>(&mut self, bytes: &'b [u8], visit: &mut dyn FnMut(&Entry<'_>)) -> &'b [u8] {
        let State::Long { header, missing } = &mut self.state else { return bytes };
        let here = usize::try_from(*missing).unwrap_or(usize::MAX).min(bytes.len());
        let (part, rest) = bytes.split_at_checked(here).unwrap_or((bytes, &[]));
        self.sum.write(part);
        *missing -= part.len() as u64;
        if *missing == 0 {
            let header = *header;
            self.end_long(header, visit);
        }
        rest
    }

    fn end_long(&mut self, header: EntryHeader, visit: &mut dyn FnMut(&Entry<'_>)) {
        if self.sum.finish() != header.checksum {
            self.break_long(Fault::WrongChecksum);
            return;
        }
        self.accept(header, &[], visit);
        self.at += header.entry_bytes();
        self.wanted = HEADER_LEAST_BYTES;
    }

    /// What was passed over is not at hand any more, so that nobody knows what it held.
    fn break_long(&mut self, fault: Fault) {
        let passed = match self.state {
            State::Long { header, missing } => header.entry_bytes().saturating_sub(missing),
            _ => 0,
        };
        self.break_at(fault);
        if let Some(damage) = &mut self.summary.damage {
            damage.behind.is_incomplete = true;
        }
        self.at += passed;
        self.wanted = HEADER_LEAST_BYTES;
    }
}

fn note(summary: &mut FileSummary, entry: &Entry<'_>) {
    summary.entries += 1;
    summary.valid_end = entry.end();
    summary.last_entry = u64::from(entry.lsn.offset);
    summary.last_kind = Some(entry.header.kind);
    summary.invisible += u64::from(entry.header.is_invisible(entry.version));
    match entry.header.kind {
        EntryType::COMMIT => {
            if let Some(commit) = Commit::of(entry) {
                note_commit(&mut summary.commits, &mut summary.first_commit, &mut summary.last_commit, commit);
            }
        }
        EntryType::CHECKPOINT_END => note_checkpoint(summary, entry),
        EntryType::RESTORE_REQUIRED => {
            if let Some(Item::RestoreRequired(item)) = entry.item() {
                summary.restore_required = Some(item);
            }
        }
        EntryType::ERASED => summary.erased += 1,
        _ => {}
    }
    if entry.is_malformed() {
        summary.malformed.get_or_insert(entry.lsn);
    }
}

fn note_checkpoint(summary: &mut FileSummary, entry: &Entry<'_>) {
    if let Some(Item::CheckpointEnd(item)) = entry.item() {
        if item.may_delete_files {
            summary.last_deleting_checkpoint_end = Some(entry.end());
        }
        summary.checkpoint = Some(Checkpoint { lsn: entry.lsn, end: entry.end(), item });
    }
}

fn note_behind(behind: &mut Behind, entry: &Entry<'_>) {
    behind.entries += 1;
    behind.first.get_or_insert(entry.lsn);
    if let Some(commit) = Commit::of(entry) {
        note_commit(&mut behind.commits, &mut behind.first_commit, &mut behind.last_commit, commit);
    }
}

fn note_commit(count: &mut u64, first: &mut Option<Commit>, last: &mut Option<Commit>, commit: Commit) {
    *count += 1;
    first.get_or_insert(commit);
    *last = Some(commit);
}

/// Scans a file of the log from its beginning. `length` is what is read of it, in bytes, if that is known.
///
/// # Errors
///
/// Those of the reader. Damage is none; it is in the summary.
pub fn scan(
    from: &mut dyn Read,
    number: u32,
    length: Option<u64>,
    visit: &mut dyn FnMut(&Entry<'_>),
) -> io::Result<FileSummary> {
    let mut scanner = Scanner::new(number, length);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(scanner.finish(visit)),
            Ok(got) => scanner.push(buffer.get(..got).unwrap_or_default(), visit),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
