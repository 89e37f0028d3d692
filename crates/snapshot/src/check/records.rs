//! Reading every record that is no snapshot: that it is whole, and what the check needs to know from it.

use treering_store::storage::Area;
use treering_store::{FindingPlace, PackName, Record, RecordKind, RecordName, Repository, StoreError, decode_lost};

use super::ask;
use super::data::DataRead;
use super::findings::{Affected, Findings, Severity};
use super::ledger::Ledger;
use crate::error::Result;
use crate::known::unread;
use crate::progress::Progress;
use crate::prune::decode_pruned;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// How many could be read.
    pub(super) count: u64,
    /// When each pack was last verified.
    pub(super) ledger: Ledger,
    /// The records that say so.
    pub(super) ledger_names: Vec<RecordName>,
    /// Whether a record keeps a forgotten snapshot.
    pub(super) is_any_forgotten: bool,
}

impl Records {
    /// Reads them all. One that is removed meanwhile is passed over.
    pub(super) fn read(repository: &Repository, findings: &mut Findings, progress: &dyn Progress) -> Result<Self> {
        let mut records = Self::default();
        for name in repository.list_records(Area::Records)? {
            ask(progress)?;
            let found = match repository.read_record(Area::Records, name) {
                Ok(record) => {
                    let severity =
                        if record.kind == RecordKind::LEDGER { Severity::Repairable } else { Severity::Damage };
                    records.add(name, &record).err().map(|detail| (severity, detail))
                }
                Err(StoreError::Missing { .. }) => None,
                Err(e) if e.is_out_of_reach() => Some((Severity::OutOfReach, unread(e.into())?)),
                Err(e) => Some((Severity::Damage, unread(e.into())?)),
            };
            if let Some((severity, detail)) = found {
                findings.add(FindingPlace::Record(Area::Records, name), severity, &detail, Affected::default());
            }
        }
        Ok(records)
    }

    /// Writes into the ledger what was read of the packs, and keeps what it says of those that are gone. What kept it
    /// from being written, if anything did: that is no failure of the check, for the next one only reads again what it
    /// need not.
    pub(super) fn learn(
        &mut self,
        repository: &Repository,
        (packs, gone): (&[(PackName, u64)], &[PackName]),
        read: &DataRead,
    ) -> Option<String> {
        read.verified.iter().for_each(|(name, time)| self.ledger.set(*name, *time));
        let unset = read.damaged.iter().filter(|name| self.ledger.unset(name)).count();
        self.ledger.retain(packs, gone);
        if read.verified.is_empty() && unset == 0 {
            return None;
        }
        let stored = self.ledger.store(repository, &self.ledger_names);
        stored.err().map(|e| unread(e.into()).unwrap_or_else(|e| e.to_string()))
    }

    fn add(&mut self, name: RecordName, record: &Record) -> Result<(), String> {
        self.count += 1;
        match record.kind {
            RecordKind::FORGOTTEN => self.is_any_forgotten = true,
            RecordKind::PRUNED => decode_pruned(&record.body).map(drop).map_err(|e| e.to_string())?,
            RecordKind::LOST => {
                decode_lost(&record.body).map_err(|e| e.to_string())?;
            }
            RecordKind::LEDGER => {
                self.ledger_names.push(name);
                return self.ledger.merge(&record.body).map_err(|e| e.to_string());
            }
            _ => {}
        }
        Ok(())
    }
}
