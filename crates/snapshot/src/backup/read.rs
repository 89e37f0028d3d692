//! Reading files into streams, on several threads.
//!
//! A worker reads, cuts, names and stores. Chunks that the parent's version of the file has near the same place are
//! known without a look-up: the parent is registered in the session, so nothing takes them away. Those that are recorded
//! as lost are not, and none is if the parent is not known to be whole.
//!
//! Invariant: a node that is returned describes one file whose bytes were read while its size, mtime and ctime did not
//! change; or it says that they did.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, SeekFrom};
use treering_chunk::{ChunkId, ChunkKind, CutPolicy};
use treering_store::{ChunkReader, Compression, LostChunks, Repository, Session, Sink};
use xattr::FileExt;

use super::kind;
use crate::error::{Result, SnapshotError};
use crate::node::{Node, NodeKind, XATTRS_MOST_BYTES};
use crate::progress::{Event, Progress};
use crate::source::open_plain;
use crate::stream::{Extent, Extents, Stream, StreamBuilder};
use crate::walk::Status;

/// A file that keeps changing is read so often before it is taken as it is and reported.
const ATTEMPTS: usize = 2;
/// The parent's chunks are known this far before and behind the place that is being read.
const HINT_BYTES: u64 = 4 << 20;
const READ_BYTES: usize = 1 << 20;

/// A file to be read.
pub(super) struct FileTask {
    pub(super) path: PathBuf,
    pub(super) name: Vec<u8>,
    /// The parent's content of the same path, to know chunks by.
    pub(super) before: Option<Stream>,
}

/// A file that was read.
pub(super) struct FileRead {
    pub(super) node: Node,
    /// It changed while it was read, each time.
    pub(super) unstable: bool,
}

/// One thread's means of reading files.
pub(super) struct FileReader<'r> {
    repository: &'r Arc<Repository>,
    lost: &'r LostChunks,
    sink: Sink,
    chunks: ChunkReader<'r>,
    buffer: Vec<u8>,
    compression: Compression,
    progress: &'r dyn Progress,
}

impl<'r> FileReader<'r> {
    pub(super) fn new(
        repository: &'r Arc<Repository>,
        session: &'r Session,
        compression: Compression,
        progress: &'r dyn Progress,
    ) -> Result<Self> {
        let (sink, chunks, lost) = (session.sink()?, repository.reader()?, session.lost());
        Ok(Self { repository, lost, sink, chunks, buffer: Vec::new(), compression, progress })
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        Ok(self.sink.flush()?)
    }

