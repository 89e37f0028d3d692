//! Following every reference of snapshots, each distinct chunk of a tree or list read once over all of them.
//!
//! A chunk that was found sound, together with all that lies beneath it, is not looked at again; one that has damage
//! beneath it is followed once more in every snapshot, so that each finding names the snapshots that it affects. Where the
//! same snapshot refers to it again, it is not followed, and what refers to it is named. So the work is that of the distinct
//! chunks, plus the damaged paths of every snapshot.
//!
//! Data is not read, unless its pack is suspect: then each chunk of it that is referred to is verified.
//!
//! Not verified: that names ascend from one chunk of a tree to the next where one of the two was known already.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use treering_chunk::{ChunkId, ChunkKind};
use treering_store::{ChunkReader, FindingPlace, StoreError};

use crate::check::{Affected, Findings, Severity};
use crate::error::{Result, SnapshotError};
use crate::known::{Bits, KnownChunks, is_out_of_reach, unread};
use crate::node::{Node, NodeKind};
use crate::progress::Progress;
use crate::record::{Snapshot, SnapshotName};
use crate::stream::{Extent, Stream, read_list};
use crate::tree::{DEPTH_MOST, read_chunk};

/// What is to be done at one place of the way down.
#[derive(Debug)]
enum Work {
    /// The extents of a stream or of one of its lists; the leaves are chunks of this kind.
    Extents { level: u8, leaf: ChunkKind, extents: std::vec::IntoIter<Extent> },
    /// The nodes of one chunk of a tree.
    Nodes(std::vec::IntoIter<Node>),
}

#[derive(Debug)]
struct Frame {
    work: Work,
    /// The chunk that this is the content of.
    of: Option<Place>,
    /// How much damage had been met when it was begun.
    hits: u64,
    /// Whether it is an entry, whose name is the last of the path.
    is_entry: bool,
}

/// A chunk, as it is referred to: its row; or where no trailer lists it, all that is said of it (its id, its level, the
/// leaves below it and the bytes that it covers), so that none stands for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Row(usize),
    Stray(ChunkId, u8, ChunkKind, u64),
}

impl Place {
    fn row(self) -> Option<usize> {
        match self {
            Self::Row(row) => Some(row),
            Self::Stray(..) => None,
        }
    }
}

/// What to do with a chunk that is referred to.
enum Next {
    /// Nothing: it is known to be sound, or has been reported.
    Pass,
    /// It is to be read.
    Read(Place),
}

/// What was followed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Followed {
    /// Distinct chunks of trees.
    pub(crate) tree_chunks: u64,
    /// Files in them.
    pub(crate) files: u64,
}

/// Follows references.
pub(crate) struct Follower<'a, 'r> {
    reader: &'a mut ChunkReader<'r>,
    known: &'a KnownChunks,
    /// By pack: whether what lies in it is to be read.
    suspects: &'a [bool],
    progress: &'a dyn Progress,
    findings: &'a mut Findings,
    pub(crate) followed: Followed,
    /// Rows that are referred to.
    pub(crate) seen: Bits,
    /// Rows that are sound with all beneath them.
    sound: Bits,
    /// Chunks that are not, the number of the snapshot that they were last followed in, and what was found there.
    damaged: HashMap<Place, (u32, Option<FindingPlace>)>,
    /// Level, bytes and leaves of every list, so that none stands for another.
    lists: HashMap<usize, (u8, u64, ChunkKind)>,
    /// Sound chunks of packs whose trailers are lost, with all beneath them: some 50 bytes for each of them.
    strays: HashSet<Place>,
    hits: u64,
    /// What was met last, unless it concerns no path.
    last_hit: Option<FindingPlace>,
    number: u32,
    snapshot: Option<SnapshotName>,
    path: PathBuf,
    stack: Vec<Frame>,
    /// For every entry on the way down: the last name in its tree.
    lasts: Vec<Option<Vec<u8>>>,
}

