//! What to keep: the rules of retention, for all commands that drop snapshots by age.

use clap::Args;
use treering_snapshot::retention::{Count, Duration, EachPeriod, Policy};
use treering_snapshot::select::GroupBy;

use super::values::{TagList, group_by};
use crate::exit::Failure;

/// Set for each option: as a heading of the struct it would also stand over the options behind it.
const WHAT: &str = "What to keep";

/// Rules: a snapshot stays if one of them keeps it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct KeepArgs {
    /// Keep the newest N snapshots; `unlimited` keeps all.
    #[arg(short = 'l', long, help_heading = WHAT, value_name = "N", allow_hyphen_values = true)]
    pub(crate) keep_last: Option<Count>,

    /// Keep the newest snapshot of each hour, for the last N hours that have one. -H is --host here.
    #[arg(long, help_heading = WHAT, value_name = "N", allow_hyphen_values = true)]
    pub(crate) keep_hourly: Option<Count>,

    /// Keep the newest snapshot of each day, for the last N days that have one.
    ///
    /// While the number is not used up, the oldest snapshot is kept as well; the same goes for the other periods.
    #[arg(short = 'd', long, help_heading = WHAT, value_name = "N", allow_hyphen_values = true)]
    pub(crate) keep_daily: Option<Count>,

    /// Keep the newest snapshot of each week (from Monday), for the last N weeks that have one.
    #[arg(short = 'w', long, help_heading = WHAT, value_name = "N", allow_hyphen_values = true)]
    pub(crate) keep_weekly: Option<Count>,

    /// Keep the newest snapshot of each month, for the last N months that have one.
    #[arg(short = 'm', long, help_heading = WHAT, value_name = "N", allow_hyphen_values = true)]
    pub(crate) keep_monthly: Option<Count>,

    /// Keep the newest snapshot of each year, for the last N years that have one.
    #[arg(short = 'y', long, help_heading = WHAT, value_name = "N", allow_hyphen_values = true)]
    pub(crate) keep_yearly: Option<Count>,

    /// Keep all snapshots that are less than this older than the newest: 30d, 1y5m7d2h (years, months, days, hours).
    #[arg(long, help_heading = WHAT, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) keep_within: Option<Duration>,

    /// Of those less than this older than the newest, keep the newest snapshot of each hour.
    #[arg(long, help_heading = WHAT, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) keep_within_hourly: Option<Duration>,

    /// Of those less than this older than the newest, keep the newest snapshot of each day.
    #[arg(long, help_heading = WHAT, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) keep_within_daily: Option<Duration>,

    /// Of those less than this older than the newest, keep the newest snapshot of each week.
    #[arg(long, help_heading = WHAT, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) keep_within_weekly: Option<Duration>,

    /// Of those less than this older than the newest, keep the newest snapshot of each month.
    #[arg(long, help_heading = WHAT, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) keep_within_monthly: Option<Duration>,

    /// Of those less than this older than the newest, keep the newest snapshot of each year.
    #[arg(long, help_heading = WHAT, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) keep_within_yearly: Option<Duration>,

    /// Of the snapshots that `je watch` has taken, keep all that are less than this older than the newest.
    ///
    /// It is in force whenever a rule is given; 0d leaves them to the other rules.
    #[arg(long, help_heading = WHAT, value_name = "DURATION", default_value = "7d", allow_hyphen_values = true)]
    pub(crate) keep_watch_within: Option<Duration>,

    /// Keep all snapshots that have all of these tags, separated by commas.
    ///
    /// If it is given several times, one of the lists has to fit. An empty list means snapshots without tags.
    #[arg(long, help_heading = WHAT, value_name = "TAG[,TAG…]")]
    pub(crate) keep_tag: Vec<TagList>,

    /// Apply the rules separately to snapshots that have these in common: host, paths, tags; '' for all as one.
    #[arg(short = 'g', long, help_heading = WHAT, value_name = "LIST", value_parser = group_by)]
    #[arg(default_value = "host,paths")]
    pub(crate) group_by: GroupBy,
}

impl KeepArgs {
    /// The rules; `None` if none was given.
    pub(crate) fn policy(&self) -> Result<Option<Policy>, Failure> {
        let given = self.given();
        if given.is_empty() {
            return Ok(None);
        }
        let policy = Policy {
            last: self.keep_last.unwrap_or_default(),
            each: EachPeriod {
                hourly: self.keep_hourly.unwrap_or_default(),
                daily: self.keep_daily.unwrap_or_default(),
                weekly: self.keep_weekly.unwrap_or_default(),
                monthly: self.keep_monthly.unwrap_or_default(),
                yearly: self.keep_yearly.unwrap_or_default(),
            },
            within: self.keep_within,
            watch_within: self.keep_watch_within,
            each_within: EachPeriod {
                hourly: self.keep_within_hourly,
                daily: self.keep_within_daily,
                weekly: self.keep_within_weekly,
                monthly: self.keep_within_monthly,
                yearly: self.keep_within_yearly,
            },
            tags: self.keep_tag.iter().map(|list| list.0.clone()).collect(),
        };
        if policy.is_empty() {
            return Err(Failure::usage(format!("{}: zero keeps nothing", given.join(", ")))
                .next("Give at least one rule that keeps something, such as --keep-daily 7."));
        }
        Ok(Some(policy))
    }

    /// The options that were given.
    fn given(&self) -> Vec<&'static str> {
        let options = [
            ("--keep-last", self.keep_last.is_some()),
            ("--keep-hourly", self.keep_hourly.is_some()),
            ("--keep-daily", self.keep_daily.is_some()),
            ("--keep-weekly", self.keep_weekly.is_some()),
            ("--keep-monthly", self.keep_monthly.is_some()),
            ("--keep-yearly", self.keep_yearly.is_some()),
            ("--keep-within", self.keep_within.is_some()),
            ("--keep-within-hourly", self.keep_within_hourly.is_some()),
            ("--keep-within-daily", self.keep_within_daily.is_some()),
            ("--keep-within-weekly", self.keep_within_weekly.is_some()),
            ("--keep-within-monthly", self.keep_within_monthly.is_some()),
            ("--keep-within-yearly", self.keep_within_yearly.is_some()),
            ("--keep-tag", !self.keep_tag.is_empty()),
        ];
        options.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect()
    }
}
