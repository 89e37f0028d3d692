//! Captures of logs made from the specification, in folders.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use treering_snapshot::capture::{Application, Folder, Lock, Names, Piece, Verdict, try_lock};

use super::*;
use crate::log::file_name;
use crate::log::testing::{FileBuilder, small_log};

/// Nothing is stored at once.
struct NoPieces;

impl PieceStore for NoPieces {
    fn put(&mut self, _: &mut dyn Read, _: CutPolicy) -> Result<Piece, CaptureError> {
        Err(CaptureError::NotStored)
    }
}

/// What came of a capture.
struct Got {
    /// The bytes of each file; `None`: unchanged.
    files: BTreeMap<String, Option<Vec<u8>>>,
    conclusion: Conclusion,
}

fn claim(folder: &Path, options: Options) -> Option<Box<dyn Capture>> {
    let listed: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let names = Names::of(listed.iter().map(|name| name.as_os_str())).unwrap();
    let shown = Folder { path: folder, names: &names, is_excluded: &|_, _| false };
    Je::new(options).claim(&shown).pop()
}

fn capture(folder: &Path, previous: Option<&[u8]>) -> Got {
    capture_with(folder, previous, &mut |_| ())
}

/// `meanwhile` is called when the set is fixed and nothing of it was read.
fn capture_with(folder: &Path, previous: Option<&[u8]>, meanwhile: &mut dyn FnMut(&Path)) -> Got {
    let mut capture = claim(folder, Options::default()).unwrap();
    let taken = capture.take(previous, &mut NoPieces).unwrap();
    meanwhile(folder);
    let mut files = BTreeMap::new();
    for file in taken {
        let bytes = match file.content {
            Content::Unchanged => None,
            Content::Bytes(mut bytes) | Content::Held { mut bytes, .. } => {
                let mut read = Vec::new();
                bytes.read_to_end(&mut read).unwrap();
                Some(read)
            }
            Content::Pieces(_) => panic!("no pieces"),
        };
        files.insert(file.path.display().to_string(), bytes);
    }
    Got { files, conclusion: capture.conclude() }
}

fn write(folder: &Path, files: &[FileBuilder]) {
    for file in files {
        fs::write(folder.join(file_name(file.number)), &file.bytes).unwrap();
    }
}

/// Four files, old enough that only the last ones may still change.
fn environment() -> (tempfile::TempDir, Vec<FileBuilder>) {
    let folder = tempfile::tempdir().unwrap();
    let mut files = vec![FileBuilder::new(0, 15, 0)];
    for number in 1..4 {
        let last = files.last_mut().unwrap();
        let record = last.record(30);
        last.commit(i64::from(number), 1_700_000_000_000, record);
        let before = last.last_entry();
        files.push(FileBuilder::new(number, 15, before));
    }
    let last = files.last_mut().unwrap();
    let start = last.checkpoint_start();
    let root = last.entry(crate::log::EntryType::ROOT, &[1; 20]);
    last.checkpoint_end(start, Some(root), start);
    let record = last.record(30);
    last.commit(9, 1_700_000_000_123, record);
    for file in &files {
        write(folder.path(), std::slice::from_ref(file));
        std::thread::sleep(std::time::Duration::from_millis(60));
    }
    fs::write(folder.path().join("je.lck"), "").unwrap();
    (folder, files)
}

fn append(folder: &Path, number: u32, bytes: &[u8]) {
    use std::io::Write;
    let file = OpenOptions::new().append(true).open(folder.join(file_name(number)));
    file.unwrap().write_all(bytes).unwrap();
}

#[test]
fn an_environment_is_taken_whole_and_its_verdict_says_how() {
    let (folder, files) = environment();
    fs::write(folder.path().join("00000000.del"), "cleaned").unwrap();
    let got = capture(folder.path(), None);
    assert_eq!(got.files.len(), 4);
    for file in &files {
        assert_eq!(got.files[&file_name(file.number)].as_ref(), Some(&file.bytes));
    }
    let Conclusion { verdict, version, consistency_point, detail, state } = got.conclusion;
    assert_eq!((verdict, version.as_deref()), (Verdict::Consistent, Some("log 15")), "{detail}");
    let point = consistency_point.unwrap();
    assert!(point.starts_with("0x3/") && point.ends_with("2023-11-14T22:13:20.123Z"), "{point}");
    assert!(detail.starts_with("hot: the readers' lock was held for ") && !state.is_empty(), "{detail}");
}

