//! Judgements on logs made from the specification.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;

use super::*;
use crate::log::testing::{FileBuilder, small_log};
use crate::log::{EntryType, FileSummary, Lsn, NEWEST_VERSION, OLDEST_VERSION, file_name, scan};

/// Files in memory.
struct Memory(BTreeMap<u32, Vec<u8>>);

impl Source for Memory {
    fn scan(&mut self, number: u32, visit: &mut dyn FnMut(&Entry<'_>)) -> io::Result<FileSummary> {
        let bytes = self.0.get(&number).ok_or(io::ErrorKind::NotFound)?;
        scan(&mut &bytes[..], number, Some(bytes.len() as u64), visit)
    }
}

fn report(files: BTreeMap<u32, Vec<u8>>, other_names: &[&str]) -> Report {
    let names: Vec<OsString> =
        files.keys().map(|number| file_name(*number).into()).chain(other_names.iter().map(OsString::from)).collect();
    let listing = Listing::of_names(names.iter().map(OsString::as_os_str)).checked();
    verify(&listing, &mut Memory(files), &mut |_| ())
}

fn bytes(files: &[FileBuilder]) -> BTreeMap<u32, Vec<u8>> {
    files.iter().map(|file| (file.number, file.bytes.clone())).collect()
}

fn problems(report: &Report) -> Vec<String> {
    report.findings.iter().map(|finding| format!("{:?}: {}", finding.severity, finding.problem)).collect()
}

#[test]
fn a_sound_log_of_any_version_has_no_findings() {
    for version in OLDEST_VERSION..=NEWEST_VERSION {
        let report = report(bytes(&small_log(version)), &["je.lck", "00000000.del"]);
        assert_eq!(problems(&report), Vec::<String>::new(), "{version}");
        assert_eq!((report.commits, report.newest_version()), (6, Some(version)));
        assert_eq!(report.last_commit.unwrap().transaction, 12);
        assert!(!report.is_closed() && report.recovery_bytes > 0);
        assert_eq!(report.restorable_from().map(|(file, _)| file), Some(1));
    }
}

#[test]
fn a_torn_tail_is_a_note_at_the_end_and_damage_elsewhere() {
    let files = small_log(15);
    let mut torn = bytes(&files);
    torn.get_mut(&1).unwrap().truncate(files[1].bytes.len() - 3);
    let found = report(torn.clone(), &[]);
    assert!(matches!(found.findings[..], [Finding { severity: Severity::Note, .. }]), "{:?}", problems(&found));
    torn.insert(2, FileBuilder::new(2, 15, files[1].last_entry()).bytes);
    let found = report(torn.clone(), &[]);
    assert_eq!(found.worst(), Some(Severity::Note), "JE passes over a last file without entries");
    let mut third = FileBuilder::new(2, 15, files[1].last_entry());
    third.record(9);
    torn.insert(2, third.bytes);
    let found = report(torn, &[]);
    assert!(matches!(found.findings[0].problem, Problem::Damaged { .. }), "{:?}", problems(&found));
}

#[test]
fn damage_with_commits_behind_it_in_the_last_file_is_a_silent_loss() {
    let files = small_log(17);
    let mut damaged = bytes(&files);
    let commit = report(damaged.clone(), &[]).last_commit.unwrap();
    damaged.get_mut(&1).unwrap()[commit.lsn.offset as usize - 10] ^= 1;
    let found = report(damaged, &[]);
    let Problem::SilentLoss { behind, .. } = &found.findings[0].problem else { panic!("{:?}", problems(&found)) };
    assert_eq!((behind.commits, behind.last_commit), (1, Some(commit)));
    assert_eq!((found.errors(), found.worst()), (1, Some(Severity::Error)));
    assert!(problems(&found)[0].contains("transaction 12"), "{:?}", problems(&found));
}

#[test]
fn missing_files_matter_where_recovery_reads() {
    let mut files = small_log(15);
    let mut third = FileBuilder::new(2, 15, files[1].last_entry());
    third.record(5);
    files.push(third);
    let mut without_first = bytes(&files);
    without_first.remove(&0);
    let found = report(without_first, &[]);
    // The root was in the first file: that is for the checkpoint, not for the gap.
    assert!(matches!(found.findings[0].problem, Problem::Cleaned { first: 0, last: 0 }), "{:?}", problems(&found));
    let mut third = bytes(&files);
    third.insert(4, FileBuilder::new(4, 15, 0).bytes);
    let found = report(third, &[]);
    assert!(matches!(found.findings[0].problem, Problem::Missing { first: 3, last: 3, .. }), "{:?}", problems(&found));
    let mut without_checkpoint = bytes(&files);
    without_checkpoint.remove(&0);
    without_checkpoint.remove(&1);
    let found = report(without_checkpoint, &[]);
    assert!(matches!(found.findings[0].problem, Problem::NoCheckpoint { first: 2 }), "{:?}", problems(&found));
}

#[test]
fn links_and_checkpoints_lead_somewhere() {
    let mut files = small_log(12);
    files[1] = FileBuilder::new(1, 12, 5);
    let start = files[1].checkpoint_start();
    files[1].checkpoint_end(Lsn::new(1, start.offset + 1), Some(start), Lsn::new(0, 38));
    let found = report(bytes(&files), &[]);
    let [link, begin, root] = &found.findings[..] else { panic!("{:?}", problems(&found)) };
    assert!(matches!(link.problem, Problem::BrokenLink { claimed: 5, .. }));
    assert!(matches!(begin.problem, Problem::CheckpointTarget { part: CheckpointPart::Start, .. }));
    assert!(matches!(root.problem, Problem::CheckpointTarget { part: CheckpointPart::Root, .. }));
}

#[test]
fn a_commit_follows_on_its_last_record() {
    let mut file = FileBuilder::new(0, 13, 0);
    let record = file.record(20);
    file.commit(1, 5, record);
    file.commit(2, 6, Lsn::new(0, record.offset + 1));
    let found = report(bytes(&[file]), &[]);
    let [Finding { problem: Problem::CommitWithoutRecord { commit, .. }, .. }] = &found.findings[..] else {
        panic!("{:?}", problems(&found));
    };
    assert_eq!(commit.transaction, 2);
}

#[test]
fn environments_that_must_not_be_opened() {
    let mut files = small_log(17);
    let item = [crate::log::testing::text("LOG_CHECKSUM"), crate::log::testing::packed(1)].concat();
    files[1].entry(EntryType::RESTORE_REQUIRED, &item);
    let found = report(bytes(&files), &["7fffffff.jdb", "00000001.JDB"]);
    assert_eq!(found.errors(), 3, "{:?}", problems(&found));
    assert!(problems(&found)[2].contains("LOG_CHECKSUM"), "{:?}", problems(&found));
    let unknown = report(bytes(&[FileBuilder::new(0, 18, 0)]), &[]);
    assert_eq!(unknown.worst(), Some(Severity::Unknown), "{:?}", problems(&unknown));
    assert_eq!(report(BTreeMap::new(), &[]).errors(), 1);
}

#[test]
fn a_closed_environment_ends_with_a_checkpoint() {
    let mut files = small_log(16);
    let start = files[1].checkpoint_start();
    files[1].checkpoint_end(start, None, start);
    assert!(report(bytes(&files), &[]).is_closed());
}
