//! A repository in a folder of a local file system.
//!
//! Layout: `config`, `keys/`, `copy/config`, `copy/keys/`, `packs/00` … `packs/ff`, `snapshots/`, `records/`,
//! `sessions/`, `tmp/`, `lock`, `ballast`, `index/`, and `replaced/` since the first repair. New objects are anonymous
//! (`O_TMPFILE`) until they are linked, so that a crash
//! leaves nothing; where the file system cannot do that they are locked files in `tmp/`.
//!
//! A folder of an area that is missing, as archivers and object stores lose empty ones, holds nothing for readers, and is
//! made again by the writer that needs it; not so `snapshots/`, beside which new snapshots would hide the loss of all.
//!
//! Invariant: nothing is ever written through a name that readers use, and no name is ever replaced but that of a damaged
//! object, in one step.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};

use super::foreign::name_of;
use super::{Area, Held, IndexHome, Listed, LockMode, ObjectReader, Registered, Staged, Storage};
use crate::error::{Result, StoreError};

const OWNER_ONLY_FOLDER: u32 = 0o700;
const OWNER_ONLY_FILE: u32 = 0o600;
/// The file whose lock is the repository's.
const LOCK: &str = "lock";
/// Areas whose folders hold nothing but objects.
const NAMED_AREAS: [Area; 5] = [Area::Keys, Area::KeysCopy, Area::Packs, Area::Snapshots, Area::Records];

/// A folder as storage.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The repository in this folder, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn area(&self, area: Area) -> PathBuf {
        self.root.join(match area {
            Area::Config => "",
            Area::ConfigCopy => "copy",
            Area::Keys => "keys",
            Area::KeysCopy => "copy/keys",
            Area::Packs => "packs",
            Area::Snapshots => "snapshots",
            Area::Records => "records",
            Area::Replaced => "replaced",
        })
    }

    /// The folder that holds an object's name, and the object's path.
    fn path(&self, area: Area, name: &str) -> Result<(PathBuf, PathBuf)> {
        let valid = match area {
            Area::Config | Area::ConfigCopy => name == "config",
            Area::Replaced => is_replaced_name(name),
            _ => is_object_name(name),
        };
        if !valid {
            return Err(StoreError::damaged(format!("{area} {}", name.escape_debug()), "it is not a possible name"));
        }
        let mut folder = self.area(area);
        if area == Area::Packs {
            folder.push(name.get(..2).unwrap_or_default());
        }
        let path = folder.join(name);
        Ok((folder, path))
    }

    /// All folders that hold names of an area.
    fn folders(&self, area: Area) -> Vec<PathBuf> {
        let root = self.area(area);
        match area {
            Area::Packs => (0..=255u8).map(|byte| root.join(format!("{byte:02x}"))).collect(),
            // Made by the first repair.
            Area::Replaced if !root.exists() => Vec::new(),
            _ => vec![root],
        }
    }

    /// Whether an object of this name belongs into this folder: a pack in the folder of others is found by nobody.
    fn is_at(&self, area: Area, name: &str, folder: &Path) -> bool {
        self.path(area, name).is_ok_and(|(home, _)| home == folder)
    }

    /// Whether there is a repository at all: without a config a missing folder is no empty one, but perhaps an unmounted
    /// disk.
    fn is_there(&self) -> bool {
        [Area::Config, Area::ConfigCopy].iter().any(|area| self.area(*area).join("config").symlink_metadata().is_ok())
    }

    /// What is in a folder of the repository; nothing if the folder is missing.
    fn entries(&self, folder: &Path) -> Result<Vec<fs::DirEntry>> {
        let list = || fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>();
        match list() {
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.is_there() => Ok(Vec::new()),
            listed => listed.map_err(StoreError::io("list", folder)),
        }
    }

    /// Does what needs a folder; if that is missing, once more after making it again.
    fn with_folder<T>(&self, folder: &Path, work: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match work() {
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.is_there() => {
                DirBuilder::new().recursive(true).mode(OWNER_ONLY_FOLDER).create(folder)?;
                above(folder)
                    .take_while(|above| above.starts_with(&self.root))
                    .try_for_each(|above| File::open(above)?.sync_all())?;
                work()
            }
            done => done,
        }
    }

    fn refuse_without_snapshots(&self) -> Result<()> {
        let folder = self.area(Area::Snapshots);
        match folder.try_exists() {
            Ok(false) if self.is_there() => Err(StoreError::FoldersMissing { folders: vec!["snapshots".into()] }),
            looked => looked.map(drop).map_err(StoreError::io("look at", folder)),
        }
    }

    fn all_folders(&self) -> Vec<PathBuf> {
        let fixed = ["", "copy", "keys", "copy/keys", "packs", "snapshots", "records", "sessions", "tmp", "index"];
        let mut folders: Vec<_> = fixed.iter().map(|name| self.root.join(name)).collect();
        folders.extend(self.folders(Area::Packs));
        folders
    }

    /// What is in a folder besides folders that an init makes and the lock: the first thing of all.
    fn first_foreign(&self, folder: &Path) -> Result<Option<PathBuf>> {
        let list = || fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>();
        let entries = match list() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            listed => listed.map_err(StoreError::io("list", folder))?,
        };
        for entry in entries {
            let path = entry.path();
            let metadata = entry.metadata().map_err(StoreError::io("look at", &path))?;
            let is_lock = path == self.root.join(LOCK) && metadata.is_file() && metadata.len() == 0;
            // A file system of its own has this one from the start.
            let is_made = is_lock || path == self.root.join("lost+found");
            if metadata.is_dir() && self.all_folders().contains(&path) {
                if let Some(found) = self.first_foreign(&path)? {
                    return Ok(Some(found));
                }
            } else if !is_made {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Removes what writers without `O_TMPFILE` left when they died: files in `tmp/` that nobody holds.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(self.root.join("tmp")) else { return };
        for path in entries.filter_map(|entry| entry.ok().map(|e| e.path())) {
            if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
                // Leftovers cost space only; the next one who opens the repository tries again.
                drop(fs::remove_file(&path));
            }
        }
    }
}

