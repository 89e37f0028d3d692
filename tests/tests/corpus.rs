//! The corpus of the fuzz targets, replayed: seeds as the program writes them today, and inputs that once failed or got
//! far. The targets themselves, and how to run them for longer, are in `fuzz/`.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

#[path = "../../fuzz/src/je.rs"]
mod je;
#[path = "../../fuzz/src/parsers.rs"]
mod parsers;

use std::fs;
use std::path::{Path, PathBuf};

use treering_store::fuzzing::Target;

/// So that it can be kept for ever.
const CORPUS_MOST_BYTES: u64 = 300_000;

fn targets() -> impl Iterator<Item = &'static Target> {
    [treering_store::fuzzing::TARGETS, treering_snapshot::fuzzing::TARGETS, parsers::TARGETS, je::TARGETS]
        .into_iter()
        .flatten()
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn inputs(target: &Target) -> Vec<PathBuf> {
    let mut inputs: Vec<_> =
        fs::read_dir(corpus().join(target.name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    inputs
}

#[test]
fn every_target_accepts_what_is_written_today() {
    for target in targets() {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seed", target.name);
        for (number, seed) in seeds.iter().enumerate() {
            assert!((target.run)(seed), "{} refuses its seed {number}", target.name);
        }
    }
}

#[test]
fn no_input_of_the_corpus_breaks_a_decoder() {
    let (mut count, mut bytes) = (0, 0);
    for target in targets() {
        let inputs = inputs(target);
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        for input in inputs {
            // The harness shows this line if the input panics.
            println!("{}", input.display());
            let content = fs::read(&input).unwrap();
            (target.run)(&content);
            (count, bytes) = (count + 1, bytes + content.len() as u64);
        }
    }
    println!("{count} inputs, {bytes} bytes");
    assert!(bytes <= CORPUS_MOST_BYTES, "the corpus has {bytes} bytes: minimise it");
}

/// What a decoder must not do with any damage: each bit of each seed, each length, and doubled bytes.
#[test]
fn damaged_seeds_break_no_decoder() {
    let (mut accepted, mut run) = (0u64, 0u64);
    for target in targets() {
        for seed in (target.seeds)() {
            let mut try_one = |bytes: &[u8]| {
                run += 1;
                accepted += u64::from((target.run)(bytes));
            };
            for at in 0..seed.len() {
                for bit in 0..8 {
                    let mut bytes = seed.clone();
                    bytes[at] ^= 1 << bit;
                    try_one(&bytes);
                }
                try_one(&seed[..at]);
                try_one(&[&seed[..at], &seed[at / 2..]].concat());
                for number in [0, 250, 251, 252, 253, 254, 255] {
                    let mut bytes = seed.clone();
                    bytes[at] = number;
                    try_one(&bytes);
                }
            }
        }
    }
    assert!(run > 30_000 && accepted > 100, "{run} inputs, {accepted} accepted");
}

#[test]
fn every_folder_of_the_corpus_has_a_target() {
    for entry in fs::read_dir(corpus()).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(targets().any(|target| name == target.name), "{name:?}");
    }
}
