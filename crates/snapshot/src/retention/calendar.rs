//! Hours, days, weeks, months and years of a time zone.
//!
//! Invariant: two moments share a slot if and only if a clock and a calendar on the wall say that they are in the same
//! hour, day, week, month or year. An hour that the end of summer time repeats is two hours.

use jiff::Zoned;
use jiff::civil::Date;
use jiff::tz::Offset;

/// What a rule keeps one snapshot of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// An hour of the clock.
    Hour,
    /// A day of the calendar, however many hours it has.
    Day,
    /// A week as ISO 8601 has it: from Monday; the first of a year has its first Thursday.
    Week,
    /// A month of the calendar.
    Month,
    /// A year of the calendar.
    Year,
}

impl Period {
    /// All of them, shortest first.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// `hourly`, `daily` and so on.
    pub fn adverb(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }

    /// The one in which a moment lies.
    pub(super) fn slot(self, moment: &Zoned) -> Slot {
        let date = moment.date();
        match self {
            Self::Hour => Slot::Hour(date, moment.hour(), moment.offset()),
            Self::Day => Slot::Day(date),
            Self::Week => Slot::Week(date.iso_week_date().year(), date.iso_week_date().week()),
            Self::Month => Slot::Month(date.year(), date.month()),
            Self::Year => Slot::Year(date.year()),
        }
    }
}

/// One hour, day, week, month or year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// Its day, number and offset from UTC, by which two hours of the same number differ.
    Hour(Date, i8, Offset),
    Day(Date),
    /// The year that the week belongs to, and its number.
    Week(i16, i8),
    Month(i16, i8),
    Year(i16),
}

/// Something for each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EachPeriod<T> {
    /// For each hour.
    pub hourly: T,
    /// For each day.
    pub daily: T,
    /// For each week.
    pub weekly: T,
    /// For each month.
    pub monthly: T,
    /// For each year.
    pub yearly: T,
}

impl<T> EachPeriod<T> {
    /// What it has for a period.
    pub fn of(&self, period: Period) -> &T {
        match period {
            Period::Hour => &self.hourly,
            Period::Day => &self.daily,
            Period::Week => &self.weekly,
            Period::Month => &self.monthly,
            Period::Year => &self.yearly,
        }
    }

    /// What it has, shortest period first.
    pub fn iter(&self) -> impl Iterator<Item = (Period, &T)> {
        Period::ALL.into_iter().map(|period| (period, self.of(period)))
    }

    pub(super) fn of_mut(&mut self, period: Period) -> &mut T {
        match period {
            Period::Hour => &mut self.hourly,
            Period::Day => &mut self.daily,
            Period::Week => &mut self.weekly,
            Period::Month => &mut self.monthly,
            Period::Year => &mut self.yearly,
        }
    }
}
