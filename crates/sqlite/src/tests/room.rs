//! Temporary copies: bounded, private, and gone.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use treering_snapshot::capture::{CaptureError, Verdict};

use super::child::Helper;
use super::kit::{Kit, NoPieces, names};
use crate::raw::copy_part;
use crate::temp::Room;

#[test]
fn a_copy_over_the_limit_is_refused_and_nothing_is_left() {
    for mode in ["delete", "wal"] {
        let mut kit = Kit::with_database(mode);
        let size_bytes = fs::metadata(kit.database()).unwrap().len();
        kit.options.temp_max_bytes = size_bytes - 1;
        let error = kit.try_take(None).err();
        assert!(
            matches!(error, Some(CaptureError::NoRoom { needed_bytes, free_bytes, .. })
                if needed_bytes == size_bytes && free_bytes == size_bytes - 1),
            "{error:?}"
        );
        kit.options.temp_max_bytes = size_bytes;
        assert_eq!(kit.take_untouched().conclusion.verdict, Verdict::Consistent);
    }
}

#[test]
fn without_room_to_try_recovery_the_verdict_stays_open() {
    let mut kit = Kit::with_database("delete");
    drop(Helper::start("hold-spilled", &kit.database()));
    let size_bytes = |suffix| fs::metadata(kit.beside(suffix)).unwrap().len();
    kit.options.temp_max_bytes = size_bytes("") + size_bytes("-journal");
    let taken = kit.take_untouched();
    assert_eq!(taken.conclusion.verdict, Verdict::Unknown, "{}", taken.conclusion.detail);
    assert_eq!(taken.names(), ["a.db", "a.db-journal"]);
}

#[test]
fn a_missing_folder_for_copies_is_an_error() {
    let mut kit = Kit::with_database("delete");
    kit.options.temp_folder = kit.temp.path().join("missing");
    assert!(matches!(kit.try_take(None), Err(CaptureError::Io { .. })));
}

#[test]
fn a_source_that_vanished_or_became_a_link_is_an_error() {
    let kit = Kit::with_database("delete");
    let mut captures = kit.captures();
    fs::rename(kit.database(), kit.temp.path().join("moved")).unwrap();
    assert!(captures[0].take(None, &mut NoPieces).is_err());
    std::os::unix::fs::symlink(kit.temp.path().join("moved"), kit.database()).unwrap();
    assert!(captures[0].take(None, &mut NoPieces).is_err());
}

#[test]
fn the_copy_has_no_name_once_it_is_handed_out() {
    let kit = Kit::with_database("delete");
    let mut capture = kit.captures().remove(0);
    let files = capture.take(None, &mut NoPieces).unwrap();
    assert!(names(kit.temp.path()).is_empty());
    drop(files);
}

#[test]
fn what_grows_as_fast_as_it_is_copied_takes_no_more_room_than_was_set_aside() {
    let kit = Kit::new();
    let room = Room::new(kit.temp.path(), u64::MAX).unwrap();
    let copy = copy_part(std::io::repeat(7), 10_000, &room, "x", Path::new("x")).unwrap();
    assert_eq!(copy.metadata().unwrap().len(), 10_000);
}

#[test]
fn copies_are_private() {
    let kit = Kit::new();
    let room = Room::new(kit.temp.path(), u64::MAX).unwrap();
    let file = room.create("x").unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let folder = fs::metadata(room.path("")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
}

#[test]
fn leftovers_of_the_dead_are_swept_and_the_living_are_left_alone() {
    let kit = Kit::new();
    let dead = kit.temp.path().join("treering-sqlite-dead");
    fs::create_dir(&dead).unwrap();
    fs::set_permissions(&dead, Permissions::from_mode(0o700)).unwrap();
    fs::write(dead.join("copy.db"), b"x").unwrap();
    let living = Room::new(kit.temp.path(), u64::MAX).unwrap();
    assert!(!dead.exists());
    drop(Room::new(kit.temp.path(), u64::MAX).unwrap());
    assert!(living.path("").exists());
}
