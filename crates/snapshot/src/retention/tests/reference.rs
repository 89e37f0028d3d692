//! A second implementation, slow and obvious: each rule looks at all snapshots by itself, weeks are counted by hand,
//! and periods are compared as they would be written. Compared with the first on many random histories, dense around
//! changes of the clock.

use std::collections::BTreeSet;

use jiff::civil::Weekday;
use jiff::{Span, ToSpan};
use proptest::prelude::*;

use super::*;

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Shanghai",
    // Changed its clocks at a minute past midnight until 2011.
    "America/St_Johns",
    // Went from 02:00 back to 23:00 of the day before, in 2010.
    "Antarctica/Casey",
    // Left a whole day out at the end of 2011.
    "Pacific/Apia",
];

/// A period as it would be written.
fn written(period: Period, moment: Timestamp, zone: &TimeZone) -> String {
    let local = moment.to_zoned(zone.clone());
    let date = local.date();
    match period {
        Period::Hour => local.strftime("%Y-%m-%d %H %::z").to_string(),
        Period::Day => local.strftime("%Y-%m-%d").to_string(),
        Period::Week => {
            // A week belongs to the year in which its Thursday lies.
            let mut thursday = date;
            while thursday.weekday() != Weekday::Thursday {
                let is_before = [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday].contains(&thursday.weekday());
                thursday = if is_before { thursday.tomorrow().unwrap() } else { thursday.yesterday().unwrap() };
            }
            format!("{} week {}", thursday.year(), (thursday.day_of_year() - 1) / 7 + 1)
        }
        Period::Month => local.strftime("%Y-%m").to_string(),
        Period::Year => local.strftime("%Y").to_string(),
    }
}

/// The newest of each period, newest first; `all` are newest first too.
fn newest_of_each(period: Period, all: &[(u8, Timestamp)], zone: &TimeZone) -> Vec<u8> {
    let is_newest = |at: usize| {
        let own = written(period, all[at].1, zone);
        all[..at].iter().all(|(_, newer)| written(period, *newer, zone) != own)
    };
    (0..all.len()).filter(|at| is_newest(*at)).map(|at| all[at].0).collect()
}

/// The first of a list, and the oldest snapshot if there is room for one more.
fn first_of(list: Vec<u8>, count: Count, oldest: u8) -> Vec<u8> {
    let most = match count {
        Count::Unlimited => usize::MAX,
        Count::AtMost(most) => most as usize,
    };
    let mut first: Vec<u8> = list.into_iter().take(most).collect();
    if first.len() < most && !first.contains(&oldest) {
        first.push(oldest);
    }
    first
}

/// Those that are less than a duration older than the newest; the subtraction is done piece by piece.
fn less_old(all: &[(u8, Timestamp)], (months, days, hours): (i32, i32, i64), zone: &TimeZone) -> Vec<(u8, Timestamp)> {
    let newest = zone.to_datetime(all[0].1);
    let on_calendar = newest.checked_sub(months.months()).unwrap().checked_sub(days.days()).unwrap();
    let same_day = Span::new().months(months).days(days).is_zero();
    // Nothing is subtracted from the calendar: the moment itself, not the first that is written like it.
    let moment = if same_day { all[0].1 } else { zone.to_timestamp(on_calendar).unwrap() };
    let limit = moment.as_second() - hours * 3600;
    all.iter().copied().filter(|(_, moment)| moment.as_second() > limit).collect()
}

/// What a random policy says, in plain numbers.
#[derive(Debug, Clone)]
struct Plain {
    last: u32,
    each: [Option<u32>; 5],
    within: (i32, i32, i64),
    watch_within: (i32, i32, i64),
    each_within: [(i32, i32, i64); 5],
}

impl Plain {
    fn policy(&self) -> Policy {
        let count = |at: usize| self.each[at].map_or(Count::Unlimited, Count::AtMost);
        let duration = |(months, days, hours): (i32, i32, i64)| {
            let text = format!("{}y{}m{days}d{hours}h", months / 12, months % 12);
            Some(text.parse().unwrap())
        };
        let within = |at: usize| duration(self.each_within[at]);
        Policy {
            last: Count::AtMost(self.last),
            each: EachPeriod {
                hourly: count(0),
                daily: count(1),
                weekly: count(2),
                monthly: count(3),
                yearly: count(4),
            },
            within: duration(self.within),
            watch_within: duration(self.watch_within),
            each_within: EachPeriod {
                hourly: within(0),
                daily: within(1),
                weekly: within(2),
                monthly: within(3),
                yearly: within(4),
            },
            tags: Vec::new(),
        }
    }