fn is_object_name(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// What an object was called, and perhaps a number: `config.2`.
fn is_replaced_name(name: &str) -> bool {
    let (stem, number) = name.split_once('.').unwrap_or((name, "1"));
    let is_number = (1..=5).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    (stem == "config" || is_object_name(stem)) && is_number
}

/// Gives an object a second name in another folder, replacing nothing. What is no file at all, but a folder, can have one
/// name only and gets a new one.
fn link_aside(area: Area, name: &str, path: &Path, folder: &Path) -> Result<String> {
    for number in 1..=u16::MAX {
        let kept = if number == 1 { name.to_owned() } else { format!("{name}.{number}") };
        let named = match path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            true => rustix::fs::renameat_with(CWD, path, CWD, folder.join(&kept), RenameFlags::NOREPLACE)
                .map_err(io::Error::from),
            false => fs::hard_link(path, folder.join(&kept)),
        };
        match named {
            Ok(()) => return Ok(kept),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Missing { area, name: name.into() });
            }
            Err(e) => return Err(StoreError::io("move aside", path)(e)),
        }
    }
    Err(StoreError::Exists { area: Area::Replaced, name: name.into() })
}

/// The folders that lead to a path, the innermost first.
fn above(path: &Path) -> impl Iterator<Item = &Path> {
    path.ancestors().skip(1).map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}

fn sync_folder(path: &Path) -> Result<()> {
    let folder = File::open(path).map_err(StoreError::io("open", path))?;
    folder.sync_all().map_err(StoreError::io("make durable", path))
}

impl Storage for Folder {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn assert_unused(&self) -> Result<()> {
        let Some(found) = self.first_foreign(&self.root)? else { return Ok(()) };
        let found = found.strip_prefix(&self.root).unwrap_or(&found).to_string_lossy().escape_debug().to_string();
        Err(StoreError::NotEmpty { place: self.place(), found })
    }

