//! Whether a transaction can have come between the tables of a version.
//!
//! H2 stores a version by taking the roots of its maps one after the other while transactions go on
//! (`MVStore.collectChangedMapRoots`). A transaction that is open when the root of its undo log is taken is rolled back
//! when the version is opened. One that ends between two roots is not: its undo log is empty again, its change is in the
//! map that was taken last, and not in the one that was taken first. Nothing within the version tells. Two things outside
//! of it do, together with the time at which H2 began to store it, which the version's chunk holds:
//!
//! * It was written to the file a moment after that time. The roots were taken within that moment, which is too short for
//!   more than a chance; what lets a transaction in between is that the storing thread had to wait for a processor.
//! * Nothing was written for a while. H2 stores what was changed within half a second (`WRITE_DELAY`): had a transaction
//!   ended between two roots, its change would be unsaved in one of the maps, and a newer version would have come.
//!
//! Invariant: a time that cannot be trusted, because a clock was set or the file system's times are coarse, makes no
//! version settled.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// From the beginning of storing to the end of writing: a few milliseconds where the machine is not too busy
/// (`docs/measurements.md` has what was seen with longer times).
const MOMENT: Duration = Duration::from_millis(10);
/// The times of files are those of the last tick of the kernel's clock.
const TICK: Duration = Duration::from_millis(10);
/// Four times the default of `WRITE_DELAY`.
const NOTHING_WRITTEN: Duration = Duration::from_secs(2);

/// Whether a version that H2 began to store at this time, in milliseconds since 1970, is settled, when the file was last
/// written as told, and is still the newest one now.
pub(crate) fn is_settled(began_ms: u64, written: SystemTime, now: SystemTime) -> bool {
    let began = UNIX_EPOCH + Duration::from_millis(began_ms);
    let was_short = written >= began - TICK && written <= began + MOMENT;
    let is_last = written <= now && now.duration_since(began.max(written)).is_ok_and(|since| since >= NOTHING_WRITTEN);
    was_short || is_last
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN_MS: u64 = 1_795_000_000_000;

    fn at(ms: i64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(BEGAN_MS.saturating_add_signed(ms))
    }

    #[test]
    fn a_version_is_settled_if_it_was_stored_in_a_moment_or_nothing_followed() {
        // (written, now, settled), in milliseconds since it was begun
        let cases = [
            (3, 5, true),
            (10, 12, true),
            (11, 30, false),
            (560, 700, false),
            // The tick of the file system's clock may lie before.
            (-4, 1, true),
            // A clock was set, or times are in whole seconds.
            (-900, 100, false),
            (-900, 2_100, true),
            (40, 2_039, false),
            (40, 2_040, true),
            (5_000, 2_100, false),
        ];
        for (written, now, expected) in cases {
            assert_eq!(is_settled(BEGAN_MS, at(written), at(now)), expected, "written {written}, now {now}");
        }
    }

    #[test]
    fn a_time_that_is_out_of_range_settles_nothing() {
        assert!(!is_settled(u64::MAX, at(0), at(5_000)));
    }
}
