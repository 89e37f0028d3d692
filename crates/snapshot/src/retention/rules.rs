//! A policy applied to one group: a walk from the newest snapshot to the oldest.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::calendar::Slot;
use super::{Count, Decision, Duration, EachPeriod, Period, Policy, Reason, WATCH_TAG};
use crate::record::Snapshot;
use crate::select::{Named, has_tags};

/// What is left of a policy's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Left {
    /// Of the newest ones.
    pub last: Count,
    /// Of the newest ones of each period.
    pub each: EachPeriod<Count>,
}

/// What the policy says of each snapshot, newest first, as they must come.
pub(super) fn apply<'a>(newest_first: &[&'a Named], policy: &Policy, zone: &TimeZone) -> Vec<Decision<'a>> {
    let Some(((_, newest), oldest)) = newest_first.first().copied().zip(newest_first.len().checked_sub(1)) else {
        return Vec::new();
    };
    let mut walk = Walk::new(policy, &zoned(newest, zone));
    let judged = newest_first.iter().enumerate().map(|(at, named)| {
        let reasons = walk.judge(&named.1, &zoned(&named.1, zone), at == oldest);
        Decision { snapshot: named, reasons, left: walk.left }
    });
    judged.collect()
}

fn zoned(snapshot: &Snapshot, zone: &TimeZone) -> Zoned {
    snapshot.time.timestamp().to_zoned(zone.clone())
}

/// Where a walk stands.
struct Walk<'p> {
    policy: &'p Policy,
    left: Left,
    /// The periods of which a snapshot was seen.
    seen: EachPeriod<BTreeSet<Slot>>,
    within: Option<Within>,
    watch_within: Option<Within>,
    each_within: EachPeriod<Option<Within>>,
    /// The periods of which a snapshot was seen that is not too old.
    seen_within: EachPeriod<BTreeSet<Slot>>,
}

impl<'p> Walk<'p> {
    fn new(policy: &'p Policy, newest: &Zoned) -> Self {
        let within = |duration: &Option<Duration>| duration.and_then(|duration| Within::new(duration, newest));
        let each = &policy.each_within;
        Self {
            policy,
            left: Left { last: policy.last, each: policy.each },
            seen: EachPeriod::default(),
            within: within(&policy.within),
            watch_within: within(&policy.watch_within),
            each_within: EachPeriod {
                hourly: within(&each.hourly),
                daily: within(&each.daily),
                weekly: within(&each.weekly),
                monthly: within(&each.monthly),
                yearly: within(&each.yearly),
            },
            seen_within: EachPeriod::default(),
        }
    }

    /// All that keeps the next snapshot, in the order in which restic names it.
    fn judge(&mut self, snapshot: &Snapshot, moment: &Zoned, is_oldest: bool) -> Vec<Reason> {
        let tags = self.policy.tags.iter().filter(|list| has_tags(snapshot, list));
        let mut reasons: Vec<Reason> = tags.map(|list| Reason::Tags(list.clone())).collect();
        let within = self.within.filter(|within| within.holds(moment));
        let is_watch = snapshot.tags.iter().any(|tag| tag == WATCH_TAG);
        let watched = self.watch_within.filter(|within| is_watch && within.holds(moment));
        reasons.extend(within.or(watched).map(|within| Reason::Within(within.duration)));
        reasons.extend(self.left.last.take().then_some(Reason::Last));
        for period in Period::ALL {
            reasons.extend(self.counted(period, moment, is_oldest));
        }
        for period in Period::ALL {
            reasons.extend(self.not_too_old(period, moment));
        }
        reasons
    }

    /// While a count is not used up it also keeps the oldest snapshot, so that the history is as long as it can be.
    fn counted(&mut self, period: Period, moment: &Zoned, is_oldest: bool) -> Option<Reason> {
        let is_first = self.seen.of_mut(period).insert(period.slot(moment));
        let is_kept = (is_first || is_oldest) && self.left.each.of_mut(period).take();
        is_kept.then_some(if is_first { Reason::Newest(period) } else { Reason::Oldest(period) })
    }

    fn not_too_old(&mut self, period: Period, moment: &Zoned) -> Option<Reason> {
        let within = self.each_within.of(period).filter(|within| within.holds(moment))?;
        let is_first = self.seen_within.of_mut(period).insert(period.slot(moment));
        is_first.then_some(Reason::NewestWithin(period, within.duration))
    }
}

/// A duration counted back from the newest snapshot.
#[derive(Debug, Clone, Copy)]
struct Within {
    duration: Duration,
    /// What is not after it is too old; `None` if it lies before all calendars.
    limit: Option<Timestamp>,
}

impl Within {
    fn new(duration: Duration, newest: &Zoned) -> Option<Self> {
        (!duration.is_zero()).then(|| Self { duration, limit: duration.before(newest) })
    }

    fn holds(&self, moment: &Zoned) -> bool {
        self.limit.is_none_or(|limit| moment.timestamp() > limit)
    }
}