impl<'a, 'r> Follower<'a, 'r> {
    pub(crate) fn new(
        reader: &'a mut ChunkReader<'r>,
        known: &'a KnownChunks,
        suspects: &'a [bool],
        findings: &'a mut Findings,
        progress: &'a dyn Progress,
    ) -> Self {
        let bits = || Bits::new(known.rows().len());
        let (followed, damaged, lists, strays) = (Followed::default(), HashMap::new(), HashMap::new(), HashSet::new());
        let (seen, sound, path, stack, lasts) = (bits(), bits(), PathBuf::from("/"), Vec::new(), Vec::new());
        let (hits, last_hit, number, snapshot) = (0, None, 0, None);
        Self {
            reader,
            known,
            suspects,
            progress,
            findings,
            followed,
            seen,
            sound,
            damaged,
            lists,
            strays,
            hits,
            last_hit,
            number,
            snapshot,
            path,
            stack,
            lasts,
        }
    }

    /// Goes on where another one ended.
    pub(crate) fn resume(mut self, seen: Bits, sound: Bits) -> Self {
        (self.seen, self.sound) = (seen, sound);
        self
    }

    /// What was seen, and what was found sound with all beneath it.
    pub(crate) fn into_marks(self) -> (Bits, Bits) {
        (self.seen, self.sound)
    }

    /// Everything that a snapshot refers to.
    pub(crate) fn follow(&mut self, name: SnapshotName, snapshot: &Snapshot) -> Result<()> {
        (self.snapshot, self.number) = (Some(name), self.number + 1);
        if let Some(tree) = snapshot.root.tree() {
            self.enter(b"", tree.clone(), ChunkKind::Tree);
            self.run()?;
        }
        if let Some(stat) = &snapshot.stat {
            self.enter(b"", stat.clone(), ChunkKind::Stat);
            self.run()?;
        }
        Ok(())
    }

    /// That the second copy of a snapshot's record is there.
    pub(crate) fn follow_copy(&mut self, name: SnapshotName, id: &ChunkId) -> Result<()> {
        (self.snapshot, self.number) = (Some(name), self.number + 1);
        let row = self.known.find(id);
        row.inspect(|row| self.seen.set(*row));
        let is_there = match row {
            Some(row) if !self.is_suspect(row) => true,
            None if self.known.is_complete() => false,
            _ => self.reader.get(ChunkKind::SnapshotCopy, id).is_ok(),
        };
        // It may be in a pack that could not be got at, which is reported.
        if !is_there && self.known.out_of_reach.is_empty() {
            let affected = Affected { snapshot: Some(name), path: None };
            let detail = "it cannot be read from any pack";
            self.findings.add(FindingPlace::SnapshotCopy(name), Severity::Repairable, detail, affected);
        }
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        while let Some(frame) = self.stack.last_mut() {
            match &mut frame.work {
                Work::Extents { level, leaf, extents } => match extents.next() {
                    Some(extent) => {
                        let (level, leaf) = (*level, *leaf);
                        self.extent(level, leaf, extent)?;
                    }
                    None => self.leave(),
                },
                Work::Nodes(nodes) => match nodes.next() {
                    Some(node) => self.node(node),
                    None => self.leave(),
                },
            }
        }
        Ok(())
    }

    /// Goes down into an entry. The root has an empty name, which leaves the path as it is.
    fn enter(&mut self, name: &[u8], stream: Stream, leaf: ChunkKind) {
        self.path.push(OsStr::from_bytes(name));
        self.lasts.push(None);
        let work = Work::Extents { level: stream.level, leaf, extents: stream.extents.into_iter() };
        self.stack.push(Frame { work, of: None, hits: self.hits, is_entry: true });
        if self.lasts.len() > DEPTH_MOST {
            self.stack.pop();
            self.hit_in_snapshot("folders are nested too deep");
            self.leave_entry();
        }
    }

    fn leave_entry(&mut self) {
        self.lasts.pop();
        if !self.lasts.is_empty() {
            self.path.pop();
        } else {
            self.path = PathBuf::from("/");
        }
    }

    fn leave(&mut self) {
        let Some(frame) = self.stack.pop() else { return };
        match frame.of {
            Some(place) if self.hits == frame.hits => self.set_sound(place),
            Some(place) => self.set_damaged(place),
            None => {}
        }
        if frame.is_entry {
            self.leave_entry();
        }
    }

