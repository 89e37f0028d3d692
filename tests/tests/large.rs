//! What is large needs no special care: a sparse terabyte, folders of many entries, deep trees, files of many chunks.
//! `TREERING_TEST_ENTRIES` sets how many entries the crowded folder has (100,000 if it is not set; a campaign takes
//! 1,000,000).

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use treering_tests::{Ran, Treering, assert_same, count, fingerprint, id, megabytes, run, setting};
use treering_workloads::{Random, fingerprint::Detail, fingerprint::describe};

/// What the product promises everywhere.
const PEAK_MOST_BYTES: u64 = 200 << 20;
const TIB: u64 = 1 << 40;
const TICK: Duration = Duration::from_millis(120);

#[track_caller]
fn assert_small(ran: Ran, what: &str) -> Ran {
    println!("{what}: {:?}, peak {}", ran.took, megabytes(ran.peak_bytes));
    assert!(ran.peak_bytes > 1 << 20, "the peak was not measured: {ran}");
    assert!(ran.peak_bytes < PEAK_MOST_BYTES, "{what} takes {}", megabytes(ran.peak_bytes));
    ran
}

/// Ranges of data, by asking the file system.
fn data(file: &File, length: u64) -> Vec<(u64, u64)> {
    use rustix::fs::SeekFrom::{Data, Hole};
    let (mut found, mut at) = (Vec::new(), 0);
    while let Ok(start) = rustix::fs::seek(file, Data(at)) {
        at = rustix::fs::seek(file, Hole(start)).unwrap();
        found.push((start, at));
    }
    assert!(at <= length);
    found
}

#[test]
fn a_sparse_tebibyte_takes_seconds() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (tree, restored) = (temp.path().join("tree"), temp.path().join("restored"));
    fs::create_dir(&tree).unwrap();
    let file = File::create(tree.join("disk.img")).unwrap();
    file.set_len(TIB).unwrap();
    let mut random = Random::named(1, "disk");
    for offset in [0, 5 << 30, TIB / 2 + 4096, TIB - (1 << 20)] {
        file.write_all_at(&random.bytes(1 << 20), offset).unwrap();
    }
    let backup = assert_small(run(&mut treering.backup_command(&tree)).expect(0), "backup of a sparse TiB");
    let mut command = treering.command("restore");
    command.args(["--snapshot", "latest", "--target"]).arg(&restored);
    let restore = assert_small(run(&mut command).expect(0), "restore of a sparse TiB");
    assert!(backup.took + restore.took < Duration::from_secs(30));
    let copy = File::open(restored.join("disk.img")).unwrap();
    assert_eq!(copy.metadata().unwrap().len(), TIB);
    assert!(copy.metadata().unwrap().blocks() <= file.metadata().unwrap().blocks() + 64, "the holes were filled");
    let original = File::open(tree.join("disk.img")).unwrap();
    let ranges = data(&original, TIB);
    assert_eq!(ranges.len(), 4);
    assert_eq!(data(&copy, TIB), ranges);
    for (start, end) in ranges {
        let mut bytes = [vec![0; (end - start) as usize], vec![0; (end - start) as usize]];
        original.read_exact_at(&mut bytes[0], start).unwrap();
        copy.read_exact_at(&mut bytes[1], start).unwrap();
        assert!(bytes[0] == bytes[1], "the data at {start} differs");
    }
    treering.check();
}

