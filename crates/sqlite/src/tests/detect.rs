//! What is claimed, and under which names.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use treering_chunk::CutPolicy;
use treering_snapshot::capture::{Application, Verdict};

use super::kit::{Kit, make_database, read};
use crate::{Options, Sqlite, assert_library};

fn claimed_names(kit: &Kit) -> Vec<PathBuf> {
    kit.captures().iter().map(|capture| capture.name().to_path_buf()).collect()
}

#[test]
fn the_linked_library_is_new_enough() {
    assert_library().unwrap();
    assert_eq!(Sqlite::new(Options::new("/nowhere")).unwrap().kind(), "sqlite");
}

#[test]
fn a_database_is_claimed_with_its_siblings() {
    let kit = Kit::with_database("delete");
    let captures = kit.captures();
    let claimed: Vec<&Path> = captures[0].claimed().iter().map(PathBuf::as_path).collect();
    assert_eq!(claimed, ["a.db", "a.db-wal", "a.db-shm", "a.db-journal"].map(Path::new));
}

#[test]
fn other_files_are_left_to_the_walk() {
    let kit = Kit::new();
    let folder = kit.source.path();
    fs::write(folder.join("empty.db"), b"").unwrap();
    fs::write(folder.join("text.sqlite"), [b'x'; 4096]).unwrap();
    fs::write(folder.join("short.db"), b"SQLite format 3\0").unwrap();
    fs::write(folder.join("text-wal"), b"x").unwrap();
    fs::write(folder.join("text"), [b'x'; 4096]).unwrap();
    fs::create_dir(folder.join("folder.db")).unwrap();
    make_database(&folder.join("no-such-name"), "delete", 3);
    symlink(folder.join("no-such-name"), folder.join("link.db")).unwrap();
    assert_eq!(claimed_names(&kit), Vec::<PathBuf>::new());
}

#[test]
fn a_sibling_is_as_good_as_a_name() {
    let kit = Kit::new();
    make_database(&kit.source.path().join("History"), "delete", 3);
    fs::write(kit.source.path().join("History-journal"), b"").unwrap();
    assert_eq!(claimed_names(&kit), [PathBuf::from("History")]);
}

#[test]
fn odd_names_and_folders_are_no_obstacle() {
    let mut kit = Kit::new();
    let odd = OsStr::from_bytes(b"x?immutable=0#%41 \xff\".db");
    make_database(&kit.source.path().join(odd), "wal", 3);
    kit.options.temp_folder = kit.temp.path().join(odd);
    fs::create_dir(&kit.options.temp_folder).unwrap();
    let taken = read(kit.captures().remove(0), None).unwrap();
    assert_eq!(taken.conclusion.verdict, Verdict::Consistent, "{}", taken.conclusion.detail);
}

#[test]
fn a_folder_behind_a_link_is_captured() {
    let kit = Kit::with_database("delete");
    let link = kit.temp.path().join("link");
    symlink(kit.source.path(), &link).unwrap();
    let mut captures = kit.captures_in(&link);
    assert_eq!(read(captures.remove(0), None).unwrap().conclusion.verdict, Verdict::Consistent);
}

#[test]
fn pages_are_the_cut_points_where_they_are_large_enough() {
    for (page_bytes, cut) in
        [(512, CutPolicy::Fine), (1024, CutPolicy::Pages(1024)), (65_536, CutPolicy::Pages(65_536))]
    {
        let kit = Kit::new();
        Connection::open(kit.database()).unwrap().pragma_update(None, "page_size", page_bytes).unwrap();
        let connection = Connection::open(kit.database()).unwrap();
        connection.execute_batch(&format!("PRAGMA page_size={page_bytes}; CREATE TABLE t (x)")).unwrap();
        drop(connection);
        assert_eq!(kit.take().cuts, [Some(cut)]);
    }
}

#[test]
fn the_copy_of_a_rollback_database_is_the_same_file() {
    for mode in ["delete", "truncate", "persist", "memory", "off"] {
        let kit = Kit::with_database(mode);
        let connection = Connection::open(kit.database()).unwrap();
        connection.pragma_update(None, "journal_mode", mode).unwrap();
        connection.execute_batch("DELETE FROM a WHERE n % 3 = 0; DELETE FROM b WHERE n % 3 = 0").unwrap();
        drop(connection);
        let taken = kit.take_untouched();
        assert_eq!((taken.conclusion.verdict, taken.names()), (Verdict::Consistent, vec!["a.db"]));
        assert!(taken.main() == fs::read(kit.database()).unwrap());
    }
}

#[test]
fn version_and_point_come_from_the_header() {
    let kit = Kit::with_database("delete");
    let conclusion = kit.take().conclusion;
    assert_eq!(conclusion.version, Some(format!("SQLite {} (file)", rusqlite::version())));
    let counter = u32::from_be_bytes(fs::read(kit.database()).unwrap()[24..28].try_into().unwrap());
    assert_eq!(conclusion.consistency_point, Some(format!("change {counter}, schema 2")));
}
