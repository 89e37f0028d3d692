//! How much snapshots hold and what they take, counted as restic counts.
//!
//! Owns the ways of counting. What a chunk takes in the repository is an estimate: chunks are compressed together, so
//! each is charged its share of its pack, the pack's trailer included.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use treering_store::{CHUNK_MOST_BYTES, ChunkReader, Repository, codec};

use crate::check::{CheckFinding, Findings};
use crate::error::{Result, SnapshotError};
use crate::follow::Follower;
use crate::known::KnownChunks;
use crate::list::{Flow, walk_tree};
use crate::node::NodeKind;
use crate::progress::Progress;
use crate::record::Snapshot;
use crate::select::Named;
use crate::stream::Stream;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UsageMode {
    /// What restoring each snapshot takes: every entry, hard links once.
    RestoreSize,
    /// Files with the same content once over all snapshots. Memory: about 60 bytes for each of them and each folder.
    FilesByContents,
    /// Distinct chunks, as they are stored.
    RawData,
}

impl UsageMode {
    /// As it is typed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RestoreSize => "restore-size",
            Self::FilesByContents => "files-by-contents",
            Self::RawData => "raw-data",
        }
    }
}

/// What was counted.
#[derive(Debug, Default)]
pub struct Usage {
    /// Snapshots.
    pub snapshots: u64,
    /// Bytes; for [`UsageMode::RawData`] as they are stored.
    pub total_bytes: u64,
    /// Files; for [`UsageMode::RestoreSize`] all entries.
    pub files: u64,
    /// For [`UsageMode::RawData`]: chunks.
    pub chunks: u64,
    /// For [`UsageMode::RawData`]: their bytes before compression.
    pub raw_bytes: u64,
    /// Folders that could not be read, and why.
    pub damaged: Vec<(PathBuf, SnapshotError)>,
    /// For [`UsageMode::RawData`]: what could not be followed.
    pub findings: Vec<CheckFinding>,
}

impl Usage {
    /// Bytes before compression for each byte that is stored; 1 if nothing is.
    pub fn compression_ratio(&self) -> f64 {
        if self.total_bytes == 0 { 1.0 } else { self.raw_bytes as f64 / self.total_bytes as f64 }
    }

    /// What compression saves, in percent of what there is.
    pub fn compression_space_saving(&self) -> f64 {
        if self.raw_bytes == 0 { 0.0 } else { (1.0 - self.total_bytes as f64 / self.raw_bytes as f64) * 100.0 }
    }
}

/// Counts what these snapshots hold.
///
/// # Errors
///
/// [`SnapshotError::Interrupted`], [`SnapshotError::MoreThanSaid`], and what is not damage: an index that can neither be
/// read nor made anew.
pub fn usage<'s>(
    repository: &Repository,
    snapshots: impl IntoIterator<Item = &'s Named>,
    mode: UsageMode,
    progress: &dyn Progress,
) -> Result<Usage> {
    let mut reader = repository.reader()?;
    match mode {
        UsageMode::RawData => raw_data(repository, &mut reader, snapshots, progress),
        UsageMode::RestoreSize => each(&mut reader, snapshots, progress, restore_size),
        UsageMode::FilesByContents => {
            let mut seen = Contents::default();
            each(&mut reader, snapshots, progress, |reader, snapshot, usage| {
                files_by_contents(reader, snapshot, usage, &mut seen)
            })
        }
    }
}

fn each<'s>(
    reader: &mut ChunkReader<'_>,
    snapshots: impl IntoIterator<Item = &'s Named>,
    progress: &dyn Progress,
    mut count: impl FnMut(&mut ChunkReader<'_>, &Snapshot, &mut Usage) -> Result<()>,
) -> Result<Usage> {
    let mut usage = Usage::default();
    for (_, snapshot) in snapshots {
        if progress.is_interrupted() {
            return Err(SnapshotError::Interrupted);
        }
        usage.snapshots += 1;
        count(reader, snapshot, &mut usage)?;
    }
    Ok(usage)
}

fn restore_size(reader: &mut ChunkReader<'_>, snapshot: &Snapshot, usage: &mut Usage) -> Result<()> {
    let mut links = HashSet::new();
    let walked = walk_tree(reader, (snapshot, &snapshot.root), Path::new("/"), |_, node| {
        let is_first = match node.kind {
            NodeKind::File { links: number, .. } if number > 0 => links.insert(number),
            _ => true,
        };
        usage.files += 1;
        usage.total_bytes = usage.total_bytes.saturating_add(if is_first { node.size() } else { 0 });
        Flow::Enter
    })?;
    usage.damaged.extend(walked.damaged);
    Ok(())
}

/// Streams that were met: of files, and of folders with all that is in them.
#[derive(Debug, Default)]
struct Contents {
    files: HashSet<[u8; 16]>,
    folders: HashSet<[u8; 16]>,
}

