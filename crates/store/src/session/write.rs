//! The writer: the one thread that owns the open packs.
//!
//! Appends frames as they come, hashes what it writes, and closes a pack when all frames that were leased in it have
//! arrived. Never waits for a disk to become durable: that is the publisher's part.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender};

use super::lease::{PackHead, Roll};
use super::publish::{ClosedPack, ToPublisher};
use super::{SessionMode, Shared};
use crate::error::{Result, StoreError};
use crate::pack::format::{FrameHeader, PackHeader, Trailer, TrailerFrame};
use crate::pack::frame::EncodedFrame;
use crate::pack::{PackKind, PackName};
use crate::storage::Staged;

/// What the writer is told.
pub(super) enum ToWriter {
    /// A frame, or why it could not be made.
    Frame(Arc<PackHead>, Box<Result<EncodedFrame>>),
    /// A pack takes no more frames.
    Roll(Roll),
    /// Answer when everything so far is durable.
    Flush(Sender<()>),
}

/// A pack that is being written.
struct WritingPack {
    head: Arc<PackHead>,
    /// `None` in a dry run.
    staged: Option<Box<dyn Staged>>,
    hasher: blake3::Hasher,
    offset: u64,
    trailer: Trailer,
    /// How many frames there will be, once that is known.
    expected: Option<u32>,
}

impl WritingPack {
    fn start(shared: &Shared, mode: SessionMode, head: Arc<PackHead>) -> Result<Self> {
        let staged = match mode {
            SessionMode::Store => Some(shared.repository.storage().stage()?),
            SessionMode::DryRun => None,
        };
        let mut pack = Self {
            head,
            staged,
            hasher: blake3::Hasher::new(),
            offset: 0,
            trailer: Trailer::default(),
            expected: None,
        };
        let header = pack.head.header_bytes.clone();
        pack.append(&header)?;
        debug_assert_eq!(pack.offset, PackHeader::BYTES as u64);
        Ok(pack)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        self.staged.as_mut().map_or(Ok(()), |staged| staged.append(bytes))
    }

    fn add(&mut self, frame: EncodedFrame) -> Result<()> {
        let offset = self.offset;
        self.append(&frame.header)?;
        self.append(&frame.sealed)?;
        self.trailer.frames.push(TrailerFrame { offset, stored_len: frame.sealed.len() as u32, chunks: frame.chunks });
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.expected.is_some_and(|expected| self.trailer.frames.len() == expected as usize)
    }

    fn close(mut self, shared: &Shared) -> Result<ClosedPack> {
        let end = self.trailer.seal(&self.head.header, shared.repository.keys(), self.offset)?;
        self.append(&end)?;
        let name = PackName::from_bytes(*self.hasher.finalize().as_bytes());
        let Self { head, staged, offset, trailer, .. } = self;
        Ok(ClosedPack { name, kind: head.header.kind, bytes: offset, trailer, staged })
    }
}

struct Writer<'a> {
    shared: &'a Shared,
    mode: SessionMode,
    packs: HashMap<u64, WritingPack>,
    /// Frame counts of packs whose first frame is still to come.
    rolled_early: HashMap<u64, u32>,
    flush: Option<Sender<()>>,
    to_publisher: &'a Sender<ToPublisher>,
}

/// Runs until the session lets go of its end.
pub(super) fn run(
    shared: &Shared,
    mode: SessionMode,
    from_sinks: &Receiver<ToWriter>,
    to_publisher: &Sender<ToPublisher>,
) {
    let (packs, rolled_early) = (HashMap::new(), HashMap::new());
    let mut writer = Writer { shared, mode, packs, rolled_early, flush: None, to_publisher };
    for message in from_sinks {
        // After a failure everything is taken and dropped: a flush that stays in the channel is waited for, for ever.
        if !shared.has_failed() {
            writer.handle(message).unwrap_or_else(|e| shared.fail(e));
        }
        if shared.has_failed() {
            writer.flush = None;
        }
    }
}

impl Writer<'_> {
    fn handle(&mut self, message: ToWriter) -> Result<()> {
        match message {
            ToWriter::Frame(head, frame) => self.frame(head, (*frame)?)?,
            ToWriter::Roll(roll) => self.roll(&roll)?,
            ToWriter::Flush(reply) => self.flush = Some(reply),
        }
        let idle = self.packs.is_empty() && self.rolled_early.is_empty();
        match self.flush.take_if(|_| idle) {
            Some(reply) => self.publish(ToPublisher::Flush(reply)),
            None => Ok(()),
        }
    }

    fn frame(&mut self, head: Arc<PackHead>, frame: EncodedFrame) -> Result<()> {
        let serial = head.serial;
        self.count(&head, &frame);
        let pack = match self.packs.entry(serial) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let mut pack = WritingPack::start(self.shared, self.mode, head)?;
                pack.expected = self.rolled_early.remove(&serial);
                entry.insert(pack)
            }
        };
        pack.add(frame)?;
        self.close_if_complete(serial)
    }

    fn count(&self, head: &PackHead, frame: &EncodedFrame) {
        let counters = &self.shared.counters;
        let counter = match head.header.kind {
            PackKind::Data => &counters.data_stored_bytes,
            PackKind::Meta => &counters.meta_stored_bytes,
        };
        counter.fetch_add((FrameHeader::BYTES + frame.sealed.len()) as u64, Ordering::Relaxed);
    }

    fn roll(&mut self, roll: &Roll) -> Result<()> {
        match self.packs.get_mut(&roll.serial) {
            Some(pack) => pack.expected = Some(roll.frames),
            None => drop(self.rolled_early.insert(roll.serial, roll.frames)),
        }
        self.close_if_complete(roll.serial)
    }

    fn close_if_complete(&mut self, serial: u64) -> Result<()> {
        if !self.packs.get(&serial).is_some_and(WritingPack::is_complete) {
            return Ok(());
        }
        let Some(pack) = self.packs.remove(&serial) else { return Ok(()) };
        let closed = pack.close(self.shared)?;
        self.publish(ToPublisher::Pack(Box::new(closed)))
    }

    fn publish(&self, message: ToPublisher) -> Result<()> {
        let gone = StoreError::Poisoned { cause: "its publisher ended".into(), out_of_space: false };
        self.to_publisher.send(message).map_err(|_| gone)
    }
}