    fn create(&self) -> Result<()> {
        self.assert_unused()?;
        let mut builder = DirBuilder::new();
        builder.mode(OWNER_ONLY_FOLDER);
        let above: Vec<_> = above(&self.root).collect();
        let new = above.iter().take_while(|folder| !folder.exists()).count();
        if let Some(parent) = above.first() {
            fs::create_dir_all(parent).map_err(StoreError::io("create", parent))?;
        }
        for folder in self.all_folders() {
            match builder.create(&folder) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.map_err(StoreError::io("create", &folder))?,
            }
        }
        self.make_lock()?;
        for folder in self.all_folders().iter().rev() {
            sync_folder(folder)?;
        }
        // The name of each folder that was made is in the one above it.
        above.iter().take(new + 1).try_for_each(|folder| sync_folder(folder))
    }

    fn list(&self, area: Area) -> Result<Vec<Listed>> {
        if matches!(area, Area::Config | Area::ConfigCopy) {
            let length = self.length(area, "config")?;
            return Ok(length.map(|bytes| Listed { name: "config".into(), bytes }).into_iter().collect());
        }
        let mut listed = Vec::new();
        for folder in self.folders(area) {
            list_objects(self.entries(&folder)?, |name| self.is_at(area, name, &folder), &mut listed)?;
        }
        Ok(listed)
    }

    fn list_strangers(&self) -> Result<Vec<String>> {
        let mut strangers = Vec::new();
        for area in NAMED_AREAS {
            for folder in self.folders(area) {
                for entry in self.entries(&folder)? {
                    let is_object = entry.file_name().to_str().is_some_and(|name| self.is_at(area, name, &folder));
                    if !(is_object && entry.file_type().is_ok_and(|kind| kind.is_file())) {
                        let path = entry.path();
                        let shown = path.strip_prefix(&self.root).unwrap_or(&path);
                        strangers.push(shown.to_string_lossy().into_owned());
                    }
                }
            }
        }
        Ok(strangers)
    }

    fn missing_folders(&self) -> Result<Vec<String>> {
        let mut missing: Vec<PathBuf> = Vec::new();
        for folder in self.all_folders() {
            // The index makes its own.
            let is_needed = folder != self.root && folder != self.root.join("index");
            let is_told = missing.iter().any(|above| folder.starts_with(above));
            let is_there = folder.try_exists().map_err(StoreError::io("look at", &folder))?;
            if is_needed && !is_told && !is_there {
                missing.push(folder);
            }
        }
        let shown = |path: &PathBuf| path.strip_prefix(&self.root).unwrap_or(path).display().to_string();
        Ok(missing.iter().map(shown).collect())
    }

    fn make_folders(&self) -> Result<()> {
        for folder in self.all_folders() {
            let made = self.with_folder(&folder, || fs::metadata(&folder).map(drop));
            made.map_err(StoreError::io("create", &folder))?;
        }
        Ok(())
    }

    fn length(&self, area: Area, name: &str) -> Result<Option<u64>> {
        let (_, path) = self.path(area, name)?;
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Err(not_a_file(&path)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::io("look at", path)(e)),
        }
    }

    fn read(&self, area: Area, name: &str, limit_bytes: usize) -> Result<Vec<u8>> {
        let (_, path) = self.path(area, name)?;
        let file = open_object(area, name, &path)?;
        let mut bytes = Vec::new();
        file.take(limit_bytes as u64 + 1).read_to_end(&mut bytes).map_err(StoreError::io("read", &path))?;
        if bytes.len() > limit_bytes {
            return Err(StoreError::damaged(
                format!("{area} {name}"),
                format!("it is longer than {limit_bytes} bytes"),
            ));
        }
        Ok(bytes)
    }

    fn open(&self, area: Area, name: &str) -> Result<Box<dyn ObjectReader>> {
        let (_, path) = self.path(area, name)?;
        let file = open_object(area, name, &path)?;
        let bytes = file.metadata().map_err(StoreError::io("look at", &path))?.len();
        Ok(Box::new(OpenObject { file, path, bytes }))
    }

    fn stage(&self) -> Result<Box<dyn Staged>> {
        let (folder, flags) = (self.root.join("tmp"), OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC);
        let mode = Mode::from_raw_mode(OWNER_ONLY_FILE);
        match self.with_folder(&folder, || Ok(rustix::fs::open(&folder, flags, mode)?)) {
            Ok(fd) => Ok(Box::new(StagedFile { folder: self.clone(), file: fd.into(), temporary: None })),
            Err(e)
                if matches!(
                    e.raw_os_error(),
                    Some(libc_codes::EOPNOTSUPP | libc_codes::EISDIR | libc_codes::EINVAL)
                ) =>
            {
                self.stage_named()
            }
            Err(e) => Err(StoreError::io("create a file in", folder)(e)),
        }
    }

    fn sync(&self, area: Area, names: &[&str]) -> Result<()> {
        let mut folders = names.iter().map(|name| Ok(self.path(area, name)?.0)).collect::<Result<Vec<_>>>()?;
        folders.sort_unstable();
        folders.dedup();
        folders.iter().try_for_each(|folder| sync_folder(folder))
    }

    fn sync_area(&self, area: Area) -> Result<()> {
        self.folders(area).iter().try_for_each(|folder| sync_folder(folder))
    }

    fn remove(&self, area: Area, name: &str) -> Result<()> {
        let (_, path) = self.path(area, name)?;
        match fs::remove_file(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(StoreError::Missing { area, name: name.into() }),
            removed => removed.map_err(StoreError::io("remove", path)),
        }
    }

    fn set_aside(&self, area: Area, name: &str) -> Result<String> {
        let ((_, path), replaced) = (self.path(area, name)?, self.area(Area::Replaced));
        match DirBuilder::new().mode(OWNER_ONLY_FOLDER).create(&replaced) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(StoreError::io("create", &replaced))?,
        }
        // Who made it may have died before this.
        sync_folder(&self.root)?;
        let kept = link_aside(area, name, &path, &replaced)?;
        sync_folder(&replaced)?;
        Ok(kept)
    }

    fn lock(&self, mode: LockMode) -> Result<Box<dyn Held>> {
        let path = self.root.join(LOCK);
        let file = match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(StoreError::LockMissing { path }),
            opened => opened.map_err(StoreError::io("open", &path))?,
        };
        let locked = match mode {
            LockMode::Shared => file.lock_shared(),
            LockMode::Exclusive => file.lock(),
        };
        locked.map_err(StoreError::io("lock", path))?;
        Ok(Box::new(LockFile { _file: file }))
    }

    fn has_lock(&self) -> Result<bool> {
        let path = self.root.join(LOCK);
        path.try_exists().map_err(StoreError::io("look at", path))
    }

    fn make_lock(&self) -> Result<()> {
        let path = self.root.join(LOCK);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(OWNER_ONLY_FILE);
        match options.open(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => drop(made.map_err(StoreError::io("create", &path))?),
        }
        sync_folder(&self.root)
    }

    fn register(&self, name: &str, bytes: &[u8]) -> Result<Box<dyn Registered>> {
        self.refuse_without_snapshots()?;
        self.sweep();
        let folder = self.root.join("sessions");
        let path = folder.join(name);
        let mut options = OpenOptions::new();
        options.append(true).create_new(true).mode(OWNER_ONLY_FILE);
        let file = self.with_folder(&folder, || options.open(&path)).map_err(StoreError::io("create", &path))?;
        let mut session = SessionFile { file, path };
        match session.file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(e)) => return Err(StoreError::io("lock", &session.path)(e)),
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::io("lock", &session.path)(io::ErrorKind::WouldBlock.into()));
            }
        }
        session.append(bytes)?;
        Ok(Box::new(session))
    }

    fn live_sessions(&self) -> Result<Vec<Vec<u8>>> {
        let folder = self.root.join("sessions");
        let mut live = Vec::new();
        for entry in fs::read_dir(&folder).map_err(StoreError::io("list", &folder))? {
            let path = entry.map_err(StoreError::io("list", &folder))?.path();
            match live_session(&path) {
                Ok(bytes) => live.extend(bytes),
                // It ended since it was listed.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(StoreError::io("look at", path)(e)),
            }
        }
        Ok(live)
    }

    fn release_ballast(&self) -> Result<bool> {
        let path = self.root.join("ballast");
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(StoreError::io("remove", path)(e)),
        }
    }

    fn keep_ballast(&self, bytes: u64) -> Result<()> {
        let path = self.root.join("ballast");
        let failed = || StoreError::io("set space aside in", &path);
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).mode(OWNER_ONLY_FILE).open(&path).map_err(failed())?;
        let have = file.metadata().map_err(failed())?.len();
        fill_with_noise(&mut file, bytes.saturating_sub(have)).map_err(failed())
    }

    fn index_home(&self) -> IndexHome {
        match rustix::fs::statfs(&self.root) {
            Ok(stat) if name_of(stat.f_type as u64).is_none() => IndexHome::Inside(self.root.join("index")),
            _ => IndexHome::Cache,
        }
    }

    fn local_folders(&self) -> Vec<PathBuf> {
        vec![fs::canonicalize(&self.root).unwrap_or_else(|_| self.root.clone())]
    }
}

