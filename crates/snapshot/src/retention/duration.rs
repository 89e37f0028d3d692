//! Durations as restic writes them: `1y5m7d2h`.
//!
//! Invariant: a duration is never negative. Its years, months and days are those of the calendar, its hours are of
//! 3,600 seconds.

use std::fmt;
use std::str::FromStr;

use jiff::{Span, SpanFieldwise, Timestamp, Zoned};

use crate::error::SnapshotError;

/// Years, months, days and hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration(SpanFieldwise);

impl Duration {
    /// Whether it has no length.
    pub fn is_zero(self) -> bool {
        self.0.0.is_zero()
    }

    /// The moment that lies this long before another, by the calendar of that one's time zone: years and months first
    /// (a day that its month has not becomes the last that it has), then days, then hours. `None` if the calendar does
    /// not reach that far.
    pub(super) fn before(self, moment: &Zoned) -> Option<Timestamp> {
        moment.checked_sub(self.0.0).ok().map(|earlier| earlier.timestamp())
    }
}

type Grow = fn(Span, i64) -> Result<Span, jiff::Error>;

/// The letters, each with what of a span it sets.
const UNITS: [(char, Grow); 4] =
    [('y', Span::try_years), ('m', Span::try_months), ('d', Span::try_days), ('h', Span::try_hours)];

impl FromStr for Duration {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let bad = |detail: String| SnapshotError::BadRule { text: text.to_owned(), detail };
        let (mut span, mut rest, mut seen) = (Span::new(), text, Vec::new());
        if rest.is_empty() {
            return Err(bad("write a duration such as 30d or 1y5m7d2h".into()));
        }
        while let Some(first) = rest.chars().next() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, behind) = rest.split_at(end);
            if digits.is_empty() {
                return Err(bad(format!("`{first}` is no number")));
            }
            let Some(letter) = behind.chars().next() else {
                return Err(bad(format!("{digits} has no unit: y, m (months), d or h")));
            };
            let Some((_, grow)) = UNITS.iter().find(|(unit, _)| *unit == letter) else {
                return Err(bad(format!("`{letter}` is no unit: use y, m (months), d or h")));
            };
            if seen.contains(&letter) {
                return Err(bad(format!("`{letter}` occurs twice")));
            }
            seen.push(letter);
            let number = digits.parse().ok().and_then(|number| grow(span, number).ok());
            span = number.ok_or_else(|| bad(format!("{digits}{letter} is too long")))?;
            rest = behind.get(letter.len_utf8()..).unwrap_or_default();
        }
        Ok(Self(SpanFieldwise(span)))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = &self.0.0;
        let (years, months) = (i32::from(span.get_years()), span.get_months());
        for (number, unit) in [(years, 'y'), (months, 'm'), (span.get_days(), 'd'), (span.get_hours(), 'h')] {
            if number != 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        if self.is_zero() { f.write_str("0h") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Duration, SnapshotError> {
        text.parse()
    }

    #[test]
    fn durations_are_read_and_shown() {
        for (text, shown) in [
            ("1y5m7d2h", "1y5m7d2h"),
            ("2h7d", "7d2h"),
            ("400d", "400d"),
            ("0d", "0h"),
            ("007d", "7d"),
            ("19998y", "19998y"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown, "{text}");
        }
        assert!(parse("0y0h").unwrap().is_zero() && !parse("1h").unwrap().is_zero());
    }

    #[test]
    fn what_is_no_duration_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "such as"),
            ("7", "no unit"),
            ("d", "`d` is no number"),
            ("-7d", "`-` is no number"),
            ("+7d", "`+` is no number"),
            ("7 d", "` ` is no unit"),
            ("2w", "`w` is no unit"),
            ("7D", "`D` is no unit"),
            ("1d2d", "`d` occurs twice"),
            ("1.5d", "`.` is no unit"),
            ("7д", "`д` is no unit"),
            ("٣d", "is no number"),
            ("20000y", "too long"),
            ("99999999999999999999h", "too long"),
            ("unlimited", "`u` is no number"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn the_calendar_is_counted_back() {
        for (moment, duration, before) in [
            // A day that the month has not becomes its last, in leap years too.
            ("2026-03-31T12:00:00+02:00[Europe/Berlin]", "1m", "2026-02-28T11:00:00Z"),
            ("2024-03-31T12:00:00+02:00[Europe/Berlin]", "1m", "2024-02-29T11:00:00Z"),
            ("2024-02-29T12:00:00Z[UTC]", "1y", "2023-02-28T12:00:00Z"),
            // A day back over a change of the clock is the same time of day; 24 hours are not.
            ("2026-03-29T12:00:00+02:00[Europe/Berlin]", "1d", "2026-03-28T11:00:00Z"),
            ("2026-03-29T12:00:00+02:00[Europe/Berlin]", "24h", "2026-03-28T10:00:00Z"),
            // 02:30 did not exist on that day: it is an hour later.
            ("2026-03-30T02:30:00+02:00[Europe/Berlin]", "1d", "2026-03-29T01:30:00Z"),
            // Years and months first, then days, then hours.
            ("2026-03-31T12:00:00Z[UTC]", "1m1d12h", "2026-02-27T00:00:00Z"),
        ] {
            let found = parse(duration).unwrap().before(&moment.parse().unwrap()).unwrap();
            assert_eq!(found.to_string(), before, "{moment} - {duration}");
        }
        let early: Zoned = "-009990-01-01T00:00:00Z[UTC]".parse().unwrap();
        assert_eq!(parse("100y").unwrap().before(&early), None);
    }
}
