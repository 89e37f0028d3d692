//! Forgetting by policy, as a user does it.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;
use treering_tests::{Ran, Treering, id, run};

/// Days of a machine in Berlin, where summer time ended on 26 October: a snapshot half an hour after midnight is one of
/// the day before in UTC.
const ZONE: &str = "Europe/Berlin";

/// Where making things durable costs nothing: what is tested here is not durability, and takes many backups.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Backs a folder up as if it were this day.
#[track_caller]
fn backup(treering: &Treering, folder: &Path, day: &str, code: i32) -> String {
    let mut command = treering.backup_command(folder);
    command.env("TZ", ZONE).args(["--time", &format!("{day} 00:30")]);
    id(&run(&mut command).expect(code).message("summary"))
}

fn forget(treering: &Treering, args: &[&str]) -> Ran {
    run(treering.command("forget").env("TZ", ZONE).args(args))
}

/// The days of a list of snapshots.
fn days(list: &Value) -> Vec<String> {
    let day = |snapshot: &Value| snapshot["time"].as_str().unwrap()[..10].to_owned();
    list.as_array().unwrap().iter().map(day).collect()
}

/// The days of which there is a snapshot, in Berlin.
fn days_left(treering: &Treering) -> Vec<String> {
    days(&run(treering.command("snapshots").env("TZ", ZONE)).expect(0).document())
}

/// What a forget said, without whether it was a dry run.
fn said(ran: Ran) -> Value {
    let mut document = ran.expect(0).document();
    for group in document.as_array_mut().unwrap() {
        group.as_object_mut().unwrap().remove("dry_run").unwrap();
    }
    document
}

