//! The ledger: when all data of each pack was last verified.
//!
//! Owns its records and how several of them are merged: the newest time of a pack counts, so that checks at the same
//! time, and a crash between writing the new and removing the old, lose nothing.
//!
//! Invariant: nothing is trusted because of it. It only chooses what is read first, and says what was read when.

use std::collections::{BTreeMap, HashSet};

use treering_store::{PackName, RECORD_MOST_BYTES, Record, RecordKind, RecordName, Repository, StoreError};

use crate::error::{Result, SnapshotError};

/// The name of a pack and a time.
const ENTRY_BYTES: usize = 40;
/// What a record's envelope may take.
const ENVELOPE_MOST_BYTES: usize = 1024;
/// The most entries of one record; what is more goes into further ones.
const ENTRIES_MOST: usize = (RECORD_MOST_BYTES - ENVELOPE_MOST_BYTES) / ENTRY_BYTES;

/// When packs were verified, in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    times: BTreeMap<PackName, i64>,
}

impl Ledger {
    /// Adds what another record says.
    pub(super) fn merge(&mut self, body: &[u8]) -> Result<()> {
        let damaged = |detail| SnapshotError::damaged("a check ledger", detail);
        let (entries, rest) = body.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(damaged("it is cut short"));
        }
        let mut last = None;
        for entry in entries {
            let (name, time) = decode(entry).ok_or_else(|| damaged("it is cut short"))?;
            if last.replace(name).is_some_and(|last| last >= name) {
                return Err(damaged("its packs are not in order"));
            }
            self.times.entry(name).and_modify(|known| *known = time.max(*known)).or_insert(time);
        }
        Ok(())
    }

    /// A pack was verified now, whatever a clock said before.
    pub(super) fn set(&mut self, name: PackName, time: i64) {
        self.times.insert(name, time);
    }

    /// A pack was found damaged: as if it had never been verified. Whether it was.
    pub(super) fn unset(&mut self, name: &PackName) -> bool {
        self.times.remove(name).is_some()
    }

    /// Drops all packs but these.
    pub(super) fn retain(&mut self, packs: &[(PackName, u64)], gone: &[PackName]) {
        let kept: HashSet<_> = packs.iter().map(|(name, _)| name).chain(gone).collect();
        self.times.retain(|name, _| kept.contains(name));
    }

    /// Packs that were verified once and are none of these.
    pub(super) fn gone(&self, packs: &[(PackName, u64)]) -> Vec<PackName> {
        let present: HashSet<_> = packs.iter().map(|(name, _)| name).collect();
        self.times.keys().filter(|name| !present.contains(name)).copied().collect()
    }

    /// When a pack was verified. A clock that went wrong once must not keep a pack from being read for years: a time
    /// that is still to come counts as none.
    pub(super) fn time(&self, name: &PackName, now: i64) -> Option<i64> {
        self.times.get(name).copied().filter(|time| *time <= now)
    }

    /// Writes it and then removes the records whose content is in it.
    pub(super) fn store(&self, repository: &Repository, old: &[RecordName]) -> Result<(), StoreError> {
        for body in self.bodies(ENTRIES_MOST) {
            repository.put_record(&Record::new(RecordKind::LEDGER, body))?;
        }
        repository.remove_records(old)
    }

    fn bodies(&self, entries_most: usize) -> Vec<Vec<u8>> {
        let entries: Vec<_> = self.times.iter().collect();
        let encode = |entries: &[(&PackName, &i64)]| {
            entries.iter().flat_map(|(name, time)| name.as_bytes().iter().copied().chain(time.to_le_bytes())).collect()
        };
        entries.chunks(entries_most).map(encode).collect()
    }
}

fn decode(entry: &[u8; ENTRY_BYTES]) -> Option<(PackName, i64)> {
    let (name, time) = (entry.first_chunk::<32>()?, entry.last_chunk::<8>()?);
    Some((PackName::from_bytes(*name), i64::from_le_bytes(*time)))
}

/// Its entry point for fuzzing.
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing {
    use super::*;

    pub(crate) fn run(bytes: &[u8]) -> bool {
        let mut ledger = Ledger::default();
        if ledger.merge(bytes).is_err() {
            return false;
        }
        assert_eq!(ledger.bodies(usize::MAX).concat(), bytes);
        true
    }

    pub(crate) fn seeds() -> Vec<Vec<u8>> {
        let times = [(1, 5), (2, -1)].map(|(number, time)| (PackName::from_bytes([number; 32]), time));
        [Ledger::default(), Ledger { times: times.into() }].map(|ledger| ledger.bodies(9).concat()).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Home;
    use treering_store::storage::Area;

    fn pack(number: u8) -> PackName {
        PackName::from_bytes([number; 32])
    }

    fn ledger(entries: &[(u8, i64)]) -> Ledger {
        Ledger { times: entries.iter().map(|(number, time)| (pack(*number), *time)).collect() }
    }

    #[test]
    fn the_newest_time_counts_however_records_are_split() {
        let all = ledger(&[(1, 10), (2, 20), (3, -5)]);
        for most in 1..5 {
            let (bodies, mut merged) = (all.bodies(most), ledger(&[(2, 30), (3, -9)]));
            assert_eq!(bodies.len(), 3_usize.div_ceil(most));
            bodies.iter().for_each(|body| merged.merge(body).unwrap());
            assert_eq!(merged, ledger(&[(1, 10), (2, 30), (3, -5)]));
        }
        assert_eq!(all.bodies(9)[0].len(), 3 * ENTRY_BYTES);
        assert!(Ledger::default().bodies(9).is_empty());
    }

    #[test]
    fn what_is_no_ledger_is_refused() {
        let body = ledger(&[(1, 10), (2, 20)]).bodies(9).remove(0);
        let swapped = [&body[40..], &body[..40]].concat();
        for bad in [&body[..79], &body[..1], &swapped, &[&body[..40], &body[..40]].concat()] {
            assert!(Ledger::default().merge(bad).is_err(), "{}", bad.len());
        }
    }

    #[test]
    fn a_time_to_come_counts_as_none() {
        let mut ledger = ledger(&[(1, 10)]);
        assert_eq!(
            (ledger.time(&pack(1), 10), ledger.time(&pack(1), 9), ledger.time(&pack(2), 10)),
            (Some(10), None, None)
        );
        ledger.set(pack(1), 9);
        assert_eq!(ledger.time(&pack(1), 9), Some(9));
    }

    #[test]
    fn new_records_take_the_place_of_old_ones() {
        let home = Home::new();
        let records = || home.repository.list_records(Area::Records).unwrap();
        ledger(&[(1, 10)]).store(&home.repository, &[]).unwrap();
        let old = records();
        assert_eq!(old.len(), 1);
        // The second time, another check has removed it already.
        for number in [2, 3] {
            ledger(&[(number, 20)]).store(&home.repository, &old).unwrap();
        }
        assert!(records().len() == 2 && !records().contains(&old[0]));
        Ledger::default().store(&home.repository, &records()).unwrap();
        assert!(records().is_empty());
    }
}
