//! The clock and the time zone of this machine; the only module that asks for them.
//!
//! Never: decides what a moment means; whoever needs one is handed it.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Now.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    now().as_millisecond()
}

/// The time zone in which people here type and read times.
pub(crate) fn zone() -> TimeZone {
    TimeZone::system()
}