#[test]
fn a_crowded_folder_stays_within_the_memory() {
    let entries: u32 = setting("TREERING_TEST_ENTRIES", 100_000);
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (tree, restored) = (temp.path().join("tree"), temp.path().join("restored"));
    fs::create_dir(&tree).unwrap();
    for number in 0..entries {
        fs::write(tree.join(format!("entry-{number:08}-of-a-crowded-folder")), number.to_string()).unwrap();
    }
    std::thread::sleep(TICK);
    let first = assert_small(run(&mut treering.backup_command(&tree)).expect(0), "backup of a crowded folder");
    assert_eq!(count(&first.message("summary"), "files_new"), u64::from(entries));

    fs::write(tree.join("entry-00000777-of-a-crowded-folder"), "changed").unwrap();
    let second = assert_small(run(&mut treering.backup_command(&tree)).expect(0), "backup of one change in it");
    let summary = second.message("summary");
    assert_eq!(count(&summary, "files_unmodified"), u64::from(entries) - 1);
    println!("one change in {entries} entries: {} added", megabytes(count(&summary, "data_added_packed")));
    assert!(count(&summary, "data_added") < 2 << 20, "{summary}");

    let mut command = treering.command("restore");
    command.args(["--snapshot", "latest", "--target"]).arg(&restored);
    assert_small(run(&mut command).expect(0), "restore of a crowded folder");
    let detail = Detail { attributes: false, ..Detail::full() };
    assert_same(&describe(&tree, &detail).unwrap(), &describe(&restored, &detail).unwrap());
    assert_small(treering.check(), "check");
}

/// A path of so many folders.
fn deep(root: &Path, levels: usize) -> PathBuf {
    (0..levels).fold(root.to_owned(), |path, level| path.join((level % 10).to_string()))
}

/// With the number of open files that login sessions and services begin with.
#[test]
fn a_thousand_levels_come_back() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path()).through(&["prlimit", "--nofile=1024:"]);
    let (tree, restored) = (temp.path().join("tree"), temp.path().join("restored"));
    let bottom = deep(&tree, 1000);
    fs::create_dir_all(&bottom).unwrap();
    fs::write(bottom.join("bottom"), "here").unwrap();
    fs::write(deep(&tree, 500).join("middle"), "there").unwrap();
    treering.restore(&id(&treering.backup(&tree)), &restored);
    assert_eq!(fs::read_to_string(deep(&restored, 1000).join("bottom")).unwrap(), "here");
    assert_same(&fingerprint(&tree), &fingerprint(&restored));
    treering.check();
}

/// A path that no system call takes is made one folder at a time, and is stored or reported, never left out silently.
#[test]
fn paths_longer_than_a_system_call_takes_are_stored_or_reported() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let tree = temp.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("beside"), "beside").unwrap();
    // 25 levels of 201 bytes: the path has more than 5,000.
    let name = "x".repeat(200);
    let mut folder = rustix::fs::open(&tree, OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..25 {
        rustix::fs::mkdirat(&folder, &name, Mode::RWXU).unwrap();
        folder = rustix::fs::openat(&folder, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    rustix::fs::openat(&folder, "bottom", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    let ran = run(&mut treering.backup_command(&tree));
    let summary = ran.message("summary");
    let restored = temp.path().join("restored");
    match ran.status.code() {
        Some(0) => assert_eq!(count(&summary, "files_new"), 2, "{ran}"),
        Some(3) => assert!(!ran.failed_items().is_empty(), "{ran}"),
        _ => panic!("{ran}"),
    }
    treering.restore(&id(&summary), &restored);
    assert_eq!(fs::read_to_string(restored.join("beside")).unwrap(), "beside");
    treering.check();
    fs::remove_dir_all(&tree).unwrap();
}

/// Thousands of chunks, listed indirectly; what is inserted near the front rewrites little.
#[test]
fn a_file_of_many_chunks_changes_cheaply() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (tree, restored) = (temp.path().join("tree"), temp.path().join("restored"));
    fs::create_dir(&tree).unwrap();
    let mut bytes = Random::named(1, "large").bytes(192 << 20);
    fs::write(tree.join("large"), &bytes).unwrap();
    let first = run(&mut treering.backup_command(&tree)).expect(0);
    assert_small(first, "backup of 192 MiB");
    bytes.splice(70_000..70_000, *b"inserted");
    fs::write(tree.join("large"), &bytes).unwrap();
    let summary = treering.backup(&tree);
    println!("8 bytes inserted into 192 MiB: {} added", megabytes(count(&summary, "data_added_packed")));
    assert!(count(&summary, "data_added") < 3 << 20, "{summary}");
    let mut command = treering.command("restore");
    command.args(["--snapshot", "latest", "--target"]).arg(&restored);
    assert_small(run(&mut command).expect(0), "restore of 192 MiB");
    assert!(fs::read(restored.join("large")).unwrap() == bytes);
}
