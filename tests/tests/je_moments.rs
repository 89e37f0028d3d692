//! Moments between snapshots of a Berkeley DB JE environment that is written all the time: each comes back with exactly
//! the last commit before it, or is refused.
//!
//! A round is a moment that came back.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::path::Path;

use jiff::Timestamp;
use treering_tests::{Campaign, Treering, run};
use treering_workloads::je_load::{Commit, Load, Pace, check};

const SNAPSHOTS: u64 = 12;
/// Moments that may be refused for each that is brought back.
const REFUSED_MOST: u64 = 4;

/// A moment, and the last commit before it.
#[derive(Debug, Clone, Copy)]
struct Moment {
    time_ms: i64,
    expected: u64,
}

fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap().to_string()
}

/// The moments of which what the application saw says which commit is the last: behind its acknowledgement, and before
/// the next one was begun.
fn certain(commits: &[Commit]) -> Vec<Moment> {
    let pairs = commits.windows(2).filter(|pair| pair[1].number == pair[0].number + 1);
    pairs
        .filter(|pair| pair[0].after_ms < pair[1].before_ms)
        .map(|pair| Moment { time_ms: pair[0].after_ms, expected: pair[0].number })
        .collect()
}

/// The ranges that are offered, as times of their first and last commits.
fn ranges(treering: &Treering, home: &Path) -> Vec<(i64, i64)> {
    let mut command = treering.command("je");
    command.args(["range", "--path"]).arg(home);
    let document = run(&mut command).expect(0).document();
    let ms =
        |commit: &serde_json::Value| commit["time"].as_str().unwrap().parse::<Timestamp>().unwrap().as_millisecond();
    document.as_array().unwrap().iter().map(|one| (ms(&one["first_commit"]), ms(&one["last_commit"]))).collect()
}

/// Brings a moment back; `false` if that was refused.
fn bring_back(treering: &Treering, home: &Path, target: &Path, moment: Moment) -> bool {
    let mut command = treering.command("restore");
    command.args(["--je-until", &time(moment.time_ms), "--path"]).arg(home).arg("--target").arg(target);
    let ran = run(&mut command);
    if ran.status.code() == Some(1) {
        assert!(ran.messages("exit_error")[0]["message"].as_str().unwrap().contains("cannot be proven"), "{ran}");
        assert!(!target.exists());
        return false;
    }
    let ran = ran.expect(0);
    let cut = ran.message("je_cut");
    let found = check(target).unwrap();
    assert_eq!(found.sum, found.expected, "{moment:?}: {cut}");
    assert_eq!(found.last, moment.expected, "{moment:?}: {cut}");
    std::fs::remove_dir_all(target).unwrap();
    true
}

#[test]
fn random_moments_come_back_with_exactly_the_last_commit_before_them() {
    let campaign = Campaign::start("je-moments", 5);
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let home = temp.path().join("je");
    let pace = Pace { threads: 3, pause_ms: 8, seed: campaign.seed };
    let mut load = Load::start(&home, &temp.path().join("acknowledged"), pace).unwrap();
    let mut random = campaign.random("moments");
    for _ in 0..SNAPSHOTS {
        load.wait_for(50 + random.below(250)).unwrap();
        treering.backup(&home);
    }
    let commits = load.acknowledged().unwrap();
    load.stop().unwrap();
    let ranges = ranges(&treering, &home);
    let moments = certain(&commits);
    let (mut back, mut refused) = (0, 0);
    while back < campaign.rounds {
        let moment = moments[random.below(moments.len() as u64) as usize];
        let is_offered = ranges.iter().any(|(first, last)| (*first..*last).contains(&moment.time_ms));
        let came = bring_back(&treering, &home, &temp.path().join("back"), moment);
        // At the end of a range it depends on whether the next commit is known.
        let is_at_an_end = ranges.iter().any(|(_, last)| moment.time_ms >= *last);
        assert!(came == is_offered || (came && is_at_an_end), "{moment:?} came back: {came}, ranges: {ranges:?}");
        if came {
            back += 1
        } else {
            refused += 1
        }
        assert!(refused <= REFUSED_MOST * campaign.rounds, "{refused} moments were refused: {ranges:?}");
    }
    let first = commits.first().unwrap();
    let before = Moment { time_ms: first.before_ms - 60_000, expected: 0 };
    assert!(!bring_back(&treering, &home, &temp.path().join("back"), before));
    campaign.end(&format!(
        "{back} moments of {} commits in {SNAPSHOTS} snapshots came back exactly, {refused} in gaps were refused",
        commits.len()
    ));
}
