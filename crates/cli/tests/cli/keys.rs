//! Keys: added, listed, replaced, removed, exported.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::kit::{Home, Ran};

fn list(home: &Home) -> Vec<Value> {
    serde_json::from_str(&home.run(["key", "list", "--json"]).expect(0).stdout).unwrap()
}

fn with_key(home: &Home, key: &str) -> Ran {
    Ran::of(home.command(["snapshots"]).env("TREERING_KEY_FILE", home.path(key)))
}

#[test]
fn a_recovery_key_is_printed_once_and_opens() {
    let home = Home::empty();
    let init = home.run(["init", "--json"]).expect(0);
    let initialized = &init.messages()[0];
    assert_eq!(initialized["message_type"], "initialized");
    assert_eq!(initialized["encryption"], "aes256gcm");
    fs::write(home.path("recovery"), initialized["recovery_key"].as_str().unwrap()).unwrap();
    with_key(&home, "recovery").expect(0);
    let slots = list(&home);
    let user = |is_current: bool| slots.iter().find(|slot| slot["current"] == is_current).unwrap()["userName"].clone();
    assert_eq!((slots.len(), user(false)), (2, "recovery".into()));
    assert_ne!(user(true), "recovery");
    home.run(["key", "export", "--output", "another"]).expect(0);
    assert_eq!(list(&home).iter().filter(|slot| slot["userName"] == "recovery").count(), 2);
}

#[test]
fn a_new_key_file_is_private_and_replaces_nothing() {
    let home = Home::empty();
    assert_eq!(fs::metadata(home.path("key")).unwrap().permissions().mode() & 0o777, 0o600);
    home.run(["key", "new-file", "key"]).expect(1);
}

#[test]
fn keys_are_added_and_removed_but_never_the_one_in_use() {
    let home = Home::new();
    home.run(["key", "new-file", "second"]).expect(0);
    home.run(["key", "add", "--new-key-file", "second", "--user", "ann", "--host", "desk"]).expect(0);
    with_key(&home, "second").expect(0);
    let slots = list(&home);
    let ann = slots.iter().find(|slot| slot["userName"] == "ann").unwrap();
    assert_eq!((&ann["hostName"], &ann["kind"], &ann["current"]), (&"desk".into(), &"key-file".into(), &false.into()));
    let current = slots.iter().find(|slot| slot["current"] == true).unwrap();
    home.run(["key", "remove", current["id"].as_str().unwrap()]).expect(1);
    home.run(["key", "remove", &ann["id"].as_str().unwrap()[..8]]).expect(0);
    with_key(&home, "second").expect(12);
}

#[test]
fn a_key_that_is_replaced_opens_no_more() {
    let home = Home::new();
    home.run(["key", "new-file", "second"]).expect(0);
    home.run(["key", "passwd", "--new-key-file", "second"]).expect(0);
    with_key(&home, "second").expect(0);
    home.run(["snapshots"]).expect(12);
}

#[test]
fn an_exported_key_opens() {
    let home = Home::new();
    home.run(["key", "export", "--output", "exported"]).expect(0);
    with_key(&home, "exported").expect(0);
    let printed = home.run(["key", "export"]).expect(0).stdout;
    assert!(printed.starts_with("treering-key-1 "));
}

#[test]
fn changes_of_keys_are_told_in_json() {
    let home = Home::new();
    home.run(["key", "new-file", "second"]).expect(0);
    let told = home.run(["key", "passwd", "--new-key-file", "second", "--json"]).expect(0).messages();
    let types: Vec<&str> = told.iter().map(|message| message["message_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["key_added", "key_removed"]);
    assert_ne!(told[0]["id"], told[1]["id"]);
}

#[test]
fn a_hint_only_says_where_to_begin() {
    let home = Home::new();
    let slots = list(&home);
    for slot in &slots {
        home.run(["snapshots", "--key-hint", &slot["id"].as_str().unwrap()[..8]]).expect(0);
    }
    home.run(["snapshots", "--key-hint", "00000000"]).expect(0);
}
