//! Databases that SQLite would not read without writing beside them.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use treering_snapshot::capture::Verdict;

use super::child::Helper;
use super::kit::{Kit, whole_rows};

#[test]
fn a_hot_journal_is_kept_and_recovers_after_a_restore() {
    let kit = Kit::with_database("delete");
    drop(Helper::start("hold-spilled", &kit.database()));
    let taken = kit.take_untouched();
    assert_eq!(taken.conclusion.verdict, Verdict::CrashConsistent, "{}", taken.conclusion.detail);
    assert_eq!(taken.names(), ["a.db", "a.db-journal"]);
    assert_eq!(whole_rows(&taken.restore().1), 200);
}

#[test]
fn a_journal_of_several_databases_is_kept_but_not_tried() {
    let kit = Kit::with_database("delete");
    drop(Helper::start("hold-spilled", &kit.database()));
    let mut journal = fs::read(kit.beside("-journal")).unwrap();
    journal.extend([0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]);
    fs::write(kit.beside("-journal"), journal).unwrap();
    let taken = kit.take_untouched();
    assert_eq!(taken.conclusion.verdict, Verdict::Unknown);
    assert_eq!(taken.names(), ["a.db", "a.db-journal"]);
}

fn left_behind_wal() -> Kit {
    let kit = Kit::with_database("wal");
    drop(Helper::start("leave-wal", &kit.database()));
    kit
}

#[test]
fn a_wal_and_shm_left_behind_are_read_through_sqlite() {
    let kit = left_behind_wal();
    let taken = kit.take_untouched();
    assert_eq!(taken.conclusion.verdict, Verdict::Consistent, "{}", taken.conclusion.detail);
    assert_eq!(taken.names(), ["a.db"]);
    assert_eq!(rows_of_b(&taken.restore().1), 201);
}

#[test]
fn a_wal_without_shm_is_copied_with_its_database() {
    let kit = left_behind_wal();
    fs::remove_file(kit.beside("-shm")).unwrap();
    let taken = kit.take_untouched();
    assert_eq!(taken.conclusion.verdict, Verdict::CrashConsistent, "{}", taken.conclusion.detail);
    assert_eq!(taken.names(), ["a.db", "a.db-wal"]);
    assert_eq!(rows_of_b(&taken.restore().1), 201);
}

fn rows_of_b(connection: &Connection) -> i64 {
    connection.query_row("SELECT count(*) FROM b", [], |row| row.get(0)).unwrap()
}

#[test]
fn an_idle_wal_database_is_copied_without_creating_a_wal() {
    let kit = Kit::with_database("wal");
    let taken = kit.take_untouched();
    assert_eq!(taken.conclusion.verdict, Verdict::Consistent, "{}", taken.conclusion.detail);
    assert_eq!(taken.main(), fs::read(kit.database()).unwrap());
    assert_eq!(taken.conclusion.state, Vec::<u8>::new());
    assert_eq!(whole_rows(&taken.restore().1), 200);
}

#[test]
fn an_empty_wal_and_a_cold_journal_count_as_none() {
    let kit = Kit::with_database("wal");
    fs::write(kit.beside("-wal"), b"").unwrap();
    fs::write(kit.beside("-journal"), [0; 600]).unwrap();
    let taken = kit.take_untouched();
    assert_eq!((taken.conclusion.verdict, taken.names()), (Verdict::Consistent, vec!["a.db"]));
}

#[test]
fn a_journal_beside_a_wal_database_is_copied_raw() {
    let kit = Kit::with_database("wal");
    fs::write(kit.beside("-journal"), [1; 600]).unwrap();
    let taken = kit.take_untouched();
    assert_eq!(taken.names(), ["a.db", "a.db-journal"]);
    assert_ne!(taken.conclusion.verdict, Verdict::Consistent);
}

#[test]
fn a_wal_that_never_keeps_still_is_torn() {
    let kit = left_behind_wal();
    fs::remove_file(kit.beside("-shm")).unwrap();
    let is_done = AtomicBool::new(false);
    let taken = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                use std::io::Write;
                fs::OpenOptions::new().append(true).open(kit.beside("-wal")).unwrap().write_all(b"x").unwrap();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let taken = kit.take();
        is_done.store(true, Ordering::Relaxed);
        taken
    });
    assert_eq!(taken.conclusion.verdict, Verdict::Torn, "{}", taken.conclusion.detail);
    assert_eq!(taken.names(), ["a.db", "a.db-wal"]);
}

#[test]
fn a_linked_wal_is_neither_followed_nor_claimed() {
    let kit = Kit::with_database("wal");
    let elsewhere = kit.temp.path().join("elsewhere");
    fs::write(&elsewhere, b"secret").unwrap();
    symlink(&elsewhere, kit.beside("-wal")).unwrap();
    let mut captures = kit.captures();
    assert!(!captures[0].claimed().contains(&"a.db-wal".into()));
    let taken = super::kit::read(captures.remove(0), None).unwrap();
    assert_eq!(taken.names(), ["a.db"]);
    assert_eq!(taken.conclusion.verdict, Verdict::Unknown);
}

#[test]
fn a_newer_format_is_copied_and_not_called_fine() {
    let kit = Kit::with_database("delete");
    let mut bytes = fs::read(kit.database()).unwrap();
    bytes[18..20].fill(3);
    fs::write(kit.database(), bytes).unwrap();
    let taken = kit.take_untouched();
    assert_eq!(taken.conclusion.verdict, Verdict::Unknown);
    assert_eq!(taken.main(), fs::read(kit.database()).unwrap());
}
