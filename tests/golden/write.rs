//! Writes golden repositories of the current format: `cargo run -p treering-tests --bin golden -- write tests/golden`.
//!
//! Refuses to touch a version that is there: goldens of a released version are never edited.

mod manifest;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use manifest::{Common, Manifest, escape};
use treering_chunk::CutSizes;
use treering_snapshot::backup::{BackupOptions, Description, backup};
use treering_snapshot::progress::{Event, Progress};
use treering_snapshot::record::Owners;
use treering_snapshot::{Snapshot, SnapshotName, Time};
use treering_store::storage::Folder;
use treering_store::{DerivationCost, Encryption, FORMAT_VERSION, InitOptions, KeyFile, OsEntropy, Repository, Unlock};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// The passphrase of the golden that has one.
const PASSPHRASE: &str = "drei Ringe, ein Baum\u{1f332}";
const NOW_SECONDS: i64 = 1_790_000_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let written = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", folder] => write(Path::new(folder)),
        _ => Err("usage: golden write FOLDER".into()),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("golden: {e}");
            ExitCode::FAILURE
        }
    }
}

/// A version: three repositories of one tree in two states, and the manifests of both.
fn write(goldens: &Path) -> Outcome {
    let version = goldens.join(format!("v{FORMAT_VERSION}"));
    fs::create_dir(&version).map_err(|e| format!("cannot create {}: {e}", version.display()))?;
    let work = Path::new("/tmp/treering-golden");
    fs::create_dir(work).map_err(|e| format!("cannot create {}: {e}", work.display()))?;
    let (tree, key) = (work.join("tree"), KeyFile::generate(&OsEntropy)?);
    let passphrase = || Unlock::Passphrase(PASSPHRASE.to_owned().into());
    let goldens = [
        Golden::new(work, "unencrypted", Encryption::None, vec![])?,
        Golden::new(work, "passphrase", Encryption::Aes256Gcm, vec![passphrase()])?,
        Golden::new(work, "key-file", Encryption::Aes256Gcm, vec![Unlock::KeyFile(key.clone()), passphrase()])?,
    ];
    grow(&tree)?;
    let before = read_folder(&tree)?;
    fs::write(version.join("manifest-1.jsonl"), manifest::to_text(&before))?;
    let mut parents = Vec::new();
    for golden in &goldens {
        let forgotten = take(&golden.repository, &tree, None)?;
        parents.push(take(&golden.repository, &tree, None)?);
        golden.repository.forget_snapshot(forgotten.0)?;
    }
    change(&tree)?;
    fs::write(version.join("manifest-2.jsonl"), manifest::to_text(&difference(&before, read_folder(&tree)?)))?;
    for (golden, parent) in goldens.into_iter().zip(parents) {
        take(&golden.repository, &tree, Some(parent))?;
        golden.finish(&version)?;
    }
    fs::write(version.join("passphrase/passphrase"), format!("{PASSPHRASE}\n"))?;
    fs::write(version.join("key-file/key-file"), key.to_text().as_bytes())?;
    fs::remove_dir_all(work)?;
    Ok(())
}

/// What is new or different; what is gone is null.
fn difference(before: &Manifest, mut after: Manifest) -> Manifest {
    let gone: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).cloned().collect();
    after.retain(|path, entry| before.get(path) != Some(entry));
    after.extend(gone.into_iter().map(|path| (path, serde_json::Value::Null)));
    after
}

/// A repository under way.
struct Golden {
    name: &'static str,
    folder: PathBuf,
    repository: Arc<Repository>,
}

impl Golden {
    fn new(work: &Path, name: &'static str, encryption: Encryption, unlocks: Vec<Unlock>) -> Outcome<Self> {
        let folder = work.join(name);
        let storage = Arc::new(Folder::new(&folder));
        let options = InitOptions {
            encryption,
            unlocks: unlocks.into_iter().map(|unlock| (unlock, "golden".into())).collect(),
            cost: DerivationCost::FLOOR,
            created: NOW_SECONDS,
            cut_sizes: CutSizes::new(CutSizes::LEAST_BYTES, CutSizes::LEAST_BYTES)?,
            frame_bytes: 64 << 10,
        };
        let repository = Arc::new(Repository::init(storage, &options, Arc::new(OsEntropy), work.join("cache"))?);
        Ok(Self { name, folder, repository })
    }

