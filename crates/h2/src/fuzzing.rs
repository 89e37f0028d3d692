//! Entry points for fuzzing (feature `fuzzing`): any bytes as a store; no panic, and every walk ends.

#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "assertions are what this is for")]

use crate::normalise::plan;
use crate::sample;
use crate::store::Format;
use crate::verify::verify;

/// Longer stores teach a fuzzer nothing.
const STORE_MOST_BYTES: usize = 256 << 10;

/// Reads a store, walks its maps and plans how to close it. Whether it is whole.
pub fn run(packed: &[u8]) -> bool {
    let bytes = unpack(packed);
    let Ok(report) = verify(&mut bytes.as_slice()) else { return false };
    let planned = plan(&mut bytes.as_slice()).expect("what was verified can be read");
    assert!(
        planned.is_none_or(|plan| plan.newest.version == report.newest.version),
        "it is closed at what was verified"
    );
    report.is_whole()
}

/// A small store of each format.
pub fn seeds() -> Vec<Vec<u8>> {
    [Format::One, Format::Two, Format::Three].map(|format| pack(&sample::store(format))).to_vec()
}

/// A store is mostly padding, which a fuzzer would waste its time on. Packed it is: a length, so many bytes, then a byte
/// and how often it is repeated, again and again.
fn unpack(mut packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [length, rest @ ..] = packed {
        let (literal, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        bytes.extend_from_slice(literal);
        let Some(([fill, high, low], rest)) = rest.split_first_chunk() else { break };
        let end = bytes.len() + usize::from(u16::from_be_bytes([*high, *low]));
        bytes.resize(end.min(STORE_MOST_BYTES), *fill);
        packed = rest;
    }
    bytes
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let (mut packed, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let run = |at: usize| {
            rest.get(at..).map_or(0, |rest| rest.iter().take_while(|byte| rest.first() == Some(byte)).count())
        };
        let literal = (0..rest.len().min(255)).find(|at| run(*at) > 6).unwrap_or(rest.len().min(255));
        let (bytes, behind) = rest.split_at(literal);
        let count = run(literal).min(usize::from(u16::MAX)) * usize::from(literal < 255);
        packed.push(literal as u8);
        packed.extend(bytes);
        packed.push(behind.first().copied().unwrap_or_default());
        packed.extend((count as u16).to_be_bytes());
        rest = behind.get(count..).unwrap_or_default();
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_loses_nothing() {
        for format in [Format::One, Format::Two, Format::Three] {
            let store = sample::store(format);
            assert!(unpack(&pack(&store)) == store);
        }
    }
}
