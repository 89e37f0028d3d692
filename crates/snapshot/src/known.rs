//! Which chunks there are, from the packs' own trailers: what a check compares references with.
//!
//! Never asks the index, so that a wrong index cannot hide a lost pack. 25 bytes of memory a chunk and three bits more
//! for those who follow references: a million chunks take 25 MB, twice that for a moment while the table grows.
//!
//! Invariant: rows are sorted by id. A row holds the first 16 bytes of the id, which is a keyed hash: nobody without the
//! key makes two chunks that share them, and chance does not.

use rayon::prelude::*;
use treering_chunk::{ChunkId, ChunkKind};
use treering_store::storage::Area;
use treering_store::{Finding, FindingPlace, PackContents, PackKind, PackName, PackRows, Repository, StoreError};

use crate::error::{Result, SnapshotError, with_causes};
use crate::progress::Progress;

/// Packs whose trailers are in memory at once, decoded: 5 MB each at most.
const PACKS_AT_A_TIME: usize = 8;

/// A chunk in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    id: [u64; 2],
    /// The chunk's length.
    pub(crate) raw_len: u32,
    /// The number of its pack, then three bits of its kind.
    pack_and_kind: u32,
}

impl Row {
    fn new(id: &ChunkId, kind: ChunkKind, raw_len: u32, pack: usize) -> Self {
        Self { id: key(id), raw_len, pack_and_kind: (pack as u32) << 3 | kind as u32 }
    }

    /// The pack, as its place in [`KnownChunks::packs`].
    pub(crate) fn pack(&self) -> usize {
        (self.pack_and_kind >> 3) as usize
    }

    pub(crate) fn is(&self, kind: ChunkKind) -> bool {
        self.pack_and_kind & 7 == kind as u32
    }
}

fn key(id: &ChunkId) -> [u64; 2] {
    let [.., a, b, c, d, e, f, g, h] = *id.as_bytes().first_chunk::<16>().unwrap_or(&[0; 16]);
    [id.prefix(), u64::from_le_bytes([a, b, c, d, e, f, g, h])]
}

/// How many first bits of an id lead to about eight rows.
fn start_bits(rows: usize) -> u32 {
    (rows / 8).checked_ilog2().unwrap_or(0)
}

fn first_bits([first, _]: [u64; 2], bits: u32) -> u64 {
    first.checked_shr(u64::BITS - bits).unwrap_or(0)
}

/// A pack that was listed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownPack {
    pub(crate) name: PackName,
    pub(crate) bytes: u64,
    /// What it holds; of one that cannot be read, anything.
    pub(crate) kind: PackKind,
    /// The bytes of its chunks.
    pub(crate) raw_bytes: u64,
    /// Whether its trailer could be read, so that its chunks are known.
    pub(crate) is_readable: bool,
    /// What the index should have of it, if so.
    rows: Option<PackRows>,
}

/// All chunks that lie in packs.
#[derive(Debug, Default)]
pub(crate) struct KnownChunks {
    rows: Vec<Row>,
    /// Where in the rows the ids begin whose first bits are this number, and the end.
    starts: Vec<u32>,
    pub(crate) packs: Vec<KnownPack>,
    /// Second copies of snapshot records, present and forgotten ones.
    pub(crate) copies: Vec<ChunkId>,
    /// Packs whose trailers cannot be read, and why.
    pub(crate) damaged: Vec<Finding>,
    /// Packs that could not be got at, and why: what is nowhere else may be in one of them.
    pub(crate) out_of_reach: Vec<Finding>,
}

impl KnownChunks {
    /// Reads the trailers of all these packs. One that is damaged is noted, not an error; one that is gone since it was
    /// listed is left out.
    pub(crate) fn read(repository: &Repository, listed: &[(PackName, u64)], progress: &dyn Progress) -> Result<Self> {
        let mut known = Self::default();
        known.read_trailers(repository, listed, progress)?;
        known.rows.par_sort_unstable();
        known.find_starts();
        Ok(known)
    }

    /// Adds packs that were not there before, and moves marks along with the rows that they stand for.
    pub(crate) fn extend(
        &mut self,
        repository: &Repository,
        listed: &[(PackName, u64)],
        marks: &mut [&mut Bits],
        progress: &dyn Progress,
    ) -> Result<()> {
        let before = std::mem::take(&mut self.rows);
        self.read_trailers(repository, listed, progress)?;
        self.rows.par_sort_unstable();
        let new = std::mem::take(&mut self.rows);
        let mut moved: Vec<Bits> = marks.iter().map(|_| Bits::new(before.len() + new.len())).collect();
        self.rows.reserve_exact(before.len() + new.len());
        let mut new = new.into_iter().peekable();
        for (at, row) in before.into_iter().enumerate() {
            while let Some(smaller) = new.next_if(|candidate| *candidate < row) {
                self.rows.push(smaller);
            }
            let at_new = self.rows.len();
            moved
                .iter_mut()
                .zip(marks.iter())
                .filter(|(_, mark)| mark.has(at))
                .for_each(|(moved, _)| moved.set(at_new));
            self.rows.push(row);
        }
        self.rows.extend(new);
        self.find_starts();
        marks.iter_mut().zip(moved).for_each(|(mark, moved)| **mark = moved);
        Ok(())
    }