/// Numbers from `errno.h` that say "not on this file system".
mod libc_codes {
    use rustix::io::Errno;
    pub(super) const EOPNOTSUPP: i32 = Errno::OPNOTSUPP.raw_os_error();
    pub(super) const EISDIR: i32 = Errno::ISDIR.raw_os_error();
    pub(super) const ELOOP: i32 = Errno::LOOP.raw_os_error();
    pub(super) const EINVAL: i32 = Errno::INVAL.raw_os_error();
}

/// What a registration says, if its session lives; what a dead one left is removed.
fn live_session(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = File::open(path)?;
    match file.try_lock() {
        Ok(()) => fs::remove_file(path).map(|()| None),
        Err(TryLockError::Error(e)) => Err(e),
        Err(TryLockError::WouldBlock) => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
    }
}

/// Noise, so that a file system that compresses sets the space aside as well.
fn fill_with_noise(file: &mut File, bytes: u64) -> io::Result<()> {
    let mut noise = blake3::Hasher::new().update(b"ballast").finalize_xof();
    let mut piece = vec![0; 1 << 16];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(piece.len() as u64) as usize;
        let piece = piece.get_mut(..length).unwrap_or_default();
        noise.fill(piece);
        file.write_all(piece)?;
        left -= length as u64;
    }
    file.sync_all()
}

