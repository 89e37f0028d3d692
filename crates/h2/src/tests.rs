//! Files that real H2 wrote, files that are made by what is known of them, and what damage does to both.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::normalise::plan;
use crate::sample;
use crate::store::{BLOCK_BYTES, Format, dead_ranges};
use crate::{Report, normalise, verify};

/// A file of `tests/fixtures/h2`, unpacked.
fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/h2");
    let packed = std::fs::read(folder.join(name).with_extension("db.zst")).unwrap();
    zstd::decode_all(&packed[..]).unwrap()
}

const CLEAN: &str = "format3-2.2.220-clean.mv.db";
const KILLED: &str = "format3-2.2.220-killed.mv.db";
const FORMATS: [Format; 3] = [Format::One, Format::Two, Format::Three];

fn report(bytes: &[u8]) -> Report {
    verify(&mut &*bytes).unwrap()
}

fn entries(report: &Report, name: &str) -> u64 {
    report.maps.iter().find(|map| map.name.as_deref() == Some(name)).unwrap().entries
}

/// A whole report of it; then what is in its maps.
fn whole(bytes: &[u8]) -> Vec<(u32, u64)> {
    let report = report(bytes);
    assert_eq!(report.findings, []);
    report.maps.iter().map(|map| (map.id, map.entries)).collect()
}

#[test]
fn what_h2_2_2_wrote_is_whole() {
    for (name, is_clean, numbers) in [(CLEAN, true, 61), (KILLED, false, 60)] {
        let report = report(&fixture(name));
        assert_eq!(report.findings, [], "{name}");
        assert_eq!(report.newest.header.format, Format::Three);
        assert_eq!(report.newest.header.is_clean, is_clean);
        assert_eq!(entries(&report, "table.21"), numbers, "{name}");
    }
}

#[test]
fn every_format_is_walked() {
    for format in FORMATS {
        let report = report(&sample::store(format));
        assert_eq!(report.findings, [], "{format:?}");
        assert_eq!((report.newest.version.last.version, entries(&report, "table.5")), (2, 4));
        assert!(report.newest.version.is_quiet());
    }
}

/// Overwrites a byte and says what is found then; `None` if nothing can be read any more.
fn with_byte(bytes: &[u8], at: usize, change: u8) -> Option<Report> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= change;
    verify(&mut bytes.as_slice()).ok()
}

#[test]
fn a_damaged_header_or_footer_is_found_or_harmless() {
    for format in FORMATS {
        let bytes = sample::store(format);
        let footer = bytes.len() - 128;
        let found = with_byte(&bytes, footer, 1).unwrap();
        assert_eq!((found.newest.version.last.version, found.newest.claimed), (1, 2), "{format:?}");
        assert!(found.findings[0].detail.contains("go back to version 1"), "{found:?}");
        assert!(with_byte(&bytes, 0, 1).unwrap().is_whole(), "the other header is whole");
    }
}

#[test]
fn damage_within_pages_is_found() {
    for format in FORMATS {
        let bytes = sample::store(format);
        let first_page = 3 * BLOCK_BYTES as usize + 256;
        for at in first_page..first_page + 6 {
            let found = with_byte(&bytes, at, 0x10).unwrap();
            assert!(!found.is_whole(), "{format:?} {at}");
        }
    }
}

#[test]
fn a_store_cut_short_is_never_called_whole() {
    let bytes = fixture(CLEAN);
    for length in (0..bytes.len()).step_by(50_003) {
        let found = verify(&mut &bytes[..length]);
        assert!(found.is_err() || !found.unwrap().is_whole(), "{length}");
    }
}

/// A file of these bytes that is gone with the test.
fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn read(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_store_that_was_not_closed_is_closed_at_the_same_version() {
    let bytes = fixture(KILLED);
    let before = whole(&bytes);
    let file = file(&bytes);
    let closed_at = normalise(&file).unwrap().unwrap().version.last.version;
    let closed = read(&file);
    assert_eq!(whole(&closed), before);
    let newest = report(&closed).newest;
    assert!(newest.header.is_clean && newest.headers_agree);
    assert_eq!((newest.version.last.version, newest.header.version), (closed_at, closed_at));
    assert!(normalise(&file).unwrap().is_none(), "it is closed");
    assert!(plan(&mut fixture(CLEAN).as_slice()).unwrap().is_none());
}

#[test]
fn what_was_being_written_when_the_power_went_is_cut() {
    for format in FORMATS {
        let mut bytes = sample::store(format);
        // Version 2 names itself in the headers; its chunk never arrived.
        bytes.truncate(3 * BLOCK_BYTES as usize);
        bytes.extend([7; 5000]);
        let file = file(&bytes);
        let newest = normalise(&file).unwrap().unwrap();
        assert_eq!((newest.version.last.version, newest.claimed), (1, 2));
        let closed = read(&file);
        assert_eq!(closed.len(), 3 * BLOCK_BYTES as usize);
        assert_eq!(report(&closed).newest.version.last.version, 1);
        assert!(report(&closed).is_whole());
    }
}

#[test]
fn dead_pages_can_go() {
    for format in FORMATS {
        let bytes = sample::store(format);
        let version = report(&bytes).newest.version;
        let chunk = &version.chunks[&1];
        let (start, end) = (chunk.start() as usize, chunk.end() as usize);
        let dead = dead_ranges(&bytes[start..end], chunk, format);
        // Two pages of data in a row, and the old layout; format 1 does not say which.
        assert_eq!(
            dead.len(),
            match format {
                Format::One => 0,
                _ => 2,
            }
        );
        let mut without = bytes.clone();
        dead.iter().for_each(|range| without[start + range.start..start + range.end].fill(0));
        assert_eq!(whole(&without), whole(&bytes));
    }
}

#[test]
fn a_page_that_is_dead_and_used_is_found() {
    let mut bytes = sample::store(Format::Two);
    let at = bytes.windows(12).position(|window| window == b"occupancy:16").unwrap();
    bytes[at + 11] = b'7';
    let at = bytes.windows(11).position(|window| window == b"livePages:2").unwrap();
    bytes[at + 10] = b'1';
    let found = report(&bytes).findings;
    assert!(found.iter().any(|finding| finding.detail.contains("marked as dead")), "{found:?}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    /// Any bit of a store of real H2. What is still called whole is the same version; within pages H2 has no checksum, so
    /// that a changed number in a text of the layout may lead to another page of the same map, and nobody can tell.
    #[test]
    fn a_flipped_bit_breaks_nothing_and_never_passes_for_another_version(
        at: proptest::sample::Index,
        bit in 0..8_u32,
        killed: bool,
    ) {
        let mut bytes = fixture(if killed { KILLED } else { CLEAN });
        let before = report(&bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Some(after) = verify(&mut bytes.as_slice()).ok().filter(Report::is_whole) {
            proptest::prop_assert_eq!(after.newest.version.last.version, before.newest.version.last.version);
        }
    }
}
