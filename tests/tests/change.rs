//! Files that change, vanish or turn into something else while they are read, and files that hide that they changed.
//!
//! The program is stopped in the midst of a file, the file system is changed, and the program goes on: what happens is
//! not left to chance.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode};
use serde_json::Value;
use tempfile::TempDir;
use treering_tests::{Ran, Running, Treering, assert_same, count, fingerprint, id, run};
use treering_workloads::Random;

/// Large enough that reading it takes a while.
const LARGE_BYTES: usize = 32 << 20;
const SMALL_BYTES: usize = 40_000;
const TICK: Duration = Duration::from_millis(120);

/// Made once: the generator is slow in a debug build.
fn large_content() -> &'static [u8] {
    static CONTENT: OnceLock<Vec<u8>> = OnceLock::new();
    CONTENT.get_or_init(|| Random::named(1, "large").bytes(LARGE_BYTES))
}

/// A folder with a large file that is read first, and a small one that is read when the large one is done: one thread
/// reads, in the order of names.
struct Place {
    temp: TempDir,
    treering: Treering,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let treering = Treering::init(temp.path());
        let place = Self { temp, treering };
        fs::create_dir(place.tree()).unwrap();
        fs::write(place.large(), large_content()).unwrap();
        fs::write(place.small(), Random::named(1, "small").bytes(SMALL_BYTES)).unwrap();
        std::thread::sleep(TICK);
        place
    }

    /// The kernel shows open files by their real paths.
    fn tree(&self) -> PathBuf {
        self.temp.path().canonicalize().unwrap().join("tree")
    }

    fn large(&self) -> PathBuf {
        self.tree().join("a-large")
    }

    fn small(&self) -> PathBuf {
        self.tree().join("z-small")
    }

    fn start(&self) -> Running {
        let mut command = self.treering.backup_command(&self.tree());
        Running::start(command.args(["--read-concurrency", "1"]))
    }

    /// A backup during which the large file is changed each time that it is read.
    fn backup_while(&self, change: impl Fn(u32)) -> Ran {
        let mut running = self.start();
        running.stop_while_reading(&self.large());
        change(1);
        running.stop_at_next_attempt(&self.large());
        change(2);
        running.go_on();
        running.finish()
    }

    /// A backup during which something is done while the large file is read for the first time.
    fn backup_while_once(&self, change: impl Fn()) -> Ran {
        let mut running = self.start();
        running.stop_while_reading(&self.large());
        change();
        running.go_on();
        running.finish()
    }

    /// Nothing happens any more: the next backup holds everything as it is.
    fn assert_next_is_exact(&self) {
        std::thread::sleep(TICK);
        let next = self.treering.backup(&self.tree());
        let restored = self.temp.path().join("restored");
        self.treering.restore(&id(&next), &restored);
        assert_same(&fingerprint(&self.tree()), &fingerprint(&restored));
        self.treering.check();
    }

    /// It is said of this path, and of no other, that it is not as it should be; the rest is in the snapshot.
    #[track_caller]
    fn assert_reported(&self, ran: Ran, path: &Path) {
        let ran = ran.expect(3);
        assert_eq!(ran.failed_items(), [path.to_str().unwrap()], "{ran}");
        let summary = ran.message("summary");
        assert_eq!(count(&summary, "error_count"), 1, "{summary}");
        let restored = self.temp.path().join("incomplete");
        self.treering.restore(&id(&summary), &restored);
        for kept in [self.large(), self.small()].iter().filter(|kept| *kept != path) {
            let copy = restored.join(kept.file_name().unwrap());
            assert!(fs::read(kept).unwrap() == fs::read(copy).unwrap(), "{} differs", kept.display());
        }
    }
}