fn list_objects(entries: Vec<fs::DirEntry>, is_object: impl Fn(&str) -> bool, listed: &mut Vec<Listed>) -> Result<()> {
    for entry in entries {
        let Some(name) = entry.file_name().to_str().filter(|name| is_object(name)).map(String::from) else {
            continue;
        };
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => listed.push(Listed { name, bytes: metadata.len() }),
            // Removed since it was listed: as if it had been before.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Ok(_) => {}
            Err(e) => return Err(StoreError::io("look at", entry.path())(e)),
        }
    }
    Ok(())
}

fn not_a_file(path: &Path) -> StoreError {
    StoreError::damaged(path.display().to_string(), "it is not a regular file")
}

fn open_object(area: Area, name: &str, path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    // A pipe in its place would keep whoever opens it waiting.
    options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    let is_absent = |e: &io::Error| matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    let file = match options.open(path) {
        Err(e) if is_absent(&e) => return Err(StoreError::Missing { area, name: name.into() }),
        Err(e) if e.raw_os_error() == Some(libc_codes::ELOOP) => return Err(not_a_file(path)),
        opened => opened.map_err(StoreError::io("open", path))?,
    };
    let metadata = file.metadata().map_err(StoreError::io("look at", path))?;
    if metadata.is_file() { Ok(file) } else { Err(not_a_file(path)) }
}

