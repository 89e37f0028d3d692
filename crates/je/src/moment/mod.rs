//! Which moments of the past can be brought back exactly, and from which files.
//!
//! A snapshot of an environment is an *image* of its log at one position. Cutting the log at an earlier position is a
//! legal image of a crash, if every file is there that the state at that position refers to. That can be proven
//!
//! * from one image, from the end of its last complete checkpoint on: whatever was deleted before the image was taken had
//!   been given up by that checkpoint or an earlier one;
//! * from two images that follow on each other, A and B, for every position between their ends: A has all files that
//!   anything could refer to then, and what was written since is in B, as long as no file number from A's last file on is
//!   missing in B, B's copy of that file begins with A's, and nothing was overwritten in place.
//!
//! Owns that proof, the choice of the cut, and what must be read of snapshots to know ([`Loader`]). The proof itself never
//! reads a file: an [`Image`] says what is in one.
//!
//! Invariant: a [`Cut`] is only given where one of the two proofs holds, and no commit lies between the one that it ends
//! with and the first one that was not to be in it.

mod cut;
mod load;
mod range;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use cut::{Cut, Goal, NoCut, find};
pub use load::{Contents, Copied, Loader};
pub use range::{Range, ranges};

use crate::log::Commit;

/// A place between two bytes of the log. Ordered as the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The number of the file.
    pub file: u32,
    /// Bytes from its beginning.
    pub offset: u64,
}

/// As JE prints places: `0x5/0xb2481`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}/{:#x}", self.file, self.offset)
    }
}

impl Position {
    /// Where a commit ends.
    pub fn after(commit: &Commit) -> Self {
        Self { file: commit.lsn.file, offset: commit.end }
    }

    /// Where a commit begins.
    pub fn of(commit: &Commit) -> Self {
        Self { file: commit.lsn.file, offset: commit.lsn.offset.into() }
    }
}

/// What one snapshot has of the log.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// The numbers of its files.
    pub files: BTreeSet<u32>,
    /// Where its log ends.
    pub end: Option<Position>,
    /// Where its last complete checkpoint ends.
    pub checkpoint_end: Option<Position>,
    /// Its commits in the order of the log: from the end of the image before on, if it continues that; otherwise from the
    /// file with that checkpoint on at least.
    pub commits: Vec<Commit>,
    /// Files in which something was overwritten in place: erased, or made invisible.
    pub overwritten: BTreeSet<u32>,
    /// When it was taken, in milliseconds since 1970: what is committed later is not in it.
    pub taken_ms: i64,
    /// Whether its copy of the last file of the image before it begins with that image's copy.
    pub continues: bool,
}

/// Which images the files of a cut come from, by their places in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// All from this one.
    One(usize),
    /// Those below the last file of the first from the first, the others from the second.
    Two(usize, usize),
}

/// A stretch of positions of which one proof holds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    from: Position,
    to: Position,
    source: Source,
}

/// The stretches of these images, oldest image first.
fn stretches(images: &[Image]) -> Vec<Stretch> {
    let mut found = Vec::new();
    for (at, image) in images.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| Some((before, images.get(before)?)));
        found.extend(before.and_then(|(before, older)| two(older, image, before, at)));
        found.extend(one(image, at));
    }
    found
}

fn one(image: &Image, at: usize) -> Option<Stretch> {
    let (from, to) = (image.checkpoint_end?, image.end?);
    (from <= to).then_some(Stretch { from, to, source: Source::One(at) })
}

fn two(older: &Image, newer: &Image, before: usize, at: usize) -> Option<Stretch> {
    let (from, end) = (older.end?, newer.end?);
    let last = *older.files.last()?;
    if !newer.continues || end < from || last != from.file {
        return None;
    }
    let is_broken = |number: &u32| !newer.files.contains(number) || newer.overwritten.contains(number);
    let to = match (last..=end.file).find(is_broken) {
        Some(broken) if broken == last => return None,
        // All of the file before it is proven, wherever that ends.
        Some(broken) => Position { file: broken, offset: 0 },
        None => end,
    };
    Some(Stretch { from, to, source: Source::Two(before, at) })
}

/// Whether the log of an image goes on where the one before it ends, so that both show one history.
fn is_same_history(older: &Image, newer: &Image) -> bool {
    newer.continues && older.end <= newer.end
}

/// The known commits of images that show one history, each once, in the order of the log.
fn commits(images: &[Image]) -> Vec<Commit> {
    let all: BTreeMap<Position, Commit> =
        images.iter().flat_map(|image| &image.commits).map(|commit| (Position::of(commit), *commit)).collect();
    all.into_values().collect()
}
