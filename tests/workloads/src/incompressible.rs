//! Large files that nothing can shrink.
//!
//! Owns: a keystream in large and middle-sized files, as videos and pictures are, and a change to them.
//! Never: repeats a block: neither compression nor deduplication finds anything within one version.
//! Invariant: bytes are a function of the options and the changes made so far.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::calendar::FIRST_DAY;
use crate::error::{Context, Result};
use crate::files;
use crate::random::Random;

/// Where a change inserts bytes: near the front, so that everything behind it moves.
const INSERT_OFFSET: u64 = 70_000;
/// How much a change inserts.
const INSERT_BYTES: usize = 100;
const BLOCK_BYTES: usize = 1 << 16;

/// What the files are made from.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Names the random streams.
    pub seed: u64,
    /// How many large files there are, and their size.
    pub large: (u32, u64),
    /// How many middle-sized files there are, and their size.
    pub middle: (u32, u64),
    /// The size of the file that each change adds.
    pub added_bytes: u64,
}

impl Options {
    /// One gibibyte: 12 files of 64 MiB and 64 of 4 MiB; a change adds 48 MiB.
    pub fn full(seed: u64) -> Self {
        Self { seed, large: (12, 64 << 20), middle: (64, 4 << 20), added_bytes: 48 << 20 }
    }
}

/// Writes the files into a folder.
pub fn create(folder: &Path, options: &Options) -> Result<()> {
    files::create_folder(folder)?;
    for number in 0..options.large.0 {
        stream(&large(folder, number), options, "large", u64::from(number), options.large.1)?;
    }
    for number in 0..options.middle.0 {
        stream(&middle(folder, number), options, "middle", u64::from(number), options.middle.1)?;
    }
    Ok(())
}

/// Adds a file, inserts 100 bytes near the front of a large file and replaces a middle-sized one. `step` is 1
/// for the first change.
pub fn change(folder: &Path, options: &Options, step: u32) -> Result<()> {
    let name = folder.join(format!("added-{step:02}.mp4"));
    stream(&name, options, "added", u64::from(step), options.added_bytes)?;
    insert(&large(folder, step % options.large.0.max(1)), options, step)?;
    let replaced = middle(folder, step % options.middle.0.max(1));
    stream(&replaced, options, "replaced", u64::from(step), options.middle.1)
}

fn large(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("large-{number:02}.mp4"))
}

fn middle(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("middle-{number:02}.jpg"))
}

fn stream(path: &Path, options: &Options, kind: &str, number: u64, length: u64) -> Result<()> {
    let mut random = Random::named(options.seed, format_args!("{kind} {number}"));
    let file = File::create(path).context("create", path)?;
    write_stream(&file, &mut random, length).context("write", path)?;
    files::set_time(&file, path, FIRST_DAY)
}

fn write_stream(file: &File, random: &mut Random, length: u64) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut block = vec![0; BLOCK_BYTES];
    let mut left = length;
    while left > 0 {
        let part = &mut block[..left.min(BLOCK_BYTES as u64) as usize];
        random.fill(part);
        out.write_all(part)?;
        left -= part.len() as u64;
    }
    out.flush()
}

fn insert(path: &Path, options: &Options, step: u32) -> Result<()> {
    let inserted = Random::named(options.seed, format_args!("inserted {step}")).bytes(INSERT_BYTES);
    let mut file = File::options().read(true).write(true).open(path).context("open", path)?;
    insert_into(&mut file, &inserted).context("insert into", path)?;
    files::set_time(&file, path, FIRST_DAY + i64::from(step))
}

fn insert_into(file: &mut File, inserted: &[u8]) -> io::Result<()> {
    let offset = INSERT_OFFSET.min(file.metadata()?.len());
    let mut rest = Vec::new();
    file.seek(io::SeekFrom::Start(offset))?;
    file.read_to_end(&mut rest)?;
    file.seek(io::SeekFrom::Start(offset))?;
    file.write_all(inserted)?;
    file.write_all(&rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::{Detail, describe};

    const SMALL: Options = Options { seed: 1, large: (2, 200_000), middle: (3, 10_000), added_bytes: 30_001 };

    #[test]
    fn the_same_options_give_the_same_files() {
        let temp = tempfile::tempdir().unwrap();
        let made = ["one", "two"].map(|name| {
            let folder = temp.path().join(name);
            create(&folder, &SMALL).unwrap();
            change(&folder, &SMALL, 1).unwrap();
            describe(&folder, &Detail::portable()).unwrap()
        });
        assert_eq!(made[0], made[1]);
    }

    #[test]
    fn an_insertion_moves_the_rest() {
        let temp = tempfile::tempdir().unwrap();
        create(temp.path(), &SMALL).unwrap();
        let before = std::fs::read(large(temp.path(), 1)).unwrap();
        change(temp.path(), &SMALL, 1).unwrap();
        let after = std::fs::read(large(temp.path(), 1)).unwrap();
        assert_eq!(after.len(), before.len() + INSERT_BYTES);
        let offset = INSERT_OFFSET as usize;
        assert_eq!(after[..offset], before[..offset]);
        assert_eq!(after[offset + INSERT_BYTES..], before[offset..]);
    }

    #[test]
    fn deflate_gains_nothing() {
        let bytes = Random::named(1, "noise").bytes(100_000);
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&bytes).unwrap();
        assert!(encoder.finish().unwrap().len() >= bytes.len());
    }
}
