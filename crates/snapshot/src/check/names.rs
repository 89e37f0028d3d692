//! Comparing every object with its name, without a key: the check for a machine that must not be able to read anything.

use rayon::prelude::*;
use treering_store::storage::{Area, Storage};
use treering_store::{NamedObject, check_copies, check_named, list_named};

use super::findings::{Affected, Findings, Severity};
use super::{CheckReport, ask};
use crate::error::Result;
use crate::progress::{Event, Progress};

/// Checks all packs, records and key slots against their names, and the copies of the configuration against each other.
/// Several objects at a time, a MiB of each in memory.
///
/// What is lost as a whole, and whom damage affects, only [`super::check`] can tell.
///
/// # Errors
///
/// [`crate::SnapshotError::Interrupted`], and what keeps the check from going on: no repository, an area that cannot be
/// listed.
pub fn check_names(storage: &dyn Storage, progress: &dyn Progress) -> Result<CheckReport> {
    let mut findings = Findings::default();
    findings.add_store(check_copies(storage)?);
    let mut objects = list_named(storage)?;
    objects.sort_unstable_by(|a, b| (a.bytes, &a.name).cmp(&(b.bytes, &b.name)).reverse());
    progress
        .event(Event::Total { files: objects.len() as u64, bytes: objects.iter().map(|object| object.bytes).sum() });
    let check = |(number, object): (usize, &NamedObject)| {
        ask(progress)?;
        let finding = check_named(storage, object)?;
        progress.event(Event::Bytes { bytes: object.bytes });
        Ok(finding.map(|finding| (number, finding)))
    };
    let found: Result<Vec<_>> = objects.iter().enumerate().par_bridge().map(check).collect();
    let mut found: Vec<_> = found?.into_iter().flatten().collect();
    found.sort_unstable_by_key(|(number, _)| *number);
    for (_, finding) in found {
        let severity = if finding.is_out_of_reach { Severity::OutOfReach } else { Severity::Damage };
        findings.add(finding.place, severity, &finding.detail, Affected::default());
    }
    let count = |area| objects.iter().filter(move |object| object.area == area);
    Ok(CheckReport {
        findings: findings.list,
        omitted: findings.omitted,
        is_any_wrong: findings.is_any_wrong,
        snapshots: count(Area::Snapshots).count() as u64,
        records: count(Area::Records).count() as u64,
        packs: count(Area::Packs).count() as u64,
        pack_bytes: count(Area::Packs).map(|pack| pack.bytes).sum(),
        unknown_files: storage.list_strangers()?,
        ..CheckReport::default()
    })
}