#[test]
fn what_je_backs_up_itself_is_left_out_and_what_the_user_keeps_in_a_folder_of_that_name_is_not() {
    let (folder, files) = environment();
    let own = folder.path().join("snapshots/26112203");
    fs::create_dir_all(&own).unwrap();
    fs::hard_link(folder.path().join("00000000.jdb"), own.join("00000000.jdb")).unwrap();
    fs::write(own.join("manifest.json"), "{}").unwrap();
    let is_claimed = || claim(folder.path(), Options::default()).unwrap().claimed().contains(&"snapshots".into());
    assert!(is_claimed());
    let got = capture(folder.path(), None);
    assert_eq!(
        got.files.into_keys().collect::<Vec<_>>(),
        files.iter().map(|f| file_name(f.number)).collect::<Vec<_>>()
    );
    fs::create_dir(folder.path().join("snapshots/before-the-upgrade")).unwrap();
    assert!(!is_claimed());
}

#[test]
fn the_tail_that_is_being_written_is_left_out() {
    let (folder, files) = environment();
    append(folder.path(), 3, &files[3].bytes[38..60]);
    let got = capture(folder.path(), None);
    assert_eq!(got.files["00000003.jdb"].as_ref(), Some(&files[3].bytes));
    assert_eq!(got.conclusion.verdict, Verdict::Consistent);
    assert!(got.conclusion.detail.contains("22 bytes at the end"), "{}", got.conclusion.detail);
    // A file that has only been begun is not needed.
    write(folder.path(), &[files[3].clone(), FileBuilder::new(4, 15, files[3].last_entry())]);
    let got = capture(folder.path(), None);
    assert_eq!((got.files.len(), got.conclusion.verdict), (4, Verdict::Consistent), "{}", got.conclusion.detail);
}

#[test]
fn damage_is_kept_as_it_is_and_told() {
    let (folder, files) = environment();
    for number in [3, 1] {
        let mut damaged = files[number].clone();
        damaged.bytes[50] ^= 1;
        write(folder.path(), &[damaged.clone()]);
        let got = capture(folder.path(), None);
        assert_eq!(got.files[&file_name(number as u32)].as_ref(), Some(&damaged.bytes));
        assert_eq!(got.conclusion.verdict, Verdict::Torn, "{}", got.conclusion.detail);
        assert!(got.conclusion.detail.contains("damaged at"), "{}", got.conclusion.detail);
        assert_eq!(got.conclusion.state, Vec::<u8>::new());
    }
}

#[test]
fn verdicts_are_true() {
    let (folder, files) = environment();
    let verdict = || {
        let conclusion = capture(folder.path(), None).conclusion;
        (conclusion.verdict, conclusion.detail)
    };
    fs::write(folder.path().join("7fffffff.jdb"), "").unwrap();
    assert_eq!(verdict().0, Verdict::Torn);
    fs::remove_file(folder.path().join("7fffffff.jdb")).unwrap();
    fs::remove_file(folder.path().join("je.lck")).unwrap();
    let (unlocked, detail) = verdict();
    assert_eq!(unlocked, Verdict::Consistent);
    assert!(is_unlocked(&detail) && detail.contains("(there is no je.lck)"), "{detail}");
    let mut unknown = FileBuilder::new(4, 18, files[3].last_entry());
    unknown.record(3);
    write(folder.path(), &[unknown]);
    assert_eq!(verdict().0, Verdict::Unknown);
    fs::remove_file(folder.path().join("00000004.jdb")).unwrap();
    fs::remove_file(folder.path().join("00000002.jdb")).unwrap();
    // It was cleaned: the checkpoint does not need it.
    assert_eq!(verdict().0, Verdict::Consistent);
}

#[test]
fn what_cannot_have_changed_is_not_read_again() {
    let (folder, files) = environment();
    let first = capture(folder.path(), None).conclusion;
    let again = capture(folder.path(), Some(&first.state));
    let unchanged = |got: &Got| got.files.values().filter(|bytes| bytes.is_none()).count();
    assert_eq!((unchanged(&again), again.conclusion.verdict), (3, Verdict::Consistent), "{}", again.conclusion.detail);
    assert!(again.files["00000003.jdb"].is_some(), "the last one is always read");
    assert_eq!(again.conclusion.consistency_point, first.consistency_point);
    // The invisible bit, set in place: same size, and not covered by a checksum.
    let file = OpenOptions::new().write(true).open(folder.path().join("00000001.jdb")).unwrap();
    file.write_all_at(&[files[1].bytes[43] | 0x10], 43).unwrap();
    let changed = capture(folder.path(), Some(&again.conclusion.state));
    assert_eq!(unchanged(&changed), 2);
    assert!(changed.conclusion.detail.contains("invisible"), "{}", changed.conclusion.detail);
    let unreadable = capture(folder.path(), Some(b"a state of another program"));
    assert_eq!(unchanged(&unreadable), 0);
}