    /// Reads one file. An error of the inner result concerns this file only.
    pub(super) fn read(&mut self, task: &FileTask) -> Result<Result<FileRead>> {
        self.progress.event(Event::Started { path: &task.path });
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.read_once(task) {
                Ok(read) if read.unstable && attempt < ATTEMPTS => {}
                // What failed is the store: nothing more can be done for any file.
                Err(e @ (SnapshotError::Store(_) | SnapshotError::Interrupted)) => return Err(e),
                read => return Ok(read),
            }
        }
    }

    fn read_once(&mut self, task: &FileTask) -> Result<FileRead> {
        let path = &task.path;
        let file = open_plain(path).map_err(|e| SnapshotError::io("open", path)(e))?;
        let before = status(&file, path)?;
        if before.kind != FileType::RegularFile {
            let source = std::io::Error::other("it is no regular file any more");
            return Err(SnapshotError::Io { action: "read", path: path.clone(), source });
        }
        let content = self.content(&file, task, &before)?;
        let xattrs = read_xattrs(path, file.list_xattr(), |name| file.get_xattr(name))?;
        let after = status(&file, path)?;
        let unstable = !before.same_content(&after) || content.bytes() != after.bytes;
        let node = node(task.name.clone(), &after, xattrs, NodeKind::File { content, links: 0 });
        Ok(FileRead { node, unstable })
    }

    fn content(&mut self, file: &File, task: &FileTask, status: &Status) -> Result<Stream> {
        let mut hints = Hints::new(task.before.as_ref(), self.lost);
        let mut cut = CutState::new(None, Some(status.bytes));
        if status.allocated_bytes < status.bytes {
            self.sparse(file, task, status.bytes, &mut cut, &mut hints)?;
        } else {
            // Bytes that are appended meanwhile are the next backup's.
            self.segment(&mut file.take(status.bytes), &task.path, &mut cut, &mut hints)?;
        }
        cut.stream.finish(&mut self.sink)
    }

    fn sparse(
        &mut self,
        file: &File,
        task: &FileTask,
        bytes: u64,
        cut: &mut CutState,
        hints: &mut Hints<'_>,
    ) -> Result<()> {
        let mut at = 0;
        while at < bytes {
            let data = next_extent(file, at, bytes).map_err(|e| SnapshotError::io("read", &task.path)(e.into()))?;
            cut.hole(&mut self.sink, data.start - at)?;
            rustix::fs::seek(file, SeekFrom::Start(data.start))
                .map_err(|e| SnapshotError::io("read", &task.path)(e.into()))?;
            self.segment(&mut file.take(data.end - data.start), &task.path, cut, hints)?;
            at = data.end;
        }
        Ok(())
    }

    /// A stream that is no file: standard input, or what a capture yields.
    pub(super) fn read_stream(
        &mut self,
        from: &mut dyn Read,
        path: &Path,
        policy: Option<CutPolicy>,
        before: Option<&Stream>,
    ) -> Result<Stream> {
        let (mut hints, mut cut) = (Hints::new(before, self.lost), CutState::new(policy, None));
        self.segment(from, path, &mut cut, &mut hints)?;
        cut.stream.finish(&mut self.sink)
    }

    /// A part of a file that a capture puts together: its extents, in order.
    pub(super) fn read_piece(&mut self, from: &mut dyn Read, policy: CutPolicy) -> Result<Vec<Extent>> {
        let (mut hints, mut cut) = (Hints::new(None, self.lost), CutState::new(Some(policy), None));
        cut.flat = Some(Vec::new());
        self.segment(from, Path::new("what a capture reads"), &mut cut, &mut hints)?;
        Ok(cut.flat.unwrap_or_default())
    }

    /// Reads to the end, cutting as it goes.
    fn segment(&mut self, from: &mut dyn Read, path: &Path, cut: &mut CutState, hints: &mut Hints<'_>) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let done = self.segment_with(&mut buffer, from, path, cut, hints);
        self.buffer = buffer;
        done
    }

    fn segment_with(
        &mut self,
        buffer: &mut Vec<u8>,
        from: &mut dyn Read,
        path: &Path,
        cut: &mut CutState,
        hints: &mut Hints<'_>,
    ) -> Result<()> {
        let (mut start, mut end) = (0, 0);
        loop {
            if self.progress.is_interrupted() {
                return Err(SnapshotError::Interrupted);
            }
            buffer.copy_within(start..end, 0);
            (start, end) = (0, end - start);
            let room = self.room(cut, end);
            if buffer.len() < room {
                buffer.resize(room, 0);
            }
            let got =
                fill(from, buffer.get_mut(end..room).unwrap_or_default()).map_err(SnapshotError::io("read", path))?;
            let ends = got < room - end;
            end += got;
            self.progress.event(Event::Bytes { bytes: got as u64 });
            let policy = self.policy(cut, buffer.get(..end).unwrap_or_default())?;
            while let Some(rest) = buffer.get(start..end) {
                let Some(length) = self.repository.cutter().cut(policy, rest, ends) else { break };
                self.store(rest.get(..length).unwrap_or_default(), cut, hints)?;
                start += length;
            }
            if ends {
                return Ok(());
            }
        }
    }

    /// How many bytes to hold: enough to decide on a cut, and for a small file no more than the file.
    fn room(&self, cut: &CutState, held: usize) -> usize {
        let policy = cut.policy.unwrap_or(CutPolicy::General);
        let least = self.repository.cutter().longest(policy).max(kind::HEAD_BYTES);
        let wanted = (2 * least).max(READ_BYTES);
        // One more than there should be, so that the end is seen at once.
        cut.bytes
            .map_or(wanted, |bytes| wanted.min(bytes.saturating_sub(cut.at).saturating_add(1) as usize))
            .max(held + 1)
    }

    fn policy(&mut self, cut: &mut CutState, head: &[u8]) -> Result<CutPolicy> {
        let policy = match cut.policy {
            Some(policy) => policy,
            None => *cut.policy.insert(kind::policy(head, cut.bytes.unwrap_or(0))),
        };
        self.sink.set_compression(match (self.compression, policy) {
            // On heap pages the fast level is also the smaller one (measured: 526 MB against 545).
            (Compression::DEFAULT, CutPolicy::Pages(_)) => Compression::Zstd(1),
            (asked, _) => asked,
        })?;
        Ok(policy)
    }

    fn store(&mut self, bytes: &[u8], cut: &mut CutState, hints: &mut Hints<'_>) -> Result<()> {
        let id = self.repository.namer().id(ChunkKind::Data, bytes);
        if !hints.know(&mut self.chunks, &id, cut.at) {
            self.sink.put_named(id, ChunkKind::Data, bytes)?;
        }
        cut.at += bytes.len() as u64;
        let extent = Extent::Chunk { id: *id.as_bytes(), bytes: bytes.len() as u64 };
        match &mut cut.flat {
            Some(flat) => flat.push(extent),
            None => cut.stream.push(&mut self.sink, extent)?,
        }
        Ok(())
    }
}

