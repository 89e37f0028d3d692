//! Moments and durations as people type and read them.
//!
//! Owns: the accepted forms of `--time` and `--at`, and the forms in which times are shown and put into JSON.
//! Never: asks the clock or the system's time zone; both are handed in.
//! Invariant: a moment that was printed in either form is read back as the same moment, to the printed precision.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// What the message about an unreadable time suggests.
const ACCEPTED: &str = "write `2026-11-20 03:00`, `2026-11-20 03:00:15`, `2026-11-20` (its first moment) or RFC 3339 \
                        with an offset, `2026-11-20T03:00:00+01:00`";

/// Reads a moment. Without an offset it is meant in the given time zone; a date alone is its first moment.
///
/// A local time that a clock change makes ambiguous is the earlier of the two; one that it skips is the moment that
/// lies as far behind the change.
pub(crate) fn parse(text: &str, zone: &TimeZone) -> Result<Timestamp, TimeError> {
    let text = text.trim();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp);
    }
    let unreadable = || TimeError(format!("`{text}` is not a time: {ACCEPTED}"));
    let local: DateTime = text.parse().map_err(|_| unreadable())?;
    // jiff would ignore a time zone in brackets here, and the user meant something by it.
    if text.contains('[') {
        return Err(unreadable());
    }
    let zoned = zone.to_zoned(local).map_err(|_| TimeError(format!("`{text}` is too far away to be counted with")))?;
    Ok(zoned.timestamp())
}

/// For eyes: `2026-11-20 03:00:15`, in the given time zone.
pub(crate) fn show(moment: Timestamp, zone: &TimeZone) -> String {
    zone.to_datetime(moment).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// For JSON: RFC 3339 with the offset of the given time zone and as many digits as the moment has.
pub(crate) fn rfc3339(moment: Timestamp, zone: &TimeZone) -> String {
    moment.display_with_offset(zone.to_offset(moment)).to_string()
}

/// For eyes, as in restic: `0:07`, `12:34`, `1:02:03`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        hours => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Why a text is no moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimeError(String);

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TimeError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn utc_of(text: &str) -> String {
        parse(text, &berlin()).unwrap().to_string()
    }

    #[test]
    fn local_times_are_meant_in_the_given_zone() {
        assert_eq!(utc_of("2026-11-20 03:00"), "2026-11-20T02:00:00Z");
        assert_eq!(utc_of("2026-07-20 03:00:15"), "2026-07-20T01:00:15Z");
        assert_eq!(utc_of("2026-11-20T03:00:00.5"), "2026-11-20T02:00:00.5Z");
        assert_eq!(utc_of("2026-11-20"), "2026-11-19T23:00:00Z");
    }

    #[test]
    fn an_offset_beats_the_zone() {
        assert_eq!(utc_of("2026-11-20T03:00:00Z"), "2026-11-20T03:00:00Z");
        assert_eq!(utc_of("2026-11-20T03:00:00-05:00"), "2026-11-20T08:00:00Z");
        assert_eq!(utc_of(" 2026-11-20 03:00:00+08:00 "), "2026-11-19T19:00:00Z");
    }

    #[test]
    fn clock_changes() {
        // 02:30 happens twice: the earlier. 02:30 does not happen: an hour later.
        assert_eq!(utc_of("2026-10-25 02:30"), "2026-10-25T00:30:00Z");
        assert_eq!(utc_of("2026-03-29 02:30"), "2026-03-29T01:30:00Z");
    }

    #[test]
    fn nonsense_is_refused_with_examples() {
        for bad in ["", "yesterday", "03:00", "2026-13-01", "2026-11-20 25:00", "1700000000", "2026-11-20[Asia/Tokyo]"]
        {
            let error = parse(bad, &berlin()).unwrap_err();
            assert!(error.to_string().contains("2026-11-20 03:00"), "{bad}");
        }
    }

    #[test]
    fn the_end_of_time_is_called_so() {
        let error = parse("9999-12-31", &TimeZone::UTC).unwrap_err().to_string();
        assert!(error.contains("too far away"), "{error}");
    }

    #[test]
    fn printed_times_are_read_back() {
        let moment: Timestamp = "2026-11-20T02:00:15.123456789Z".parse().unwrap();
        assert_eq!(rfc3339(moment, &berlin()), "2026-11-20T03:00:15.123456789+01:00");
        assert_eq!(parse(&rfc3339(moment, &berlin()), &berlin()).unwrap(), moment);
        assert_eq!(show(moment, &berlin()), "2026-11-20 03:00:15");
        assert_eq!(rfc3339(moment, &TimeZone::UTC), "2026-11-20T02:00:15.123456789+00:00");
    }

    #[test]
    fn durations() {
        assert_eq!(show_duration(Duration::from_millis(7_999)), "0:07");
        assert_eq!(show_duration(Duration::from_secs(754)), "12:34");
        assert_eq!(show_duration(Duration::from_secs(90_061)), "25:01:01");
    }
}
