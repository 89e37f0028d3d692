//! Captures beside running applications.

use std::fs;

use rusqlite::Connection;
use treering_snapshot::capture::Verdict;

use super::child::{Helper, ask};
use super::kit::{Kit, names, whole_rows};
use crate::capture::choose;
use crate::online::{self, Attempt, COPY};
use crate::source::{Locking, Source};
use crate::temp::Room;
use crate::verify::{Check, Depth, check};
use crate::way::Way;

fn rows(kit: &Kit) -> i64 {
    let connection = Connection::open(kit.database()).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    connection.query_row("SELECT count(*) FROM b", [], |row| row.get(0)).unwrap()
}

fn capture_beside_a_writer(mode: &str) -> Kit {
    let kit = Kit::with_database(mode);
    let (writer, _) = Helper::start("write", &kit.database());
    for _ in 0..3 {
        let before = rows(&kit);
        let taken = kit.take();
        let after = rows(&kit);
        assert_eq!(taken.conclusion.verdict, Verdict::Consistent, "{}", taken.conclusion.detail);
        assert_eq!(taken.names(), ["a.db"]);
        let (_folder, copy) = taken.restore();
        assert!((before..=after).contains(&whole_rows(&copy)));
        let restored_mode: String = copy.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(restored_mode, mode);
    }
    writer.finish();
    kit
}

#[test]
fn a_wal_writer_goes_on() {
    capture_beside_a_writer("wal");
}

#[test]
fn a_rollback_writer_goes_on() {
    let kit = capture_beside_a_writer("delete");
    assert_eq!(names(kit.source.path()), ["a.db"]);
}

/// Copies step by step, with something going on while the read transaction is open.
fn copy_during(kit: &Kit, during: &mut dyn FnMut(&Source)) -> Kit {
    let source = Source::open(kit.source.path(), "a.db".as_ref()).unwrap();
    if source.look().unwrap().header.is_wal() {
        assert_eq!(source.lock(kit.options.lock_wait).unwrap(), Locking::Done);
    }
    let mut room = Room::new(kit.temp.path(), u64::MAX).unwrap();
    let attempt = online::copy(&source, &mut room, &kit.options, &mut || during(&source)).unwrap();
    assert!(matches!(attempt, Attempt::Copied(_)), "{attempt:?}");
    assert_eq!(check(&room.path(COPY), Depth::Full), Check::Passed(Depth::Full));
    let copied = Kit::new();
    fs::copy(room.path(COPY), copied.database()).unwrap();
    copied
}

#[test]
fn our_lock_keeps_rollback_writers_out_until_the_copy_is_done() {
    let kit = Kit::with_database("delete");
    let mut calls = 0;
    copy_during(&kit, &mut |source| {
        source.look().unwrap();
        assert_eq!(ask("try", source.path()), "busy");
        calls += 1;
    });
    assert!(calls > 0);
    assert_eq!(ask("try", &kit.database()), "got it");
}

#[test]
fn wal_writers_commit_and_close_beside_us_and_the_copy_does_not_see_it() {
    let kit = Kit::with_database("wal");
    let keeper = Connection::open(kit.database()).unwrap();
    keeper.query_row("SELECT count(*) FROM a", [], |_| Ok(())).unwrap();
    let before = rows(&kit);
    let copied = copy_during(&kit, &mut |source| assert_eq!(ask("write-once", source.path()), "done"));
    let copy = Connection::open(copied.database()).unwrap();
    assert_eq!(whole_rows(&copy), before);
    assert!(rows(&kit) > before);
}

#[test]
fn the_last_application_to_leave_cannot_take_the_wal_with_it() {
    let kit = Kit::with_database("wal");
    let (application, _) = Helper::start("leave-wal", &kit.database());
    let before = rows(&kit);
    let mut application = Some(application);
    let copied = copy_during(&kit, &mut |_| application.take().into_iter().for_each(Helper::finish));
    assert_eq!(
        Connection::open(copied.database()).unwrap().query_row("SELECT count(*) FROM b", [], |row| row.get(0)),
        Ok(before)
    );
    assert_eq!(names(kit.source.path()), ["a.db", "a.db-shm", "a.db-wal"]);
    assert_eq!(rows(&kit), before);
}

