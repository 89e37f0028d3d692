//! `cargo xtask campaign`: a random test at its full size.
//!
//! Owns: which test a campaign is, how long it is in full, and the line about it for `docs/promises.md`.
//! Never: knows what a campaign does; the test says what it did.
//! Invariant: the line is printed only for a campaign that held.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::ci::root;
use crate::error::{Context, Error, Result};

/// A campaign: its name, the file in `tests/tests` and the test in it, and its rounds in full.
struct Campaign {
    name: &'static str,
    target: &'static str,
    test: &'static str,
    rounds: u64,
}

const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        name: "powercut",
        target: "powercut",
        test: "a_power_cut_at_any_operation_loses_nothing_that_was_acknowledged",
        rounds: 4,
    },
    Campaign { name: "model", target: "model", test: "random_histories_end_as_the_model_says", rounds: 1500 },
    Campaign {
        name: "kill",
        target: "kill",
        test: "commands_killed_at_any_moment_leave_everything_whole",
        rounds: 300,
    },
    // More than there are: all of them.
    Campaign {
        name: "faults",
        target: "faults",
        test: "a_call_that_fails_loses_nothing_and_is_told",
        rounds: 1_000_000,
    },
    Campaign { name: "race", target: "race", test: "processes_that_race_lose_nothing", rounds: 120 },
    Campaign {
        name: "flips",
        target: "damage",
        test: "a_flip_of_any_byte_is_found_and_nothing_wrong_is_restored",
        rounds: 1_000_000,
    },
    Campaign {
        name: "harms",
        target: "damage",
        test: "every_harm_to_every_object_is_found_and_repaired",
        rounds: 1_000_000,
    },
    Campaign { name: "surroundings", target: "damage", test: "what_is_no_object_costs_time_only", rounds: 1_000_000 },
    Campaign {
        name: "h2-capture",
        target: "h2_capture",
        test: "copies_of_a_database_that_is_written_open_and_belong_together",
        rounds: 150,
    },
    Campaign {
        name: "h2-damage",
        target: "h2_damage",
        test: "what_is_called_whole_opens_in_the_real_h2",
        rounds: 3000,
    },
    Campaign {
        name: "nights",
        target: "nights_kept",
        test: "every_snapshot_that_is_kept_stays_exact_whatever_happens_in_the_nights",
        rounds: 90,
    },
    Campaign { name: "jpom-days", target: "jpom_days", test: "every_day_of_every_kind_of_home_comes_back", rounds: 14 },
    Campaign {
        name: "je-capture",
        target: "je_capture",
        test: "every_hot_capture_holds_what_was_acknowledged_before_it",
        rounds: 120,
    },
    // More than there are: all of them.
    Campaign {
        name: "je-flips",
        target: "je_log",
        test: "every_flipped_byte_is_seen_as_damage_or_as_a_torn_tail",
        rounds: 1_000_000,
    },
    Campaign {
        name: "je-moments",
        target: "je_moments",
        test: "random_moments_come_back_with_exactly_the_last_commit_before_them",
        rounds: 50,
    },
    Campaign {
        name: "je-failover",
        target: "je_failover",
        test: "a_standby_opens_wherever_its_copier_was_killed",
        rounds: 20,
    },
];

/// How `cargo xtask campaign` was called.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Which one; a name that is none lists them
    name: String,
    /// Another size; what a round is, the campaign's file in tests/tests says
    #[arg(long)]
    rounds: Option<u64>,
    /// Repeat the run with this seed [default: a fresh one]
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs it, shows what it prints, and ends with a line of a table.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let known = || CAMPAIGNS.iter().map(|campaign| campaign.name).collect::<Vec<_>>().join(", ");
    let campaign = CAMPAIGNS.iter().find(|campaign| campaign.name == arguments.name);
    let campaign =
        campaign.ok_or_else(|| Error::message(format!("there is no such campaign; there are {}", known())))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--release", "--package", "treering-tests", "--test", campaign.target, "--"]);
    command.args(["--exact", campaign.test, "--nocapture"]).current_dir(root());
    command.env("TREERING_CAMPAIGN_ROUNDS", arguments.rounds.unwrap_or(campaign.rounds).to_string());
    command.env_remove("TREERING_TEST_SEED");
    command.envs(arguments.seed.map(|seed| ("TREERING_TEST_SEED", seed.to_string())));
    let lines = show(&mut command)?;
    let seed = lines.iter().find_map(|line| line.split_once("TREERING_TEST_SEED=")).map(|(_, seed)| seed.trim());
    let held = format!("campaign {} held: ", campaign.name);
    let figure = lines.iter().find_map(|line| line.split_once(&held)).map(|(_, figure)| figure);
    let (Some(seed), Some(figure)) = (seed, figure) else {
        return Err(Error::message(format!("the campaign {} did not say what it did", campaign.name)));
    };
    println!("| {} | {figure} | {seed} | held | {} |", campaign.name, today());
    Ok(())
}

/// Runs a command and shows its standard output, which is also given back.
fn show(command: &mut Command) -> Result<Vec<String>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("run", "cargo test")?;
    let mut lines = Vec::new();
    for line in child.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines()) {
        let line = line.context("read the output of", "cargo test")?;
        println!("{line}");
        lines.push(line);
    }
    let status = child.wait().context("wait for", "cargo test")?;
    match status.success() {
        true => Ok(lines),
        false => Err(Error::message(format!("the campaign failed ({status})"))),
    }
}

/// The date in UTC, as 2026-11-22.
fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    date(since.as_secs() / 86_400)
}

/// The date of a day, counted from 1970-01-01.
fn date(day: u64) -> String {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut left) = (1970, day);
    while left >= 365 + u64::from(is_leap(year)) {
        left -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (day, expected) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_779, "2026-11-22"),
        ] {
            assert_eq!(date(day), expected);
        }
    }

    #[test]
    fn every_campaign_is_a_test_of_its_file() {
        for campaign in CAMPAIGNS {
            let file = root().join(format!("tests/tests/{}.rs", campaign.target));
            let text = std::fs::read_to_string(file).unwrap();
            assert!(text.contains(&format!("fn {}()", campaign.test)), "{}", campaign.name);
            assert!(text.contains(&format!("Campaign::start(\"{}\",", campaign.name)), "{}", campaign.name);
        }
    }
}