    fn read_trailers(
        &mut self,
        repository: &Repository,
        listed: &[(PackName, u64)],
        progress: &dyn Progress,
    ) -> Result<()> {
        for some in listed.chunks(PACKS_AT_A_TIME) {
            if progress.is_interrupted() {
                return Err(SnapshotError::Interrupted);
            }
            let contents: Vec<_> = some.par_iter().map(|(name, _)| repository.pack_contents_and_rows(*name)).collect();
            for ((name, bytes), contents) in some.iter().zip(contents) {
                let is_gone = matches!(contents, Err(StoreError::Missing { .. }));
                if !(is_gone && repository.storage().length(Area::Packs, &name.to_string())?.is_none()) {
                    self.add(*name, *bytes, contents)?;
                }
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        name: PackName,
        bytes: u64,
        contents: Result<(PackContents, PackRows), StoreError>,
    ) -> Result<()> {
        let number = self.packs.len();
        let mut pack = KnownPack { name, bytes, kind: PackKind::Data, raw_bytes: 0, is_readable: false, rows: None };
        match contents {
            Ok((PackContents { chunks, kind, is_header_damaged, .. }, rows)) => {
                if is_header_damaged {
                    let detail = "its header is damaged; the copy at its end is whole";
                    self.damaged.push(Finding::new(FindingPlace::Pack(name), detail));
                }
                (pack.is_readable, pack.kind, pack.rows) = (true, kind, Some(rows));
                pack.raw_bytes = chunks.iter().map(|(_, _, raw_len)| u64::from(*raw_len)).sum();
                let copies = chunks.iter().filter(|(_, kind, _)| *kind == ChunkKind::SnapshotCopy);
                self.copies.extend(copies.map(|(id, _, _)| *id));
                self.rows.extend(chunks.iter().map(|(id, kind, raw_len)| Row::new(id, *kind, *raw_len, number)));
            }
            Err(e) => {
                let found = Finding::unread(FindingPlace::Pack(name), e)?;
                if found.is_out_of_reach { &mut self.out_of_reach } else { &mut self.damaged }.push(found);
            }
        }
        self.packs.push(pack);
        Ok(())
    }

    /// What the index should have.
    pub(crate) fn pack_rows(&self) -> Vec<(PackName, PackRows)> {
        self.packs.iter().filter_map(|pack| Some((pack.name, pack.rows?))).collect()
    }

    /// For whoever takes for lost what is in no pack.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::OutOfReach`] if a pack could not be got at.
    pub(crate) fn refuse_out_of_reach(&self) -> Result<()> {
        refuse(self.out_of_reach.iter().map(|found| found.detail.clone()).collect())
    }

    /// Whether what a finding is about is there, as far as it is a pack.
    pub(crate) fn is_listed(&self, place: &FindingPlace) -> bool {
        match place {
            FindingPlace::Pack(name) => self.packs.iter().any(|pack| pack.name == *name),
            _ => true,
        }
    }

    /// Ids are evenly spread, so their first bits lead to a few rows, where halving all of them would miss the
    /// processor's cache at each step.
    fn find_starts(&mut self) {
        let (mut at, bits) = (0, start_bits(self.rows.len()));
        self.starts = Vec::with_capacity((1 << bits) + 1);
        for front in 0..=1_u64 << bits {
            while self.rows.get(at).is_some_and(|row| first_bits(row.id, bits) < front) {
                at += 1;
            }
            self.starts.push(at as u32);
        }
    }

    /// The first row of a chunk.
    pub(crate) fn find(&self, id: &ChunkId) -> Option<usize> {
        let key = key(id);
        let front = first_bits(key, start_bits(self.rows.len())) as usize;
        let (from, to) = (*self.starts.get(front)? as usize, *self.starts.get(front + 1)? as usize);
        let at = from + self.rows.get(from..to)?.partition_point(|row| row.id < key);
        self.rows.get(at).filter(|row| row.id == key).map(|_| at)
    }

    pub(crate) fn row(&self, at: usize) -> Option<&Row> {
        self.rows.get(at)
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// All packs that hold the chunk whose first row this is.
    pub(crate) fn packs_of(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        let id = self.rows.get(at).map(|row| row.id);
        self.rows.iter().skip(at).take_while(move |row| Some(row.id) == id).map(Row::pack)
    }

    /// The rows of each chunk, by the place of its first one.
    pub(crate) fn groups(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let mut start = 0;
        self.rows.chunk_by(|a, b| a.id == b.id).map(move |group| {
            start += group.len();
            start - group.len()..start
        })
    }

    /// The pack of this row.
    pub(crate) fn pack_at(&self, at: usize) -> Option<&KnownPack> {
        self.rows.get(at).and_then(|row| self.packs.get(row.pack()))
    }

    /// Whether a chunk that is not here is nowhere.
    pub(crate) fn is_complete(&self) -> bool {
        self.packs.iter().all(|pack| pack.is_readable)
    }
}

/// For whoever takes for lost, or deletes because of, what is not there: everything must be within reach.
///
/// # Errors
///
/// [`SnapshotError::OutOfReach`] if a pack or a record is there and could not be got at.
pub(crate) fn refuse_out_of_reach(repository: &Repository) -> Result<()> {
    refuse(repository.out_of_reach()?.iter().map(|error| with_causes(error)).collect())
}

fn refuse(objects: Vec<String>) -> Result<()> {
    if objects.is_empty() { Ok(()) } else { Err(SnapshotError::OutOfReach { objects }) }
}

/// What is wrong with what was read, in words; an error that is not about it goes on, also that it could not be got at.
pub(crate) fn damage(error: SnapshotError) -> Result<String> {
    if is_out_of_reach(&error) { Err(error) } else { unread(error) }
}

/// Whether something could not be got at, so that nobody knows whether it is whole.
pub(crate) fn is_out_of_reach(error: &SnapshotError) -> bool {
    matches!(error, SnapshotError::Store(error) if error.is_out_of_reach())
}

/// Why something could not be read, in words: for whoever goes on without it. An error that is not about it goes on.
pub(crate) fn unread(error: SnapshotError) -> Result<String> {
    use StoreError as E;
    match &error {
        SnapshotError::Damaged { .. } => Ok(error.to_string()),
        SnapshotError::Store(E::Io { source, .. }) => Ok(format!("{error}: {source}")),
        SnapshotError::Store(
            E::Damaged { .. } | E::Missing { .. } | E::ChunkMissing { .. } | E::Unsupported { .. } | E::Limit { .. },
        ) => Ok(error.to_string()),
        _ => Err(error),
    }
}

/// One bit a row.
#[derive(Debug, Default)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn new(length: usize) -> Self {
        Self(vec![0; length.div_ceil(64)])
    }

    pub(crate) fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub(crate) fn set(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::testing::{Home, file, noise};

    #[test]
    fn marks_move_with_the_rows_that_they_stand_for() {
        let home = Home::new();
        home.commit(vec![file("a", &noise(1, 30_000))]);
        let first = home.repository.list_packs().unwrap();
        home.commit(vec![file("a", &noise(2, 30_000))]);
        let (all, second): (_, Vec<_>) = {
            let all = home.repository.list_packs().unwrap();
            (all.clone(), all.into_iter().filter(|pack| !first.contains(pack)).collect())
        };
        let mut known = KnownChunks::read(&home.repository, &first, &Silent).unwrap();
        let mut odd = Bits::new(known.rows().len());
        let marked: Vec<Row> =
            known.rows().iter().copied().enumerate().filter(|(at, _)| at % 2 == 1).map(|r| r.1).collect();
        (0..known.rows().len()).filter(|at| at % 2 == 1).for_each(|at| odd.set(at));
        known.extend(&home.repository, &second, &mut [&mut odd], &Silent).unwrap();
        assert!(known.rows().is_sorted() && known.packs.len() == all.len());
        assert_eq!(known.rows().len(), KnownChunks::read(&home.repository, &all, &Silent).unwrap().rows().len());
        let still: Vec<Row> =
            known.rows().iter().copied().enumerate().filter(|(at, _)| odd.has(*at)).map(|r| r.1).collect();
        assert_eq!(still, marked);
        assert_eq!(known.groups().map(|group| group.len()).sum::<usize>(), known.rows().len());
    }

    #[test]
    fn every_chunk_is_found_and_no_other() {
        let id = |number: u32, kind: u8| {
            ChunkId::from_bytes(*blake3::keyed_hash(&[kind; 32], &number.to_le_bytes()).as_bytes())
        };
        for length in [0, 1, 2, 7, 8, 100, 5000] {
            let mut rows: Vec<_> = (0..length).map(|n| Row::new(&id(n, 1), ChunkKind::Data, n, 0)).collect();
            // One lies in two packs.
            rows.extend((length > 0).then(|| Row::new(&id(0, 1), ChunkKind::Data, 0, 1)));
            rows.sort_unstable();
            let mut known = KnownChunks { rows, ..KnownChunks::default() };
            known.find_starts();
            for number in 0..length {
                let at = known.find(&id(number, 1)).unwrap();
                assert_eq!(known.row(at).unwrap().raw_len, number);
                assert_eq!(known.packs_of(at).count(), if number == 0 { 2 } else { 1 });
                assert_eq!(known.find(&id(number, 2)), None);
            }
            assert_eq!(known.find(&id(0, 1)).is_some(), length > 0);
        }
    }
}
