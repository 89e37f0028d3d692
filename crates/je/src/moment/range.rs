//! Stretches put together to ranges: what the user may ask for.

use super::{Image, Position, Source, Stretch, commits, is_same_history, stretches};
use crate::log::Commit;

/// Positions without a gap, each of which can be brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The first position.
    pub from: Position,
    /// The last position.
    pub to: Position,
    /// The last commit at or before the first position, if it is known.
    pub base: Option<Commit>,
    /// The commits that end behind the first position, up to the last one, in the order of the log.
    pub commits: Vec<Commit>,
    /// When the image was taken that the range ends with: until then nothing more was committed. `None` if the range ends
    /// within one.
    pub closed_ms: Option<i64>,
    /// The images that it comes from: the first and the last of them.
    pub images: (usize, usize),
    pub(super) stretches: Vec<Stretch>,
}

impl Range {
    /// The commit whose state the first position has.
    pub fn first(&self) -> Option<&Commit> {
        self.base.as_ref().or(self.commits.first())
    }

    /// The commit whose state the last position has.
    pub fn last(&self) -> Option<&Commit> {
        self.commits.last().or(self.base.as_ref())
    }

    /// Where the files of a position come from; one image if that is enough.
    pub(super) fn source(&self, at: Position) -> Option<(Source, u32)> {
        let fits = self.stretches.iter().filter(|stretch| stretch.from <= at && at <= stretch.to);
        fits.map(|stretch| (stretch.source, stretch.from.file)).min()
    }
}

/// The ranges of these images, oldest image first; ranges of another history follow on those of the one before it.
pub fn ranges(images: &[Image]) -> Vec<Range> {
    let mut found = Vec::new();
    for (first, last) in histories(images) {
        let Some(part) = images.get(first..last) else { continue };
        let known = commits(part);
        found.extend(joined(stretches(part)).into_iter().map(|group| range(group, part, &known, first)));
    }
    found
}

/// Runs of images that show one history: where each begins, and where it ends, exclusively.
fn histories(images: &[Image]) -> Vec<(usize, usize)> {
    let mut starts: Vec<usize> = vec![0];
    let breaks = images.windows(2).enumerate().filter_map(|(at, pair)| match pair {
        [older, newer] if !is_same_history(older, newer) => Some(at + 1),
        _ => None,
    });
    starts.extend(breaks);
    let ends = starts.iter().skip(1).copied().chain([images.len()]);
    starts.iter().copied().zip(ends).collect()
}

/// Stretches in groups of those that touch or overlap.
fn joined(mut stretches: Vec<Stretch>) -> Vec<Vec<Stretch>> {
    stretches.sort_unstable_by_key(|stretch| (stretch.from, stretch.to));
    let mut groups: Vec<(Position, Vec<Stretch>)> = Vec::new();
    for stretch in stretches {
        match groups.last_mut() {
            Some((end, group)) if stretch.from <= *end => {
                *end = (*end).max(stretch.to);
                group.push(stretch);
            }
            _ => groups.push((stretch.to, vec![stretch])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The range of one group. `offset` is the place of `images` in the whole list.
fn range(mut stretches: Vec<Stretch>, images: &[Image], known: &[Commit], offset: usize) -> Range {
    let from = stretches.iter().map(|stretch| stretch.from).min().unwrap_or(Position { file: 0, offset: 0 });
    let to = stretches.iter().map(|stretch| stretch.to).max().unwrap_or(from);
    let base = known.iter().rfind(|commit| Position::after(commit) <= from).copied();
    let inside = |commit: &&Commit| Position::after(commit) > from && Position::after(commit) <= to;
    let closed_ms = images.iter().filter(|image| image.end == Some(to)).map(|image| image.taken_ms).max();
    for stretch in &mut stretches {
        stretch.source = match stretch.source {
            Source::One(at) => Source::One(at + offset),
            Source::Two(older, newer) => Source::Two(older + offset, newer + offset),
        };
    }
    let used = |stretch: &Stretch| match stretch.source {
        Source::One(at) => (at, at),
        Source::Two(older, newer) => (older, newer),
    };
    let first = stretches.iter().map(|stretch| used(stretch).0).min().unwrap_or(offset);
    let last = stretches.iter().map(|stretch| used(stretch).1).max().unwrap_or(offset);
    let commits = known.iter().filter(inside).copied().collect();
    Range { from, to, base, commits, closed_ms, images: (first, last), stretches }
}