fn files_by_contents(
    reader: &mut ChunkReader<'_>,
    snapshot: &Snapshot,
    usage: &mut Usage,
    seen: &mut Contents,
) -> Result<()> {
    let walked = walk_tree(reader, (snapshot, &snapshot.root), Path::new("/"), |_, node| match &node.kind {
        NodeKind::File { content, .. } => {
            if seen.files.insert(digest(content)) {
                usage.files += 1;
                usage.total_bytes = usage.total_bytes.saturating_add(content.bytes());
            }
            Flow::Skip
        }
        NodeKind::Folder { tree } if seen.folders.insert(digest(tree)) => Flow::Enter,
        _ => Flow::Skip,
    })?;
    usage.damaged.extend(walked.damaged);
    Ok(())
}

/// Stands for a stream: what its few extents are, shortened. A stream that cannot be encoded stands alone with none.
fn digest(stream: &Stream) -> [u8; 16] {
    let encoded = codec::encode(stream, CHUNK_MOST_BYTES).unwrap_or_default();
    blake3::hash(&encoded).as_bytes().first_chunk().copied().unwrap_or_default()
}

fn raw_data<'s>(
    repository: &Repository,
    reader: &mut ChunkReader<'_>,
    snapshots: impl IntoIterator<Item = &'s Named>,
    progress: &dyn Progress,
) -> Result<Usage> {
    let (mut usage, mut findings) = (Usage::default(), Findings::default());
    let known = KnownChunks::read(repository, &repository.list_packs()?, progress)?;
    let mut follower = Follower::new(reader, &known, &[], &mut findings, progress);
    for (name, snapshot) in snapshots {
        usage.snapshots += 1;
        follower.follow(*name, snapshot)?;
    }
    let seen = follower.seen;
    add_chunks(&known, |at| seen.has(at), &mut usage);
    usage.findings = findings.list;
    Ok(usage)
}

fn add_chunks(known: &KnownChunks, is_seen: impl Fn(usize) -> bool, usage: &mut Usage) {
    let mut stored_bytes = 0.0;
    for (at, row) in known.rows().iter().enumerate().filter(|(at, _)| is_seen(*at)) {
        let Some(pack) = known.pack_at(at) else { continue };
        usage.chunks += 1;
        usage.raw_bytes += u64::from(row.raw_len);
        stored_bytes += f64::from(row.raw_len) * pack.bytes as f64 / pack.raw_bytes.max(1) as f64;
    }
    usage.total_bytes = stored_bytes.round() as u64;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::testing::{Home, Item, dir, file, noise};

    fn items(extra: bool) -> Vec<Item> {
        let link = |name: &str| {
            file(name, &noise(2, 3000)).with(|node| {
                if let NodeKind::File { links, .. } = &mut node.kind {
                    *links = 1;
                }
            })
        };
        let mut all =
            vec![dir("d", vec![file("copy", &noise(1, 5000)), file("one", &noise(1, 5000))]), link("l1"), link("l2")];
        all.extend(extra.then(|| file("more", &noise(3, 700))));
        all
    }

    fn count(home: &Home, named: &[Named], mode: UsageMode) -> Usage {
        usage(&home.repository, named, mode, &Silent).unwrap()
    }

    #[test]
    fn each_mode_counts_its_own_things_once() {
        let home = Home::new();
        let named = [home.commit(items(false)), home.commit(items(true))];
        let restore = count(&home, &named, UsageMode::RestoreSize);
        assert_eq!((restore.snapshots, restore.files, restore.total_bytes), (2, 5 + 6, 2 * 13_000 + 700));
        let files = count(&home, &named, UsageMode::FilesByContents);
        assert_eq!((files.files, files.total_bytes), (3, 8_700));
        let raw = count(&home, &named, UsageMode::RawData);
        // Trees are cut by the names' hashes under a random key, so a tree may have one chunk more.
        assert!((5 + 3 + 1 + 3..5 + 3 + 1 + 3 + 4).contains(&raw.chunks), "{}", raw.chunks);
        assert!(raw.raw_bytes > 8_700 && raw.raw_bytes < 10_700, "{}", raw.raw_bytes);
        let packs: u64 = home.repository.list_packs().unwrap().iter().map(|(_, bytes)| bytes).sum();
        assert!(raw.total_bytes > 8_700 && raw.total_bytes <= packs, "{} of {packs}", raw.total_bytes);
        assert!(raw.compression_ratio() > 0.3 && raw.compression_space_saving() < 100.0);
        let one = count(&home, &named[..1], UsageMode::RawData);
        assert!((5 + 3 + 2..5 + 3 + 2 + 3).contains(&one.chunks), "{}", one.chunks);
    }
}
