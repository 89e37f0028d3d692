//! How much of the data was verified when, from the ledger.
//!
//! Invariant: what is said is what the ledger holds, by the bytes of packs that are there; a part of a pack is none of it.

use std::time::Duration;

use treering_store::PackName;

use super::choose::is_recent;
use super::ledger::Ledger;

/// How much of the data was verified, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// The bytes of all packs.
    pub bytes: u64,
    /// The bytes of those that were verified; if an age was asked for, within that age.
    pub verified_bytes: u64,
    /// When the first of these was, in seconds since 1970.
    pub oldest: Option<i64>,
    /// Packs that this check has read.
    pub read_packs: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Why the ledger could not be written, if so: the next check reads again what this one has read.
    pub ledger_failed: Option<String>,
}

impl Verified {
    pub(super) fn count(&mut self, packs: &[(PackName, u64)], ledger: &Ledger, max_age: Option<Duration>, now: i64) {
        for (name, bytes) in packs {
            self.bytes += bytes;
            let time = ledger.time(name, now).filter(|time| max_age.is_none() || is_recent(Some(*time), max_age, now));
            if let Some(time) = time {
                self.verified_bytes += bytes;
                self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
            }
        }
    }

    /// From 0 to 1; of nothing, everything is verified.
    pub fn fraction(&self) -> f64 {
        if self.bytes == 0 { 1.0 } else { self.verified_bytes as f64 / self.bytes as f64 }
    }

    /// How many more checks that read as much as this one has it takes to verify the rest. `None` if nothing is left or
    /// nothing was read.
    pub fn more_runs(&self) -> Option<u64> {
        let rest = self.bytes.saturating_sub(self.verified_bytes);
        (rest > 0 && self.read_bytes > 0).then(|| rest.div_ceil(self.read_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_by_the_age_of_their_pack() {
        let pack = |number: u8| PackName::from_bytes([number; 32]);
        let packs = [(pack(1), 10), (pack(2), 20), (pack(3), 70)];
        let mut ledger = Ledger::default();
        for (name, time) in [(pack(1), 100), (pack(2), 50), (pack(9), 10)] {
            ledger.set(name, time);
        }
        let count = |max_age: Option<u64>, read_bytes| {
            let mut verified = Verified { read_bytes, ..Verified::default() };
            verified.count(&packs, &ledger, max_age.map(Duration::from_secs), 110);
            (verified.fraction(), verified.oldest, verified.more_runs())
        };
        assert_eq!(count(None, 0), (0.3, Some(50), None));
        assert_eq!(count(None, 30), (0.3, Some(50), Some(3)));
        assert_eq!(count(Some(10), 30), (0.1, Some(100), Some(3)));
        assert_eq!(count(Some(9), 30), (0.0, None, Some(4)));
        assert_eq!(Verified::default().fraction(), 1.0);
    }
}