struct OpenObject {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl ObjectReader for OpenObject {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(StoreError::io("read", &self.path))
    }
}

struct StagedFile {
    folder: Folder,
    file: File,
    /// Its name in `tmp/` where it could not be anonymous.
    temporary: Option<PathBuf>,
}

impl Folder {
    fn temporary(&self) -> Result<PathBuf> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(StoreError::Entropy)?;
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(self.root.join("tmp").join(name))
    }

    fn stage_named(&self) -> Result<Box<dyn Staged>> {
        let path = self.temporary()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(OWNER_ONLY_FILE);
        let file = options.open(&path).map_err(StoreError::io("create", &path))?;
        let locked = file.lock().map_err(StoreError::io("lock", &path));
        let staged = StagedFile { folder: self.clone(), file, temporary: Some(path) };
        locked.map(|()| Box::new(staged) as Box<dyn Staged>)
    }
}

impl StagedFile {
    fn shown(&self) -> PathBuf {
        self.temporary.clone().unwrap_or_else(|| self.folder.root.join("tmp"))
    }

    /// Gives it another name, replacing nothing.
    fn link(&self, path: &Path) -> rustix::io::Result<()> {
        use std::os::fd::AsRawFd;
        let (from, flags) = match &self.temporary {
            Some(path) => (path.clone(), AtFlags::empty()),
            None => (format!("/proc/self/fd/{}", self.file.as_raw_fd()).into(), AtFlags::SYMLINK_FOLLOW),
        };
        rustix::fs::linkat(CWD, &from, CWD, path, flags)
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if let Some(path) = &self.temporary {
            // What stays is swept by the next session.
            drop(fs::remove_file(path));
        }
    }
}

impl Staged for StagedFile {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(StoreError::io("write to", self.shown()))
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync_all().map_err(StoreError::io("make durable", self.shown()))
    }

    fn publish(self: Box<Self>, area: Area, name: &str) -> Result<()> {
        if area == Area::Snapshots {
            self.folder.refuse_without_snapshots()?;
        }
        let (folder, path) = self.folder.path(area, name)?;
        match self.folder.with_folder(&folder, || Ok(self.link(&path)?)) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(StoreError::Exists { area, name: name.into() }),
            linked => linked.map_err(StoreError::io("publish", path)),
        }
    }

    fn replace(mut self: Box<Self>, area: Area, name: &str) -> Result<()> {
        let (_, path) = self.folder.path(area, name)?;
        let temporary = match self.temporary.take() {
            Some(temporary) => temporary,
            None => {
                // Only what has a name can be renamed, and what is not locked is swept.
                let temporary = self.folder.temporary()?;
                self.file.lock().map_err(StoreError::io("lock", &temporary))?;
                self.link(&temporary).map_err(|e| StoreError::io("create", &temporary)(e.into()))?;
                temporary
            }
        };
        let renamed = fs::rename(self.temporary.insert(temporary), &path).map_err(StoreError::io("publish", path));
        // Otherwise what is left of it goes when it is dropped.
        self.temporary.take_if(|_| renamed.is_ok());
        renamed
    }
}

struct LockFile {
    /// The kernel releases the lock with it.
    _file: File,
}

impl Held for LockFile {}

struct SessionFile {
    file: File,
    path: PathBuf,
}

impl Registered for SessionFile {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(StoreError::io("write to", &self.path))
    }
}

