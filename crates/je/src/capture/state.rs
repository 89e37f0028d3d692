//! What the next capture wants to know: which files cannot have changed, and where the log ended.
//!
//! A file is recognised by its number, its inode, size and times, and its own header with the moment when it was begun;
//! never by number and size, for JE uses numbers again after a restore. The last file is not among them, nor the one with
//! the last checkpoint, whose end every capture reads; nor is one whose ctime is so close to the newest that it may have
//! changed again within the same tick of the clock.
//!
//! Invariant: what is in a state was read to its end and found right by the capture that wrote it, or by one before.

use std::collections::BTreeMap;

use super::pin::Stamp;
use crate::log::{Commit, Lsn};

/// Changes with the layout below. A state of another version is none, which only costs reading everything.
const VERSION: u8 = 1;
/// As many files as are remembered, the newest; a state is part of the snapshot's record.
const FILES_MOST: usize = 100_000;
/// As many headers as tell one time line from another.
const HEADERS_MOST: usize = 64;
/// Clocks of file systems tick coarsely.
const TICK_NS: i128 = 50_000_000;

/// Tells a file in one state from every other.
pub(crate) type Fingerprint = [u8; 16];

/// What a capture leaves for the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The last entry, and its checksum.
    pub(crate) last_entry: Option<(Lsn, u32)>,
    pub(crate) last_commit: Option<Commit>,
    /// When the newest files were begun, by their numbers.
    pub(crate) headers: BTreeMap<u32, i64>,
    /// The files that need not be read again while they are the same.
    pub(crate) files: BTreeMap<u32, Fingerprint>,
}

/// Of a file with these first bytes.
pub(crate) fn fingerprint(number: u32, stamp: &Stamp, header: &[u8]) -> Fingerprint {
    let mut hash = blake3::Hasher::new();
    hash.update(&number.to_le_bytes());
    for part in [stamp.device, stamp.inode, stamp.size_bytes] {
        hash.update(&part.to_le_bytes());
    }
    for part in [stamp.modified.0, stamp.modified.1, stamp.changed.0, stamp.changed.1] {
        hash.update(&part.to_le_bytes());
    }
    hash.update(header);
    let mut fingerprint = Fingerprint::default();
    hash.finalize_xof().fill(&mut fingerprint);
    fingerprint
}

/// Whether a change in the same tick as the last one would have been seen: the newest of the environment is later.
pub(crate) fn is_settled(stamp: &Stamp, newest: (i64, i64)) -> bool {
    let nanoseconds = |time: (i64, i64)| i128::from(time.0) * 1_000_000_000 + i128::from(time.1);
    nanoseconds(stamp.changed) + TICK_NS < nanoseconds(newest)
}

impl State {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.push(u8::from(self.last_entry.is_some()));
        if let Some((lsn, checksum)) = self.last_entry {
            put(&mut out, &[lsn.file, lsn.offset, checksum]);
        }
        out.push(u8::from(self.last_commit.is_some()));
        if let Some(commit) = self.last_commit {
            put(&mut out, &[commit.lsn.file, commit.lsn.offset]);
            out.extend(commit.end.to_le_bytes());
            out.extend(commit.transaction.to_le_bytes());
            out.extend(commit.time_ms.to_le_bytes());
        }
        let headers: Vec<_> = self.headers.iter().rev().take(HEADERS_MOST).collect();
        put(&mut out, &[headers.len() as u32]);
        for (number, time_ms) in headers {
            put(&mut out, &[*number]);
            out.extend(time_ms.to_le_bytes());
        }
        for (number, fingerprint) in self.files.iter().rev().take(FILES_MOST) {
            put(&mut out, &[*number]);
            out.extend(fingerprint);
        }
        out
    }

    /// `None` for what is no state of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<State> {
        let mut rest = Bytes(bytes);
        if rest.take::<1>()? != [VERSION] {
            return None;
        }
        let mut state = State::default();
        if rest.flag()? {
            state.last_entry = Some((rest.lsn()?, rest.number()?));
        }
        if rest.flag()? {
            let (lsn, end) = (rest.lsn()?, u64::from_le_bytes(rest.take()?));
            let (transaction, time_ms) = (i64::from_le_bytes(rest.take()?), i64::from_le_bytes(rest.take()?));
            state.last_commit = Some(Commit { lsn, end, transaction, time_ms });
        }
        for _ in 0..rest.number()? {
            let (number, time_ms) = (rest.number()?, i64::from_le_bytes(rest.take()?));
            state.headers.insert(number, time_ms);
        }
        while !rest.0.is_empty() {
            let (number, fingerprint) = (rest.number()?, rest.take()?);
            state.files.insert(number, fingerprint);
        }
        Some(state)
    }
}

fn put(out: &mut Vec<u8>, numbers: &[u32]) {
    numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
}

/// Takes fixed fields off the front.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn lsn(&mut self) -> Option<Lsn> {
        Some(Lsn::new(self.number()?, self.number()?))
    }

    fn flag(&mut self) -> Option<bool> {
        match self.take::<1>()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn state() -> State {
        let commit = Commit { lsn: Lsn::new(7, 40), end: 77, transaction: -5, time_ms: 1_700_000_000_000 };
        State {
            last_entry: Some((Lsn::new(7, 99), 0xdead_beef)),
            last_commit: Some(commit),
            headers: (0..8).map(|number| (number, i64::from(number) * 1000)).collect(),
            files: (0..7).map(|number| (number, [number as u8; 16])).collect(),
        }
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        for state in [State::default(), state()] {
            assert_eq!(State::decode(&state.encode()), Some(state));
        }
    }

    #[test]
    fn anything_else_is_none() {
        let bytes = state().encode();
        let cut = (0..bytes.len()).filter(|cut| State::decode(&bytes[..*cut]).is_some()).count();
        // The list of files has no end of its own.
        assert_eq!(cut, 7);
        let mut other = bytes.clone();
        other[0] += 1;
        assert_eq!((State::decode(&other), State::decode(&[])), (None, None));
    }

    #[test]
    fn a_fingerprint_depends_on_everything() {
        let stamp = Stamp { device: 1, inode: 2, links: 1, size_bytes: 3, modified: (4, 5), changed: (6, 7) };
        let of = |number, stamp: &Stamp, header: &[u8]| fingerprint(number, stamp, header);
        let all = [
            of(0, &stamp, b"h"),
            of(1, &stamp, b"h"),
            of(0, &stamp, b"i"),
            of(0, &Stamp { inode: 9, ..stamp }, b"h"),
            of(0, &Stamp { size_bytes: 9, ..stamp }, b"h"),
            of(0, &Stamp { modified: (4, 9), ..stamp }, b"h"),
            of(0, &Stamp { changed: (6, 9), ..stamp }, b"h"),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert!(
            !is_settled(&stamp, (6, 7)) && !is_settled(&stamp, (6, 50_000_007)) && is_settled(&stamp, (6, 50_000_008))
        );
    }
}
