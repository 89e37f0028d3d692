//! Hand-over between the walk, the workers that read files, and the assembler, in batches.
//!
//! The walk emits items in the order of the trees; a file that must be read is a place in a batch that a worker fills
//! in later. The assembler takes the items in order and waits where it must. Both queues are bounded: that, and not the
//! size of what is backed up, is what memory depends on.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use parking_lot::{Condvar, Mutex};

use super::read::{FileRead, FileTask};
use crate::capture::Capture;
use crate::error::{Result, SnapshotError};
use crate::node::Node;
use crate::progress::Outcome;
use crate::stream::Stream;

/// Items go to the assembler so many at a time: one by one, waking it costs more than an unchanged file does …
const ITEMS_AT_A_TIME: usize = 256;
/// … and so many times may wait for it.
pub(super) const ITEM_GROUPS_MOST: usize = 32;
/// Batches that may wait for a worker.
pub(super) const BATCHES_MOST: usize = 8;
/// What the stream of a capture counts for: it is handed over at once, for its length is not known.
pub(super) const STREAM_BYTES: u64 = BATCH_BYTES;
/// A batch is handed over when it has so many files …
const BATCH_FILES: usize = 64;
/// … or so many bytes.
const BATCH_BYTES: u64 = 1 << 20;

/// What the walk found, in order. As little of it as can be is allocated: what one thread allocates and another frees
/// makes both wait for the allocator, which cost a sixth of an unchanged backup.
pub(super) enum Item {
    /// A folder begins.
    Enter(Box<EnteredFolder>),
    /// An entry that needs no reading.
    Ready { node: Node, outcome: Outcome },
    /// A file that a worker reads.
    Pending { batch: Arc<Batch>, at: usize, outcome: Outcome, links: u64 },
    /// Another name of a file that was met before.
    HardLink { node: Node, links: u64, outcome: Outcome },
    /// A file whose bytes an application gives, and what the parent has of it.
    Captured { batch: Arc<Batch>, at: usize, capture: usize, before: Option<Stream> },
    /// A file whose bytes a capture has stored.
    Stored { node: Node, capture: usize, outcome: Outcome },
    /// A file that a capture yields and that cannot be stored.
    NotStored { path: std::path::PathBuf, error: SnapshotError, capture: usize },
    /// An application that could not be captured, and why.
    NotCaptured { kind: &'static str, path: std::path::PathBuf, error: String },
    /// All files of a capture have been emitted.
    Conclude { capture: Box<dyn Capture>, number: usize, kind: &'static str, path: std::path::PathBuf },
    /// The folder that was entered last ends.
    Leave,
}

/// A folder as the walk entered it.
pub(super) struct EnteredFolder {
    /// Without its tree.
    pub(super) node: Node,
    pub(super) path: std::path::PathBuf,
    /// The parent's node of the same path, if it was a folder.
    pub(super) before: Option<Node>,
}

/// Something for a worker to read.
pub(super) enum Task {
    File(FileTask),
    Stream(StreamTask),
}

/// Bytes of a capture.
pub(super) struct StreamTask {
    pub(super) path: std::path::PathBuf,
    /// Without its content.
    pub(super) node: Node,
    pub(super) from: Box<dyn std::io::Read + Send>,
    pub(super) cut: Option<treering_chunk::CutPolicy>,
    pub(super) before: Option<Stream>,
}

impl Task {
    pub(super) fn path(&self) -> &std::path::Path {
        match self {
            Self::File(task) => &task.path,
            Self::Stream(task) => &task.path,
        }
    }
}

/// What became of a task, with its path.
pub(super) type Done = (std::path::PathBuf, Result<FileRead>);

/// Files that one worker reads in a row.
#[derive(Default)]
pub(super) struct Batch {
    done: Mutex<Option<Vec<Option<Done>>>>,
    changed: Condvar,
}

impl Batch {
    /// The worker is done; `None` if it gave up on everything.
    pub(super) fn finish(&self, done: Vec<Done>) {
        *self.done.lock() = Some(done.into_iter().map(Some).collect());
        self.changed.notify_all();
    }

    /// Waits for one file of the batch.
    pub(super) fn take(&self, at: usize) -> Result<Done> {
        let mut done = self.done.lock();
        while done.is_none() {
            self.changed.wait(&mut done);
        }
        done.as_mut().and_then(|files| files.get_mut(at)?.take()).ok_or(SnapshotError::WorkerLost)
    }
}

/// A batch on its way. If it is dropped unread, whoever waits for it learns that.
pub(super) struct BatchWork {
    pub(super) batch: Arc<Batch>,
    pub(super) tasks: Vec<Task>,
}

impl Drop for BatchWork {
    fn drop(&mut self) {
        if self.batch.done.lock().is_none() {
            self.batch.finish(Vec::new());
        }
    }
}

/// The walk's end of both queues.
pub(super) struct Emitter {
    items: Sender<Vec<Item>>,
    group: Vec<Item>,
    work: Sender<BatchWork>,
    current: Option<BatchWork>,
    bytes: u64,
}

impl Emitter {
    pub(super) fn new(items: Sender<Vec<Item>>, work: Sender<BatchWork>) -> Self {
        Self { items, group: Vec::new(), work, current: None, bytes: 0 }
    }

    /// Emits an item.
    pub(super) fn emit(&mut self, item: Item) -> Result<()> {
        if self.group.capacity() == 0 {
            self.group.reserve_exact(ITEMS_AT_A_TIME);
        }
        self.group.push(item);
        if self.group.len() < ITEMS_AT_A_TIME { Ok(()) } else { self.send_group() }
    }

    /// The batch under way is handed over before this waits: what the assembler waits for must never wait for the
    /// assembler.
    fn send_group(&mut self) -> Result<()> {
        match self.items.try_send(std::mem::take(&mut self.group)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(group)) => {
                self.hand_over()?;
                self.items.send(group).map_err(|_| SnapshotError::WorkerLost)
            }
            Err(TrySendError::Disconnected(_)) => Err(SnapshotError::WorkerLost),
        }
    }

    /// Emits everything that is held.
    pub(super) fn finish(mut self) -> Result<()> {
        self.hand_over()?;
        self.send_group()
    }

    /// Adds a task to the batch under way and says where its result will be.
    pub(super) fn task(&mut self, task: Task, bytes: u64) -> Result<(Arc<Batch>, usize)> {
        let current = self.current.get_or_insert_with(|| BatchWork { batch: Arc::default(), tasks: Vec::new() });
        let place = (Arc::clone(&current.batch), current.tasks.len());
        current.tasks.push(task);
        self.bytes += bytes;
        if current.tasks.len() >= BATCH_FILES || self.bytes >= BATCH_BYTES {
            self.hand_over()?;
        }
        Ok(place)
    }

    fn hand_over(&mut self) -> Result<()> {
        self.bytes = 0;
        match self.current.take() {
            Some(work) => self.work.send(work).map_err(|_| SnapshotError::WorkerLost),
            None => Ok(()),
        }
    }
}

/// The assembler's end.
pub(super) type Items = Receiver<Vec<Item>>;