    fn finish(self, version: &Path) -> Outcome {
        drop(self.repository);
        fs::remove_dir_all(self.folder.join("index"))?;
        fs::remove_file(self.folder.join("ballast"))?;
        copy(&self.folder, &version.join(self.name).join("repository"))
    }
}

/// Files of an old machine in a new one: what is there and has bytes. Empty folders and `lock` are made by the reader.
fn copy(from: &Path, to: &Path) -> Outcome {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else if entry.metadata()?.len() > 0 {
            fs::create_dir_all(to)?;
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Refuses to make a golden of something that could not be read.
struct Strict;

impl Progress for Strict {
    fn event(&self, event: Event<'_>) {
        if let Event::Failed { path, error, .. } = event {
            eprintln!("golden: {}: {error}", path.display());
        }
    }
}

fn take(
    repository: &Arc<Repository>,
    tree: &Path,
    parent: Option<(SnapshotName, Snapshot)>,
) -> Outcome<(SnapshotName, Snapshot)> {
    let ticks = AtomicI64::new(NOW_SECONDS * 1000);
    let clock = || ticks.fetch_add(250, Ordering::Relaxed);
    let description = Description {
        time: Time { seconds: NOW_SECONDS, nanoseconds: 123_456_789 },
        offset_seconds: 3600,
        host: "golden".into(),
        user: "keeper".into(),
        uid: 1000,
        gid: 1000,
        tags: vec!["golden".into(), "b\u{e9}ta".into()],
        // So many that the record is compressed.
        excludes: (0..500).map(|number| format!("*.tmp{number}")).collect(),
        program: "treering golden".into(),
    };
    let options = BackupOptions {
        forbidden: repository.local_folders(),
        heads: parent.iter().map(|(name, _)| *name).collect(),
        parent,
        owners: &|_, _| Owners { users: vec![(0, "root".into())], groups: vec![(0, "root".into())] },
        progress: &Strict,
        ..BackupOptions::new(vec![tree.to_owned()], description, &clock)
    };
    let outcome = backup(repository, &options)?;
    if outcome.snapshot.statistics.errors > 0 {
        return Err("something could not be read".into());
    }
    Ok((outcome.name.ok_or("nothing was committed")?, outcome.snapshot))
}

/// Compressible bytes in which every chunk is another one.
fn text(bytes: usize) -> Vec<u8> {
    let (mut words, mut picks) = ([[0; 64]; 32], vec![0u8; bytes / 64 + 1]);
    blake3::Hasher::new().finalize_xof().fill(words.as_flattened_mut());
    blake3::Hasher::new_keyed(&[1; 32]).finalize_xof().fill(&mut picks);
    picks.iter().flat_map(|pick| words[usize::from(pick % 32)]).take(bytes).collect()
}

fn grow(tree: &Path) -> Outcome {
    for folder in ["", "empty", "deep/deeper/deepest", "many"] {
        fs::create_dir_all(tree.join(folder))?;
    }
    fs::write(tree.join("hello"), "Hello, ring!\n")?;
    fs::write(tree.join("nothing"), "")?;
    fs::write(tree.join("deep/deeper/deepest/leaf"), "a leaf\n")?;
    // More than 24 extents: its list is stored in chunks.
    fs::write(tree.join("long"), text(600 << 10))?;
    fs::write(tree.join("database"), pages())?;
    fs::write(tree.join("store.mv.db"), [b"H:2,block:2,".as_slice(), &text(20 << 10)].concat())?;
    sparse(&tree.join("sparse"))?;
    fs::hard_link(tree.join("hello"), tree.join("deep/same as hello"))?;
    symlink("deep/deeper", tree.join("link"))?;
    symlink(std::ffi::OsStr::from_bytes(b"dangling\xff\nlink"), tree.join("broken link"))?;
    fs::write(tree.join("l".repeat(255)), "a long name\n")?;
    fs::write(tree.join(std::ffi::OsStr::from_bytes(b"not UTF-8 \xff\xfe\n")), "bytes\n")?;
    rustix::fs::mkfifoat(rustix::fs::CWD, tree.join("pipe"), rustix::fs::Mode::from_raw_mode(0o600))?;
    for i in 0..310 {
        fs::write(tree.join(format!("many/{i:03}")), format!("{}", i % 4))?;
    }
    xattr::set(tree.join("hello"), "user.ring", b"\x00binary\xff")?;
    xattr::set(tree.join("deep"), "user.folder", b"yes")?;
    fs::set_permissions(tree.join("nothing"), fs::Permissions::from_mode(0o4711))?;
    fs::set_permissions(tree.join("empty"), fs::Permissions::from_mode(0o1777))?;
    let before_1970 = std::time::UNIX_EPOCH - std::time::Duration::from_nanos(1_500_000_001);
    File::options().write(true).open(tree.join("nothing"))?.set_modified(before_1970)?;
    Ok(())
}

/// A file with the header of a database of 512-byte pages.
fn pages() -> Vec<u8> {
    let mut bytes = text(40 * 512);
    bytes[..16].copy_from_slice(b"SQLite format 3\0");
    bytes[16..18].copy_from_slice(&512u16.to_be_bytes());
    bytes
}

fn sparse(path: &Path) -> Outcome {
    let mut file = File::create(path)?;
    file.write_all(b"front")?;
    file.seek(SeekFrom::Start(1 << 20))?;
    file.write_all(b"middle")?;
    file.set_len(3 << 20)?;
    Ok(())
}

fn change(tree: &Path) -> Outcome {
    let mut longer = text(600 << 10);
    longer.splice(300_000..300_000, b"inserted".iter().copied());
    fs::write(tree.join("long"), longer)?;
    fs::remove_file(tree.join("deep/same as hello"))?;
    fs::write(tree.join("many/160"), "changed")?;
    fs::write(tree.join("new"), "new\n")?;
    fs::rename(tree.join("empty"), tree.join("renamed"))?;
    Ok(())
}

fn read_folder(tree: &Path) -> Outcome<Manifest> {
    let (mut manifest, mut links) = (Manifest::new(), HashMap::new());
    read_entry(tree, Path::new(""), &mut manifest, &mut links)?;
    Ok(manifest)
}

fn read_entry(tree: &Path, path: &Path, manifest: &mut Manifest, links: &mut HashMap<u64, String>) -> io::Result<()> {
    let (full, shown) = (tree.join(path), escape(path.as_os_str().as_bytes()));
    let metadata = full.symlink_metadata()?;
    let kind = metadata.file_type();
    let names = xattr::list(&full)?;
    let mut xattrs = Vec::new();
    for name in names {
        xattrs.push((name.as_bytes().to_vec(), xattr::get(&full, &name)?.unwrap_or_default()));
    }
    let mut entry = Common {
        kind: match () {
            () if kind.is_dir() => "dir",
            () if kind.is_file() => "file",
            () if kind.is_symlink() => "symlink",
            () => "fifo",
        },
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        modified: (metadata.mtime(), metadata.mtime_nsec() as u32),
        xattrs,
    }
    .to_json();
    if kind.is_file() {
        let bytes = fs::read(&full)?;
        entry["bytes"] = bytes.len().into();
        entry["blake3"] = blake3::hash(&bytes).to_hex().as_str().into();
        if metadata.nlink() > 1 {
            let first = links.entry(metadata.ino()).or_insert_with(|| shown.clone());
            entry["same_as"] = first.clone().into();
        }
    } else if kind.is_symlink() {
        entry["target"] = escape(fs::read_link(&full)?.as_os_str().as_bytes()).into();
    }
    manifest.insert(shown, entry);
    if kind.is_dir() {
        let mut names = fs::read_dir(&full)?.map(|e| e.map(|e| e.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for name in names {
            let below: PathBuf = path.join(name);
            read_entry(tree, &below, manifest, links)?;
        }
    }
    Ok(())
}