fn write_at(path: &Path, bytes: &[u8], offset: u64) {
    File::options().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

#[test]
fn a_file_that_grows_while_it_is_read_is_reported() {
    let place = Place::new();
    let ran = place.backup_while(|_| {
        let length = fs::metadata(place.large()).unwrap().len();
        write_at(&place.large(), b"one more line\n", length);
    });
    place.assert_reported(ran, &place.large());
    place.assert_next_is_exact();
}

#[test]
fn a_file_that_is_cut_while_it_is_read_is_reported() {
    let place = Place::new();
    let ran = place.backup_while(|time| {
        let length = LARGE_BYTES as u64 - u64::from(time) * (4 << 20);
        File::options().write(true).open(place.large()).unwrap().set_len(length).unwrap();
    });
    place.assert_reported(ran, &place.large());
    place.assert_next_is_exact();
}

#[test]
fn a_file_that_is_overwritten_while_it_is_read_is_reported() {
    let place = Place::new();
    let ran = place.backup_while(|time| write_at(&place.large(), &[time as u8; 100], 5000));
    place.assert_reported(ran, &place.large());
    place.assert_next_is_exact();
}

/// Programs replace files as a whole; what was read half is read again, and one of the two is stored.
#[test]
fn a_file_that_is_replaced_while_it_is_read_is_stored_whole() {
    let place = Place::new();
    let new = Random::named(2, "replaced").bytes(LARGE_BYTES / 2);
    let ran = place.backup_while_once(|| {
        fs::write(place.temp.path().join("new"), &new).unwrap();
        fs::rename(place.temp.path().join("new"), place.large()).unwrap();
    });
    let summary = ran.expect(0).message("summary");
    let restored = place.temp.path().join("once");
    place.treering.restore(&id(&summary), &restored);
    assert!(fs::read(restored.join("a-large")).unwrap() == new, "it is neither the old file nor the new one");
    place.assert_next_is_exact();
}

#[test]
fn a_file_that_vanishes_before_it_is_read_is_reported() {
    let place = Place::new();
    let ran = place.backup_while_once(|| fs::remove_file(place.small()).unwrap());
    place.assert_reported(ran, &place.small());
    place.assert_next_is_exact();
}

#[test]
fn a_file_that_vanishes_while_it_is_read_is_reported() {
    let place = Place::new();
    let ran = place.backup_while_once(|| fs::remove_file(place.large()).unwrap());
    place.assert_reported(ran, &place.large());
    place.assert_next_is_exact();
}

/// Opening a fifo waits for its writer, for ever.
#[test]
fn a_file_that_becomes_a_fifo_does_not_hang_the_backup() {
    let place = Place::new();
    let ran = place.backup_while_once(|| {
        fs::remove_file(place.small()).unwrap();
        rustix::fs::mknodat(CWD, place.small(), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    });
    let ran = ran.expect(3);
    assert_eq!(ran.failed_items(), [place.small().to_str().unwrap()], "{ran}");
    place.assert_next_is_exact();
}

#[test]
fn a_file_that_becomes_a_link_is_not_followed() {
    let place = Place::new();
    fs::write(place.temp.path().join("secret"), "secret").unwrap();
    let ran = place.backup_while_once(|| {
        fs::remove_file(place.small()).unwrap();
        std::os::unix::fs::symlink("../secret", place.small()).unwrap();
    });
    let ran = ran.expect(3);
    assert_eq!(ran.failed_items(), [place.small().to_str().unwrap()], "{ran}");
    place.assert_next_is_exact();
}

/// Root may read everything, unless it gives that right away, as a service manager does for it.
#[test]
fn what_may_not_be_read_is_reported_and_the_rest_is_stored() {
    let place = Place::new();
    let folder = place.tree().join("private");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("inside"), "inside").unwrap();
    for path in [&folder, &place.small()] {
        fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
    }
    let powerless = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"];
    let treering = match rustix::process::geteuid().is_root() {
        true => place.treering.through(&powerless),
        false => place.treering.through(&[]),
    };
    let ran = run(&mut treering.backup_command(&place.tree())).expect(3);
    let mut failed = ran.failed_items();
    failed.sort();
    assert_eq!(failed, [folder.to_str().unwrap(), place.small().to_str().unwrap()], "{ran}");
    let summary = ran.message("summary");
    assert_eq!(count(&summary, "error_count"), 2);
    let restored = place.temp.path().join("restored");
    place.treering.restore(&id(&summary), &restored);
    assert!(fs::read(restored.join("a-large")).unwrap() == fs::read(place.large()).unwrap());
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
}

/// Files whose times and sizes say that nothing happened.
struct Forged {
    temp: TempDir,
    treering: Treering,
    file: PathBuf,
}

impl Forged {
    /// A file that was backed up.
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let treering = Treering::init(temp.path());
        let file = temp.path().join("tree/file");
        fs::create_dir(temp.path().join("tree")).unwrap();
        fs::write(&file, "the first").unwrap();
        let forged = Self { temp, treering, file };
        std::thread::sleep(TICK);
        forged.treering.backup(&forged.tree());
        std::thread::sleep(TICK);
        forged
    }

    fn tree(&self) -> PathBuf {
        self.temp.path().join("tree")
    }

    /// The same size, the same modification time, other bytes.
    fn rewrite(&self) {
        let before = fs::metadata(&self.file).unwrap().modified().unwrap();
        write_at(&self.file, b"a second!", 0);
        File::options().write(true).open(&self.file).unwrap().set_modified(before).unwrap();
    }

    /// Another inode of the same size and modification time.
    fn copy(&self) {
        let before = fs::metadata(&self.file).unwrap().modified().unwrap();
        let copy = self.temp.path().join("copy");
        fs::copy(&self.file, &copy).unwrap();
        File::options().write(true).open(&copy).unwrap().set_modified(before).unwrap();
        fs::rename(copy, &self.file).unwrap();
    }

    fn backup(&self, options: &[&str]) -> Value {
        run(self.treering.backup_command(&self.tree()).args(options)).expect(0).message("summary")
    }
}

