//! Which packs a check reads, and in which order.
//!
//! Invariant: what was verified longest ago comes first, so that checks which each read a part come round to everything.
//! Of ties the larger ones come first, so that no thread is left alone with a large one at the end; then names decide.

use std::cmp::Reverse;
use std::time::Duration;

use treering_store::PackName;

use super::ledger::Ledger;

/// What part of the data is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum DataPart {
    /// All of it.
    #[default]
    Whole,
    /// A fixed share of the packs by their names: the shares 1 to `of` together are all packs, whatever is added.
    Share {
        /// Which share, from 1.
        number: u64,
        /// How many there are.
        of: u64,
    },
    /// So much of the bytes of all packs, in percent; at least one pack.
    Percent(f64),
    /// So many bytes, and what the last pack has more; at least one pack.
    Bytes(u64),
}

/// Which data is to be read. Each restriction restricts further.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DataOptions {
    /// What part of the packs.
    pub part: DataPart,
    /// Only packs that were not verified for longer than this.
    pub max_age: Option<Duration>,
    /// No pack is begun when the check has run for so long; one always is.
    pub max_duration: Option<Duration>,
}

/// The packs to read, in this order. `now` is in seconds since 1970.
pub(super) fn choose(
    packs: &[(PackName, u64)],
    ledger: &Ledger,
    options: &DataOptions,
    now: i64,
) -> Vec<(PackName, u64)> {
    let mut chosen: Vec<_> = packs
        .iter()
        .filter(|(name, _)| is_in_share(name, options.part))
        .map(|(name, bytes)| (ledger.time(name, now), Reverse(*bytes), *name))
        .filter(|(time, _, _)| !is_recent(*time, options.max_age, now))
        .collect();
    chosen.sort_unstable();
    let mut room_bytes = room(packs, options.part);
    let fits = |(_, Reverse(bytes), _): &(Option<i64>, Reverse<u64>, PackName)| {
        let fits = room_bytes.is_none_or(|room| room > 0);
        room_bytes = room_bytes.map(|room| room.saturating_sub(*bytes));
        fits
    };
    chosen.into_iter().take_while(fits).map(|(_, Reverse(bytes), name)| (name, bytes)).collect()
}

fn is_in_share(name: &PackName, part: DataPart) -> bool {
    let DataPart::Share { number, of } = part else { return true };
    let spread = name.as_bytes().first_chunk().map_or(0, |front| u64::from_le_bytes(*front));
    spread.checked_rem(of).is_some_and(|share| share + 1 == number)
}

/// Whether it was verified within this age.
pub(super) fn is_recent(time: Option<i64>, max_age: Option<Duration>, now: i64) -> bool {
    match (time, max_age) {
        (Some(time), Some(age)) => now.saturating_sub(time).unsigned_abs() <= age.as_secs(),
        _ => false,
    }
}

fn room(packs: &[(PackName, u64)], part: DataPart) -> Option<u64> {
    let all: u64 = packs.iter().map(|(_, bytes)| bytes).sum();
    match part {
        DataPart::Whole | DataPart::Share { .. } => None,
        DataPart::Percent(percent) => Some(((all as f64 * percent / 100.0).ceil() as u64).max(1)),
        DataPart::Bytes(bytes) => Some(bytes.max(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn packs() -> Vec<(PackName, u64)> {
        let name = |number: u64| PackName::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes());
        (0..100).map(|number| (name(number), 10)).collect()
    }

    fn part(part: DataPart) -> DataOptions {
        DataOptions { part, ..DataOptions::default() }
    }

    fn run(ledger: &mut Ledger, options: &DataOptions, now: i64) -> Vec<PackName> {
        let chosen = choose(&packs(), ledger, options, now);
        chosen.iter().for_each(|(name, _)| ledger.set(*name, now));
        chosen.into_iter().map(|(name, _)| name).collect()
    }

    fn sorted(mut names: Vec<PackName>) -> Vec<PackName> {
        names.sort_unstable();
        names
    }

    #[test]
    fn shares_are_all_packs_once() {
        let all = sorted(packs().iter().map(|(name, _)| *name).collect());
        for of in [1, 2, 7, 300] {
            let share = |number| choose(&packs(), &Ledger::default(), &part(DataPart::Share { number, of }), 0);
            let shares: Vec<_> = (1..=of).flat_map(share).map(|(name, _)| name).collect();
            assert_eq!(sorted(shares), all, "{of}");
        }
    }

    #[test]
    fn parts_come_round_to_everything_oldest_first() {
        for (options, runs) in
            [(part(DataPart::Percent(25.0)), 4), (part(DataPart::Bytes(250)), 4), (part(DataPart::Bytes(1)), 100)]
        {
            let mut ledger = Ledger::default();
            let mut seen: Vec<_> = (0..runs).flat_map(|now| run(&mut ledger, &options, now)).collect();
            assert_eq!(seen[0], *sorted(seen.clone()).first().unwrap(), "ties go by name");
            seen = sorted(seen);
            seen.dedup();
            assert_eq!(seen.len(), 100, "{options:?}");
            // And from the front again.
            assert_eq!(run(&mut ledger, &options, 1000)[0], seen[0]);
        }
    }

    #[test]
    fn of_ties_the_larger_comes_first() {
        let mut packs = packs();
        packs[42].1 = 11;
        assert_eq!(choose(&packs, &Ledger::default(), &part(DataPart::Whole), 0)[0], packs[42]);
        let mut ledger = Ledger::default();
        packs.iter().for_each(|(name, _)| ledger.set(*name, DAY));
        ledger.set(packs[7].0, 1);
        assert_eq!(choose(&packs, &ledger, &part(DataPart::Whole), DAY)[..2], [packs[7], packs[42]]);
    }

    #[test]
    fn only_what_is_older_than_asked_is_read() {
        let (mut ledger, now) = (Ledger::default(), 100 * DAY);
        let names: Vec<_> = packs().iter().map(|(name, _)| *name).collect();
        ledger.set(names[0], now - 30 * DAY);
        ledger.set(names[1], now - 30 * DAY - 1);
        ledger.set(names[2], now + DAY);
        names[3..90].iter().for_each(|name| ledger.set(*name, now));
        let options = DataOptions { max_age: Some(Duration::from_secs(30 * 86_400)), ..DataOptions::default() };
        let chosen = run(&mut ledger, &options, now);
        let never: Vec<_> = sorted([&names[2..3], &names[90..]].concat());
        assert_eq!(chosen, [&never[..], &names[1..2]].concat());
    }

    #[test]
    fn restrictions_add_up() {
        let (mut ledger, now) = (Ledger::default(), 100 * DAY);
        let share = choose(&packs(), &ledger, &part(DataPart::Share { number: 1, of: 2 }), now);
        ledger.set(share[0].0, now);
        let max_age = Some(Duration::from_secs(1));
        let options = DataOptions { part: DataPart::Share { number: 1, of: 2 }, max_age, max_duration: None };
        assert_eq!(choose(&packs(), &ledger, &options, now), share[1..]);
    }
}
