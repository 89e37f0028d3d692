//! Where a stream is cut.
//!
//! The algorithm is FastCDC (Xia et al., USENIX ATC 2016; the 2020 variant with normalised chunking, level 1) as the
//! `fastcdc` crate implements it, with a gear table that is XORed with a seed of the repository. That seed makes equal
//! data cut differently in different repositories; it is *not* a protection against fingerprinting by chunk lengths
//! (eprint 2025/532 and 2025/558 recover such seeds).
//!
//! Invariant: where a chunk ends depends only on the bytes since the previous cut, so an insertion moves cuts near it
//! and nowhere else; and how the stream was handed over, in which pieces, never matters.

use std::borrow::Cow;

use fastcdc::v2020::{Normalization, cut_gear, get_gear_with_seed, select_masks};

/// How a stream is cut. Chosen by the kind of file, or given by a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CutPolicy {
    /// Content-defined, coarse: ordinary files and append-only logs.
    General,
    /// Content-defined, fine: stores that move blocks about inside one file, such as H2.
    Fine,
    /// Fixed pages of so many bytes: stores that overwrite pages in place, such as PostgreSQL and SQLite.
    Pages(u32),
}

/// The average lengths of a repository, fixed when it is made. Chunks lie between a quarter and four times of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutSizes {
    general_bytes: u32,
    fine_bytes: u32,
}

/// An average that is no power of two or out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutSizeError {
    /// The average that was asked for.
    pub average_bytes: u32,
}

impl std::fmt::Display for CutSizeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { average_bytes } = self;
        let (least, most) = (CutSizes::LEAST_BYTES, CutSizes::MOST_BYTES);
        write!(f, "an average chunk of {average_bytes} bytes is not a power of two from {least} to {most}")
    }
}

impl std::error::Error for CutSizeError {}

impl CutSizes {
    /// The smallest average.
    pub const LEAST_BYTES: u32 = 4 << 10;
    /// The largest average.
    pub const MOST_BYTES: u32 = 1 << 20;
    /// The smallest and the largest page.
    pub const PAGE_BYTES: std::ops::RangeInclusive<u32> = 512..=64 << 10;

    /// Checks and keeps the averages for [`CutPolicy::General`] and [`CutPolicy::Fine`].
    ///
    /// Only powers of two: `fastcdc` checks its sizes in debug builds alone, and has moved the cuts of other sizes
    /// between releases.
    ///
    /// # Errors
    ///
    /// Names the average that cannot be had.
    pub fn new(general_bytes: u32, fine_bytes: u32) -> Result<Self, CutSizeError> {
        for average_bytes in [general_bytes, fine_bytes] {
            let in_range = (Self::LEAST_BYTES..=Self::MOST_BYTES).contains(&average_bytes);
            if !in_range || !average_bytes.is_power_of_two() {
                return Err(CutSizeError { average_bytes });
            }
        }
        Ok(Self { general_bytes, fine_bytes })
    }

    /// The average for [`CutPolicy::General`].
    pub fn general_bytes(self) -> u32 {
        self.general_bytes
    }

    /// The average for [`CutPolicy::Fine`].
    pub fn fine_bytes(self) -> u32 {
        self.fine_bytes
    }
}

/// Cuts streams. Holds no state between calls, so that one serves many streams and threads.
#[derive(Debug, Clone)]
pub struct Cutter {
    general: Gear,
    fine: Gear,
    gear: Cow<'static, [u64]>,
    gear_shifted: Cow<'static, [u64]>,
}

#[derive(Debug, Clone, Copy)]
struct Gear {
    average: usize,
    mask_small: u64,
    mask_large: u64,
}

impl Gear {
    fn new(average_bytes: u32) -> Self {
        let average = average_bytes as usize;
        let (mask_small, mask_large) = select_masks(average, Normalization::Level1);
        Self { average, mask_small, mask_large }
    }

    fn longest(self) -> usize {
        4 * self.average
    }
}

impl Cutter {
    /// A cutter for one repository.
    pub fn new(sizes: CutSizes, seed: u64) -> Self {
        let (gear, gear_shifted) = get_gear_with_seed(seed);
        Self { general: Gear::new(sizes.general_bytes), fine: Gear::new(sizes.fine_bytes), gear, gear_shifted }
    }

    /// The longest chunk that this policy makes: how many bytes [`Cutter::cut`] wants to see unless the stream ends.
    pub fn longest(&self, policy: CutPolicy) -> usize {
        match policy {
            CutPolicy::General => self.general.longest(),
            CutPolicy::Fine => self.fine.longest(),
            CutPolicy::Pages(bytes) => page_bytes(bytes),
        }
    }

    /// The length of the first chunk of `bytes`, which start at a cut.
    ///
    /// `None` if the stream goes on (`ends` is false) and there are fewer than [`Cutter::longest`] bytes to decide on,
    /// or if there is nothing to cut.
    pub fn cut(&self, policy: CutPolicy, bytes: &[u8], ends: bool) -> Option<usize> {
        if bytes.is_empty() || (!ends && bytes.len() < self.longest(policy)) {
            return None;
        }
        Some(match policy {
            CutPolicy::General => self.gear_cut(self.general, bytes),
            CutPolicy::Fine => self.gear_cut(self.fine, bytes),
            CutPolicy::Pages(page) => page_bytes(page).min(bytes.len()),
        })
    }