    fn node(&mut self, node: Node) {
        match node.kind {
            NodeKind::Folder { tree } => self.enter(&node.name, tree, ChunkKind::Tree),
            NodeKind::File { content, .. } => {
                self.followed.files += 1;
                self.enter(&node.name, content, ChunkKind::Data);
            }
            _ => {}
        }
    }

    fn extent(&mut self, level: u8, leaf: ChunkKind, extent: Extent) -> Result<()> {
        let Some(id) = extent.chunk() else {
            if leaf != ChunkKind::Data || level > 0 {
                self.hit_in_snapshot("a stream has a hole where none can be");
            }
            return Ok(());
        };
        let severity = if leaf == ChunkKind::Stat { Severity::Repairable } else { Severity::Damage };
        match self.next(level, leaf, &id, extent.bytes(), severity) {
            Next::Pass => self.forget_last(),
            Next::Read(place) if level > 0 => self.list(level, leaf, &extent, (id, place), severity)?,
            Next::Read(place) if leaf == ChunkKind::Tree => self.tree(&extent, (id, place))?,
            Next::Read(place) => self.leaf(leaf, &extent, (id, place), severity)?,
        }
        Ok(())
    }

    fn forget_last(&mut self) {
        if let Some(last) = self.lasts.last_mut() {
            *last = None;
        }
    }

    fn is_sound(&self, place: Place) -> bool {
        match place {
            Place::Row(row) => self.sound.has(row),
            stray => self.strays.contains(&stray),
        }
    }

    fn set_sound(&mut self, place: Place) {
        match place {
            Place::Row(row) => self.sound.set(row),
            stray => drop(self.strays.insert(stray)),
        }
    }

    /// What was met last is the chunk itself or lies beneath it.
    fn set_damaged(&mut self, place: Place) {
        self.damaged.insert(place, (self.number, self.last_hit.clone()));
    }

    fn next(&mut self, level: u8, leaf: ChunkKind, id: &ChunkId, bytes: u64, severity: Severity) -> Next {
        let kind = if level > 0 { ChunkKind::List } else { leaf };
        let Some((at, row)) = self.known.find(id).and_then(|at| Some((at, self.known.row(at)?))) else {
            if self.known.is_complete() {
                self.hit(FindingPlace::Chunk(*id), severity, "it is in no pack");
                return Next::Pass;
            }
            return self.unless_known(Place::Stray(*id, level, leaf, bytes), false);
        };
        self.seen.set(at);
        if !row.is(kind) {
            self.hit(FindingPlace::Chunk(*id), severity, "it is of another kind than what refers to it says");
        } else if kind != ChunkKind::List && u64::from(row.raw_len) != bytes {
            let detail = format!("it is {} bytes long, and what refers to it says {bytes}", row.raw_len);
            self.hit(FindingPlace::Chunk(*id), severity, &detail);
        } else {
            return self.unless_known(Place::Row(at), kind == ChunkKind::List);
        }
        Next::Pass
    }

    /// With `compares`, what is sound is looked at all the same, for the row alone does not say what it stands for.
    fn unless_known(&mut self, place: Place, compares: bool) -> Next {
        let met = self.damaged.get(&place).filter(|(number, _)| *number == self.number);
        if let Some((_, found)) = met.cloned() {
            self.hit_again(found);
        } else if compares || !self.is_sound(place) {
            return Next::Read(place);
        }
        Next::Pass
    }

    fn list(
        &mut self,
        level: u8,
        leaf: ChunkKind,
        extent: &Extent,
        (id, place): (ChunkId, Place),
        severity: Severity,
    ) -> Result<()> {
        let what = (level, extent.bytes(), leaf);
        let before = place.row().and_then(|row| self.lists.insert(row, what));
        if before.is_some_and(|before| before != what) {
            self.hit(FindingPlace::Chunk(id), severity, "the list stands for two different things");
            return Ok(());
        }
        if self.is_sound(place) {
            self.forget_last();
            return Ok(());
        }
        self.ask()?;
        match read_list(self.reader, &id, level - 1, extent.bytes()) {
            Ok(extents) => self.push(Work::Extents { level: level - 1, leaf, extents: extents.into_iter() }, place),
            Err(e) => self.unreadable(&id, place, severity, e)?,
        }
        Ok(())
    }

