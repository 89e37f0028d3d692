//! Bringing an environment back, whole or cut at a moment.
//!
//! Owns what is done with the stage: which files of which snapshot are in it, where its last file is cut, and that the
//! log was verified before it takes the place of anything. Never decides which moment can be brought back; that is
//! [`crate::moment`]'s.
//!
//! Invariant: what takes the target's place is a log without a gap from its last checkpoint on, every checksum of it
//! right, that ends where it was to end.

mod check;
mod hold;
mod release;

pub(crate) use hold::hold;
pub use release::newest_log_version;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use treering_snapshot::Snapshot;
use treering_snapshot::record::AppEntry;
use treering_snapshot::restore::{Hold, Layer, Place, Proof, Refusal, Restorer, Unit};

use crate::KIND;
use crate::log::{Listing, log_number};
use crate::moment::Position;

/// Brings environments back; with a cut, one environment.
#[derive(Default)]
pub struct JeRestorer {
    cut: Option<PlannedCut>,
    newest_version: Option<(u32, String)>,
    check: Option<Check>,
}

/// A further look at what is staged: says what was looked at, or what is wrong.
pub type Check = Box<dyn Fn(&Place<'_>) -> Result<String, String> + Sync>;

/// A cut of one environment.
#[derive(Debug, Clone)]
pub struct PlannedCut {
    /// The log ends here.
    pub at: Position,
    /// The snapshot that all files come from, but those that the other one has.
    pub base: Snapshot,
    /// The snapshot that this file and all later ones come from.
    pub newer: Option<(u32, Snapshot)>,
}

impl JeRestorer {
    /// One that brings environments back as they are in the snapshot.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the environment, which must be the only one that is restored but for those beneath it, which come as they are in
    /// the snapshot that is the base.
    #[must_use]
    pub fn cut(mut self, cut: PlannedCut) -> Self {
        self.cut = Some(cut);
        self
    }

    /// Looks once more before an environment takes its place.
    #[must_use]
    pub fn check_with(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Refuses environments with a log that is newer than this version, which is what `reader` can open.
    #[must_use]
    pub fn for_version(mut self, newest: u32, reader: String) -> Self {
        self.newest_version = Some((newest, reader));
        self
    }
}

/// The path of an environment in a snapshot.
pub fn path_of(entry: &AppEntry) -> PathBuf {
    entry.place().components().collect()
}

impl Restorer for JeRestorer {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn unit(&self, _: &AppEntry) -> Option<Unit> {
        Some(Unit::Folder)
    }

    fn layers<'s>(&'s self, _: &AppEntry, snapshot: &'s Snapshot) -> Vec<Layer<'s>> {
        let Some(cut) = &self.cut else { return vec![Layer { snapshot, takes: None }] };
        let (last, newer) = (cut.at.file, cut.newer.as_ref());
        let first_of_newer = newer.map_or(u32::MAX, |(first, _)| *first);
        let in_base = move |path: &Path| log_number(path).is_none_or(|file| file <= last && file < first_of_newer);
        let in_newer = move |path: &Path| log_number(path).is_some_and(|file| file <= last && file >= first_of_newer);
        let base = Layer { snapshot: &cut.base, takes: Some(Box::new(in_base)) };
        let newer = newer.map(|(_, snapshot)| Layer { snapshot, takes: Some(Box::new(in_newer)) });
        std::iter::once(base).chain(newer).collect()
    }

    fn hold(&self, place: &Place<'_>) -> Result<Hold, Refusal> {
        hold(place)
    }

    fn refuse_open(&self, folder: &Place<'_>, names: &[OsString]) -> Result<(), Refusal> {
        hold::refuse_open(folder, names)
    }

    fn adapt(&self, staged: &Place<'_>, _: Option<&Place<'_>>) -> Result<(), Refusal> {
        let Some(end) = self.cut.as_ref().map(|cut| cut.at) else { return Ok(()) };
        let listing = Listing::read(staged.path).map_err(Refusal::io("list", staged.shown))?;
        let last = listing.files.last_key_value().filter(|(number, _)| **number == end.file);
        let Some((_, file)) = last else {
            let detail = format!("its last file is not {:#x}, in which it was to be cut", end.file);
            return Err(Refusal::Unsound { detail });
        };
        let (path, shown) = (staged.path.join(&file.path), staged.shown.join(&file.path));
        let open = OpenOptions::new().write(true).open(path).map_err(Refusal::io("open", &shown))?;
        open.set_len(end.offset).and_then(|()| open.sync_all()).map_err(Refusal::io("cut", shown))
    }

    fn verify(&self, staged: &Place<'_>) -> Result<Proof, Refusal> {
        let (mut proof, version) = check::check(staged)?;
        if let (Some((newest, reader)), Some(version)) = (&self.newest_version, version)
            && version > *newest
        {
            let detail = format!("its log version is {version}, and {reader} reads logs up to version {newest}");
            return Err(Refusal::Unsound { detail });
        }
        if let Some(check) = &self.check {
            let checked = check(staged).map_err(|detail| Refusal::Unsound { detail })?;
            proof.detail = format!("{}; {checked}", proof.detail);
        }
        Ok(proof)
    }
}
