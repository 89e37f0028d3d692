//! The scanner on logs made from the specification.

use proptest::prelude::*;

use super::testing::{FileBuilder, small_log};
use super::*;

fn scanned(number: u32, bytes: &[u8], piece: usize) -> (FileSummary, Vec<(u32, bool)>) {
    let mut scanner = Scanner::new(number, piece.is_multiple_of(2).then_some(bytes.len() as u64));
    let mut entries = Vec::new();
    let mut visit = |entry: &Entry<'_>| entries.push((entry.lsn.offset, entry.is_behind));
    bytes.chunks(piece).for_each(|piece| scanner.push(piece, &mut visit));
    let summary = scanner.finish(&mut visit);
    (summary, entries)
}

#[test]
fn every_version_is_read() {
    for version in OLDEST_VERSION..=NEWEST_VERSION {
        for file in small_log(version) {
            let (summary, entries) = scanned(file.number, &file.bytes, 1 << 20);
            assert!(summary.is_whole() && summary.malformed.is_none(), "{version}: {summary:?}");
            assert_eq!(summary.header.unwrap().version, version);
            assert_eq!((summary.valid_end, summary.commits), (file.bytes.len() as u64, 3), "{version}");
            assert_eq!(summary.last_entry, file.last_entry());
            assert_eq!(entries.len() as u64, summary.entries);
            let last = summary.last_commit.unwrap();
            let transaction = if file.number == 0 { 2 } else { 12 };
            assert_eq!((last.transaction, last.time_ms), (transaction, 1_700_000_000_000 + transaction * 1000));
            assert_eq!(last.end, summary.valid_end);
            let checkpoint = summary.checkpoint.map(|checkpoint| checkpoint.item);
            assert_eq!(checkpoint.is_some(), file.number == 1);
            assert!(checkpoint.is_none_or(|item| item.id == 1 && item.root.is_some() && item.may_delete_files));
        }
    }
}

#[test]
fn the_size_of_pieces_does_not_matter() {
    let file = small_log(17).pop().unwrap();
    let mut damaged = file.bytes.clone();
    damaged[200] ^= 1;
    for bytes in [&file.bytes, &damaged, &file.bytes[..file.bytes.len() - 5].to_vec()] {
        let whole = scanned(1, bytes, 1 << 20);
        for piece in [1, 2, 3, 7, 13, 14, 38, 39, 64, 100, 101] {
            assert_eq!(scanned(1, bytes, piece), whole, "{piece}");
        }
    }
}

#[test]
fn every_cut_is_a_torn_tail() {
    let file = small_log(15).pop().unwrap();
    let (_, entries) = scanned(1, &file.bytes, 1 << 20);
    let ends: Vec<u64> = entries.iter().skip(1).map(|(offset, _)| u64::from(*offset)).collect();
    for cut in 38..file.bytes.len() {
        let (summary, _) = scanned(1, &file.bytes[..cut], 1 << 20);
        assert_eq!(summary.is_whole(), ends.contains(&(cut as u64)), "{cut}");
        assert_eq!(summary.is_torn(), !summary.is_whole(), "{cut}");
        assert_eq!(summary.valid_end, *ends.iter().rfind(|end| **end <= cut as u64).unwrap(), "{cut}");
    }
}

#[test]
fn every_flipped_bit_is_seen() {
    for version in [6, 7, 12, 17] {
        let file = small_log(version).pop().unwrap();
        let (whole, _) = scanned(1, &file.bytes, 1 << 20);
        for at in 0..file.bytes.len() {
            for bit in 0..8 {
                let mut damaged = file.bytes.clone();
                damaged[at] ^= 1 << bit;
                let (summary, _) = scanned(1, &damaged, 1 << 20);
                let uncovered = summary.invisible + summary.erased > 0;
                assert!(!summary.is_whole() || uncovered, "{version}, byte {at}, bit {bit}");
                // Whatever lies behind the broken entry is still known, unless the version is what is broken.
                let uncovered = uncovered || (34..38).contains(&at);
                let found = summary.commits + summary.damage.map_or(0, |damage| damage.behind.commits);
                assert!(found + 1 >= whole.commits || uncovered, "{version}, byte {at}, bit {bit}: {found}");
            }
        }
    }
}

#[test]
fn the_invisible_bit_is_not_covered() {
    let mut file = FileBuilder::new(0, 15, 0);
    let record = file.entry_with(EntryType(33), 0x28, &[1; 9]);
    file.commit(1, 5, record);
    file.bytes[record.offset as usize + 5] |= 0x10;
    let (summary, _) = scanned(0, &file.bytes, 1 << 20);
    assert!(summary.is_whole());
    assert_eq!((summary.invisible, summary.commits), (1, 1));
}

#[test]
fn erased_entries_are_passed_over_and_counted() {
    let mut file = FileBuilder::new(0, 17, 0);
    let record = file.record(30);
    file.commit(1, 5, record);
    let at = record.offset as usize;
    file.bytes[at + 4] = EntryType::ERASED.0;
    file.bytes[at + 14..at + 44].fill(0);
    let (summary, _) = scanned(0, &file.bytes, 1 << 20);
    assert_eq!((summary.is_whole(), summary.erased, summary.commits), (true, 1, 1));
}

