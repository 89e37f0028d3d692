//! Random numbers that are the same everywhere.
//!
//! Owns: the one source of chance in this crate.
//! Never: reads the clock, the machine or a global state.
//! Invariant: a [`Random`] is a function of its seed and label, so adding a draw in one place cannot shift the
//! bytes of another. Its output is incompressible, and is not fit for secrets.

use std::fmt::Display;

/// The increment of SplitMix64, which gives it its full period of 2^64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of random numbers, named by a seed and a label.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream that belongs to this seed and label.
    pub fn named(seed: u64, label: impl Display) -> Self {
        let mut state = mix(seed ^ 0xcbf2_9ce4_8422_2325);
        for byte in label.to_string().bytes() {
            state = mix(state ^ u64::from(byte)).wrapping_add(STEP);
        }
        Self { state }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// A number in `0..bound`; 0 when the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next_u64()) * u128::from(bound);
        (product >> 64) as u64
    }

    /// A number in `low..high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low))
    }

    /// True this often, from 0 (never) to 1 (always).
    pub fn chance(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    /// A number from 0 up to but without 1.
    pub fn fraction(&mut self) -> f64 {
        // 53 bits: all that a double holds exactly.
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One of these; the slice must not be empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// Overwrites the buffer.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        let mut words = buffer.chunks_exact_mut(8);
        for word in &mut words {
            word.copy_from_slice(&self.next_u64().to_le_bytes());
        }
        let rest = words.into_remainder();
        let last = self.next_u64().to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }

    /// This many bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }

    /// An identifier of 32 hexadecimal digits, as Jpom's are.
    pub fn identifier(&mut self) -> String {
        format!("{:016x}{:016x}", self.next_u64(), self.next_u64())
    }
}

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_decides_the_stream() {
        let draw = |seed, label| Random::named(seed, label).next_u64();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }

    /// Datasets of earlier measurements stay comparable only while these numbers stay.
    #[test]
    fn the_stream_never_changes() {
        assert_eq!(Random::named(1, "golden").identifier(), "f7ce243c08c0ad99fd08d1cfd75fd1f9");
    }

    #[test]
    fn numbers_stay_in_their_bounds() {
        let mut random = Random::named(7, "bounds");
        assert!((0..1000).all(|_| random.below(10) < 10));
        assert!((0..1000).all(|_| (5..9).contains(&random.between(5, 9))));
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn any_length_is_filled() {
        for length in 0..20 {
            assert_eq!(Random::named(1, length).bytes(length).len(), length);
        }
    }
}
