//! The publisher: makes closed packs durable, names them, and tells the index.
//!
//! Order, for each pack: its bytes durable, announced in the session's registration, named, its folder durable, then
//! the index. The index is told in batches: one that lacks packs learns them when it is next opened.

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use super::Shared;
use crate::error::Result;
use crate::index::LearnedPack;
use crate::limits::INDEX_BATCH_ROWS;
use crate::pack::format::Trailer;
use crate::pack::{PackKind, PackName};
use crate::storage::{Area, Registered, Staged};

/// What the publisher is told.
pub(super) enum ToPublisher {
    Pack(Box<ClosedPack>),
    /// Answer when everything before is durable and in the index.
    Flush(Sender<()>),
}

/// A pack with all its bytes, nameless and not yet durable.
pub(super) struct ClosedPack {
    pub(super) name: PackName,
    pub(super) kind: PackKind,
    pub(super) bytes: u64,
    pub(super) trailer: Trailer,
    /// `None` in a dry run.
    pub(super) staged: Option<Box<dyn Staged>>,
}

struct Publisher<'a> {
    shared: &'a Shared,
    registration: Option<&'a Mutex<Box<dyn Registered>>>,
    batch: Vec<LearnedPack>,
    rows: usize,
}

/// Runs until the writer ends.
pub(super) fn run(
    shared: &Shared,
    registration: Option<&Mutex<Box<dyn Registered>>>,
    from_writer: &Receiver<ToPublisher>,
) {
    let mut publisher = Publisher { shared, registration, batch: Vec::new(), rows: 0 };
    let mut has_failed = false;
    for message in from_writer {
        // As the writer does: what is left in the channel is never answered.
        if has_failed {
            continue;
        }
        if let Err(e) = publisher.handle(message) {
            shared.fail(e);
            has_failed = true;
        }
    }
}

impl Publisher<'_> {
    fn handle(&mut self, message: ToPublisher) -> Result<()> {
        match message {
            ToPublisher::Pack(pack) => self.pack(*pack),
            ToPublisher::Flush(reply) => {
                // Recorded before the answer: who waits asks for the failure as soon as it is there.
                self.tell_index().unwrap_or_else(|e| self.shared.fail(e));
                // Whoever asked may have given up; that is not our failure.
                reply.send(()).or(Ok(()))
            }
        }
    }

    fn pack(&mut self, pack: ClosedPack) -> Result<()> {
        let ClosedPack { name, kind, bytes, trailer, staged } = pack;
        let Some(mut staged) = staged else { return Ok(()) };
        staged.sync()?;
        if let Some(registration) = self.registration {
            registration.lock().append(name.as_bytes())?;
        }
        staged.publish(Area::Packs, &name.to_string())?;
        self.shared.repository.storage().sync(Area::Packs, &[&name.to_string()])?;
        self.shared.own.lock().push((name, bytes));
        self.rows += trailer.frames.iter().map(|frame| frame.chunks.len()).sum::<usize>();
        self.batch.push(LearnedPack { name, kind, bytes, trailer });
        if self.rows >= INDEX_BATCH_ROWS { self.tell_index() } else { Ok(()) }
    }

    /// An index that cannot be told is made anew, for others; in this session the chunks go on to be under way.
    fn tell_index(&mut self) -> Result<()> {
        match self.shared.index.add(&self.batch) {
            Err(e) if e.is_of_index() => self.shared.repository.distrust_index(&e.to_string())?,
            Err(e) => return Err(e),
            Ok(()) => {
                let frames = self.batch.iter().flat_map(|pack| &pack.trailer.frames);
                frames.flat_map(|frame| &frame.chunks).for_each(|chunk| self.shared.under_way.remove(&chunk.id()));
            }
        }
        self.batch.clear();
        self.rows = 0;
        Ok(())
    }
}
