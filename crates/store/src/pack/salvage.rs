//! Reading what is left of a pack whose trailer is lost.
//!
//! The pack is walked from frame to frame. After damage it is searched for the next frame header: its magic, its check
//! and possible lengths. What looks like one may stand by chance in the bytes of a file, so a frame is taken only if its
//! seal opens.
//!
//! Invariant: the work is bounded: what is opened in vain is at most [`FUTILE_TIMES`] the length of the pack.

use treering_chunk::Namer;

use super::format::{FRAME_MAGIC, FrameHeader, PackHeader, Trailer, TrailerChunk, TrailerFrame};
use super::frame::Frame;
use super::read::PackReader;
use crate::error::Result;

/// How many times its length of a pack may be opened in vain before the search is given up.
const FUTILE_TIMES: u64 = 4;
/// How much is searched at once.
const WINDOW_BYTES: usize = 64 << 10;

impl PackReader {
    /// Every frame that can be opened, in order: its place, and the place behind it.
    ///
    /// # Errors
    ///
    /// What `take` says, and what is not about this pack.
    pub(crate) fn walk_frames(&self, take: &mut dyn FnMut(std::ops::Range<u64>, &Frame) -> Result<()>) -> Result<()> {
        let (mut at, mut futile) = (PackHeader::BYTES as u64, 0u64);
        while let Some((offset, header)) = self.next_header(at) {
            let end = offset + FrameHeader::BYTES as u64 + u64::from(header.stored_len);
            match self.frame(offset) {
                Ok(frame) => {
                    take(offset..end, &frame)?;
                    at = end;
                }
                Err(e) if e.is_damage() => {
                    futile = futile.saturating_add(end - offset);
                    if futile > FUTILE_TIMES.saturating_mul(self.bytes()) {
                        break;
                    }
                    at = offset + 1;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The next place from here on where a frame header stands that leaves room for its frame.
    fn next_header(&self, at: u64) -> Option<(u64, FrameHeader)> {
        let decode = |offset: u64| {
            let (_, header) = self.frame_header(offset).ok()?;
            let end = offset + FrameHeader::BYTES as u64 + u64::from(header.stored_len);
            (end <= self.bytes()).then_some((offset, header))
        };
        decode(at).or_else(|| self.find_magic(at, decode))
    }

    /// Searches for the magic of frames. A window that cannot be read is passed over.
    fn find_magic<T>(&self, mut at: u64, fits: impl Fn(u64) -> Option<T>) -> Option<T> {
        let mut window = vec![0; WINDOW_BYTES];
        while at < self.bytes() {
            let length = (self.bytes() - at).min(WINDOW_BYTES as u64) as usize;
            let bytes = window.get_mut(..length)?;
            if self.read_at(at, bytes).is_ok() {
                let magics = bytes.windows(FRAME_MAGIC.len()).enumerate().filter(|(_, four)| four == FRAME_MAGIC);
                if let Some(found) = magics.map(|(i, _)| at + i as u64).find_map(&fits) {
                    return Some(found);
                }
            }
            // The magic may lie across the border.
            let overlap = if length < WINDOW_BYTES { 0 } else { FRAME_MAGIC.len() - 1 };
            at += (length - overlap) as u64;
        }
        None
    }

    /// What the trailer would say of the frames that can be opened.
    pub(crate) fn rebuild_trailer(&self, namer: &Namer) -> Trailer {
        let mut frames = Vec::new();
        let walked = self.walk_frames(&mut |range, frame| {
            let chunks = frame.chunks().iter().map(|chunk| {
                TrailerChunk::new(namer.id(chunk.kind, frame.bytes(*chunk)), chunk.kind, chunk.length as u32)
            });
            let stored_len = (range.end - range.start).saturating_sub(FrameHeader::BYTES as u64) as u32;
            frames.push(TrailerFrame { offset: range.start, stored_len, chunks: chunks.collect() });
            Ok(())
        });
        // What was found until then is still there.
        drop(walked);
        Trailer { frames }
    }
}
