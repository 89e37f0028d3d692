//! Reading the data of packs, several at a time.
//!
//! Owns the order in which packs are begun and when no further one is. Takes no lock: a pack that is pruned meanwhile is
//! no finding.

use std::time::Duration;

use parking_lot::Mutex;
use treering_store::storage::Area;
use treering_store::{Finding, PackCheck, PackName, Repository};

use super::Clock;
use crate::error::{Result, SnapshotError};
use crate::progress::{Event, Progress};

/// What came of reading packs.
#[derive(Debug, Default)]
pub(super) struct DataRead {
    /// What is wrong.
    pub(super) findings: Vec<Finding>,
    /// Packs that are whole, and when that was seen, in seconds since 1970.
    pub(super) verified: Vec<(PackName, i64)>,
    /// Packs that are not.
    pub(super) damaged: Vec<PackName>,
    /// How many packs were read.
    pub(super) packs: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Whether a pack was gone when it was to be read.
    pub(super) is_any_gone: bool,
}

/// What came of one.
#[derive(Clone)]
enum One {
    Interrupted,
    Gone,
    Read { name: PackName, bytes: u64, time: i64, findings: Vec<Finding> },
}

/// Reads these packs in this order, on all cores, until `deadline` by `clock`; the first in any case.
///
/// The threads are its own: rayon's would be busy for the length of a pack, and others wait for them meanwhile.
pub(super) fn read(
    repository: &Repository,
    packs: &[(PackName, u64)],
    (clock, deadline): (Clock<'_>, Option<Duration>),
    progress: &dyn Progress,
) -> Result<DataRead> {
    progress.event(Event::Total { files: packs.len() as u64, bytes: packs.iter().map(|(_, bytes)| bytes).sum() });
    let is_late = || deadline.is_some_and(|deadline| clock() >= deadline);
    let next = Mutex::new(packs.iter().enumerate().take_while(|(number, _)| *number == 0 || !is_late()));
    let work = || {
        let mut done = Vec::new();
        loop {
            let Some((number, pack)) = next.lock().next() else { return Ok(done) };
            done.push((number, read_one(repository, *pack, clock, progress)?));
        }
    };
    let joined: Vec<Result<Vec<(usize, One)>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..rayon::current_num_threads().min(packs.len())).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(Err(SnapshotError::WorkerLost))).collect()
    });
    let mut all = joined.into_iter().collect::<Result<Vec<_>>>()?.concat();
    all.sort_unstable_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, one)| one).fold(DataRead::default(), DataRead::add))
}

fn read_one(
    repository: &Repository,
    (name, bytes): (PackName, u64),
    clock: Clock<'_>,
    progress: &dyn Progress,
) -> Result<One> {
    if progress.is_interrupted() {
        return Ok(One::Interrupted);
    }
    let findings = repository.check_pack(name, PackCheck::Data)?;
    progress.event(Event::Bytes { bytes });
    if !findings.is_empty() && repository.storage().length(Area::Packs, &name.to_string())?.is_none() {
        return Ok(One::Gone);
    }
    Ok(One::Read { name, bytes, time: clock().as_secs() as i64, findings })
}

impl DataRead {
    fn add(mut self, one: One) -> Self {
        match one {
            One::Interrupted => {}
            One::Gone => self.is_any_gone = true,
            One::Read { name, bytes, time, findings } => {
                self.packs += 1;
                self.bytes += bytes;
                match findings.is_empty() {
                    true => self.verified.push((name, time)),
                    false => self.damaged.push(name),
                }
                self.findings.extend(findings);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::testing::{Home, file};

    #[test]
    fn a_pack_that_is_gone_is_no_finding() {
        let home = Home::new();
        home.commit(vec![file("a", b"a")]);
        let mut packs = home.repository.list_packs().unwrap();
        packs.insert(1, (PackName::from_bytes([7; 32]), 1));
        let read = read(&home.repository, &packs, (&|| Duration::from_secs(5), None), &Silent).unwrap();
        assert!(read.is_any_gone && read.findings.is_empty() && read.damaged.is_empty());
        assert_eq!(read.verified.len(), packs.len() - 1);
        assert!(read.verified.iter().all(|(_, time)| *time == 5));
    }
}
