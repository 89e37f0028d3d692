//! No policy takes the last good snapshot of an application.

use super::*;
use crate::record::AppEntry;
use crate::testing::application;

fn app(kind: &str, path: &str, verdict: &str) -> AppEntry {
    AppEntry { verdict: verdict.into(), ..application(kind, path, None) }
}

/// A snapshot a day with an SQLite database at `/a` of these verdicts; an empty one is a snapshot without it.
fn days(verdicts: &[&str]) -> Vec<Named> {
    let day = |number: u8| at(number, Timestamp::new(i64::from(number) * 86_400, 0).unwrap());
    let mut all: Vec<Named> = (1..).map(day).take(verdicts.len()).collect();
    for ((_, snapshot), verdict) in all.iter_mut().zip(verdicts).filter(|(_, verdict)| !verdict.is_empty()) {
        snapshot.applications.push(app("sqlite", "/a", verdict));
    }
    all
}

fn kept_of(all: &[Named]) -> Vec<u8> {
    kept(&decide_all(all, &policy("l1"), &TimeZone::UTC))
}

#[test]
fn the_newest_with_the_best_verdict_stays() {
    for (verdicts, expected) in [
        (&["consistent", "consistent", "torn", "torn"][..], &[4, 2][..]),
        (&["consistent", "consistent", "consistent"], &[3]),
        (&["consistent", "", ""], &[3, 1]),
        (&["torn", "torn", ""], &[3, 2]),
        (&["crash-consistent", "unknown", "torn"], &[3, 1]),
        (&["crash-consistent", "crash-consistent", "consistent", "torn", "torn"], &[5, 3]),
        (&["unknown", "a word of a later version", "torn"], &[3, 2]),
        (&["", ""], &[2]),
    ] {
        let mut all = days(verdicts);
        assert_eq!(kept_of(&all), expected, "{verdicts:?}");
        all.reverse();
        assert_eq!(kept_of(&all), expected, "{verdicts:?}, newest first");
    }
}

#[test]
fn the_reason_names_the_application() {
    let all = days(&["consistent", "torn"]);
    let decisions = decide_all(&all, &policy("l1"), &TimeZone::UTC);
    let shown: Vec<String> = decisions[1].reasons.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["last good snapshot of sqlite /a"]);
}

#[test]
fn each_instance_has_its_own() {
    let mut all = days(&["consistent", "torn", "torn", "torn", "torn"]);
    all[1].1.applications.push(app("sqlite", "/b", "consistent"));
    all[2].1.applications.push(app("h2", "/a", "consistent"));
    all[3].1.applications[0].verdict = "consistent".into();
    all[3].1.host = "other".into();
    assert_eq!(kept_of(&all), [5, 4, 3, 2, 1]);
}

#[test]
fn a_part_does_not_stand_in_for_the_whole() {
    let mut all = days(&["consistent", "consistent", "consistent", "consistent"]);
    all[1..].iter_mut().for_each(|(_, snapshot)| snapshot.applications[0].scope = Some("essential".into()));
    let groups = decide(sound(&all), &Filter::default(), &policy("l2"), GroupBy::default(), &TimeZone::UTC).unwrap();
    let groups: Vec<_> = groups.iter().map(|group| (group.key.to_string(), kept(&group.decisions))).collect();
    let part = "host host, paths /data, essential of /a";
    assert_eq!(groups, [("host host, paths /data".into(), vec![1]), (part.into(), vec![4, 3])]);
    assert_eq!(kept_of(&all), [4, 1], "as one group, each is the last good one of its kind");
}

#[test]
fn what_the_filter_leaves_out_counts_too() {
    let decided = |all: &[Named]| {
        let tagged = Filter { tags: vec![vec!["nightly".to_owned()]], ..Filter::default() };
        let groups = decide(sound(all), &tagged, &policy("l1"), GroupBy::default(), &TimeZone::UTC).unwrap();
        kept(&groups[0].decisions)
    };
    let mut all = days(&["consistent", "torn", "consistent"]);
    all[..2].iter_mut().for_each(|(_, snapshot)| snapshot.tags.push("nightly".into()));
    assert_eq!(decided(&all), [2], "the third snapshot, which has no tag, is the good one");
    all[2].1.applications[0].verdict = "torn".into();
    assert_eq!(decided(&all), [2, 1]);
}

#[test]
fn a_policy_is_not_excused_by_what_is_protected() {
    let all = days(&["consistent", "torn"]);
    let typo = decide(sound(&all), &Filter::default(), &policy("t:typo"), GroupBy::default(), &TimeZone::UTC);
    assert!(matches!(typo, Err(SnapshotError::KeepsNothing { .. })));
}

#[test]
fn dropping_it_by_name_is_refused_whatever_goes_with_it() {
    let all = days(&["consistent", "consistent", "torn"]);
    let refused = |numbers: &[u8]| {
        let names: Vec<SnapshotName> = numbers.iter().map(|number| name(*number)).collect();
        match refuse_last_good(&all, &BTreeSet::new(), &names) {
            Ok(()) => Vec::new(),
            Err(SnapshotError::LastGood { snapshots }) => snapshots,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(refused(&[1, 3]), [""; 0]);
    let sentence = "02020202 is the last good snapshot of sqlite /a on host";
    for numbers in [&[2][..], &[1, 2], &[2, 3], &[1, 2, 3]] {
        assert_eq!(refused(numbers), [sentence], "{numbers:?}");
    }
}

/// Neither does the one that has lost something go for that: it may be some other file.
#[test]
fn beside_one_that_has_lost_something_the_newest_that_has_not_stays() {
    let all = days(&["consistent", "consistent", "torn", "torn"]);
    let kept_beside = |harmed: &[u8]| {
        let harmed = harmed.iter().map(|number| name(*number)).collect();
        let by = GroupBy { host: false, paths: false, tags: false };
        let groups = decide((&all, &harmed), &Filter::default(), &policy("l1"), by, &TimeZone::UTC).unwrap();
        kept(&groups[0].decisions)
    };
    assert_eq!(kept_beside(&[]), [4, 2]);
    assert_eq!(kept_beside(&[2]), [4, 2, 1]);
    assert_eq!(kept_beside(&[1, 4]), [4, 2]);
    assert_eq!(kept_beside(&[1, 2]), [4, 2], "of a torn one nothing better is known");
    let refused = refuse_last_good(&all, &BTreeSet::from([name(2)]), &[name(1)]);
    assert!(matches!(refused, Err(SnapshotError::LastGood { .. })), "{refused:?}");
}

#[test]
fn of_the_same_moment_what_a_repair_has_made_is_the_older_one() {
    for repaired in [0, 1] {
        let mut all = days(&["consistent", "consistent"]);
        all[1].1.time = all[0].1.time;
        all[repaired].1.extensions.push((crate::record::REPAIRED_FROM_TAG, vec![9; 32]));
        assert_eq!(kept_of(&all), [2 - repaired as u8], "{repaired}");
    }
}
