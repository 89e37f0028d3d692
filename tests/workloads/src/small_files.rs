//! Hundreds of thousands of small files.
//!
//! Owns: files of 100 bytes to 8 KiB (log-uniform) of JSON, text and noise, spread over 6,000 folders, and a
//! day's changes to them.
//! Never: touches a file that a change does not name: its inode and times stay.
//! Invariant: names, bytes and times are a function of the options and the changes made so far.

use std::path::{Path, PathBuf};

use crate::calendar::{DAY, FIRST_DAY};
use crate::error::Result;
use crate::files;
use crate::random::Random;

/// The number of files that measurements use.
pub const FULL_COUNT: u64 = 300_000;

const SMALLEST_BYTES: f64 = 100.0;
const LARGEST_BYTES: f64 = 8192.0;
const WORDS: [&str; 32] = [
    "config", "server", "agent", "node", "name", "value", "type", "string", "number", "true", "false", "null", "user",
    "group", "role", "path", "file", "created", "updated", "status", "active", "deleted", "version", "host", "port",
    "token", "build", "project", "branch", "commit", "deploy", "script",
];

/// What a collection is made from.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Names the random streams.
    pub seed: u64,
    /// How many files the collection begins with.
    pub count: u64,
}

/// What a change did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Files with new content.
    pub modified: u64,
    /// Files that are gone.
    pub deleted: u64,
    /// Files that were not there.
    pub added: u64,
}

/// Writes the collection into a folder.
pub fn create(folder: &Path, options: &Options) -> Result<()> {
    (0..options.count).try_for_each(|number| write(folder, options, number, 0))
}

/// Changes the collection: 1 % modified, 0.5 % deleted, 0.5 % added. `step` is 1 for the first change.
pub fn change(folder: &Path, options: &Options, step: u64) -> Result<Changed> {
    let mut random = Random::named(options.seed, format_args!("change {step}"));
    let half_percent = options.count / 200;
    let mut changed = Changed::default();
    for _ in 0..2 * half_percent {
        let number = random.below(options.count);
        if path(folder, number).exists() {
            write(folder, options, number, step)?;
            changed.modified += 1;
        }
    }
    for _ in 0..half_percent {
        changed.deleted += u64::from(delete(folder, random.below(options.count))?);
    }
    for number in 0..half_percent {
        write(folder, options, options.count * step + number, step)?;
        changed.added += 1;
    }
    Ok(changed)
}

/// Whether there was anything to delete.
fn delete(folder: &Path, number: u64) -> Result<bool> {
    let path = path(folder, number);
    let exists = path.exists();
    if exists {
        files::remove(&path)?;
    }
    Ok(exists)
}

fn write(folder: &Path, options: &Options, number: u64, step: u64) -> Result<()> {
    let mut random = Random::named(options.seed, format_args!("file {number} of {step}"));
    let length = (SMALLEST_BYTES * (LARGEST_BYTES / SMALLEST_BYTES).powf(random.fraction())) as usize;
    let modified = FIRST_DAY + DAY * step as i64;
    files::write(&path(folder, number), content(&mut random, length), modified)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    let extension = ["json", "txt", "dat", "xml"][(number % 4) as usize];
    folder.join(format!("d{:03}/s{:02}/f{number:07}.{extension}", number % 300, number / 300 % 20))
}

/// Noise in 15 % of the files, records in 45 %, prose in the rest.
fn content(random: &mut Random, length: usize) -> Vec<u8> {
    let kind = random.fraction();
    if kind < 0.15 {
        return random.bytes(length);
    }
    let mut text = String::with_capacity(length + 128);
    while text.len() < length {
        text.push_str(&if kind < 0.6 { record(random) } else { sentence(random) });
    }
    text.truncate(length);
    text.into_bytes()
}

fn record(random: &mut Random) -> String {
    let (key, value, counter) = (random.pick(&WORDS), random.pick(&WORDS), random.pick(&WORDS));
    format!(
        "{{\"{key}\": \"{value}\", \"{counter}\": {}, \"id\": \"{:08x}\"}},\n",
        random.below(1 << 20),
        random.below(1 << 32)
    )
}

fn sentence(random: &mut Random) -> String {
    let words: Vec<&str> = (0..9).map(|_| *random.pick(&WORDS)).collect();
    format!("{} {}\n", words.join(" "), random.below(10_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::{Detail, describe};

    #[test]
    fn the_same_options_give_the_same_files() {
        let temp = tempfile::tempdir().unwrap();
        let options = Options { seed: 1, count: 400 };
        let made = ["one", "two"].map(|name| {
            let folder = temp.path().join(name);
            create(&folder, &options).unwrap();
            let before = describe(&folder, &Detail::portable()).unwrap();
            let changed = change(&folder, &options, 1).unwrap();
            assert_eq!((changed.modified, changed.deleted, changed.added), (4, 2, 2));
            (before, describe(&folder, &Detail::portable()).unwrap())
        });
        assert_eq!(made[0], made[1]);
        assert_ne!(made[0].0, made[0].1);
    }
}
