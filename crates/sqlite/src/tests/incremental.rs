//! Unchanged is said only when it is proven.

use std::fs;

use rusqlite::Connection;
use treering_snapshot::capture::Verdict;

use super::kit::Kit;

fn is_unchanged(kit: &Kit, state: &[u8]) -> bool {
    let taken = kit.try_take(Some(state)).unwrap();
    assert_eq!(taken.conclusion.verdict, Verdict::Consistent);
    taken.files.values().all(Option::is_none)
}

#[test]
fn a_database_that_nobody_touched_is_unchanged_for_ever() {
    let kit = Kit::with_database("delete");
    let first = kit.take().conclusion;
    let second = kit.try_take(Some(&first.state)).unwrap();
    assert!(second.files.values().all(Option::is_none));
    assert_eq!(second.conclusion.state, first.state);
    assert_eq!(second.conclusion.consistency_point, first.consistency_point);
    assert!(!is_unchanged(&kit, b""));
    assert!(!is_unchanged(&kit, b"rubbish"));
}

#[test]
fn a_commit_is_seen_even_with_the_same_size_and_time() {
    let kit = Kit::with_database("delete");
    let state = kit.take().conclusion.state;
    let time = fs::metadata(kit.database()).unwrap().modified().unwrap();
    Connection::open(kit.database()).unwrap().execute_batch("UPDATE b SET n = n").unwrap();
    fs::File::options().write(true).open(kit.database()).unwrap().set_modified(time).unwrap();
    assert!(!is_unchanged(&kit, &state));
}

#[test]
fn a_file_that_was_written_around_sqlite_is_copied() {
    let kit = Kit::with_database("delete");
    let state = kit.take().conclusion.state;
    fs::write(kit.database(), fs::read(kit.database()).unwrap()).unwrap();
    assert!(!is_unchanged(&kit, &state));
}

#[test]
fn a_sibling_casts_doubt() {
    for suffix in ["-journal", "-wal", "-shm"] {
        let kit = Kit::with_database("delete");
        let state = kit.take().conclusion.state;
        fs::write(kit.beside(suffix), b"").unwrap();
        assert!(!is_unchanged(&kit, &state), "{suffix}");
    }
}

#[test]
fn wal_databases_are_always_copied() {
    let kit = Kit::with_database("wal");
    let state = kit.take().conclusion.state;
    assert!(state.is_empty());
    assert!(!is_unchanged(&kit, &state));
    let _application = Connection::open(kit.database()).unwrap();
    assert!(kit.take().conclusion.state.is_empty());
}