#[test]
fn a_hundred_and_twenty_days_become_what_the_policy_says() {
    let temp = folder();
    let treering = Treering::init(temp.path());
    let tree = temp.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let months = [(7, 4..=31), (8, 1..=31), (9, 1..=30), (10, 1..=31)];
    let all: Vec<String> =
        months.into_iter().flat_map(|(month, days)| days.map(move |day| format!("2025-{month:02}-{day:02}"))).collect();
    assert_eq!(all.len(), 120);
    for day in &all {
        fs::write(tree.join("log"), day).unwrap();
        backup(&treering, &tree, day, 0);
    }

    let rules = ["--keep-daily", "14", "--keep-weekly", "8", "--keep-monthly", "12"];
    let dry = said(forget(&treering, &[&rules[..], &["--dry-run"]].concat()));
    assert_eq!(days_left(&treering), all, "a dry run drops nothing");
    assert_eq!(said(forget(&treering, &rules)), dry, "a dry run says what is done");

    let daily = (18..=31).map(|day| format!("2025-10-{day}"));
    let sundays = ["2025-09-14", "2025-09-21", "2025-09-28", "2025-10-05", "2025-10-12"];
    // The history is shorter than twelve months, so its oldest snapshot stays.
    let monthly = ["2025-07-04", "2025-07-31", "2025-08-31", "2025-09-30"];
    let kept: BTreeSet<String> = daily.chain(sundays.into_iter().chain(monthly).map(str::to_owned)).collect();
    assert_eq!(days_left(&treering), kept.iter().cloned().collect::<Vec<_>>());

    let [group] = dry.as_array().unwrap().as_slice() else { panic!("{dry}") };
    assert_eq!((group["host"].as_str(), &group["tags"]), (Some("test"), &Value::Null));
    assert_eq!(group["paths"][0].as_str(), tree.to_str());
    assert_eq!(days(&group["keep"]), kept.iter().rev().cloned().collect::<Vec<_>>());
    let dropped = all.iter().rev().filter(|day| !kept.contains(*day)).cloned().collect::<Vec<_>>();
    assert_eq!(days(&group["remove"]), dropped);
    let reasons = group["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), kept.len());
    let (newest, oldest) = (&reasons[0], reasons.last().unwrap());
    assert_eq!(newest["snapshot"], group["keep"][0]);
    assert_eq!(newest["matches"], serde_json::json!(["daily snapshot", "weekly snapshot", "monthly snapshot"]));
    assert_eq!(newest["counters"], serde_json::json!({ "daily": 13, "weekly": 7, "monthly": 11 }));
    assert_eq!(oldest["matches"], serde_json::json!(["oldest monthly snapshot"]));
    assert_eq!(oldest["counters"], serde_json::json!({ "monthly": 7 }));

    let again = said(forget(&treering, &rules));
    assert_eq!(again[0]["remove"], serde_json::json!([]), "a second run finds nothing to do");
    treering.check();
}

#[test]
fn groups_and_filters_limit_what_is_judged() {
    let temp = folder();
    let treering = Treering::init(temp.path());
    let (one, other) = (temp.path().join("one"), temp.path().join("other"));
    [&one, &other].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
    for day in ["2025-10-01", "2025-10-02"] {
        backup(&treering, &one, day, 0);
    }
    backup(&treering, &other, "2025-09-01", 0);
    let dropped = |args: &[&str]| -> Vec<Vec<String>> {
        let groups = said(forget(&treering, &[args, &["--keep-last", "1", "--dry-run"]].concat()));
        groups.as_array().unwrap().iter().map(|group| days(&group["remove"])).collect()
    };
    let list = |days: &[&str]| days.iter().map(|day| (*day).to_owned()).collect::<Vec<_>>();
    assert_eq!(dropped(&[]), [list(&["2025-10-01"]), list(&[])]);
    assert_eq!(dropped(&["--group-by", "host"]), [list(&["2025-10-01", "2025-09-01"])]);
    assert_eq!(dropped(&["--path", other.to_str().unwrap()]), [list(&[])]);
    assert!(dropped(&["--host", "nobody"]).is_empty());
    forget(&treering, &["--keep-tag", "typo"]).expect(1);
    assert_eq!(days_left(&treering).len(), 3, "a policy that keeps nothing drops nothing");
}

/// A database that is sound on three days and broken on three more.
fn three_good_and_three_torn_days(treering: &Treering, tree: &Path) -> Vec<String> {
    fs::create_dir(tree).unwrap();
    let database = tree.join("app.db");
    let connection = Connection::open(&database).unwrap();
    connection.execute_batch("CREATE TABLE note (text TEXT)").unwrap();
    let mut ids = Vec::new();
    for day in 1..=3 {
        let text = format!("day {day} {}", "with some text ".repeat(2000));
        assert_eq!(connection.execute("INSERT INTO note VALUES (?1)", [text]).unwrap(), 1);
        ids.push(backup(treering, tree, &format!("2025-10-0{day}"), 0));
    }
    drop(connection);
    let mut bytes = fs::read(&database).unwrap();
    for day in 4..=6 {
        bytes[4096..12_288].fill(day);
        fs::write(&database, &bytes).unwrap();
        ids.push(backup(treering, tree, &format!("2025-10-0{day}"), 6));
    }
    let states: Vec<Value> = treering.snapshots().iter().map(|snapshot| snapshot["apps"][0]["state"].clone()).collect();
    assert_eq!(states, ["consistent", "consistent", "consistent", "torn", "torn", "torn"]);
    ids
}

#[test]
fn no_policy_drops_the_last_good_snapshot_of_a_database() {
    let temp = folder();
    let treering = Treering::init(temp.path());
    let tree = temp.path().join("tree");
    three_good_and_three_torn_days(&treering, &tree);
    let groups = said(forget(&treering, &["--keep-last", "1"]));
    assert_eq!(days_left(&treering), ["2025-10-03", "2025-10-06"]);
    let reason = format!("last good snapshot of sqlite {}", tree.join("app.db").display());
    assert_eq!(groups[0]["reasons"][1]["matches"], serde_json::json!([reason]));
}

#[test]
fn the_last_good_snapshot_of_a_database_is_dropped_by_name_only_if_that_is_meant() {
    let temp = folder();
    let treering = Treering::init(temp.path());
    let tree = temp.path().join("tree");
    let ids = three_good_and_three_torn_days(&treering, &tree);
    for named in [&[&ids[2]][..], &[&ids[0], &ids[2]], &ids.iter().collect::<Vec<_>>()] {
        let args: Vec<&str> = named.iter().map(|id| id.as_str()).collect();
        for more in [&[][..], &["--dry-run"]] {
            let ran = forget(&treering, &[&args[..], more].concat()).expect(1);
            let error: Value = serde_json::from_str(&ran.stderr).unwrap();
            let message = error["message"].as_str().unwrap();
            assert!(message.contains("sqlite") && message.contains(tree.join("app.db").to_str().unwrap()), "{message}");
            assert!(message.starts_with(&ids[2][..8]), "{message}");
            assert_eq!(error["safe"], "Nothing was dropped.");
            assert!(error["next"].as_str().unwrap().contains("--allow-last-good"));
        }
    }
    assert_eq!(treering.snapshots().len(), 6);
    forget(&treering, &[&ids[0], &ids[5]]).expect(0);
    forget(&treering, &["--allow-last-good", &ids[2]]).expect(0);
    assert_eq!(days_left(&treering), ["2025-10-02", "2025-10-04", "2025-10-05"]);
    // Now the one before it is the last good one.
    forget(&treering, &[&ids[1]]).expect(1);
}

/// Days would be counted by another clock than everybody thinks.
#[test]
fn a_time_zone_that_nobody_knows_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    for (zone, is_told) in [("Nonsense/Zone", true), (ZONE, false), ("", false)] {
        let said = run(treering.command("snapshots").env("TZ", zone)).expect(0).to_string();
        assert_eq!(said.contains("taken as UTC"), is_told, "{zone}: {said}");
    }
}

/// The last good snapshot of a database has lost it: the one before is kept beside it, from which it can be restored.
#[test]
fn no_policy_drops_the_last_snapshot_of_which_nothing_is_lost() {
    let temp = folder();
    let treering = Treering::init(temp.path());
    let tree = temp.path().join("tree");
    let ids = three_good_and_three_torn_days(&treering, &tree);
    let shards = fs::read_dir(treering.repository().join("packs")).unwrap();
    let packs = shards.flat_map(|shard| fs::read_dir(shard.unwrap().path()).unwrap());
    let mut data: Vec<_> = packs.map(|pack| pack.unwrap().path()).collect();
    data.retain(|pack| fs::read(pack).unwrap()[10] == 1);
    data.sort_by_key(|pack| fs::metadata(pack).unwrap().modified().unwrap());
    let mut bytes = fs::read(&data[2]).unwrap();
    bytes[120] ^= 1;
    fs::remove_file(&data[2]).unwrap();
    fs::write(&data[2], bytes).unwrap();
    run(treering.command("repair").args(["packs", "--read-data"])).expect(3);
    forget(&treering, &["--keep-last", "1"]).expect(0);
    assert_eq!(days_left(&treering), ["2025-10-02", "2025-10-03", "2025-10-06"]);
    forget(&treering, &[&ids[1]]).expect(1);
    treering.restore(&ids[1], &temp.path().join("restored"));
}
