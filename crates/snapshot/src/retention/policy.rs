//! What a policy says.

use std::str::FromStr;

use super::{Duration, EachPeriod};
use crate::error::SnapshotError;

/// The tag of snapshots that are taken every few minutes so that no moment is lost.
pub const WATCH_TAG: &str = "watch";

/// Which snapshots of a group to keep: each that at least one of the rules keeps. The default keeps nothing and is
/// refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The newest ones.
    pub last: Count,
    /// The newest one of each period, for so many periods that have one.
    pub each: EachPeriod<Count>,
    /// All that are less than this older than the newest.
    pub within: Option<Duration>,
    /// Of those that are less than this older than the newest, the newest one of each period.
    pub each_within: EachPeriod<Option<Duration>>,
    /// Of those that a watch has taken, tagged [`WATCH_TAG`], all that are less than this older than the newest of the
    /// group. It spares them from other rules, and alone is none: the rest would go unasked.
    pub watch_within: Option<Duration>,
    /// All that have all tags of one of these lists; an empty list stands for snapshots without tags.
    pub tags: Vec<Vec<String>>,
}

impl Policy {
    /// Whether no rule of it can keep anything but what a watch has taken.
    pub fn is_empty(&self) -> bool {
        let is_nothing = |within: &Option<Duration>| within.is_none_or(Duration::is_zero);
        self.last == Count::NONE
            && self.each.iter().all(|(_, count)| *count == Count::NONE)
            && is_nothing(&self.within)
            && self.each_within.iter().all(|(_, within)| is_nothing(within))
            && self.tags.is_empty()
    }
}

/// How many to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// As many as there are, up to this.
    AtMost(u32),
    /// All.
    Unlimited,
}

impl Count {
    /// None at all.
    pub const NONE: Self = Self::AtMost(0);

    /// Takes one off; `false` if none is left.
    pub(super) fn take(&mut self) -> bool {
        match self {
            Self::Unlimited => true,
            Self::AtMost(left) => match left.checked_sub(1) {
                Some(fewer) => {
                    *left = fewer;
                    true
                }
                None => false,
            },
        }
    }
}

impl Default for Count {
    fn default() -> Self {
        Self::NONE
    }
}

impl FromStr for Count {
    type Err = SnapshotError;

    /// A sign is refused, restic's -1 too: what a script computed wrongly must not keep everything.
    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let bad = |detail: &str| SnapshotError::BadRule { text: text.to_owned(), detail: detail.to_owned() };
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad("use a number such as 7, or `unlimited`"));
        }
        text.parse().map(Self::AtMost).map_err(|_| bad("it is too large; `unlimited` keeps all"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        assert_eq!("0".parse::<Count>().unwrap(), Count::NONE);
        assert_eq!("14".parse::<Count>().unwrap(), Count::AtMost(14));
        assert_eq!("4294967295".parse::<Count>().unwrap(), Count::AtMost(u32::MAX));
        assert_eq!("unlimited".parse::<Count>().unwrap(), Count::Unlimited);
        for bad in ["", "-1", "+1", "1.5", "many", "1 ", "4294967296", "99999999999999999999999", "٣"] {
            assert!(matches!(bad.parse::<Count>(), Err(SnapshotError::BadRule { text, .. }) if text == bad), "{bad}");
        }
    }

    #[test]
    fn counts_run_out() {
        let (mut two, mut all) = (Count::AtMost(2), Count::Unlimited);
        assert_eq!([two.take(), two.take(), two.take(), two.take()], [true, true, false, false]);
        assert!((0..100).all(|_| all.take()));
    }

    #[test]
    fn a_policy_of_zeros_is_empty() {
        let zero = Some("0d".parse().unwrap());
        let zeros = Policy {
            within: zero,
            each_within: EachPeriod { weekly: zero, ..EachPeriod::default() },
            ..Policy::default()
        };
        assert!(Policy::default().is_empty() && zeros.is_empty());
        let day = Some("1d".parse().unwrap());
        for policy in [
            Policy { last: Count::AtMost(1), ..Policy::default() },
            Policy { last: Count::Unlimited, ..Policy::default() },
            Policy { each: EachPeriod { yearly: Count::AtMost(1), ..EachPeriod::default() }, ..Policy::default() },
            Policy { within: day, ..Policy::default() },
            Policy { each_within: EachPeriod { hourly: day, ..EachPeriod::default() }, ..Policy::default() },
            Policy { tags: vec![Vec::new()], ..Policy::default() },
        ] {
            assert!(!policy.is_empty(), "{policy:?}");
        }
    }
}