/// A stream under way.
struct CutState {
    stream: StreamBuilder,
    /// Extents of a piece, which are listed with others later.
    flat: Option<Vec<Extent>>,
    policy: Option<CutPolicy>,
    /// How long it should become, where that is known.
    bytes: Option<u64>,
    at: u64,
}

impl CutState {
    fn new(policy: Option<CutPolicy>, bytes: Option<u64>) -> Self {
        Self { stream: StreamBuilder::default(), flat: None, policy, bytes, at: 0 }
    }

    fn hole(&mut self, sink: &mut Sink, bytes: u64) -> Result<()> {
        self.at += bytes;
        self.stream.push(sink, Extent::Hole { bytes })
    }
}

/// The chunks that the parent's version of a file has around the place that is being read.
struct Hints<'l> {
    /// Chunks that it has and nobody has any more.
    lost: &'l LostChunks,
    extents: Option<Extents>,
    window: VecDeque<(u64, ChunkId)>,
    known: HashSet<ChunkId>,
    /// Where the window ends in the parent's version.
    end: u64,
}

impl<'l> Hints<'l> {
    fn new(before: Option<&Stream>, lost: &'l LostChunks) -> Self {
        Self { lost, extents: before.map(Extents::of), window: VecDeque::new(), known: HashSet::new(), end: 0 }
    }

    fn know(&mut self, chunks: &mut ChunkReader<'_>, id: &ChunkId, at: u64) -> bool {
        while self.extents.is_some() && self.end < at.saturating_add(HINT_BYTES) {
            self.advance(chunks);
        }
        while let Some((_, old)) = self.window.pop_front_if(|(end, _)| end.saturating_add(HINT_BYTES) < at) {
            self.known.remove(&old);
        }
        self.known.contains(id)
    }

    /// A list that cannot be read ends the hints; what it names is looked up or stored again.
    fn advance(&mut self, chunks: &mut ChunkReader<'_>) {
        let next = self.extents.as_mut().and_then(|extents| extents.read_next(chunks).ok().flatten());
        let Some(extent) = next else {
            self.extents = None;
            return;
        };
        self.end = self.end.saturating_add(extent.bytes());
        if let Some(id) = extent.chunk().filter(|id| !self.lost.contains(id)) {
            self.window.push_back((self.end, id));
            self.known.insert(id);
        }
    }
}

fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

pub(super) fn status(file: &File, path: &Path) -> Result<Status> {
    let stat = rustix::fs::fstat(file.as_fd());
    stat.map(|stat| Status::of(&stat)).map_err(|e| SnapshotError::io("look at", path)(e.into()))
}

/// The next range of data at or after `at`; empty at the end.
fn next_extent(file: &File, at: u64, bytes: u64) -> rustix::io::Result<std::ops::Range<u64>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => start.min(bytes),
        Err(rustix::io::Errno::NXIO) => return Ok(bytes..bytes),
        // The file system does not know holes.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => return Ok(at..bytes),
        Err(e) => return Err(e),
    };
    if start == bytes {
        return Ok(bytes..bytes);
    }
    Ok(start..rustix::fs::seek(file, SeekFrom::Hole(start))?.min(bytes))
}

/// Extended attributes sorted by name; a file system without any has none.
pub(super) fn read_xattrs(
    path: &Path,
    names: std::io::Result<xattr::XAttrs>,
    get: impl Fn(&std::ffi::OsStr) -> std::io::Result<Option<Vec<u8>>>,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let names = match names {
        Ok(names) => names,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::Unsupported) => return Ok(Vec::new()),
        Err(e) => return Err(SnapshotError::io("list the extended attributes of", path)(e)),
    };
    let mut xattrs = Vec::new();
    for name in names {
        if let Some(value) = get(&name).map_err(SnapshotError::io("read the extended attributes of", path))? {
            xattrs.push((name.as_bytes().to_vec(), value));
        }
    }
    if xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > XATTRS_MOST_BYTES {
        let source = std::io::Error::other(format!("they are longer than {XATTRS_MOST_BYTES} bytes"));
        return Err(SnapshotError::Io { action: "store the extended attributes of", path: path.to_owned(), source });
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

/// A node of this status.
pub(super) fn node(name: Vec<u8>, status: &Status, xattrs: Vec<(Vec<u8>, Vec<u8>)>, kind: NodeKind) -> Node {
    let Status { mode, uid, gid, modified, .. } = *status;
    Node { name, kind, mode, uid, gid, modified, xattrs, extensions: Vec::new() }
}
