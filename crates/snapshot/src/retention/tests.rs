//! Decisions about known dates, and a plain second implementation to compare with.

mod last_good;
mod reference;
mod tables;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::*;
use crate::node::Time;
use crate::record::SnapshotName;
use crate::testing::snapshot;

pub(super) fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or_else(|e| panic!("{e}: install the Debian package tzdata"))
}

pub(super) fn name(number: u8) -> SnapshotName {
    SnapshotName::from_bytes([number; 32])
}

/// A snapshot of this number at this moment.
pub(super) fn at(number: u8, moment: Timestamp) -> Named {
    let mut made = snapshot();
    made.time = Time { seconds: moment.as_second(), nanoseconds: 0 };
    (name(number), made)
}

/// Snapshots of these moments of a time zone, numbered from 1.
pub(super) fn series(zone: &TimeZone, moments: &[&str]) -> Vec<Named> {
    let parse = |text: &str| match text.parse::<Timestamp>() {
        Ok(moment) => moment,
        Err(_) => zone.to_zoned(text.parse().unwrap()).unwrap().timestamp(),
    };
    moments.iter().zip(1..).map(|(text, number)| at(number, parse(text))).collect()
}

/// A policy in restic's letters, and ours for what a watch has taken: `l2 d7 w3 wd30d t:a,b watch7d`.
pub(super) fn policy(text: &str) -> Policy {
    let mut made = Policy::default();
    for rule in text.split_whitespace() {
        let end = rule.find(|c: char| c.is_ascii_digit() || c == ':' || c == '*').unwrap();
        let (what, value) = rule.split_at(end);
        let count = || if value == "*" { Count::Unlimited } else { value.parse().unwrap() };
        let within = || Some(value.parse().unwrap());
        match what {
            "l" => made.last = count(),
            "h" => made.each.hourly = count(),
            "d" => made.each.daily = count(),
            "w" => made.each.weekly = count(),
            "m" => made.each.monthly = count(),
            "y" => made.each.yearly = count(),
            "within" => made.within = within(),
            "watch" => made.watch_within = within(),
            "wh" => made.each_within.hourly = within(),
            "wd" => made.each_within.daily = within(),
            "ww" => made.each_within.weekly = within(),
            "wm" => made.each_within.monthly = within(),
            "wy" => made.each_within.yearly = within(),
            "t" => made.tags.push(Filter::tag_list(&value[1..])),
            other => panic!("{other}"),
        }
    }
    made
}

/// Decides over all snapshots as one group.
/// Of none of them anything is lost.
pub(super) fn sound(all: &[Named]) -> (&[Named], &'static BTreeSet<SnapshotName>) {
    static NONE: BTreeSet<SnapshotName> = BTreeSet::new();
    (all, &NONE)
}

pub(super) fn decide_all<'a>(all: &'a [Named], policy: &Policy, zone: &TimeZone) -> Vec<Decision<'a>> {
    let by = GroupBy { host: false, paths: false, tags: false };
    let groups = decide(sound(all), &Filter::default(), policy, by, zone).unwrap();
    groups.into_iter().flat_map(|group| group.decisions).collect()
}

/// The numbers of those that are kept, newest first.
pub(super) fn kept(decisions: &[Decision<'_>]) -> Vec<u8> {
    let kept = decisions.iter().filter(|decision| decision.is_kept());
    kept.map(|decision| decision.snapshot.0.as_bytes()[0]).collect()
}
