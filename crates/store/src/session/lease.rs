//! Places in open packs: which pack a frame goes to and under which number it is sealed.
//!
//! Sealing needs the pack's key, so a frame must know its pack before it gets there. Packs are therefore opened here,
//! by their header and key alone; the writer learns of one when its first frame arrives.
//!
//! Invariant: a number is leased once, and every lease ends in exactly one message to the writer.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::RepositoryId;
use crate::entropy::{Entropy, random};
use crate::error::Result;
use crate::keys::Keys;
use crate::limits::{PACK_TARGET_BYTES, PACK_TARGET_CHUNKS, PACK_TARGET_FRAMES};
use crate::pack::PackKind;
use crate::pack::format::{PackHeader, frame_key};
use crate::seal::SealKey;

/// What is fixed when a pack is opened.
pub(super) struct PackHead {
    /// Which pack of this session.
    pub(super) serial: u64,
    pub(super) header: PackHeader,
    pub(super) header_bytes: Vec<u8>,
    pub(super) key: SealKey,
}

/// A frame's place.
pub(super) struct Lease {
    pub(super) head: Arc<PackHead>,
    pub(super) number: u32,
}

/// A pack that takes no more frames than these.
pub(super) struct Roll {
    pub(super) serial: u64,
    pub(super) frames: u32,
}

struct OpenPack {
    head: Arc<PackHead>,
    frames: u32,
    chunks: u32,
    bytes: u64,
}

impl OpenPack {
    fn is_full(&self) -> bool {
        self.bytes >= PACK_TARGET_BYTES || self.chunks >= PACK_TARGET_CHUNKS || self.frames >= PACK_TARGET_FRAMES
    }

    fn roll(&self) -> Roll {
        Roll { serial: self.head.serial, frames: self.frames }
    }
}

#[derive(Default)]
struct State {
    open: [Option<OpenPack>; 2],
    packs: u64,
}

impl State {
    fn slot(&mut self, kind: PackKind) -> &mut Option<OpenPack> {
        let [data, meta] = &mut self.open;
        match kind {
            PackKind::Data => data,
            PackKind::Meta => meta,
        }
    }
}

/// The open packs of a session, one of each kind.
#[derive(Default)]
pub(super) struct Leases(Mutex<State>);

impl Leases {
    /// A place for a frame of this size, and the pack that is full by it.
    pub(super) fn take(
        &self,
        kind: PackKind,
        stored_bytes: u64,
        chunks: usize,
        with: (RepositoryId, &Keys, &dyn Entropy),
    ) -> Result<(Lease, Option<Roll>)> {
        let mut state = self.0.lock();
        let mut open = match state.slot(kind).take() {
            Some(open) => open,
            None => {
                state.packs += 1;
                OpenPack { head: open_head(state.packs, kind, with)?, frames: 0, chunks: 0, bytes: 0 }
            }
        };
        let lease = Lease { head: Arc::clone(&open.head), number: open.frames };
        open.frames += 1;
        open.chunks = open.chunks.saturating_add(chunks as u32);
        open.bytes += stored_bytes;
        let full = open.is_full().then(|| open.roll());
        if full.is_none() {
            *state.slot(kind) = Some(open);
        }
        Ok((lease, full))
    }

    /// Ends all open packs.
    pub(super) fn roll_all(&self) -> Vec<Roll> {
        self.0.lock().open.iter_mut().filter_map(Option::take).map(|open| open.roll()).collect()
    }
}

fn open_head(
    serial: u64,
    kind: PackKind,
    (repository, keys, entropy): (RepositoryId, &Keys, &dyn Entropy),
) -> Result<Arc<PackHead>> {
    let header = PackHeader { kind, repository, salt: random(entropy)?, encryption: keys.encryption };
    let (header_bytes, key) = (header.encode(), frame_key(&header, keys)?);
    Ok(Arc::new(PackHead { serial, header, header_bytes, key }))
}