#[test]
fn a_number_that_is_used_again_is_a_new_time_line() {
    let (folder, files) = environment();
    let before = capture(folder.path(), None).conclusion;
    assert!(!before.detail.contains("time line"), "{}", before.detail);
    let mut rewritten = files[3].clone();
    rewritten.bytes.truncate(38);
    fs::write(folder.path().join("00000003.jdb"), &rewritten.bytes).unwrap();
    append(folder.path(), 2, &[]);
    let cut = capture(folder.path(), Some(&before.state)).conclusion;
    assert!(cut.detail.contains("a new time line"), "{}", cut.detail);
    let mut other = FileBuilder::new(3, 15, files[2].last_entry());
    other.bytes[14] ^= 1;
    fs::write(folder.path().join("00000003.jdb"), &other.bytes).unwrap();
    let other = capture(folder.path(), Some(&before.state)).conclusion;
    assert!(other.detail.contains("00000003.jdb was begun at another time"), "{}", other.detail);
}

#[test]
fn a_file_that_is_deleted_meanwhile_is_there_and_one_that_is_changed_is_told() {
    let (folder, files) = environment();
    let got = capture_with(folder.path(), None, &mut |folder| {
        fs::remove_file(folder.join("00000000.jdb")).unwrap();
        append(folder, 3, b"more");
    });
    assert_eq!(got.files["00000000.jdb"].as_ref(), Some(&files[0].bytes));
    assert_eq!(got.conclusion.verdict, Verdict::Consistent, "{}", got.conclusion.detail);
    let got = capture_with(folder.path(), None, &mut |folder| {
        let file = OpenOptions::new().write(true).open(folder.join("00000001.jdb")).unwrap();
        file.write_all_at(&[files[1].bytes[43] | 0x10], 43).unwrap();
    });
    assert_eq!(got.conclusion.verdict, Verdict::Torn);
    assert!(got.conclusion.detail.contains("changed while it was read"), "{}", got.conclusion.detail);
}

#[test]
fn what_was_not_read_is_not_called_consistent() {
    let (folder, _) = environment();
    let mut capture = claim(folder.path(), Options::default()).unwrap();
    let taken = capture.take(None, &mut NoPieces).unwrap();
    drop(taken);
    assert_ne!(capture.conclude().verdict, Verdict::Consistent);
}

#[test]
fn a_writer_keeps_an_offline_capture_out_and_the_other_way_round() {
    let (folder, _) = environment();
    let offline = Options { offline: true, ..Options::default() };
    let lock = |file: &fs::File| try_lock(file, Lock::Alone, 0, 1).unwrap();
    let file = OpenOptions::new().write(true).open(folder.path().join("je.lck")).unwrap();
    assert!(lock(&file));
    let mut capture = claim(folder.path(), offline.clone()).unwrap();
    let refused = capture.take(None, &mut NoPieces).err().unwrap();
    assert!(refused.to_string().contains("open for writing"), "{refused}");
    drop(file);
    let mut capture = claim(folder.path(), offline).unwrap();
    let taken = capture.take(None, &mut NoPieces).unwrap();
    let file = OpenOptions::new().write(true).open(folder.path().join("je.lck")).unwrap();
    assert!(!lock(&file));
    drop(taken);
    assert!(capture.conclude().detail.starts_with("offline"));
    assert!(lock(&file));
}

#[test]
fn data_folders_are_claimed_whole() {
    let folder = tempfile::tempdir().unwrap();
    let files = small_log(17);
    for (number, inside) in ["data001", "data002", "data003"].iter().enumerate() {
        fs::create_dir(folder.path().join(inside)).unwrap();
        if let Some(file) = files.get(number) {
            write(&folder.path().join(inside), std::slice::from_ref(file));
        }
    }
    fs::write(folder.path().join("data002/notes"), "mine").unwrap();
    fs::write(folder.path().join("mine"), "mine").unwrap();
    let capture = claim(folder.path(), Options::default()).unwrap();
    let names: Vec<_> = ["data001", "data002", "data003"].map(PathBuf::from).to_vec();
    assert_eq!((capture.claimed(), capture.folders()), (&names[..], names.clone()));
    let got = super::tests::capture(folder.path(), None);
    let paths: Vec<&str> = got.files.keys().map(String::as_str).collect();
    assert_eq!(paths, ["data001/00000000.jdb", "data002/00000001.jdb", "data002/notes"]);
    assert_eq!(got.conclusion.verdict, Verdict::Consistent, "{}", got.conclusion.detail);
}

#[test]
fn other_folders_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["readme.jdb", "je.lck", "00000001.del"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    assert!(claim(folder.path(), Options::default()).is_none());
    fs::write(folder.path().join("data001"), "a file").unwrap();
    assert!(claim(folder.path(), Options::default()).is_none());
}

