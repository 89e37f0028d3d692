//! Bringing a database back.
//!
//! What a killed program left is closed on the way, as a clean shutdown would have closed it (see
//! [`mod@crate::normalise`]), so that H2 takes the short way when it opens it and cannot fail at its second start.
//!
//! Invariant: what takes the target's place was closed and every map of it was walked, or is encrypted or of an unknown
//! format, which is said; from the look at whether somebody has the target open until the exchange is durable, H2's own
//! lock on it is held.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;

use parking_lot::Mutex;
use treering_snapshot::capture::plain;
use treering_snapshot::record::AppEntry;
use treering_snapshot::restore::{Hold, Place, Proof, Refusal, Restorer, Unit, hold_alone};
use treering_snapshot::with_causes;

use crate::normalise::normalise;
use crate::store::StoreError;
use crate::verify::{self, Report};

/// The kind of databases in snapshots.
pub const KIND: &str = "h2";

/// Brings databases back.
#[derive(Debug, Default)]
pub struct H2Restorer {
    /// What closing a store has to say, until it is verified.
    notes: Mutex<Vec<String>>,
}

impl H2Restorer {
    /// One that brings databases back as they are in the snapshot, closed.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Restorer for H2Restorer {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn unit(&self, _entry: &AppEntry) -> Option<Unit> {
        Some(Unit::File { beside: Vec::new() })
    }

    /// The lock that H2 takes: of the whole file, alone (`FileStore.java`, `FileChannel.tryLock`).
    fn hold(&self, place: &Place<'_>) -> Result<Hold, Refusal> {
        let file = open(place).map_err(Refusal::io("open", place.shown))?;
        hold_alone(file, 0, place.shown)
    }

    fn refuse_open(&self, folder: &Place<'_>, names: &[OsString]) -> Result<(), Refusal> {
        each_database(folder, names, &|database| self.hold(database).map(drop))
    }

    fn adapt(&self, staged: &Place<'_>, _target: Option<&Place<'_>>) -> Result<(), Refusal> {
        let file = open(staged).map_err(Refusal::io("open", staged.shown))?;
        let closed = match normalise(&file) {
            Err(error) if is_unreadable(&error) => return Ok(()),
            closed => closed.map_err(|error| unsound(&error))?,
        };
        if let Some(newest) = closed {
            let version = newest.version.last.version;
            self.notes.lock().push(format!("it had not been closed, and was closed at version {version}"));
            file.sync_all().map_err(Refusal::io("make durable", staged.shown))?;
        }
        Ok(())
    }

    fn verify(&self, staged: &Place<'_>) -> Result<Proof, Refusal> {
        let file = open(staged).map_err(Refusal::io("open", staged.shown))?;
        let report = match verify::verify(&mut &file) {
            Err(error) if is_unreadable(&error) => return Ok(unchecked(&error)),
            report => report.map_err(|error| unsound(&error))?,
        };
        match report.findings.first() {
            None => Ok(proof(&report, std::mem::take(&mut self.notes.lock()))),
            Some(finding) => Err(Refusal::Unsound {
                detail: format!("the database is damaged, {}: {}", finding.place, finding.detail),
            }),
        }
    }
}

/// Whether it is of a kind about which nothing can be said, sound or not, from whatever snapshot it comes.
fn is_unreadable(error: &StoreError) -> bool {
    matches!(error, StoreError::Encrypted | StoreError::Format { .. })
}

fn unchecked(error: &StoreError) -> Proof {
    let note = "it is as it was captured, which is no proof that it opens: open it before you rely on it";
    Proof { point: None, detail: format!("it cannot be checked: {error}"), notes: vec![note.to_owned()] }
}

/// Asks of every database among these entries of a folder that is there.
///
/// # Errors
///
/// What the first one that is refused says.
pub fn each_database(
    folder: &Place<'_>,
    names: &[OsString],
    ask: &dyn Fn(&Place<'_>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    for name in names.iter().filter(|name| name.as_bytes().ends_with(crate::app::SUFFIX)) {
        let (path, shown) = (folder.path.join(name), folder.shown.join(name));
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            ask(&Place { path: &path, shown: &shown })?;
        }
    }
    Ok(())
}

fn proof(report: &Report, notes: Vec<String>) -> Proof {
    let entries: u64 = report.maps.iter().map(|map| map.entries).sum();
    let time = i64::try_from(report.time_ms()).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let time = time.map(|time| format!(" of {time}")).unwrap_or_default();
    Proof {
        point: Some(format!("version {}{time}", report.newest.version.last.version)),
        detail: format!("{} maps with {entries} entries walked", report.maps.len()),
        notes,
    }
}

/// For reading and writing, as H2 opens it; not through a link.
fn open(place: &Place<'_>) -> io::Result<File> {
    plain().read(true).write(true).open(place.path)
}

fn unsound(error: &StoreError) -> Refusal {
    Refusal::Unsound { detail: with_causes(error) }
}