    fn gear_cut(&self, of: Gear, bytes: &[u8]) -> usize {
        let Gear { average, mask_small, mask_large } = of;
        let (_, length) = cut_gear(
            bytes,
            average / 4,
            average,
            average * 4,
            mask_small,
            mask_large,
            mask_small << 1,
            mask_large << 1,
            &self.gear,
            &self.gear_shifted,
        );
        length
    }
}

fn page_bytes(asked: u32) -> usize {
    asked.clamp(*CutSizes::PAGE_BYTES.start(), *CutSizes::PAGE_BYTES.end()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .take(length)
        .collect()
    }

    fn cuts(cutter: &Cutter, policy: CutPolicy, bytes: &[u8]) -> Vec<usize> {
        let mut at = 0;
        let mut cuts = Vec::new();
        while let Some(length) = cutter.cut(policy, &bytes[at..], true) {
            at += length;
            cuts.push(at);
        }
        cuts
    }

    /// The same, with the stream arriving in pieces.
    fn cuts_in_pieces(cutter: &Cutter, policy: CutPolicy, bytes: &[u8], piece: usize) -> Vec<usize> {
        let (mut start, mut end, mut cuts) = (0, 0, Vec::new());
        while start < bytes.len() {
            end = (end + piece).min(bytes.len());
            while let Some(length) = cutter.cut(policy, &bytes[start..end], end == bytes.len()) {
                start += length;
                cuts.push(start);
            }
        }
        cuts
    }

    fn cutter() -> Cutter {
        Cutter::new(CutSizes::new(64 << 10, 8 << 10).unwrap(), 99)
    }

    /// Fixed for ever: a change here makes every repository store everything anew.
    #[test]
    fn golden_cuts() {
        let bytes = noise(1 << 20, 5);
        assert_eq!(cuts(&cutter(), CutPolicy::General, &bytes)[..4], GOLDEN_GENERAL);
        assert_eq!(cuts(&cutter(), CutPolicy::Fine, &bytes)[..4], GOLDEN_FINE);
        let unseeded = Cutter::new(CutSizes::new(64 << 10, 8 << 10).unwrap(), 0);
        assert_ne!(cuts(&unseeded, CutPolicy::General, &bytes)[..4], GOLDEN_GENERAL);
    }

    const GOLDEN_GENERAL: [usize; 4] = [39_062, 68_775, 85_199, 215_568];
    const GOLDEN_FINE: [usize; 4] = [2_539, 15_682, 25_998, 28_686];

    #[test]
    fn pages_are_cut_at_their_size() {
        assert_eq!(cuts(&cutter(), CutPolicy::Pages(4096), &[1; 10_000]), [4096, 8192, 10_000]);
    }

    #[test]
    fn only_powers_of_two_in_range() {
        for bad in [0, 1, 2048, 65_535, 2 << 20] {
            assert_eq!(CutSizes::new(bad, 8192), Err(CutSizeError { average_bytes: bad }));
        }
        assert!(CutSizes::new(CutSizes::MOST_BYTES, CutSizes::LEAST_BYTES).is_ok());
    }

    #[test]
    fn nothing_is_cut_from_nothing() {
        assert_eq!(cutter().cut(CutPolicy::General, &[], true), None);
        assert_eq!(cutter().cut(CutPolicy::General, &[0; 100], false), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn pieces_do_not_matter(seed: u64, length in 0usize..400_000, piece in 1usize..300_000, fine: bool) {
            let bytes = noise(length, seed);
            let policy = if fine { CutPolicy::Fine } else { CutPolicy::General };
            prop_assert_eq!(cuts(&cutter(), policy, &bytes), cuts_in_pieces(&cutter(), policy, &bytes, piece));
        }

        #[test]
        fn lengths_stay_within_bounds(seed: u64, length in 1usize..600_000) {
            let bytes = noise(length, seed);
            let all = cuts(&cutter(), CutPolicy::General, &bytes);
            prop_assert_eq!(all.last(), Some(&length));
            let mut before = 0;
            for (i, cut) in all.iter().enumerate() {
                let chunk = cut - before;
                prop_assert!(chunk <= 256 << 10);
                prop_assert!(i + 1 == all.len() || chunk >= 16 << 10);
                before = *cut;
            }
        }

        #[test]
        fn an_insertion_moves_only_cuts_near_it(seed: u64, at in 0usize..500_000) {
            let bytes = noise(1_000_000, seed);
            let mut longer = bytes.clone();
            longer.splice(at..at, [1, 2, 3]);
            let before = cuts(&cutter(), CutPolicy::Fine, &bytes);
            let after = cuts(&cutter(), CutPolicy::Fine, &longer);
            let same = before.iter().filter(|cut| after.contains(&if **cut <= at { **cut } else { **cut + 3 })).count();
            prop_assert!(before.len() - same <= 12, "{} of {} moved", before.len() - same, before.len());
        }
    }
}
