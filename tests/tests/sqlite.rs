//! SQLite databases come back as the snapshot has them, whatever lies beside them in the target.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use treering_tests::{Ran, Treering, run};

const ROWS: i64 = 2000;

/// A database with that many rows, closed.
fn database(folder: &Path, name: &str, journal_mode: &str) {
    fs::create_dir_all(folder).unwrap();
    let connection = Connection::open(folder.join(name)).unwrap();
    connection.pragma_update(None, "journal_mode", journal_mode).unwrap();
    connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)").unwrap();
    let many = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         INSERT INTO t SELECT i, hex(randomblob(100)) FROM n"
    );
    connection.execute_batch(&many).unwrap();
}

fn rows(folder: &Path, name: &str) -> i64 {
    let connection = Connection::open(folder.join(name)).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

/// Leaves `folder` as an application does that is killed in the midst of `work`.
fn killed_in(folder: &Path, name: &str, work: &str) {
    let beside = tempfile::tempdir_in(folder.parent().unwrap()).unwrap();
    fs::copy(folder.join(name), beside.path().join(name)).unwrap();
    let connection = Connection::open(beside.path().join(name)).unwrap();
    connection.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = 5").unwrap_or_default();
    connection.execute_batch(work).unwrap();
    for entry in fs::read_dir(beside.path()).unwrap().flatten() {
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn restore(treering: &Treering, target: &Path, arguments: &[&str]) -> Ran {
    run(treering.command("restore").arg("latest").arg("--target").arg(target).args(arguments))
}

/// What was moved aside of a database.
fn old(folder: &Path, name: &str) -> PathBuf {
    let start = format!("{name}.treering-old-");
    folder.join(names(folder).into_iter().find(|name| name.starts_with(&start)).unwrap())
}

#[test]
fn the_log_of_another_state_is_not_applied_to_a_database_that_comes_back() {
    let temp = tempfile::tempdir().unwrap();
    let (treering, live) = (Treering::init(temp.path()), temp.path().join("live"));
    database(&live, "wal.db", "wal");
    database(&live, "delete.db", "delete");
    treering.backup(&live);
    let kill = || {
        killed_in(&live, "wal.db", "DELETE FROM t WHERE id > 5");
        killed_in(
            &live,
            "delete.db",
            "INSERT INTO t (text) SELECT 'more' FROM t; BEGIN; UPDATE t SET text = text || 'x'",
        );
        assert!(live.join("wal.db-wal").metadata().unwrap().len() > 0);
        assert!(live.join("delete.db-journal").metadata().unwrap().len() > 0);
    };
    kill();
    let summary = restore(&treering, &live, &["--dry-run"]).expect(0);
    assert!(live.join("wal.db-wal").exists(), "{summary}");
    restore(&treering, &live, &["--overwrite", "never"]).expect(0);
    assert!(live.join("wal.db-wal").exists() && live.join("delete.db-journal").exists());
    restore(&treering, &live, &["--overwrite", "if-newer"]).expect(1);
    restore(&treering, &live, &[]).expect(0);
    assert_eq!((rows(&live, "wal.db"), rows(&live, "delete.db")), (ROWS, ROWS));
    // Nothing is lost of what was there, its log included.
    assert_eq!(rows(&old(&live, "wal.db"), "wal.db"), 5);
    assert_eq!(rows(&old(&live, "delete.db"), "delete.db"), 2 * ROWS);
    for name in ["wal.db", "delete.db"] {
        fs::remove_dir_all(old(&live, name)).unwrap();
    }
    kill();
    restore(&treering, &live, &["--delete"]).expect(0);
    assert_eq!(names(&live), ["delete.db", "wal.db"]);
    assert_eq!((rows(&live, "wal.db"), rows(&live, "delete.db")), (ROWS, ROWS));
}

#[test]
fn nothing_is_restored_over_a_database_that_somebody_has_open() {
    let temp = tempfile::tempdir().unwrap();
    let (treering, live) = (Treering::init(temp.path()), temp.path().join("live"));
    for mode in ["wal", "delete"] {
        database(&live, "app.db", mode);
        fs::write(live.join("other"), mode).unwrap();
        treering.backup(&live);
        let connection = Connection::open(live.join("app.db")).unwrap();
        connection.execute_batch("DELETE FROM t WHERE id > 5").unwrap();
        fs::write(live.join("other"), "changed").unwrap();
        for arguments in [&[][..], &["--delete"], &["--include", "app.db"], &["--dry-run"]] {
            let said = restore(&treering, &live, arguments).expect(1).to_string();
            assert!(said.contains("has it open") && said.contains("app.db"), "{mode} {arguments:?}: {said}");
        }
        assert_eq!(fs::read_to_string(live.join("other")).unwrap(), "changed");
        connection.execute_batch("DELETE FROM t WHERE id > 4").unwrap();
        drop(connection);
        restore(&treering, &live, &[]).expect(0);
        assert_eq!(rows(&live, "app.db"), ROWS);
        fs::remove_file(live.join("app.db")).unwrap();
    }
}

#[test]
fn a_database_that_was_copied_with_its_log_comes_back_with_it() {
    let temp = tempfile::tempdir().unwrap();
    let (treering, live) = (Treering::init(temp.path()), temp.path().join("live"));
    database(&live, "app.db", "wal");
    killed_in(&live, "app.db", "DELETE FROM t WHERE id > 5");
    fs::remove_file(live.join("app.db-shm")).unwrap();
    let summary = run(&mut treering.backup_command(&live)).expect(6).message("summary");
    assert_eq!(summary["apps"][0]["state"], "crash-consistent");
    fs::remove_file(live.join("app.db-wal")).unwrap();
    assert_eq!(rows(&live, "app.db"), ROWS);
    restore(&treering, &live, &[]).expect(0);
    assert_eq!(rows(&live, "app.db"), 5);
    restore(&treering, &temp.path().join("fresh"), &[]).expect(0);
    assert_eq!(rows(&temp.path().join("fresh"), "app.db"), 5);
}
