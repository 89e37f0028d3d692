//! Random changes to a folder of any content: what users and programs do between two backups.
//!
//! Invariant: what is done is a function of the seed, the step and the folder. Every kind of change is tried equally
//! often.

use std::fs::{self, File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode};
use treering_workloads::Random;

/// How often each kind of change is tried.
const ROUNDS: u32 = 4;
/// Entries deeper than this are left alone, so that no path becomes too long.
const DEEPEST: usize = 4;

type Change = fn(&mut Mutation, &Path) -> io::Result<()>;

struct Mutation {
    root: PathBuf,
    random: Random,
    number: u32,
}

/// Adds, changes, removes, renames, retypes, links and re-dates entries of a folder; gives how many changes were made.
///
/// # Panics
///
/// If a change fails for another reason than that it is not possible for the entry.
pub fn mutate(root: &Path, seed: u64, step: u32) -> u32 {
    let changes: [Change; 12] = [
        Mutation::add,
        Mutation::append,
        Mutation::overwrite,
        Mutation::truncate,
        Mutation::remove,
        Mutation::rename,
        Mutation::retype,
        Mutation::set_mode,
        Mutation::set_time,
        Mutation::set_attribute,
        Mutation::link,
        Mutation::make_hole,
    ];
    let random = Random::named(seed, format_args!("mutation {step}"));
    let mut mutation = Mutation { root: root.to_owned(), random, number: step * 1000 };
    let mut made = 0;
    for change in (0..ROUNDS).flat_map(|_| changes) {
        mutation.number += 1;
        let path = mutation.pick(|_| true);
        match change(&mut mutation, &path) {
            Ok(()) => made += 1,
            // Not every change fits every entry, nor may every user make it.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied) => {}
            Err(error) => panic!("cannot change {}: {error}", path.display()),
        }
    }
    made
}

impl Mutation {
    fn add(&mut self, _: &Path) -> io::Result<()> {
        let folder = self.pick(Metadata::is_dir);
        let length = self.random.below(300_000) as usize;
        let path = self.new_name(&folder);
        fs::write(path, self.random.bytes(length))
    }

    fn append(&mut self, _: &Path) -> io::Result<()> {
        let file = self.pick(Metadata::is_file);
        let bytes = self.random.bytes(5000);
        let length = fs::metadata(&file)?.len();
        open(&file)?.write_all_at(&bytes, length)
    }

    fn overwrite(&mut self, _: &Path) -> io::Result<()> {
        let file = self.pick(|metadata| metadata.is_file() && metadata.len() > 0);
        let bytes = self.random.bytes(1);
        let offset = self.random.below(fs::metadata(&file)?.len());
        open(&file)?.write_all_at(&bytes, offset)
    }

    fn truncate(&mut self, _: &Path) -> io::Result<()> {
        let file = self.pick(|metadata| metadata.is_file() && metadata.len() > 0);
        let length = self.random.below(fs::metadata(&file)?.len());
        open(&file)?.set_len(length)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        match fs::symlink_metadata(path)?.is_dir() {
            true => fs::remove_dir_all(path),
            false => fs::remove_file(path),
        }
    }

    fn rename(&mut self, path: &Path) -> io::Result<()> {
        let folder = self.pick(Metadata::is_dir);
        if folder.starts_with(path) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        fs::rename(path, self.new_name(&folder))
    }

    /// The same name, another kind.
    fn retype(&mut self, path: &Path) -> io::Result<()> {
        let was_folder = fs::symlink_metadata(path)?.is_dir();
        self.remove(path)?;
        match self.random.below(3) {
            0 if was_folder => fs::write(path, "was a folder"),
            0 => fs::create_dir(path).and_then(|()| fs::write(path.join("inside"), "was no folder")),
            1 => symlink("was/something/else", path),
            _ => Ok(rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?),
        }
    }

    fn set_mode(&mut self, _: &Path) -> io::Result<()> {
        let path = self.pick(|metadata| !metadata.is_symlink());
        let mode = 0o700 | self.random.below(0o100) as u32;
        fs::set_permissions(path, Permissions::from_mode(mode))
    }

    fn set_time(&mut self, _: &Path) -> io::Result<()> {
        let file = self.pick(Metadata::is_file);
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(self.random.below(1_700_000_000_000_000_000));
        open(&file)?.set_times(FileTimes::new().set_modified(time))
    }

    fn set_attribute(&mut self, _: &Path) -> io::Result<()> {
        let file = self.pick(|metadata| metadata.is_file() || metadata.is_dir());
        xattr::set(file, "user.changed", &self.random.bytes(20))
    }

    fn link(&mut self, _: &Path) -> io::Result<()> {
        let (file, folder) = (self.pick(Metadata::is_file), self.pick(Metadata::is_dir));
        fs::hard_link(file, self.new_name(&folder))
    }

    fn make_hole(&mut self, _: &Path) -> io::Result<()> {
        let file = open(&self.pick(Metadata::is_file))?;
        let length = file.metadata()?.len();
        file.set_len(length + (1 << 20))
    }

    fn new_name(&self, folder: &Path) -> PathBuf {
        folder.join(format!("new-{}", self.number))
    }

    /// Any entry that fits; the folder itself if none does and it does.
    fn pick(&mut self, fits: impl Fn(&Metadata) -> bool) -> PathBuf {
        let mut found = Vec::new();
        collect(&self.root, DEEPEST, &fits, &mut found);
        found.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
        match found.is_empty() {
            true => panic!("nothing is left in {}", self.root.display()),
            false => self.random.pick(&found).clone(),
        }
    }
}

fn collect(folder: &Path, depth: usize, fits: &dyn Fn(&Metadata) -> bool, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder can be listed").flatten() {
        let (path, metadata) = (entry.path(), entry.metadata().expect("an entry has metadata"));
        if depth > 1 && metadata.is_dir() {
            collect(&path, depth - 1, fits, found);
        }
        if fits(&metadata) {
            found.push(path);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().write(true).open(path)
}