    fn kept(&self, all: &[(u8, Timestamp)], zone: &TimeZone) -> BTreeSet<u8> {
        let Some((oldest, _)) = all.last() else { return BTreeSet::new() };
        let mut kept: BTreeSet<u8> = all.iter().take(self.last as usize).map(|(number, _)| *number).collect();
        let is_given = |within: &(i32, i32, i64)| *within != (0, 0, 0);
        if is_given(&self.within) {
            kept.extend(less_old(all, self.within, zone).iter().map(|(number, _)| *number));
        }
        if is_given(&self.watch_within) {
            let young = less_old(all, self.watch_within, zone).into_iter().map(|(number, _)| number);
            kept.extend(young.filter(|number| is_watch(*number)));
        }
        for (at, period) in Period::ALL.into_iter().enumerate() {
            let count = self.each[at].map_or(Count::Unlimited, Count::AtMost);
            kept.extend(first_of(newest_of_each(period, all, zone), count, *oldest));
            if is_given(&self.each_within[at]) {
                kept.extend(newest_of_each(period, &less_old(all, self.each_within[at], zone), zone));
            }
        }
        kept
    }
}

/// Zeros are likely, so that single rules show.
fn durations() -> impl Strategy<Value = (i32, i32, i64)> {
    prop_oneof![
        4 => Just((0, 0, 0)),
        1 => (0..30_i32, 0..40_i32, 0..50_i64),
        1 => (Just(0), 0..4_i32, 0..30_i64),
    ]
}

fn counts() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![6 => Just(Some(0)), 4 => (1..6_u32).prop_map(Some), 1 => Just(None)]
}

fn plain() -> impl Strategy<Value = Plain> {
    let each = [counts(), counts(), counts(), counts(), counts()];
    let each_within = [durations(), durations(), durations(), durations(), durations()];
    (0..3_u32, each, [durations(), durations()], each_within).prop_map(|(last, each, within, each_within)| {
        let [within, watch_within] = within;
        Plain { last, each, within, watch_within, each_within }
    })
}

/// A watch has taken every third snapshot.
fn is_watch(number: u8) -> bool {
    number.is_multiple_of(3)
}

/// Snapshots of these moments, numbered from 1.
fn snapshots(moments: &[Timestamp]) -> Vec<Named> {
    let mut all: Vec<Named> = moments.iter().zip(1..).map(|(moment, number)| at(number, *moment)).collect();
    for ((_, snapshot), _) in all.iter_mut().zip(1..).filter(|(_, number)| is_watch(*number)) {
        snapshot.tags.push(WATCH_TAG.to_owned());
    }
    all
}

/// Moments near a change of the clock (or anywhere, if the zone has none), and some years around it.
fn history() -> impl Strategy<Value = (TimeZone, Vec<Timestamp>)> {
    let start = 500_000_000..1_800_000_000_i64;
    let offsets = prop_oneof![
        4 => (-12..=12_i64).prop_map(|quarters| quarters * 900),
        2 => -10_000..10_000_i64,
        2 => (-60..60_i64, -7200..7200_i64).prop_map(|(days, seconds)| days * 86_400 + seconds),
        1 => -100_000_000..100_000_000_i64,
    ];
    (0..ZONES.len(), start, proptest::collection::vec(offsets, 1..40)).prop_map(|(at, start, offsets)| {
        let zone = zone(ZONES[at]);
        let start = Timestamp::new(start, 0).unwrap();
        let change = zone.preceding(start).next().map_or(start, |change| change.timestamp());
        let moments = offsets.iter().map(|offset| Timestamp::new(change.as_second() + offset, 0).unwrap());
        let moments = moments.collect();
        (zone, moments)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn both_implementations_keep_the_same((zone, moments) in history(), plain in plain()) {
        let policy = plain.policy();
        prop_assume!(!policy.is_empty());
        let all = snapshots(&moments);
        let mut newest_first: Vec<(u8, Timestamp)> = (1..).zip(moments).collect();
        newest_first.sort_by_key(|(number, moment)| std::cmp::Reverse((*moment, *number)));
        let decisions = decide_all(&all, &policy, &zone);
        let kept: BTreeSet<u8> = kept(&decisions).into_iter().collect();
        prop_assert_eq!(kept, plain.kept(&newest_first, &zone));
        let order: Vec<u8> = decisions.iter().map(|decision| decision.snapshot.0.as_bytes()[0]).collect();
        prop_assert_eq!(order, newest_first.iter().map(|(number, _)| *number).collect::<Vec<_>>());
    }

    #[test]
    fn more_is_never_less((zone, moments) in history(), plain in plain(), more in 0..5_usize) {
        let (policy, mut greater) = (plain.policy(), plain.clone());
        prop_assume!(!policy.is_empty());
        greater.each[more] = greater.each[more].map(|count| count + 1);
        greater.last += 1;
        let all = snapshots(&moments);
        let fewer = kept(&decide_all(&all, &policy, &zone));
        let more = kept(&decide_all(&all, &greater.policy(), &zone));
        prop_assert!(fewer.iter().all(|number| more.contains(number)), "{fewer:?} {more:?}");
    }
}