#[test]
fn an_application_that_leaves_between_our_look_and_our_opening_leaves_its_wal() {
    let kit = Kit::with_database("wal");
    let (application, _) = Helper::start("leave-wal", &kit.database());
    let source = Source::open(kit.source.path(), "a.db".as_ref()).unwrap();
    assert_eq!(source.lock(kit.options.lock_wait).unwrap(), Locking::Done);
    let before = source.look().unwrap();
    application.finish();
    assert!(before.is_same(&source.look().unwrap()));
    drop(source);
    let taken = kit.take_untouched();
    assert_eq!((taken.conclusion.verdict, taken.names()), (Verdict::Consistent, vec!["a.db"]));
}

#[test]
fn while_an_idle_database_is_copied_nobody_can_checkpoint_and_leave() {
    let kit = Kit::with_database("wal");
    let source = Source::open(kit.source.path(), "a.db".as_ref()).unwrap();
    assert_eq!(choose(&source, &kit.options).unwrap(), Way::IdleWal);
    let before = source.look().unwrap();
    assert_eq!(ask("write-once", &kit.database()), "done");
    let after = source.look().unwrap();
    assert_eq!(before.main, after.main);
    assert!(after.wal.is_filled() && !before.is_same(&after));
    drop(source);
    assert_eq!(rows(&kit), 201);
}

#[test]
fn a_wal_database_that_its_application_locks_is_copied_with_its_wal() {
    let mut kit = Kit::with_database("wal");
    kit.options.lock_wait = std::time::Duration::from_millis(50);
    let (_application, _) = Helper::start("lock-wal", &kit.database());
    let taken = kit.take_untouched();
    assert_eq!(taken.conclusion.verdict, Verdict::CrashConsistent, "{}", taken.conclusion.detail);
    assert_eq!(taken.names(), ["a.db", "a.db-wal"]);
    assert_eq!(whole_rows(&taken.restore().1), 201);
}

#[test]
fn a_lock_in_memory_only_leaves_the_verdict_open() {
    let mut kit = Kit::with_database("delete");
    kit.options.lock_wait = std::time::Duration::from_millis(50);
    let (_holder, _) = Helper::start("hold", &kit.database());
    let taken = kit.take_untouched();
    assert_eq!(taken.conclusion.verdict, Verdict::Unknown);
    assert!(taken.conclusion.detail.contains("locked"), "{}", taken.conclusion.detail);
}

#[test]
fn a_locked_transaction_that_spilled_is_what_a_power_cut_leaves() {
    let mut kit = Kit::with_database("delete");
    kit.options.lock_wait = std::time::Duration::from_millis(50);
    let (_holder, _) = Helper::start("hold-spilled", &kit.database());
    let taken = kit.take_untouched();
    assert_eq!(taken.conclusion.verdict, Verdict::CrashConsistent, "{}", taken.conclusion.detail);
    assert_eq!(taken.names(), ["a.db", "a.db-journal"]);
    assert_eq!(whole_rows(&taken.restore().1), 200);
}

#[test]
fn a_transaction_that_has_only_begun_is_not_in_the_copy() {
    let kit = Kit::with_database("delete");
    let (_writer, _) = Helper::start("hold-begun", &kit.database());
    assert!(kit.beside("-journal").exists());
    let taken = kit.take_untouched();
    assert_eq!((taken.conclusion.verdict, taken.names()), (Verdict::Consistent, vec!["a.db"]));
    assert_eq!(whole_rows(&taken.restore().1), 200);
}

#[test]
fn two_names_of_one_database_do_not_disturb_each_other() {
    let kit = Kit::with_database("delete");
    fs::hard_link(kit.database(), kit.source.path().join("b.db")).unwrap();
    let captures = kit.captures();
    assert_eq!(captures.len(), 2);
    let threads: Vec<_> =
        captures.into_iter().map(|capture| std::thread::spawn(move || super::kit::read(capture, None))).collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap().unwrap().conclusion.verdict, Verdict::Consistent);
    }
}