/// Environments side by side that somebody has called so, and folders with nothing of JE's in them.
#[test]
fn folders_that_are_called_like_data_folders_make_no_environment() {
    let folder = tempfile::tempdir().unwrap();
    let files = small_log(17);
    for inside in ["data001", "data002"] {
        fs::create_dir(folder.path().join(inside)).unwrap();
    }
    assert!(claim(folder.path(), Options::default()).is_none() && !is_home(folder.path()).unwrap());
    for inside in ["data001", "data002"] {
        write(&folder.path().join(inside), &files);
        fs::write(folder.path().join(inside).join("je.lck"), "").unwrap();
    }
    assert!(claim(folder.path(), Options::default()).is_none() && !is_home(folder.path()).unwrap());
    assert!(is_home(&folder.path().join("data001")).unwrap());
}

/// A log of two files in the second and the third of three data folders.
fn in_data_folders() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut files = vec![FileBuilder::new(1, 17, 0)];
    let start = files[0].checkpoint_start();
    let root = files[0].entry(crate::log::EntryType::ROOT, &[1; 20]);
    files[0].checkpoint_end(start, Some(root), start);
    files.push(FileBuilder::new(2, 17, files[0].last_entry()));
    let record = files[1].record(30);
    files[1].commit(7, 1_700_000_000_000, record);
    for inside in ["data001", "data002", "data003"] {
        fs::create_dir(folder.path().join(inside)).unwrap();
    }
    write(&folder.path().join("data002"), &files[..1]);
    write(&folder.path().join("data003"), &files[1..]);
    folder
}

#[test]
fn an_environment_is_one_also_while_its_first_data_folder_has_no_file() {
    let folder = in_data_folders();
    let names: Vec<_> = ["data001", "data002", "data003"].map(PathBuf::from).to_vec();
    assert_eq!(claim(folder.path(), Options::default()).unwrap().claimed(), &names[..]);
    let got = capture(folder.path(), None);
    assert_eq!(got.files.into_keys().collect::<Vec<_>>(), ["data002/00000001.jdb", "data003/00000002.jdb"]);
    assert_eq!(got.conclusion.verdict, Verdict::Consistent, "{}", got.conclusion.detail);
}

/// As `je verify` has it: JE would not open it.
#[test]
fn an_environment_that_lacks_a_data_folder_is_not_called_consistent() {
    let folder = in_data_folders();
    fs::remove_dir(folder.path().join("data001")).unwrap();
    let got = capture(folder.path(), None).conclusion;
    assert_eq!(got.verdict, Verdict::Torn, "{}", got.detail);
    assert!(got.detail.contains("data folder 001 is missing"), "{}", got.detail);
}

/// The disks are not mounted.
#[test]
fn an_environment_whose_data_folders_are_all_empty_is_one_without_a_log() {
    for evidence in ["je.lck", "je.properties"] {
        let folder = in_data_folders();
        fs::write(folder.path().join(evidence), "").unwrap();
        let before = capture(folder.path(), None).conclusion;
        assert_eq!(lost(&before.detail), None);
        fs::remove_file(folder.path().join("data002/00000001.jdb")).unwrap();
        fs::remove_file(folder.path().join("data003/00000002.jdb")).unwrap();
        let got = capture(folder.path(), Some(&before.state)).conclusion;
        assert_eq!(got.verdict, Verdict::Torn, "{evidence}: {}", got.detail);
        assert!(got.detail.contains("there are no log files"), "{}", got.detail);
        assert!(lost(&got.detail).unwrap().starts_with("committed entries of the last snapshot are gone: "));
    }
}

/// Its newest files lay on a disk that is not mounted now.
#[test]
fn what_the_parent_had_and_is_gone_is_told() {
    let folder = in_data_folders();
    let before = capture(folder.path(), None).conclusion;
    fs::remove_file(folder.path().join("data003/00000002.jdb")).unwrap();
    let got = capture(folder.path(), Some(&before.state)).conclusion;
    assert_eq!(got.verdict, Verdict::Consistent, "{}", got.detail);
    assert!(got.detail.contains("1 file, read and verified"), "{}", got.detail);
    let lost = lost(&got.detail).unwrap();
    assert!(lost.starts_with("committed entries of the last snapshot are gone: its last one, 0x2/"), "{lost}");
    assert_eq!(super::lost(&capture(folder.path(), Some(&got.state)).conclusion.detail), None);
}

/// What had not been committed need not be there after a crash.
#[test]
fn entries_behind_the_last_commit_are_not_called_committed() {
    let (folder, files) = environment();
    let mut longer = files[3].clone();
    longer.record(30);
    write(folder.path(), &[longer]);
    let before = capture(folder.path(), None).conclusion;
    write(folder.path(), &files[3..]);
    let got = capture(folder.path(), Some(&before.state)).conclusion;
    assert!(lost(&got.detail).unwrap().starts_with("entries of the last snapshot are gone: "), "{}", got.detail);
}