#[test]
fn damage_names_the_commits_behind_it() {
    let mut file = FileBuilder::new(3, 13, 0);
    let mut commits = Vec::new();
    for transaction in 0..5 {
        let last = file.record(20);
        commits.push(file.commit(transaction, 1000 + transaction, last));
    }
    file.bytes[commits[1].offset as usize + 20] ^= 0xff;
    let (summary, entries) = scanned(3, &file.bytes, 64);
    let damage = summary.damage.unwrap();
    assert_eq!((damage.offset, damage.fault), (u64::from(commits[1].offset), Fault::WrongChecksum));
    assert_eq!((summary.commits, damage.behind.commits), (1, 3));
    assert_eq!(damage.behind.first_commit.unwrap().lsn, commits[2]);
    assert_eq!(damage.behind.last_commit.unwrap().time_ms, 1004);
    assert_eq!(entries.iter().filter(|(_, is_behind)| *is_behind).count() as u64, damage.behind.entries);
}

#[test]
fn a_length_that_swallows_the_rest_hides_nothing() {
    for byte in [1_usize, 2, 3] {
        let mut file = FileBuilder::new(0, 15, 0);
        let record = file.record(20);
        let commit = file.commit(1, 5, record);
        file.bytes[record.offset as usize + 10 + byte] = 1;
        for piece in [63, 64] {
            let (summary, _) = scanned(0, &file.bytes, piece);
            assert_eq!(summary.damage.unwrap().behind.first, Some(commit), "{byte}, {piece}");
        }
    }
}

/// Each of them would have to be summed up over a megabyte.
#[test]
fn headers_that_overlap_are_given_up_and_that_is_said() {
    let mut file = FileBuilder::new(0, 15, 0);
    file.record(30);
    let from = file.bytes.len() as u32;
    for _ in 0..10_000 {
        file.bytes.extend([7; 4]);
        file.bytes.extend([EntryType(1).0, 0]);
        file.bytes.extend(from.to_le_bytes());
        file.bytes.extend((1_u32 << 20).wrapping_sub(14).to_le_bytes());
    }
    file.bytes.resize(file.bytes.len() + (2 << 20), 0);
    let (summary, _) = scanned(0, &file.bytes, 1 << 20);
    let damage = summary.damage.as_ref().unwrap();
    assert!(damage.behind.is_incomplete && damage.offset == u64::from(from), "{damage:?}");
    assert!(!summary.is_torn() && summary.read_bytes == file.bytes.len() as u64);
}

#[test]
fn headers_that_are_not_right() {
    let file = FileBuilder::new(4, 17, 0);
    let fault = |number, bytes: &[u8]| scanned(number, bytes, 1 << 20).0.damage.map(|damage| damage.fault);
    assert_eq!(fault(4, &file.bytes), None);
    assert_eq!(fault(5, &file.bytes), Some(Fault::WrongNumber { found: 4 }));
    assert_eq!(fault(4, &file.bytes[..37]), Some(Fault::Truncated));
    assert_eq!(fault(4, &[0; 100]), Some(Fault::NoFileHeader));
    assert_eq!(fault(0, &FileBuilder::new(0, 18, 0).bytes), Some(Fault::UnknownVersion { version: 18 }));
    assert_eq!(fault(0, &FileBuilder::new(0, 5, 0).bytes), Some(Fault::UnknownVersion { version: 5 }));
    assert_eq!((fault(0, &[]), scanned(0, &[], 1).0.header), (None, None));
}

#[test]
fn entries_that_are_too_long_to_be_held() {
    let long = 65 << 20;
    let mut file = FileBuilder::new(0, 15, 0);
    let record = file.record(long);
    file.commit(1, 5, record);
    let (summary, entries) = scanned(0, &file.bytes, 1 << 20);
    assert_eq!((summary.is_whole(), summary.entries, entries.len()), (true, 3, 3));
    file.bytes[1 << 20] ^= 1;
    let damage = scanned(0, &file.bytes, 1 << 20).0.damage.unwrap();
    assert!(damage.behind.is_incomplete && damage.behind.commits == 1, "{damage:?}");
    let cut = scanned(0, &file.bytes[..64 << 20], (1 << 20) + 1).0;
    assert!(!cut.is_torn() && cut.damage.unwrap().fault == Fault::Truncated);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1..50_usize) {
        let (summary, _) = scanned(0, &bytes, piece);
        prop_assert!(summary.valid_end <= bytes.len() as u64);
        prop_assert_eq!(summary.read_bytes, bytes.len() as u64);
    }

    #[test]
    fn any_change_is_survived(at in 0..500_usize, with in prop::collection::vec(any::<u8>(), 0..30), piece in 1..90_usize) {
        let mut bytes = small_log(17).pop().unwrap().bytes;
        let at = at.min(bytes.len());
        bytes.splice(at..(at + with.len()).min(bytes.len()), with);
        let (summary, _) = scanned(1, &bytes, piece);
        prop_assert!(summary.valid_end <= bytes.len() as u64);
    }
}
