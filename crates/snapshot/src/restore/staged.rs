//! Bringing an application back: beside its target first, and into its place when it was verified.
//!
//! ```text
//! the target's own locks ─► everything else ─► the stage filled ─► adapted ─► verified ─► its locks too
//!     ─► exchanged ─► folder synced ─► locks released ─► the old content moved aside
//! ```
//!
//! Owns the order, and the names of stages and of what was moved aside. Never deletes what was in the target unless that
//! was asked for.
//!
//! Invariant: whenever a restore ends or dies, the target holds all of the old content or all of the new (where the file
//! system cannot exchange two names at once, or several files are exchanged, each file by itself is one of the two); from
//! the check that nobody has the target open until the exchange is durable the application's own locks are held.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, RenameFlags, openat, renameat_with};
use rustix::io::Errno;
use treering_store::Repository;

use super::application::{BroughtBack, Fate, Hold, Layer, Place, Proof, Refusal, Restorer, Unit};
use super::beneath::{self, Beneath, look};
use super::mounts::refuse_mounts;
use super::own::Own;
use super::yard::{OLD, Stage, Yard, make_leading, move_aside, outside, swap, sync};
use super::{Choice, Overwrite, RestoreOptions, RestoreSummary, Root, layout, restore_files};
use crate::error::{Result, SnapshotError};
use crate::progress::Progress;
use crate::record::{AppEntry, Snapshot};

/// An instance that is to be brought back, and where.
pub(super) struct Return<'a> {
    entry: &'a AppEntry,
    path: PathBuf,
    restorer: &'a dyn Restorer,
    unit: Unit,
    root: &'a Root,
    /// Relative to the target; empty for the target itself.
    inside: PathBuf,
    hold: Option<Hold>,
    /// What is in the target is to be left as it is.
    stays: bool,
}

/// The paths in the snapshot that are left out of the ordinary restore.
pub(super) struct Units {
    folders: Vec<PathBuf>,
    files: HashSet<PathBuf>,
}

impl Units {
    pub(super) fn of(returns: &[Return<'_>]) -> Self {
        let (mut folders, mut files) = (Vec::new(), HashSet::new());
        for one in returns {
            match &one.unit {
                Unit::Folder => folders.push(one.path.clone()),
                unit => {
                    files.extend(unit.beside().iter().map(|name| parent(&one.path).join(name)));
                    files.insert(one.path.clone());
                }
            }
        }
        Self { folders, files }
    }

    pub(super) fn have(&self, path: &Path) -> bool {
        self.files.contains(path) || self.folders.iter().any(|folder| path.starts_with(folder))
    }
}

/// Finds the instances that a restore brings back, and holds those that are there already.
pub(super) fn find<'a>(
    repository: &Arc<Repository>,
    snapshot: &'a Snapshot,
    options: &'a RestoreOptions<'_>,
) -> Result<Vec<Return<'a>>> {
    let mut found: Vec<Return<'a>> = Vec::new();
    for entry in &snapshot.applications {
        found.extend(wanted(entry, options));
    }
    let folders: Vec<PathBuf> =
        found.iter().filter(|one| one.unit == Unit::Folder).map(|one| one.path.clone()).collect();
    found.retain(|one| !folders.iter().any(|outer| one.path != *outer && one.path.starts_with(outer)));
    let found: Vec<_> = found.into_iter().map(|one| one.if_staged(repository, options)).collect::<Result<_>>()?;
    let mut found: Vec<_> = found.into_iter().flatten().collect();
    for one in found.iter_mut().filter(|one| !one.stays) {
        one.hold_target(repository, options)?;
    }
    // A dry run is refused what the real one would be, and says what it would do of each file.
    found.retain(|_| !options.dry_run);
    Ok(found)
}

/// An instance, if it is wanted whole and there is somebody who knows how to bring it back.
fn wanted<'a>(entry: &'a AppEntry, options: &'a RestoreOptions<'_>) -> Option<Return<'a>> {
    let restorer = options.applications.iter().find(|restorer| restorer.kind() == entry.kind)?;
    let path: PathBuf = entry.place().components().collect();
    let is_plain = path.components().skip(1).all(|part| matches!(part, Component::Normal(_)));
    let root = options.roots.iter().find(|root| path.starts_with(&root.path)).filter(|_| is_plain)?;
    let unit = restorer.unit(entry)?;
    let below = path.strip_prefix(&root.path).ok()?;
    let above = path.ancestors().skip(1).take(below.components().count());
    let is_folder = unit == Unit::Folder;
    let is_taken = (options.selection)(&path, is_folder) == Choice::Take
        && above.into_iter().all(|folder| (options.selection)(folder, true) != Choice::Skip);
    let inside = if below.as_os_str().is_empty() { root.under.clone() } else { root.under.join(below) };
    let found = Return { entry, path, restorer: &**restorer, unit, root, inside, hold: None, stays: false };
    (is_taken && (is_folder || found.inside.file_name().is_some())).then_some(found)
}

