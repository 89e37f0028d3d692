//! Single values: their types, and the functions that read them for clap.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use treering_snapshot::select::GroupBy;

use crate::selector::{IdPrefix, Selector, SelectorError};
use crate::size::{self, SizeError};

/// The most files that may be asked to be read at once.
pub(crate) const MAX_READ_CONCURRENCY: usize = 256;

/// How hard to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Compression {
    /// The level that measurement chose.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// The fastest useful level.
    Fastest,
    /// Slower and smaller.
    Better,
    /// As small as reasonable, however slow.
    Max,
    /// A level of zstd.
    Level(i32),
}

impl FromStr for Compression {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "auto" => Ok(Compression::Auto),
            "off" => Ok(Compression::Off),
            "fastest" => Ok(Compression::Fastest),
            "better" => Ok(Compression::Better),
            "max" => Ok(Compression::Max),
            number => match number.parse::<i32>() {
                Ok(level @ (-7..=-1 | 1..=22)) => Ok(Compression::Level(level)),
                _ => Err(ValueError("use auto, off, fastest, better, max or a zstd level from -7 to 22, not 0")),
            },
        }
    }
}

/// zstd's level for `--compression fastest`.
const FASTEST_LEVEL: i32 = 1;
/// zstd's level for `--compression better`.
const BETTER_LEVEL: i32 = 9;
/// zstd's level for `--compression max`; what is above it needs far more memory.
const MAX_LEVEL: i32 = 19;

impl Compression {
    /// As the store wants it.
    pub(crate) fn for_store(self) -> treering_store::Compression {
        use treering_store::Compression as Store;
        match self {
            Compression::Auto => Store::DEFAULT,
            Compression::Off => Store::Off,
            Compression::Fastest => Store::Zstd(FASTEST_LEVEL),
            Compression::Better => Store::Zstd(BETTER_LEVEL),
            Compression::Max => Store::Zstd(MAX_LEVEL),
            Compression::Level(level) => Store::Zstd(level),
        }
    }
}

/// Whether applications among the files are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AppChoice {
    /// Every kind that is known.
    Auto,
    /// None: all files are copied as they are.
    None,
    /// This kind.
    Kind(String),
}

impl FromStr for AppChoice {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "auto" => Ok(AppChoice::Auto),
            "none" => Ok(AppChoice::None),
            kind if !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) => {
                Ok(AppChoice::Kind(kind.to_owned()))
            }
            _ => Err(ValueError("use auto, none or the kind of an application, as in sqlite")),
        }
    }
}

impl AppChoice {
    /// The kind, if it names one.
    pub(crate) fn kind(&self) -> Option<&str> {
        match self {
            AppChoice::Kind(kind) => Some(kind),
            AppChoice::Auto | AppChoice::None => None,
        }
    }
}

/// Tags separated by commas, as one option gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagList(pub(crate) Vec<String>);

impl FromStr for TagList {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Ok(TagList(text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()))
    }
}

/// `filename[:header]` of `--exclude-if-present`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IfPresent {
    /// The name of the file that marks a folder.
    pub(crate) name: String,
    /// What the file has to start with.
    pub(crate) header: Option<String>,
}

impl FromStr for IfPresent {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (name, header) = match text.split_once(':') {
            Some((name, header)) => (name, Some(header.to_owned())),
            None => (text, None),
        };
        if name.is_empty() || name.contains('/') {
            return Err(ValueError("give the name of a file, without a folder, and perhaps `:` and its first bytes"));
        }
        Ok(IfPresent { name: name.to_owned(), header })
    }
}

/// Reads what snapshots of a group have in common, as restic does: `host,paths`.
pub(crate) fn group_by(text: &str) -> Result<GroupBy, ValueError> {
    let mut by = GroupBy { host: false, paths: false, tags: false };
    for word in text.split(',').map(str::trim) {
        match word {
            "host" | "hosts" => by.host = true,
            "path" | "paths" => by.paths = true,
            "tag" | "tags" => by.tags = true,
            "" => {}
            _ => return Err(ValueError("use host, paths and tags, with commas between them, or nothing")),
        }
    }
    Ok(by)
}

/// Reads a snapshot, perhaps with a path in it; any bytes.
pub(crate) fn selector() -> impl TypedValueParser<Value = Selector> {
    OsStringValueParser::new().try_map(Selector::from_typed)
}

/// Reads the id of a snapshot, key or other object.
pub(crate) fn id_prefix(text: &str) -> Result<IdPrefix, SelectorError> {
    IdPrefix::parse(text)
}

/// Reads a size.
pub(crate) fn size(text: &str) -> Result<u64, SizeError> {
    size::parse(text)
}

/// Reads how many files to read at once.
pub(crate) fn read_concurrency(text: &str) -> Result<NonZeroUsize, ValueError> {
    match text.parse() {
        Ok(count @ 1..=MAX_READ_CONCURRENCY) => Ok(NonZeroUsize::MIN.saturating_add(count - 1)),
        _ => Err(ValueError("give a number from 1 to 256")),
    }
}

/// Seconds in a minute.
const MINUTE: u64 = 60;
/// Seconds in an hour.
pub(crate) const HOUR: u64 = 60 * MINUTE;
/// Seconds in a day.
pub(crate) const DAY: u64 = 24 * HOUR;

/// Reads how long something may take.
pub(crate) fn duration(text: &str) -> Result<Duration, ValueError> {
    let units = [('d', DAY), ('h', HOUR), ('m', MINUTE), ('s', 1)];
    add_up(text, &units).ok_or(ValueError("write days, hours, minutes and seconds, as in 20m, 1h30m or 90s"))
}

/// Numbers with units, each unit once and the large ones first.
pub(crate) fn add_up(text: &str, units: &[(char, u64)]) -> Option<Duration> {
    let (mut rest, mut units, mut seconds) = (text.trim(), units.iter(), 0_u64);
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let letter = behind.chars().next()?;
        let (_, worth) = units.find(|(unit, _)| *unit == letter)?;
        seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(*worth)?)?;
        rest = behind.strip_prefix(letter)?;
    }
    (!text.trim().is_empty()).then(|| Duration::from_secs(seconds))
}

/// A value outside of what is accepted; says what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ValueError(pub(crate) &'static str);

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ValueError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in
            [("90s", 90), (" 90s ", 90), ("20m", 1200), ("2h", 7200), ("1h30m", 5400), ("1d", 86_400), ("0s", 0)]
        {
            assert_eq!(duration(text).unwrap().as_secs(), seconds);
        }
        let wrong = ["", "5", "m", "1.5h", "-1h", "1w", "30m1h", "99999999999999999999s", "999999999999999999d"];
        assert!(wrong.iter().all(|text| duration(text).is_err()));
    }
}