impl Drop for SessionFile {
    fn drop(&mut self) {
        // What stays is not locked any more, which is what others look at.
        drop(fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{put, replace};

    fn folder() -> (tempfile::TempDir, Folder) {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(home.path().join("rings"));
        folder.create().unwrap();
        (home, folder)
    }

    fn name(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    #[test]
    fn objects_are_published_once() {
        let (_home, folder) = folder();
        put(&folder, Area::Packs, &name('a'), b"pack").unwrap();
        assert!(matches!(folder.create(), Err(StoreError::NotEmpty { .. })));
        let again = put(&folder, Area::Packs, &name('a'), b"other");
        assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
        assert_eq!(folder.read(Area::Packs, &name('a'), 4).unwrap(), b"pack");
        assert!(matches!(folder.read(Area::Packs, &name('a'), 3), Err(StoreError::Damaged { .. })));
        assert_eq!(folder.list(Area::Packs).unwrap(), [Listed { name: name('a'), bytes: 4 }]);
        folder.remove(Area::Packs, &name('a')).unwrap();
        assert!(matches!(folder.open(Area::Packs, &name('a')), Err(StoreError::Missing { .. })));
        assert_eq!(folder.length(Area::Packs, &name('a')).unwrap(), None);
    }

    #[test]
    fn a_missing_folder_is_empty_only_in_a_repository() {
        let (_home, folder) = folder();
        assert_eq!(folder.missing_folders().unwrap(), Vec::<String>::new());
        for gone in ["keys", "packs", "snapshots", "sessions", "tmp"] {
            fs::remove_dir_all(folder.root.join(gone)).unwrap();
        }
        // An unmounted disk looks like this.
        assert!(folder.list(Area::Packs).is_err() && folder.stage().is_err());
        assert!(!folder.root.join("tmp").exists());
        put_config(&folder);
        for area in [Area::Keys, Area::Packs, Area::Snapshots] {
            assert_eq!(folder.list(area).unwrap(), []);
        }
        assert_eq!(folder.missing_folders().unwrap(), ["keys", "packs", "snapshots", "sessions", "tmp"]);
        assert_eq!(folder.list_strangers().unwrap(), Vec::<String>::new());
        put(&folder, Area::Packs, &name('a'), b"pack").unwrap();
        assert_eq!(folder.list(Area::Packs).unwrap().len(), 1);
        let snapshot = put(&folder, Area::Snapshots, &name('b'), b"snapshot");
        assert!(matches!(snapshot, Err(StoreError::FoldersMissing { .. })), "{snapshot:?}");
        assert!(matches!(folder.register(&name('c'), b"me"), Err(StoreError::FoldersMissing { .. })));
        folder.make_folders().unwrap();
        assert_eq!(folder.missing_folders().unwrap(), Vec::<String>::new());
        put(&folder, Area::Snapshots, &name('b'), b"snapshot").unwrap();
        drop(folder.register(&name('c'), b"me").unwrap());
    }

    fn put_config(folder: &Folder) {
        fs::write(folder.root.join("config"), b"config").unwrap();
    }

    #[test]
    fn a_dropped_object_leaves_nothing() {
        let (_home, folder) = folder();
        for mut staged in [folder.stage().unwrap(), folder.stage_named().unwrap()] {
            staged.append(b"half").unwrap();
        }
        assert_eq!(fs::read_dir(folder.root.join("tmp")).unwrap().count(), 0);
        let mut staged = folder.stage_named().unwrap();
        staged.append(b"whole").unwrap();
        staged.publish(Area::Records, &name('b')).unwrap();
        assert_eq!(fs::read_dir(folder.root.join("tmp")).unwrap().count(), 0);
        assert_eq!(folder.read(Area::Records, &name('b'), 10).unwrap(), b"whole");
    }

    #[test]
    fn leftovers_of_the_dead_are_swept_and_those_of_the_living_are_not() {
        let (_home, folder) = folder();
        let living = folder.stage_named().unwrap();
        fs::write(folder.root.join("tmp/dead"), b"x").unwrap();
        let session = folder.register(&name('c'), b"me").unwrap();
        assert_eq!(fs::read_dir(folder.root.join("tmp")).unwrap().count(), 1);
        drop((living, session));
        assert_eq!(fs::read_dir(folder.root.join("sessions")).unwrap().count(), 0);
    }

    #[test]
    fn the_living_are_listed_and_the_dead_are_cleared_away() {
        let (_home, folder) = folder();
        let mut session = folder.register(&name('c'), b"one").unwrap();
        session.append(b" two").unwrap();
        fs::write(folder.root.join("sessions").join(name('d')), b"dead").unwrap();
        assert_eq!(folder.live_sessions().unwrap(), [b"one two"]);
        assert!(!folder.root.join("sessions").join(name('d')).exists());
        drop(session);
        assert_eq!(folder.live_sessions().unwrap(), [b""; 0]);
    }

    #[test]
    fn ballast_grows_and_is_given_up_once() {
        let (_home, folder) = folder();
        assert!(!folder.release_ballast().unwrap());
        for (asked, kept) in [(70_000, 70_000), (200_000, 200_000), (1000, 200_000)] {
            folder.keep_ballast(asked).unwrap();
            assert_eq!(fs::metadata(folder.root.join("ballast")).unwrap().len(), kept);
        }
        assert!(folder.release_ballast().unwrap());
        assert!(!folder.release_ballast().unwrap());
    }

    #[test]
    fn what_is_no_object_is_a_stranger() {
        let (_home, folder) = folder();
        put(&folder, Area::Packs, &name('a'), b"pack").unwrap();
        assert_eq!(folder.list_strangers().unwrap(), Vec::<String>::new());
        fs::rename(folder.root.join("packs/aa").join(name('a')), folder.root.join("packs/ab").join(name('a'))).unwrap();
        fs::write(folder.root.join("records/note\x1b.txt"), b"").unwrap();
        fs::create_dir(folder.root.join("keys").join(name('b'))).unwrap();
        let mut strangers = folder.list_strangers().unwrap();
        strangers.sort();
        let expected =
            [format!("keys/{}", name('b')), format!("packs/ab/{}", name('a')), "records/note\x1b.txt".into()];
        assert_eq!(strangers, expected);
        assert!(folder.list(Area::Packs).unwrap().is_empty());
    }

    #[test]
    fn names_cannot_leave_their_area() {
        let (_home, folder) = folder();
        for bad in ["", "..", "../lock", "config", &"A".repeat(64), &"a/".repeat(32)] {
            assert!(folder.read(Area::Packs, bad, 10).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_retired_keeps_its_name_and_replaces_nothing() {
        let (_home, folder) = folder();
        assert_eq!(folder.list(Area::Replaced).unwrap(), []);
        for (bytes, kept) in [(b"one", name('d')), (b"two", name('d') + ".2")] {
            put(&folder, Area::Packs, &name('d'), bytes).unwrap();
            assert_eq!(folder.retire(Area::Packs, &name('d')).unwrap(), kept);
            assert_eq!(folder.read(Area::Replaced, &kept, 10).unwrap(), bytes);
            assert_eq!(folder.length(Area::Packs, &name('d')).unwrap(), None);
        }
        assert_eq!(folder.list(Area::Replaced).unwrap().len(), 2);
        assert!(matches!(folder.retire(Area::Packs, &name('d')), Err(StoreError::Missing { .. })));
        assert!(folder.read(Area::Replaced, "../lock", 10).is_err());
    }

    #[test]
    fn what_takes_the_place_of_a_damaged_object_leaves_it_aside_and_nothing_else() {
        let (_home, folder) = folder();
        put(&folder, Area::Snapshots, &name('d'), b"damaged").unwrap();
        replace(&folder, Area::Snapshots, &name('d'), b"whole").unwrap();
        let mut named = folder.stage_named().unwrap();
        named.append(b"named").unwrap();
        named.replace(Area::Snapshots, &name('d')).unwrap();
        assert_eq!(folder.read(Area::Snapshots, &name('d'), 10).unwrap(), b"named");
        assert_eq!(folder.read(Area::Replaced, &name('d'), 10).unwrap(), b"damaged");
        assert_eq!(fs::read_dir(folder.root.join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn exclusive_waits_for_shared() {
        let (_home, folder) = folder();
        let shared = (folder.lock(LockMode::Shared).unwrap(), folder.lock(LockMode::Shared).unwrap());
        let other = folder.clone();
        let waiter = std::thread::spawn(move || drop(other.lock(LockMode::Exclusive).unwrap()));
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!waiter.is_finished());
        drop(shared);
        waiter.join().unwrap();
    }
}
