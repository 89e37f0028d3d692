//! Closing a store that was not closed, without H2.
//!
//! A file from a killed process opens once: H2 up to 2.2 then gives away the space of dead chunks, keeps listing them, and
//! may fail when the file is opened the second time (H2 issue 2752). What a clean shutdown would have left has no such
//! fate: headers that name the newest complete version and say `clean:1`, every chunk that it lists, and nothing else.
//!
//! Invariant: a [`Plan`] changes no byte of a chunk that the version uses. Applied twice, it does no more than once.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use crate::store::{Chunk, HEADER_BYTES, Newest, Result, Source, header_and_footer, newest};

/// Zeros are written in pieces of this size.
const ZEROS_BYTES: usize = 64 << 10;

/// What must be written to close a store.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The version that it is closed at.
    pub newest: Newest,
    /// Bytes and where they go; the headers last.
    pub writes: Vec<(u64, Vec<u8>)>,
    /// Ranges that become zeros before anything is written.
    pub zeros: Vec<Range<u64>>,
    /// How long the file is in the end.
    pub bytes: u64,
}

/// Plans how to close a store; `None` if it was closed.
///
/// # Errors
///
/// If it is no store that is known, if no version in it is complete, or if reading fails.
pub fn plan(source: &mut dyn Source) -> Result<Option<Plan>> {
    let newest = newest(source)?;
    let (header, version) = (&newest.header, &newest.version);
    if header.is_clean && newest.headers_agree && header.version == version.last.version {
        return Ok(None);
    }
    let mut chunks: Vec<&Chunk> = version.chunks.values().collect();
    chunks.sort_unstable_by_key(|chunk| chunk.block);
    let (mut writes, mut zeros, mut at) = (Vec::new(), Vec::new(), HEADER_BYTES as u64);
    for chunk in chunks {
        zeros.push(at..chunk.start());
        at = chunk.end();
        let there = header_and_footer(source, chunk.block, version.format)?;
        if there.is_none_or(|there| (there.id, there.version) != (chunk.id, chunk.version)) {
            // Only a dead one can be missing here: its place went to a chunk that was never finished.
            let ends = chunk.hollow(version.format);
            let footer_at = at.saturating_sub(ends.footer.len() as u64);
            zeros.push(chunk.start()..at);
            writes.extend([(chunk.start(), ends.header), (footer_at, ends.footer)]);
        }
    }
    let last = &version.last;
    writes.push((0, header.closed_at(last.id, last.block, last.version)));
    zeros.retain(|range| !range.is_empty());
    Ok(Some(Plan { newest, writes, zeros, bytes: at }))
}

/// Closes the store in a file that nobody else has open. Says at which version, or `None` if it was closed.
///
/// The file is not durable yet: whoever restores syncs it.
///
/// # Errors
///
/// As for [`plan`], and if writing fails; the file may then be half closed, and can be closed again.
pub fn normalise(file: &File) -> Result<Option<Newest>> {
    let Some(plan) = plan(&mut &*file)? else { return Ok(None) };
    for range in &plan.zeros {
        write_zeros(file, range.clone())?;
    }
    file.set_len(plan.bytes)?;
    for (at, bytes) in &plan.writes {
        file.write_all_at(bytes, *at)?;
    }
    Ok(Some(plan.newest))
}

fn write_zeros(file: &File, range: Range<u64>) -> io::Result<()> {
    let (zeros, mut at) = ([0; ZEROS_BYTES], range.start);
    while at < range.end {
        let length = (range.end - at).min(ZEROS_BYTES as u64);
        file.write_all_at(zeros.get(..length as usize).unwrap_or_default(), at)?;
        at += length;
    }
    Ok(())
}