impl Return<'_> {
    fn refused(&self, options: &RestoreOptions<'_>, refusal: &Refusal) -> SnapshotError {
        refusal.of(&self.entry.kind, &options.target.join(&self.inside))
    }

    /// This, unless it can be restored like other files.
    fn if_staged(mut self, repository: &Arc<Repository>, options: &RestoreOptions<'_>) -> Result<Option<Self>> {
        let Unit::WithCompanions { names, may_be_stored } = &self.unit else { return Ok(Some(self)) };
        let yard = self.open_yard(repository, options, false)?;
        let is_there =
            |name: &OsString| yard.as_ref().map_or(Ok(None), |yard| yard.look(name)).map(|kind| kind.is_some());
        let mut is_staged = *may_be_stored;
        for name in names {
            is_staged |= is_there(name)?;
        }
        self.stays = match &yard {
            Some(yard) if options.overwrite == Overwrite::Never => is_there(&yard.name)?,
            _ => false,
        };
        Ok((is_staged || self.stays).then_some(self))
    }

    /// Takes the locks of what is in the target, if anything is.
    fn hold_target(&mut self, repository: &Arc<Repository>, options: &RestoreOptions<'_>) -> Result<()> {
        let own = Own::of(repository);
        own.refuse(&options.target.join(&self.inside))?;
        let Some(yard) = self.open_yard(repository, options, false)? else { return Ok(()) };
        self.refuse_own(&own, &yard, options)?;
        let Some(there) = yard.look(&yard.name)? else { return Ok(()) };
        let needed = if self.unit == Unit::Folder { FileType::Directory } else { FileType::RegularFile };
        if there != needed {
            let path = yard.shown.join(&yard.name);
            return Err(SnapshotError::Blocked { path, found: "thing of another kind" });
        }
        if matches!(options.overwrite, Overwrite::Never | Overwrite::IfNewer) && !yard.is_empty_folder() {
            let detail = "it is exchanged as a whole or not at all, which --overwrite does not allow".to_owned();
            return Err(self.refused(options, &Refusal::Unsound { detail }));
        }
        let (path, shown) = (yard.path(&yard.name), yard.shown.join(&yard.name));
        let place = Place { path: &path, shown: &shown };
        refuse_mounts(&place).map_err(|refusal| self.refused(options, &refusal))?;
        if !options.dry_run {
            self.hold = Some(self.restorer.hold(&place).map_err(|refusal| self.refused(options, &refusal))?);
        }
        Ok(())
    }

    /// Refuses to move the repository that is restored from with the old content.
    fn refuse_own(&self, own: &Own, yard: &Yard, options: &RestoreOptions<'_>) -> Result<()> {
        for name in self.unit.beside().iter().chain([&yard.name]) {
            let there = look(&yard.fd, name.as_bytes()).map_err(SnapshotError::io("look at", yard.shown.join(name)))?;
            if let Some(own) = there.as_ref().and_then(|stat| own.at_or_in(stat)) {
                let detail = format!("the repository that is restored from has {} in what is there", own.display());
                return Err(self.refused(options, &Refusal::Unsound { detail }));
            }
        }
        Ok(())
    }

    /// The folder that the target is in. With `makes`, whatever leads there is made.
    fn open_yard(
        &self,
        repository: &Arc<Repository>,
        options: &RestoreOptions<'_>,
        makes: bool,
    ) -> Result<Option<Yard>> {
        let Some(name) = self.inside.file_name() else { return outside(&options.target, makes) };
        let (beneath, _) = Beneath::open(&options.target, !makes, &Own::of(repository), &**repository.entropy())?;
        let Ok(top) = beneath.root() else { return Ok(None) };
        let folder = self.inside.parent().unwrap_or(Path::new(""));
        let shown = options.target.join(folder);
        if makes {
            make_leading(&top, self.root, options)?;
        }
        let opened = match folder.as_os_str().is_empty() {
            true => openat(&top, ".", beneath::FOLDER, Mode::empty()),
            false => beneath.open_below(&top, folder.as_os_str().as_bytes()),
        };
        match opened {
            Ok(fd) => Ok(Some(Yard { fd, shown, name: name.to_owned() })),
            Err(Errno::NOENT) if !makes => Ok(None),
            Err(e) => Err(SnapshotError::io("open", shown)(e.into())),
        }
    }

    /// Whether there is anything to be done.
    pub(super) fn is_wanted(&self) -> bool {
        !self.stays
    }

    /// Brings it back: stages, adapts, verifies, exchanges.
    pub(super) fn run(
        mut self,
        repository: &Arc<Repository>,
        snapshot: &Snapshot,
        options: &RestoreOptions<'_>,
        progress: &dyn Progress,
    ) -> Result<(RestoreSummary, BroughtBack)> {
        let missing = || SnapshotError::io("open", &options.target)(io::ErrorKind::NotFound.into());
        let yard = self.open_yard(repository, options, true)?.ok_or_else(missing)?;
        let changed = yard.modified();
        let leftovers = yard.leftovers();
        let id = random_id(repository)?;
        let stage = Stage::make(&yard, &id)?;
        let filled = self.fill_all(repository, snapshot, &stage, options, progress);
        // On a full disk half a stage is only in the way.
        let summary = filled.inspect_err(|_| drop(fs::remove_dir_all(&stage.path)))?;
        let fate = match self.exchange(&yard, &stage, summary.errors) {
            Ok((proof, old)) => Fate::InPlace { proof, old: self.tidy(&yard, &stage, &id, old, options) },
            Err(refusal) => Fate::Staged { stage: stage.shown.clone(), why: refusal.to_string() },
        };
        if !self.inside.as_os_str().is_empty() {
            yard.set_modified(changed);
        }
        drop(self.hold.take());
        let target = yard.shown.join(&yard.name);
        Ok((summary, BroughtBack { kind: self.entry.kind.clone(), path: self.path, target, fate, leftovers }))
    }

    fn fill_all(
        &self,
        repository: &Arc<Repository>,
        snapshot: &Snapshot,
        stage: &Stage,
        options: &RestoreOptions<'_>,
        progress: &dyn Progress,
    ) -> Result<RestoreSummary> {
        let mut summary = RestoreSummary::default();
        for layer in self.restorer.layers(self.entry, snapshot) {
            summary.add(self.fill(repository, &layer, stage, options, progress)?);
        }
        Ok(summary)
    }

    /// Puts the files of one layer into the stage.
    fn fill(
        &self,
        repository: &Arc<Repository>,
        layer: &Layer<'_>,
        stage: &Stage,
        options: &RestoreOptions<'_>,
        progress: &dyn Progress,
    ) -> Result<RestoreSummary> {
        let mut reader = repository.reader()?;
        let mut roots = Vec::new();
        for path in self.parts() {
            match layout(layer.snapshot, &mut reader, Some(&path), false) {
                Err(SnapshotError::NoPath { .. }) if path != self.path => {}
                found => roots.extend(found?),
            }
        }
        let base = if self.unit == Unit::Folder { self.path.as_path() } else { parent(&self.path) };
        let selection = |path: &Path, is_folder: bool| match (&layer.takes, path.strip_prefix(base)) {
            (Some(takes), Ok(inner)) if !is_folder && !takes(inner) => Choice::Skip,
            _ => (options.selection)(path, is_folder),
        };
        let staged = RestoreOptions {
            target: stage.path.clone(),
            roots,
            selection: &selection,
            overwrite: Overwrite::Always,
            delete: false,
            applications: &[],
            ..options.clone()
        };
        restore_files(repository, layer.snapshot, &staged, &stage.shown, progress)
    }

    /// The paths in the snapshot that it consists of, in the order of their exchange.
    fn parts(&self) -> Vec<PathBuf> {
        let in_root = |path: &PathBuf| path.starts_with(&self.root.path);
        let beside = self.unit.beside().iter().map(|name| parent(&self.path).join(name)).filter(in_root);
        beside.chain([self.path.clone()]).collect()
    }

    /// Adapts, verifies and exchanges. Says whether the stage now holds old content.
    fn exchange(&mut self, yard: &Yard, stage: &Stage, errors: u64) -> Result<(Proof, Old), Refusal> {
        if errors > 0 {
            let detail = format!("{errors} of its entries could not be restored");
            return Err(Refusal::Unsound { detail });
        }
        let modified = stage.modified();
        let (path, shown) = stage.main(&self.unit, &yard.name);
        let staged = Place { path: &path, shown: &shown };
        let (path, shown) = (yard.path(&yard.name), yard.shown.join(&yard.name));
        let target = Place { path: &path, shown: &shown };
        self.restorer.adapt(&staged, self.hold.is_some().then_some(&target))?;
        let proof = self.restorer.verify(&staged)?;
        let hold_of_new = self.restorer.hold(&staged)?;
        let old = self.look_at_old(yard, &target)?;
        if let (Unit::Folder, Some(modified)) = (&self.unit, modified) {
            stage.set_modified(modified);
        }
        self.swap(yard, stage)?;
        drop(hold_of_new);
        drop(self.hold.take());
        Ok((proof, old))
    }

    /// What is in the target now. What has come there since the restore began is held first.
    fn look_at_old(&mut self, yard: &Yard, target: &Place<'_>) -> Result<Old, Refusal> {
        let look = |name: &OsStr| yard.look(name).map_err(|e| Refusal::Unsound { detail: e.to_string() });
        if look(&yard.name)?.is_none() {
            let is_with_companions = matches!(self.unit, Unit::WithCompanions { .. });
            return Ok(if is_with_companions { Old::Content } else { Old::Nothing });
        }
        if self.hold.is_none() {
            self.hold = Some(self.restorer.hold(target)?);
        }
        Ok(if yard.is_empty_folder() { Old::Nothing } else { Old::Content })
    }

    fn swap(&self, yard: &Yard, stage: &Stage) -> Result<(), Refusal> {
        match &self.unit {
            Unit::Folder => swap(&yard.fd, &stage.name, &yard.fd, &yard.name, yard)?,
            unit => {
                let goes = matches!(unit, Unit::WithCompanions { .. });
                let has = |fd, name: &OsStr| look(fd, name.as_bytes()).map_err(Refusal::io("look at", &stage.shown));
                for part in self.parts() {
                    let Some(name) = part.file_name() else { continue };
                    if has(&stage.fd, name)?.is_some() {
                        swap(&stage.fd, name, &yard.fd, name, yard)?;
                    } else if goes && has(&yard.fd, name)?.is_some() {
                        move_aside(&yard.fd, &stage.fd, name, yard)?;
                    }
                }
                sync(&stage.fd, &stage.shown)?;
            }
        }
        sync(&yard.fd, &yard.shown)
    }

    /// What is done with the old content when the new one is durable.
    fn tidy(&self, yard: &Yard, stage: &Stage, id: &str, old: Old, options: &RestoreOptions<'_>) -> Option<PathBuf> {
        let is_kept = old == Old::Content && !options.delete;
        if !is_kept {
            // It lies there under the name of a stage if it cannot be removed, and the next restore names it.
            let _left = fs::remove_dir_all(yard.path(&stage.name));
            return None;
        }
        let mut name = yard.name.clone();
        name.push(format!("{OLD}{id}"));
        match renameat_with(&yard.fd, &stage.name, &yard.fd, &name, RenameFlags::NOREPLACE) {
            Ok(()) => Some(yard.shown.join(name)),
            Err(_) => Some(stage.shown.clone()),
        }
    }
}

/// What was in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Old {
    Nothing,
    Content,
}

fn random_id(repository: &Repository) -> Result<String> {
    let mut random = [0; 4];
    repository.entropy().fill(&mut random)?;
    Ok(format!("{:08x}", u32::from_le_bytes(random)))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

impl RestoreSummary {
    pub(super) fn add(&mut self, other: RestoreSummary) {
        self.files_restored += other.files_restored;
        self.bytes_restored += other.bytes_restored;
        self.files_skipped += other.files_skipped;
        self.bytes_skipped += other.bytes_skipped;
        self.files_deleted += other.files_deleted;
        self.total_files += other.total_files;
        self.total_bytes += other.total_bytes;
        self.files_verified += other.files_verified;
        self.spared.extend(other.spared);
        self.errors += other.errors;
        self.withheld.count += other.withheld.count;
        self.withheld.named.extend(other.withheld.named);
        self.applications.extend(other.applications);
    }
}
