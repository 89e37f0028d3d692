//! How much a walk over a snapshot may meet before it is clear that nobody backed that up.
//!
//! Trees may share trees, and lists lists, so a few chunks can stand for more entries or bytes than anybody could read.
//! From the trees nobody can tell such a snapshot from an honest one; but an honest one says in its record how much it
//! holds. A check looks at each distinct chunk once and needs no such bound.
//!
//! Owns the bound, for all who go through the entries of a snapshot: listing, comparing, restoring, assessing losses.
//!
//! Invariant: no walk meets more than the record says and the spare; and what a walk is given of an honest snapshot, all
//! of it or a part, it meets within that.

use treering_store::ChunkReader;

use crate::error::{Result, SnapshotError};
use crate::node::Node;
use crate::record::Snapshot;
use crate::tree::TreeReader;

/// What a record that says more counts as saying: no walk goes through more entries at once. A part of a snapshot can be
/// walked by itself.
const ENTRIES_MOST: u64 = 1 << 32;
/// Entries beyond what a record says, so that one that should ever count a little wrong is no loss.
const ENTRIES_SPARE: u64 = if cfg!(test) { 1000 } else { 1 << 20 };
/// Bytes beyond that.
const BYTES_SPARE: u64 = if cfg!(test) { 1 << 20 } else { 1 << 30 };

/// What a walk may still meet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    entries: Left,
    bytes: Left,
}

#[derive(Debug, Clone, Copy)]
struct Left {
    left: u64,
    said: u64,
}

impl Left {
    fn new(said: u64, spare: u64) -> Self {
        Self { left: said.saturating_add(spare), said }
    }

    fn take(&mut self, amount: u64, what: &'static str) -> Result<()> {
        // So much may be more, for all that a record can say.
        let left = if self.said == u64::MAX { Some(self.left) } else { self.left.checked_sub(amount) };
        self.left = left.ok_or(SnapshotError::MoreThanSaid { what, said: self.said })?;
        Ok(())
    }
}

impl Allowance {
    /// What this snapshot says of itself.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let statistics = &snapshot.statistics;
        let entries = Left::new(statistics.entries().min(ENTRIES_MOST), ENTRIES_SPARE);
        Self { entries, bytes: Left::new(statistics.total_bytes, BYTES_SPARE) }
    }

    /// Counts an entry.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::MoreThanSaid`].
    pub(crate) fn meet(&mut self, node: &Node) -> Result<()> {
        self.entries.take(1, "entries")?;
        self.bytes.take(node.size(), "bytes")
    }

    /// The next node of a tree, counted.
    pub(crate) fn read_next(&mut self, tree: &mut TreeReader, reader: &mut ChunkReader<'_>) -> Result<Option<Node>> {
        let node = tree.read_next(reader)?;
        node.as_ref().map_or(Ok(()), |node| self.meet(node))?;
        Ok(node)
    }

    /// How many more entries there may be.
    pub(crate) fn entries(&self) -> u64 {
        self.entries.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::NodeKind;
    use crate::record::Statistics;
    use crate::stream::{Extent, Stream};
    use crate::testing::{node, snapshot};

    fn saying(statistics: Statistics) -> Allowance {
        Allowance::of(&Snapshot { statistics, ..snapshot() })
    }

    #[test]
    fn what_a_record_says_may_be_met_and_the_spare() {
        let (dirs_new, dirs_changed, dirs_unmodified) = (3, 4, 5);
        let said = Statistics { total_files: 2, dirs_new, dirs_changed, dirs_unmodified, ..Default::default() };
        let mut allowance = saying(said);
        let entry = node("x", NodeKind::Fifo);
        for _ in 0..14 + ENTRIES_SPARE {
            allowance.meet(&entry).unwrap();
        }
        let more = allowance.meet(&entry);
        assert!(matches!(more, Err(SnapshotError::MoreThanSaid { what: "entries", said: 14 })), "{more:?}");
    }

    #[test]
    fn bytes_are_counted_too() {
        let mut allowance = saying(Statistics { total_bytes: 100, ..Default::default() });
        let content = |bytes| Stream { level: 0, extents: vec![Extent::Hole { bytes }] };
        let file = |bytes| node("x", NodeKind::File { content: content(bytes), links: 0 });
        allowance.meet(&file(100 + BYTES_SPARE)).unwrap();
        let more = allowance.meet(&file(1));
        assert!(matches!(more, Err(SnapshotError::MoreThanSaid { what: "bytes", said: 100 })), "{more:?}");
    }

    #[test]
    fn sparse_files_may_be_longer_together_than_can_be_said() {
        let mut allowance = saying(Statistics { total_bytes: u64::MAX, ..Default::default() });
        let content = Stream { level: 0, extents: vec![Extent::Hole { bytes: i64::MAX as u64 }] };
        let file = node("x", NodeKind::File { content, links: 0 });
        (0..5).for_each(|_| allowance.meet(&file).unwrap());
    }

    #[test]
    fn a_record_that_lies_has_a_bound_too() {
        let lie = Statistics { total_files: u64::MAX, dirs_new: u64::MAX, total_bytes: u64::MAX, ..Default::default() };
        assert_eq!(saying(lie).entries(), ENTRIES_MOST + ENTRIES_SPARE);
    }
}
