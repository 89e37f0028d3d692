//! Which logs a release of JE can open.

/// The newest log version that a release reads, from its number: `18.3.20`. `None` for what is no number of a release.
///
/// From `log/LogEntryType.java` of the releases. JE opens older versions and refuses newer ones.
pub fn newest_log_version(release: &str) -> Option<u32> {
    let mut numbers = release.trim().split('.').map(|part| part.parse::<u32>().ok());
    let (major, minor) = (numbers.next()??, numbers.next()??);
    Some(match (major, minor) {
        (..=2, _) | (3, ..=2) => 5,
        (3, _) => 6,
        (4, _) => 7,
        (5, _) => 8,
        (6, 0..=1) => 9,
        (6, 2) => 10,
        (6, _) => 11,
        (7, 0) => 12,
        (7, 1..=2) => 13,
        (7, 3..=4) => 14,
        (7, _) => 15,
        (..=17, _) | (18, ..=1) => 16,
        (18.., _) => 17,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_and_their_logs() {
        for (release, expected) in [
            ("3.3.98\n", Some(6)),
            ("5.0.104", Some(8)),
            ("6.2.31", Some(10)),
            ("7.3.7", Some(14)),
            ("7.5.11", Some(15)),
            ("18.1.11", Some(16)),
            ("18.3.20", Some(17)),
            ("je", None),
            ("7", None),
            ("", None),
        ] {
            assert_eq!(newest_log_version(release), expected, "{release}");
        }
    }
}
