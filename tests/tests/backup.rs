//! Backups as a user meets them: which paths are taken, and what becomes of a parent that has lost something.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::fs;
use std::path::PathBuf;

use treering_tests::{Ran, Treering, assert_same, count, fingerprint, run};
use treering_workloads::Random;

struct Home {
    temp: tempfile::TempDir,
    treering: Treering,
}

fn home() -> Home {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    Home { temp, treering }
}

impl Home {
    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), content).unwrap();
    }

    fn backup(&self, arguments: &[&str], paths: &[&str]) -> Ran {
        let paths = paths.iter().map(|path| self.path(path));
        run(self.treering.command("backup").args(arguments).args(paths))
    }

    /// Insists that the newest snapshot, which is of this folder alone, has it as it is.
    #[track_caller]
    fn assert_restores(&self, name: &str) {
        let target = self.path("out");
        let newest = self.treering.names().pop().unwrap().to_string();
        self.treering.restore(&newest, &target);
        assert_same(&fingerprint(&self.path(name)), &fingerprint(&target));
        fs::remove_dir_all(target).unwrap();
    }

    /// Removes those packs of whose length that is true.
    fn lose_packs(&self, is_lost: impl Fn(u64) -> bool) {
        let folders = fs::read_dir(self.treering.repository().join("packs")).unwrap().flatten();
        for pack in folders.flat_map(|folder| fs::read_dir(folder.path()).unwrap().flatten()) {
            if is_lost(pack.metadata().unwrap().len()) {
                fs::remove_file(pack.path()).unwrap();
            }
        }
    }
}

#[test]
fn what_is_saved_after_packs_were_lost_can_be_restored() {
    const LARGE: u64 = 100_000;
    type IsLost = fn(u64) -> bool;
    let losses: [(IsLost, bool); 4] = [
        (|_| true, false),
        (|bytes| bytes < LARGE, false),
        (|bytes| bytes >= LARGE, false),
        (|bytes| bytes >= LARGE, true),
    ];
    for (is_lost, is_met_before) in losses {
        let home = home();
        home.write("tree/large", &Random::named(1, "backup").bytes(400_000));
        home.write("tree/some/small", b"small");
        // What is as young as the snapshot is read again by the next.
        std::thread::sleep(std::time::Duration::from_millis(100));
        home.backup(&[], &["tree"]).expect(0);
        home.lose_packs(is_lost);
        if is_met_before {
            run(&mut home.treering.command("check")).expect(5);
        }
        let healed = home.backup(&[], &["tree"]).expect(0);
        assert!(healed.stderr.contains("some of what the parent snapshot holds is lost"), "{healed}");
        home.assert_restores("tree");
        let after = home.backup(&[], &["tree"]).expect(0);
        assert_eq!((after.stderr.as_str(), count(&after.message("summary"), "files_unmodified")), ("", 2), "{after}");
        home.assert_restores("tree");
    }
}

#[test]
fn a_given_path_that_is_missing_is_named_also_beneath_another() {
    let home = home();
    home.write("tree/a/f", b"f");
    for missing in ["tree/none", "tree/a/f/x"] {
        let ran = home.backup(&[], &["tree", missing]).expect(3);
        assert!(ran.stderr.contains(missing) && !ran.stderr.contains("entity"), "{ran}");
        home.backup(&[], &[missing]).expect(1);
    }
}

#[test]
fn a_single_database_can_be_backed_up() {
    let home = home();
    let database = rusqlite::Connection::open(home.path("app.db")).unwrap();
    database.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (7)").unwrap();
    home.backup(&[], &["app.db"]).expect(0);
    drop(database);
    let target = home.path("out");
    home.treering.restore(&home.treering.names()[0].to_string(), &target);
    let found = if target.is_dir() { target.join("app.db") } else { target };
    let restored = rusqlite::Connection::open(found).unwrap();
    assert_eq!(restored.query_row("SELECT a FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 7);
}

#[test]
fn a_stream_needs_a_name_in_the_snapshot() {
    let home = home();
    for name in ["/", "..", "."] {
        let refused = run(home.treering.command("backup").args(["--stdin", "--stdin-filename", name])).expect(2);
        assert!(refused.stderr.contains("--stdin-filename"), "{refused}");
    }
}