    fn tree(&mut self, extent: &Extent, (id, place): (ChunkId, Place)) -> Result<()> {
        self.ask()?;
        let mut last = self.lasts.last_mut().and_then(Option::take);
        match read_chunk(self.reader, extent, &mut last) {
            Ok(nodes) => {
                self.followed.tree_chunks += 1;
                self.lasts.last_mut().into_iter().for_each(|slot| slot.clone_from(&last));
                self.push(Work::Nodes(nodes.into_iter()), place);
            }
            Err(e) => self.unreadable(&id, place, Severity::Damage, e)?,
        }
        Ok(())
    }

    fn push(&mut self, work: Work, place: Place) {
        self.stack.push(Frame { work, of: Some(place), hits: self.hits, is_entry: false });
    }

    /// A chunk of data or of a stat stream.
    fn leaf(
        &mut self,
        kind: ChunkKind,
        extent: &Extent,
        (id, place): (ChunkId, Place),
        severity: Severity,
    ) -> Result<()> {
        let is_trusted = kind == ChunkKind::Data && place.row().is_some_and(|row| !self.is_suspect(row));
        if !is_trusted {
            self.ask()?;
            let read = self.reader.get(kind, &id).map_err(SnapshotError::from);
            let read = read.and_then(|bytes| fits(&id, bytes.len() as u64, extent.bytes()));
            if let Err(e) = read {
                return self.unreadable(&id, place, severity, e);
            }
        }
        self.set_sound(place);
        Ok(())
    }

    fn is_suspect(&self, row: usize) -> bool {
        self.known.packs_of(row).any(|pack| self.suspects.get(pack).copied().unwrap_or(false))
    }

    fn ask(&self) -> Result<()> {
        if self.progress.is_interrupted() { Err(SnapshotError::Interrupted) } else { Ok(()) }
    }

    fn unreadable(&mut self, id: &ChunkId, of: Place, severity: Severity, error: SnapshotError) -> Result<()> {
        let is_nowhere = matches!(error, SnapshotError::Store(StoreError::ChunkMissing { .. }));
        let pack = of.row().filter(|_| !is_nowhere).and_then(|row| self.known.pack_at(row));
        let place = pack.map_or(FindingPlace::Chunk(*id), |pack| FindingPlace::Pack(pack.name));
        match self.known.out_of_reach.first() {
            // What is nowhere else may be in one that could not be got at.
            Some(found) if pack.is_none() => {
                let (place, detail) = (found.place.clone(), found.detail.clone());
                self.hit(place, Severity::OutOfReach, &detail);
            }
            _ if is_out_of_reach(&error) => self.hit(place, Severity::OutOfReach, &unread(error)?),
            _ if is_nowhere => self.hit(place, severity, "it is in no pack"),
            _ => self.hit(place, severity, &unread(error)?),
        }
        self.set_damaged(of);
        Ok(())
    }

    fn hit_in_snapshot(&mut self, detail: &str) {
        if let Some(name) = self.snapshot {
            let place = FindingPlace::Record(treering_store::storage::Area::Snapshots, name);
            self.hit(place, Severity::Damage, detail);
        }
    }

    /// In a snapshot that it was met in before.
    fn hit_again(&mut self, found: Option<FindingPlace>) {
        if let Some(place) = &found {
            self.findings.met_again(place, Affected { snapshot: self.snapshot, path: Some(&self.path) });
        }
        (self.hits, self.last_hit) = (self.hits + 1, found);
    }

    fn hit(&mut self, place: FindingPlace, severity: Severity, detail: &str) {
        let is_of_files = matches!(severity, Severity::Damage | Severity::OutOfReach);
        let path: Option<&Path> = is_of_files.then_some(&self.path);
        (self.hits, self.last_hit) = (self.hits + 1, path.map(|_| place.clone()));
        self.findings.add(place, severity, detail, Affected { snapshot: self.snapshot, path });
    }
}

fn fits(id: &ChunkId, is_bytes: u64, said_bytes: u64) -> Result<()> {
    if is_bytes == said_bytes {
        return Ok(());
    }
    Err(SnapshotError::damaged(format!("chunk {id}"), format!("it is {is_bytes} bytes long instead of {said_bytes}")))
}
