//! What users type that only the command parses, and what applications write. The modules of the command use nothing of
//! it, so they are taken as they are; the command is a program, not a library.

use treering_store::fuzzing::Target;

#[allow(dead_code, unreachable_pub, reason = "only the parsers are used")]
#[path = "../../crates/cli/src/selector.rs"]
mod selector;
#[allow(dead_code, unreachable_pub, reason = "only the parsers are used")]
#[path = "../../crates/cli/src/size.rs"]
mod size;
#[allow(dead_code, unreachable_pub, reason = "only the parsers are used")]
#[path = "../../crates/cli/src/time.rs"]
mod time;

/// All of the command, and of the crates that know nothing of targets.
pub(crate) const TARGETS: &[Target] = &[
    Target { name: "h2_store", run: treering_h2::fuzzing::run, seeds: treering_h2::fuzzing::seeds },
    Target { name: "selector", run: selector, seeds: || words(&["latest", "latest~3:/a/b", "abcd1234:/x"]) },
    Target { name: "size", run: size, seeds: || words(&["10M", "1.5GiB", "0"]) },
    Target { name: "time", run: time, seeds: || words(&["2026-11-22 03:15:00", "2026-11-22", "2026-11-22T03:15:00Z"]) },
];

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn selector(bytes: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(selector) = selector::Selector::parse(std::ffi::OsStr::from_bytes(bytes)) else { return false };
    let is_clean = |path: &[u8]| path.split(|b| *b == b'/').all(|name| !matches!(name, b"." | b".."));
    assert!(selector.sub_path.as_deref().is_none_or(is_clean), "a sub-path has no empty, `.` or `..` component");
    true
}

fn size(bytes: &[u8]) -> bool {
    let Ok(Ok(bytes)) = std::str::from_utf8(bytes).map(size::parse) else { return false };
    !size::show(bytes).is_empty()
}

fn time(bytes: &[u8]) -> bool {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
    let Ok(Ok(moment)) = std::str::from_utf8(bytes).map(|text| time::parse(text, &zone)) else { return false };
    !time::rfc3339(moment, &zone).is_empty() && !time::show(moment, &zone).is_empty()
}
