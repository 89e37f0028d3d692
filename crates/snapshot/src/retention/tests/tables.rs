//! Known dates.

use super::*;

/// Time zone, moments oldest first, policy, and the numbers of those that are kept, newest first.
type Case<'a> = (&'a str, &'a [&'a str], &'a str, &'a [u8]);

#[track_caller]
fn check(cases: &[Case<'_>]) {
    for (zone_name, moments, rules, expected) in cases {
        let zone = zone(zone_name);
        let all = series(&zone, moments);
        let decisions = decide_all(&all, &policy(rules), &zone);
        assert_eq!(kept(&decisions), *expected, "{zone_name} {moments:?} {rules}");
    }
}

#[test]
fn days_weeks_months_and_years() {
    check(&[
        ("UTC", &["2026-01-01T10:00", "2026-01-01T23:59:59", "2026-01-02T00:00", "2026-01-03T12:00"], "d2", &[4, 3]),
        // The newest of each day; while the count lasts, the oldest of all.
        ("UTC", &["2026-01-01T10:00", "2026-01-01T11:00", "2026-01-02T00:00"], "d2", &[3, 2]),
        ("UTC", &["2026-01-01T10:00", "2026-01-01T11:00", "2026-01-02T00:00"], "d3", &[3, 2, 1]),
        // Days without a snapshot are not counted.
        ("UTC", &["2025-06-01T10:00", "2025-12-01T10:00", "2026-01-01T11:00"], "d2", &[3, 2]),
        // 2027-01-03 is a Sunday of week 53 of 2026, the day after is week 1.
        ("UTC", &["2026-12-28T09:00", "2027-01-03T09:00", "2027-01-04T09:00"], "w2", &[3, 2]),
        // 2024-12-30 is week 1 of 2025, as is 2025-01-05.
        ("UTC", &["2024-12-29T09:00", "2024-12-30T09:00", "2025-01-05T09:00"], "w2", &[3, 1]),
        // A week may lie in two years; a year of weeks is no year of months.
        ("UTC", &["2024-12-31T09:00", "2025-01-01T09:00"], "w1 y1", &[2]),
        ("UTC", &["2024-12-31T09:00", "2025-01-01T09:00"], "y2", &[2, 1]),
        ("UTC", &["2024-02-28T09:00", "2024-02-29T09:00", "2024-03-01T09:00"], "m2", &[3, 2]),
        ("UTC", &["2024-02-28T09:00", "2024-02-29T09:00", "2024-03-01T09:00"], "d*", &[3, 2, 1]),
        ("UTC", &["2025-01-15T09:00", "2026-01-15T09:00"], "m2", &[2, 1]),
        // The same two moments are one day or two, as the zone has it.
        ("UTC", &["2026-01-01T22:30Z", "2026-01-01T23:30Z"], "d1", &[2]),
        ("Europe/Berlin", &["2026-01-01T22:30Z", "2026-01-01T23:30Z"], "d2", &[2, 1]),
        ("Asia/Shanghai", &["2025-12-31T15:59Z", "2025-12-31T16:00Z", "2026-01-01T15:00Z"], "y2", &[3, 1]),
        ("UTC", &["1969-12-31T23:59", "1970-01-01T00:00"], "y2", &[2, 1]),
    ]);
}

#[test]
fn hours_across_changes_of_the_clock() {
    check(&[
        ("UTC", &["2026-01-01T10:00", "2026-01-01T10:59:59", "2026-01-01T11:00"], "h2", &[3, 2]),
        // 02:30 happens twice in Berlin: two hours. All of it is one day of 25 hours.
        ("Europe/Berlin", &["2026-10-25T00:10Z", "2026-10-25T00:50Z", "2026-10-25T01:10Z"], "h2", &[3, 2]),
        ("Europe/Berlin", &["2026-10-24T22:00Z", "2026-10-25T00:50Z", "2026-10-25T22:59:59Z"], "d1", &[3]),
        // 02:00 to 03:00 is missing: 01:59 and 03:00 are neighbours.
        ("Europe/Berlin", &["2026-03-29T00:10Z", "2026-03-29T00:59Z", "2026-03-29T01:00Z"], "h2", &[3, 2]),
        ("America/New_York", &["2026-11-01T05:30Z", "2026-11-01T06:30Z"], "h2", &[2, 1]),
        // Half an hour: 01:30 to 02:00 happens twice on Lord Howe Island.
        ("Australia/Lord_Howe", &["2026-04-04T14:10Z", "2026-04-04T14:40Z", "2026-04-04T15:10Z"], "h2", &[3, 2]),
        // Until 2011 clocks in St. John's went back from 00:01 to 23:01 of the day before: two days, not four. The
        // first snapshot stays as the oldest.
        (
            "America/St_Johns",
            &["2010-11-07T02:00Z", "2010-11-07T02:30:30Z", "2010-11-07T03:00Z", "2010-11-07T04:00Z"],
            "d3",
            &[4, 3, 1],
        ),
        (
            "America/St_Johns",
            &["2010-11-07T02:00Z", "2010-11-07T02:30:30Z", "2010-11-07T03:00Z", "2010-11-07T04:00Z"],
            "wd7d",
            &[4, 3],
        ),
    ]);
}

#[test]
fn within_counts_back_from_the_newest() {
    check(&[
        // Exactly as old is too old, as in restic.
        ("UTC", &["2026-01-01T12:00", "2026-01-01T12:00:01", "2026-01-08T12:00"], "within7d", &[3, 2]),
        ("UTC", &["2026-01-30T12:00", "2026-02-28T11:59", "2026-02-28T12:01", "2026-03-31T12:00"], "within1m", &[4, 3]),
        ("UTC", &["2023-02-28T12:00", "2023-03-01T00:00", "2024-02-29T12:00"], "within1y", &[3, 2]),
        // A day over the change of the clock has 23 hours.
        ("Europe/Berlin", &["2026-03-28T12:30", "2026-03-28T13:30", "2026-03-29T13:00"], "within1d", &[3, 2]),
        ("Europe/Berlin", &["2026-03-28T11:30", "2026-03-28T12:30", "2026-03-29T13:00"], "within24h", &[3, 2]),
        ("UTC", &["2026-01-01T12:00", "2026-01-07T12:00", "2026-01-07T13:00", "2026-01-08T12:00"], "wd3d", &[4, 3]),
        ("UTC", &["2025-01-01T12:00", "2025-12-07T12:00", "2026-01-07T13:00", "2026-01-08T12:00"], "wm1y", &[4, 2]),
        // The oldest gets nothing extra here.
        ("UTC", &["2026-01-07T11:00", "2026-01-07T13:00", "2026-01-08T12:00"], "wd30d", &[3, 2]),
        ("UTC", &["-009998-01-01T00:00:00", "2026-01-08T12:00"], "within19998y", &[2, 1]),
    ]);
}

#[test]
fn what_a_watch_has_taken_stays_for_its_own_time() {
    let zone = zone("UTC");
    let mut all = series(
        &zone,
        &["2026-01-01T12:00", "2026-01-01T12:05", "2026-01-04T12:00", "2026-01-07T11:55", "2026-01-08T12:00"],
    );
    // A watch took the first, the second and the fourth; one tag more makes no difference.
    for (at, tags) in [(0, &["watch"][..]), (1, &["tail", "watch"]), (3, &["watch"])] {
        all[at].1.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    }
    let kept_by = |rules: &str| kept(&decide_all(&all, &policy(rules), &zone));
    for (rules, expected) in [
        // Counted back from the newest of all, whoever took it; exactly as old is too old.
        ("l1 watch7d", &[5, 4, 2][..]),
        ("l1 watch8d", &[5, 4, 2, 1]),
        ("l1 watch1h", &[5]),
        ("l1 watch2d", &[5, 4]),
        // Without it, and with none of it, they are snapshots like any other.
        ("l1", &[5]),
        ("l1 watch0d", &[5]),
        ("l2 watch0d", &[5, 4]),
        // The other rules count them too, and what both keep is kept once.
        ("d2 watch1h", &[5, 4]),
        ("within2d watch7d", &[5, 4, 2]),
        ("t:tail watch2d", &[4, 2]),
    ] {
        assert_eq!(kept_by(rules), expected, "{rules}");
    }
    let reasons = |rules: &str, at: usize| {
        let decisions = decide_all(&all, &policy(rules), &zone);
        decisions[at].reasons.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(reasons("l1 watch7d", 1), ["within 7d"]);
    // The wider of the two is not looked for: the rule for all is named.
    assert_eq!(reasons("within2d watch7d", 1), ["within 2d"]);
    assert_eq!(reasons("within2d watch7d", 3), ["within 7d"]);
}

#[test]
fn a_watch_alone_is_no_policy() {
    let zone = zone("UTC");
    let mut all = series(&zone, &["2026-01-01T10:00", "2026-01-02T10:00"]);
    all.iter_mut().for_each(|(_, snapshot)| snapshot.tags = vec![WATCH_TAG.to_owned()]);
    let refused = decide(sound(&all), &Filter::default(), &policy("watch7d"), GroupBy::default(), &zone);
    assert!(matches!(refused, Err(SnapshotError::EmptyPolicy)), "{refused:?}");
}

#[test]
fn of_the_same_second_the_greater_name_is_newer() {
    let same = ["2026-01-01T10:00", "2026-01-01T10:00", "2026-01-01T10:00"];
    check(&[("UTC", &same, "l2", &[3, 2]), ("UTC", &same, "h1", &[3]), ("UTC", &same, "d2", &[3, 1])]);
}

#[test]
fn the_order_in_which_they_come_does_not_matter() {
    let zone = zone("UTC");
    let mut all = series(&zone, &["2026-01-03T10:00", "2026-01-01T10:00", "2026-01-02T10:00"]);
    assert_eq!(kept(&decide_all(&all, &policy("l2"), &zone)), [1, 3]);
    all.reverse();
    assert_eq!(kept(&decide_all(&all, &policy("l2"), &zone)), [1, 3]);
}

#[test]
fn every_reason_is_given_and_counts_run_down() {
    let zone = zone("UTC");
    let mut all = series(&zone, &["2026-01-01T10:00", "2026-01-01T11:00", "2026-02-01T10:00"]);
    all[2].1.tags = vec!["a".into(), "b".into()];
    let decisions = decide_all(&all, &policy("l1 d3 m* t:a,b t: within1h wy2y"), &zone);
    let shown: Vec<String> = decisions
        .iter()
        .map(|decision| decision.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        .collect();
    assert_eq!(
        shown,
        [
            "has tags a,b; within 1h; last snapshot; daily snapshot; monthly snapshot; yearly within 2y",
            "has no tags; daily snapshot; monthly snapshot",
            "has no tags; oldest daily snapshot; oldest monthly snapshot",
        ]
    );
    let left = |at: usize| (decisions[at].left.last, decisions[at].left.each.daily, decisions[at].left.each.monthly);
    assert_eq!(left(0), (Count::NONE, Count::AtMost(2), Count::Unlimited));
    assert_eq!(left(2), (Count::NONE, Count::NONE, Count::Unlimited));
}

#[test]
fn groups_are_judged_by_themselves() {
    let zone = zone("UTC");
    let mut all = series(&zone, &["2026-01-01T10:00", "2026-01-02T10:00", "2026-01-03T10:00", "2026-01-04T10:00"]);
    all[0].1.host = "web".into();
    all[1].1.paths = vec![b"/etc".to_vec()];
    all[2].1.tags = vec!["x".into()];
    let by = |host, paths, tags| GroupBy { host, paths, tags };
    let grouped = |by: GroupBy, filter: &Filter| -> Vec<(String, Vec<u8>)> {
        let groups = decide(sound(&all), filter, &policy("l1"), by, &zone).unwrap();
        groups.iter().map(|group| (group.key.to_string(), kept(&group.decisions))).collect()
    };
    let (none, web) = (Filter::default(), Filter { hosts: vec!["web".into()], ..Filter::default() });
    let group = |key: &str, number: u8| (key.to_owned(), vec![number]);
    assert_eq!(grouped(by(false, false, false), &none), [group("all snapshots", 4)]);
    assert_eq!(grouped(by(true, false, false), &none), [group("host host", 4), group("host web", 1)]);
    assert_eq!(
        grouped(GroupBy::default(), &none),
        [group("host host, paths /data", 4), group("host host, paths /etc", 2), group("host web, paths /data", 1)]
    );
    assert_eq!(grouped(by(false, false, true), &none), [group("no tags", 4), group("tags x", 3)]);
    assert_eq!(grouped(by(false, false, false), &web), [group("all snapshots", 1)]);
    assert_eq!(grouped(by(true, true, true), &Filter { hosts: vec!["db".into()], ..Filter::default() }), []);
}

#[test]
fn a_policy_that_keeps_nothing_is_refused() {
    let zone = zone("UTC");
    let all = series(&zone, &["2026-01-01T10:00", "2026-01-02T10:00"]);
    let refused =
        |rules: &str| decide(sound(&all), &Filter::default(), &policy(rules), GroupBy::default(), &zone).unwrap_err();
    assert!(matches!(refused(""), SnapshotError::EmptyPolicy));
    assert!(matches!(refused("d0 within0d"), SnapshotError::EmptyPolicy));
    let error = refused("t:typo");
    assert!(matches!(&error, SnapshotError::KeepsNothing { group } if group == "host host, paths /data"), "{error}");
    assert!(decide(sound(&[]), &Filter::default(), &policy("l1"), GroupBy::default(), &zone).unwrap().is_empty());
}

#[test]
fn moments_that_no_calendar_has_are_judged_too() {
    let zone = zone("Europe/Berlin");
    let mut all = series(&zone, &["2026-01-01T10:00", "2026-01-01T10:00", "2026-01-01T10:00"]);
    all[0].1.time.seconds = i64::MIN;
    all[2].1.time.seconds = i64::MAX;
    assert_eq!(kept(&decide_all(&all, &policy("h2 d2 w2 m2 y2 within1y"), &zone)), [3, 2]);
    all.iter_mut().for_each(|(_, snapshot)| snapshot.time.seconds = i64::MIN);
    assert_eq!(kept(&decide_all(&all, &policy("within1y"), &zone)), [3, 2, 1]);
}
