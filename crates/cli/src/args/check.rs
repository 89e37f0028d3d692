//! What is typed behind `check`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::values::{self, DAY, HOUR, ValueError, duration};
use crate::size;

/// Verify the repository.
///
/// Checks that every snapshot, folder and file leads to chunks that exist, and that packs and index agree. With
/// --read-data every pack is also read, decrypted, unpacked and compared with its ids; the other options of that kind read
/// a part, and what was verified longest ago comes first. Damage makes the exit code 5.
#[derive(Debug, Clone, Args)]
pub(crate) struct CheckArgs {
    /// Only compare every object's bytes with its name. Needs no key, finds flipped bits and cut files, at the speed of
    /// the disk.
    ///
    /// It does not see what was deleted as a whole, nor whom damage affects.
    #[arg(long, conflicts_with_all = ["read_data", "read_data_subset", "max_age", "max_duration"])]
    pub(crate) packs: bool,

    /// Read all data. This takes about as long as reading the repository's files.
    #[arg(long, conflicts_with = "read_data_subset")]
    pub(crate) read_data: bool,

    /// Read a part of the data: n/t, x% or a size with K, M, G or T.
    ///
    /// n/t reads a fixed share of the packs, so that the runs 1/t to t/t read all of them. A percentage or a size reads
    /// those packs that were verified longest ago.
    #[arg(long, value_name = "SUBSET")]
    pub(crate) read_data_subset: Option<DataSubset>,

    /// Read the data that was not verified for longer than this, as in 30d, 2w or 36h.
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(crate) max_age: Option<Duration>,

    /// Read data, longest unverified first, and begin with no further pack after this time, as in 20m or 1h30m; one
    /// is read in any case.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) max_duration: Option<Duration>,
}

/// A part of the data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum DataSubset {
    /// A share by names: which, from 1, of how many.
    Share(u64, u64),
    /// So much of the bytes.
    Percent(f64),
    /// So many bytes.
    Bytes(u64),
}

impl FromStr for DataSubset {
    type Err = SubsetError;

    fn from_str(text: &str) -> Result<Self, SubsetError> {
        let text = text.trim();
        let subset = if let Some((number, of)) = text.split_once('/') {
            let (number, of) = (number.parse().unwrap_or(0), of.parse().unwrap_or(0));
            (1..=of).contains(&number).then_some(DataSubset::Share(number, of))
        } else if let Some(percent) = text.strip_suffix('%') {
            let is_plain = percent.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            let percent = percent.parse().ok().filter(|percent| is_plain && *percent > 0.0 && *percent <= 100.0);
            percent.map(DataSubset::Percent)
        } else {
            size::parse(text).ok().filter(|bytes| *bytes > 0).map(DataSubset::Bytes)
        };
        subset.ok_or(SubsetError)
    }
}

/// A text that is no part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubsetError;

impl fmt::Display for SubsetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write n/t with n from 1 to t, a percentage above 0 such as 2.5%, or a size such as 50G")
    }
}

impl std::error::Error for SubsetError {}

/// Months are left out: `m` would be minutes to some and months to others.
fn age(text: &str) -> Result<Duration, ValueError> {
    let units = [('w', 7 * DAY), ('d', DAY), ('h', HOUR)];
    values::add_up(text, &units)
        .filter(|age| !age.is_zero())
        .ok_or(ValueError("write weeks, days and hours, as in 30d, 2w or 1d12h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_data() {
        let read = |text: &str| text.parse::<DataSubset>().ok();
        assert_eq!(read("1/1"), Some(DataSubset::Share(1, 1)));
        assert_eq!(read("3/1000"), Some(DataSubset::Share(3, 1000)));
        assert_eq!(read("2.5%"), Some(DataSubset::Percent(2.5)));
        assert_eq!(read("50G"), Some(DataSubset::Bytes(50 << 30)));
        for bad in [
            "", "0/3", "4/3", "1/0", "/", "1/", "-1/2", "0%", "101%", "%", "nan%", "inf%", "1e1%", "-5%", "0", "0K",
            "5 apples",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn ages() {
        let seconds = |read: Result<Duration, ValueError>| read.ok().map(|duration| duration.as_secs());
        assert_eq!(seconds(age("30d")), Some(30 * DAY));
        assert_eq!(seconds(age("2w1d12h")), Some(15 * DAY + 12 * HOUR));
        for bad in [
            "",
            "30",
            "d",
            "0d",
            "1m",
            "1y",
            "1d2w",
            "1d1d",
            "-1d",
            "1.5d",
            "99999999999999999999d",
            "9999999999999999999w",
            "1д",
        ] {
            assert_eq!(seconds(age(bad)), None, "{bad}");
        }
    }
}