fn changed_and_unmodified(summary: &Value) -> [u64; 2] {
    ["files_changed", "files_unmodified"].map(|name| count(summary, name))
}

#[test]
fn a_change_that_forges_its_time_is_noticed() {
    let forged = Forged::new();
    forged.rewrite();
    let summary = forged.backup(&[]);
    assert_eq!(changed_and_unmodified(&summary), [1, 0]);
    forged.treering.restore(&id(&summary), &forged.temp.path().join("restored"));
    assert_eq!(fs::read_to_string(forged.temp.path().join("restored/file")).unwrap(), "a second!");
}

/// What the option promises: then only size and modification time count.
#[test]
fn ignoring_ctime_does_not_notice_it() {
    let forged = Forged::new();
    forged.rewrite();
    assert_eq!(changed_and_unmodified(&forged.backup(&["--ignore-ctime"])), [0, 1]);
    assert_eq!(changed_and_unmodified(&forged.backup(&["--force", "--ignore-ctime"])), [0, 0]);
}

#[test]
fn a_copied_file_is_read_again_unless_inodes_are_ignored() {
    let forged = Forged::new();
    forged.copy();
    assert_eq!(changed_and_unmodified(&forged.backup(&["--dry-run"])), [1, 0]);
    assert_eq!(changed_and_unmodified(&forged.backup(&["--dry-run", "--ignore-ctime"])), [1, 0]);
    assert_eq!(changed_and_unmodified(&forged.backup(&["--dry-run", "--ignore-inode"])), [0, 1]);
}

/// Within one tick of the clock a file may change twice and look the same: such a file is read again.
#[test]
fn a_change_within_the_tick_of_the_clock_is_noticed() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (tree, file) = (temp.path().join("tree"), temp.path().join("tree/file"));
    fs::create_dir(&tree).unwrap();
    for round in 0..5 {
        fs::write(&file, format!("round {round}, first")).unwrap();
        treering.backup(&tree);
        fs::write(&file, format!("round {round}, later")).unwrap();
        let summary = treering.backup(&tree);
        let restored = temp.path().join(format!("restored-{round}"));
        treering.restore(&id(&summary), &restored);
        assert_eq!(fs::read_to_string(restored.join("file")).unwrap(), format!("round {round}, later"));
    }
}
