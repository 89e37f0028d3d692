//! The clock and the time zone of this machine; the only module that asks for them.
//!
//! Never: decides what a moment means; whoever needs one is handed it.

use std::ffi::OsString;

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

/// The time zone in which people here type and read times; and what `TZ` says, if that is no time zone, and UTC is meant.
pub(crate) fn zone() -> (TimeZone, Option<OsString>) {
    match TimeZone::try_system() {
        Ok(zone) => (zone, None),
        Err(_) => (TimeZone::UTC, std::env::var_os("TZ").filter(|name| !name.is_empty())),
    }
}
