//! Dates for log lines, folder names and zip entries.
//!
//! Owns: turning seconds since 1970 (UTC) into a date.
//! Never: asks what time it is.
//! Invariant: generated days count from [`FIRST_DAY`], so a generated folder is dated the same on every machine.

use std::fmt;

/// Seconds in a day.
pub(crate) const DAY: i64 = 86_400;

/// Midnight of 2025-01-01, when every generated history begins.
pub(crate) const FIRST_DAY: i64 = 1_735_689_600;

/// A date and a time of day, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
}

impl Date {
    /// The date of a number of seconds since 1970.
    pub(crate) fn of(seconds: i64) -> Self {
        let (year, month, day) = civil(seconds.div_euclid(DAY));
        let rest = seconds.rem_euclid(DAY);
        Self { year, month, day, hour: rest / 3600, minute: rest / 60 % 60, second: rest % 60 }
    }

    /// `2025-01-31`.
    pub(crate) fn day_name(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// `20250131120000`, as Jpom names its database backups.
    pub(crate) fn compact(&self) -> String {
        let Self { year, month, day, hour, minute, second } = self;
        format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
    }

    /// The date and time fields of a zip entry, which cannot say anything before 1980.
    pub(crate) fn dos(&self) -> (u16, u16) {
        let date = (self.year - 1980).max(0) << 9 | self.month << 5 | self.day;
        let time = self.hour << 11 | self.minute << 5 | (self.second / 2);
        (date as u16, time as u16)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:02}:{:02}:{:02}", self.day_name(), self.hour, self.minute, self.second)
    }
}

/// Year, month and day of a count of days since 1970, by the 400-year cycle of the Gregorian calendar that
/// begins on a first of March (so that the leap day is the last of its year).
fn civil(days: i64) -> (i64, i64, i64) {
    const CYCLE_DAYS: i64 = 146_097;
    let shifted = days + 719_468;
    let cycle = shifted.div_euclid(CYCLE_DAYS);
    let day_of_cycle = shifted.rem_euclid(CYCLE_DAYS);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_cycle + cycle * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(Date::of(0).to_string(), "1970-01-01 00:00:00");
        assert_eq!(Date::of(FIRST_DAY).to_string(), "2025-01-01 00:00:00");
        assert_eq!(Date::of(951_868_799).to_string(), "2000-02-29 23:59:59");
        assert_eq!(Date::of(-1).compact(), "19691231235959");
    }
}
