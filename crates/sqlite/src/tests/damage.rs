//! Damaged databases are stored, and said to be damaged.

use std::cmp::Ordering;
use std::fs;

use rusqlite::Connection;
use treering_snapshot::capture::Verdict;

use super::kit::{Kit, Taken};

fn take_damaged(mode: &str, damage: impl FnOnce(&mut Vec<u8>)) -> Taken {
    let kit = Kit::with_database(mode);
    let mut bytes = fs::read(kit.database()).unwrap();
    damage(&mut bytes);
    fs::write(kit.database(), &bytes).unwrap();
    let taken = kit.take_untouched();
    assert_eq!(taken.main(), bytes);
    taken
}

#[test]
fn a_page_of_rubbish_is_torn() {
    for mode in ["delete", "wal"] {
        let taken = take_damaged(mode, |bytes| bytes[8192..12_288].fill(0x5a));
        assert_eq!(taken.conclusion.verdict, Verdict::Torn, "{mode}: {}", taken.conclusion.detail);
        assert!(taken.conclusion.detail.contains("damaged"), "{}", taken.conclusion.detail);
        assert!(taken.conclusion.state.is_empty());
    }
}

#[test]
fn a_file_cut_short_is_torn() {
    let taken = take_damaged("delete", |bytes| bytes.truncate(bytes.len() / 2 / 4096 * 4096));
    assert_eq!(taken.conclusion.verdict, Verdict::Torn, "{}", taken.conclusion.detail);
}

#[test]
fn a_ruined_first_page_is_torn() {
    let taken = take_damaged("delete", |bytes| bytes[100..4096].fill(0xff));
    assert_eq!(taken.conclusion.verdict, Verdict::Torn, "{}", taken.conclusion.detail);
}

#[test]
fn an_index_that_lacks_a_row_is_found_by_the_full_check_only() {
    let mut kit = Kit::with_database("delete");
    let connection = Connection::open(kit.database()).unwrap();
    connection.execute_batch("PRAGMA writable_schema=ON").unwrap();
    // The second index is made to share the empty tree of the first one.
    connection
        .execute_batch(
            "CREATE TABLE e (x UNIQUE); CREATE INDEX i ON b (n);
             UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE tbl_name = 'e' AND type = 'index')
             WHERE name = 'i'",
        )
        .unwrap();
    drop(connection);
    assert_eq!(kit.take().conclusion.verdict, Verdict::Torn);
    kit.options.full_check_max_bytes = 0;
    let quick = kit.take().conclusion;
    assert!(!quick.detail.contains("missing from index"), "{}", quick.detail);
}

#[test]
fn functions_and_collations_of_the_application_do_not_stand_in_the_way() {
    let kit = Kit::with_database("delete");
    let connection = Connection::open(kit.database()).unwrap();
    connection.create_collation("icu", |_, _| Ordering::Equal).unwrap();
    connection
        .execute_batch("CREATE TABLE t (x TEXT COLLATE icu); CREATE INDEX i ON t (x); INSERT INTO t VALUES ('x')")
        .unwrap();
    drop(connection);
    let conclusion = kit.take_untouched().conclusion;
    assert_eq!(conclusion.verdict, Verdict::Consistent, "{}", conclusion.detail);
    assert!(conclusion.detail.contains("quick_check"), "{}", conclusion.detail);
}

#[test]
fn rows_against_a_rule_of_the_application_are_no_damage() {
    let kit = Kit::with_database("delete");
    let connection = Connection::open(kit.database()).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE t (x CHECK (x > 0)); PRAGMA ignore_check_constraints=ON; INSERT INTO t VALUES (-1)",
        )
        .unwrap();
    drop(connection);
    assert_eq!(kit.take_untouched().conclusion.verdict, Verdict::Consistent);
}
