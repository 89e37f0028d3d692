//! The walk against its parent, and the seam for applications.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use treering_chunk::{ChunkKind, CutPolicy, CutSizes};
use treering_store::storage::{Area, Folder as FolderStorage, Storage};
use treering_store::{Encryption, InitOptions, OsEntropy, PackKind, Unlock};

use super::*;
use crate::capture::{self, Capture, CaptureError, Conclusion, Content, Part, PieceStore, TakenFile};
use crate::progress::Event;
use crate::tree::TreeReader;

struct Home {
    folder: tempfile::TempDir,
    repository: Arc<Repository>,
    storage: Arc<dyn Storage>,
}

fn home() -> Home {
    let folder = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(FolderStorage::new(folder.path().join("rings")));
    let options = InitOptions {
        encryption: Encryption::None,
        unlocks: vec![],
        cost: treering_store::DerivationCost::FLOOR,
        created: 0,
        cut_sizes: CutSizes::new(4096, 4096).unwrap(),
        frame_bytes: 64 << 10,
    };
    let cache = folder.path().join("cache");
    let repository = Repository::init(Arc::clone(&storage), &options, Arc::new(OsEntropy), cache).unwrap();
    fs::create_dir(folder.path().join("source")).unwrap();
    Home { folder, repository: Arc::new(repository), storage }
}

/// Collects what fails.
#[derive(Default)]
struct Told {
    failures: Mutex<Vec<String>>,
    /// A file that gets longer whenever much was read of anything, so that no two looks at it agree.
    appends_to: Option<std::path::PathBuf>,
}

impl Progress for Told {
    fn event(&self, event: Event<'_>) {
        match (event, &self.appends_to) {
            (Event::Failed { path, error, .. }, _) => self.failures.lock().push(format!("{}: {error}", path.display())),
            (Event::Bytes { bytes: 1000.. }, Some(path)) => {
                use std::io::Write;
                fs::File::options().append(true).open(path).unwrap().write_all(b"more").unwrap();
            }
            _ => {}
        }
    }
}

struct Run {
    outcome: BackupOutcome,
    told: Vec<String>,
}

impl Home {
    /// As the next command opens it.
    fn reopen(&mut self) {
        let cache = self.folder.path().join("cache");
        let opened = Repository::open(Arc::clone(&self.storage), &Unlock::Nothing, Arc::new(OsEntropy), cache);
        self.repository = Arc::new(opened.unwrap());
    }

    /// The packs that hold chunks of this kind.
    fn packs(&self, kind: PackKind) -> Vec<String> {
        let packs = self.repository.list_packs().unwrap().into_iter();
        let packs = packs.filter(|(name, _)| self.repository.pack_contents(*name).unwrap().kind == kind);
        packs.map(|(name, _)| name.to_string()).collect()
    }

    fn source(&self) -> std::path::PathBuf {
        self.folder.path().join("source")
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.source().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        // Settled: what is as young as the snapshot is read again by the next.
        fs::File::options().write(true).open(&path).unwrap().set_modified(old()).unwrap();
    }

    fn run_with(&self, change: impl FnOnce(&mut BackupOptions<'_>)) -> (Result<BackupOutcome>, Vec<String>) {
        self.run_on(&[], change)
    }

    fn run_on(
        &self,
        applications: &[Box<dyn Application>],
        change: impl FnOnce(&mut BackupOptions<'_>),
    ) -> (Result<BackupOutcome>, Vec<String>) {
        self.run_options(applications, |options| {
            change(options);
            backup(&self.repository, options)
        })
    }

    /// Runs something with the options of these tests: the newest snapshot is the parent.
    fn run_options(
        &self,
        applications: &[Box<dyn Application>],
        run: impl FnOnce(&mut BackupOptions<'_>) -> Result<BackupOutcome>,
    ) -> (Result<BackupOutcome>, Vec<String>) {
        self.run_told(Told::default(), applications, run)
    }

    fn run_told(
        &self,
        told: Told,
        applications: &[Box<dyn Application>],
        run: impl FnOnce(&mut BackupOptions<'_>) -> Result<BackupOutcome>,
    ) -> (Result<BackupOutcome>, Vec<String>) {
        let parent = Snapshot::read_all(&self.repository).unwrap().snapshots.pop();
        let description = Description {
            time: Time { seconds: next_second(), nanoseconds: 0 },
            host: "host".into(),
            user: "user".into(),
            program: "test".into(),
            ..Description::default()
        };
        let mut options = BackupOptions {
            forbidden: self.repository.local_folders(),
            applications,
            parent,
            read_concurrency: 2,
            progress: &told,
            // An hour ahead: everything in these tests counts as settled.
            ..BackupOptions::new(vec![self.source()], description, &|| 4_000_000_000_000)
        };
        let outcome = run(&mut options);
        (outcome, told.failures.into_inner())
    }

    fn run(&self) -> Run {
        let (outcome, told) = self.run_with(|_| {});
        Run { outcome: outcome.unwrap(), told }
    }

    /// Every file of a snapshot below the source, by its relative path; others with a word. Its record says how much there
    /// is.
    fn content(&self, snapshot: &Snapshot) -> BTreeMap<String, Vec<u8>> {
        let mut reader = self.repository.reader().unwrap();
        let (mut found, mut entries, mut bytes_of_all) = (BTreeMap::new(), 0, 0);
        let mut folders = vec![(String::new(), snapshot.root.clone())];
        while let Some((path, folder)) = folders.pop() {
            let mut nodes = TreeReader::new(folder.tree().unwrap());
            while let Some(node) = nodes.read_next(&mut reader).unwrap() {
                let path = format!("{path}/{}", String::from_utf8_lossy(&node.name));
                (entries, bytes_of_all) = (entries + 1, bytes_of_all + node.size());
                match &node.kind {
                    NodeKind::Folder { .. } => folders.push((path, node)),
                    NodeKind::File { .. } => {
                        let mut bytes = Vec::new();
                        crate::restore::write_file(&mut reader, &node, &mut bytes).unwrap();
                        found.insert(path, bytes);
                    }
                    other => drop(found.insert(path, other.as_str().into())),
                }
            }
        }
        assert_eq!((snapshot.statistics.entries(), snapshot.statistics.total_bytes), (entries, bytes_of_all));
        let prefix = self.source().display().to_string();
        found.into_iter().map(|(path, bytes)| (path.replacen(&prefix, "", 1), bytes)).collect()
    }
}

fn old() -> std::time::SystemTime {
    std::time::SystemTime::now() - std::time::Duration::from_secs(1000)
}

fn next_second() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1_000_000_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn counts(run: &Run) -> (u64, u64, u64) {
    let statistics = run.outcome.snapshot.statistics;
    (statistics.files_new, statistics.files_changed, statistics.files_unmodified)
}

#[test]
fn only_what_changed_is_read_however_the_tree_moved_around_it() {
    let home = home();
    for folder in ["a", "b", "b/inner", "c", "d"] {
        for file in 0..30 {
            home.write(&format!("{folder}/{file}"), format!("{folder} {file}").as_bytes());
        }
    }
    assert_eq!(counts(&home.run()), (150, 0, 0));
    assert_eq!(counts(&home.run()), (0, 0, 150));
    fs::remove_dir_all(home.source().join("b")).unwrap();
    home.write("aa/new", b"new");
    home.write("c/15", b"changed");
    fs::remove_file(home.source().join("c/3")).unwrap();
    fs::remove_file(home.source().join("d/29")).unwrap();
    fs::create_dir(home.source().join("d/29")).unwrap();
    home.write("d/29/now a folder", b"yes");
    let run = home.run();
    assert_eq!((counts(&run), run.told.len()), ((2, 1, 87), 0));
    let content = home.content(&run.outcome.snapshot);
    assert_eq!(content.len(), 90);
    assert_eq!((&content["/c/15"][..], &content["/d/29/now a folder"][..]), (&b"changed"[..], &b"yes"[..]));
    let again = home.run();
    assert_eq!(counts(&again), (0, 0, 90));
    assert_eq!(again.outcome.snapshot.root, run.outcome.snapshot.root);
    assert_eq!(again.outcome.snapshot.statistics.added_bytes, 0);
}

#[test]
fn a_forged_mtime_does_not_hide_a_change() {
    let home = home();
    home.write("file", b"before");
    home.run();
    let path = home.source().join("file");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, b"after!").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    let (blind, _) = home.run_with(|options| options.ignore_ctime = true);
    assert_eq!(home.content(&blind.unwrap().snapshot)["/file"], b"before");
    let name = home.run_with(|options| options.parent = None).0.unwrap();
    assert_eq!(home.content(&name.snapshot)["/file"], b"after!");
}

#[test]
fn without_the_stat_stream_files_are_read_again() {
    let home = home();
    home.write("file", b"content");
    home.run();
    let (outcome, _) = home.run_with(|options| {
        options.parent.iter_mut().for_each(|(_, snapshot)| snapshot.stat = None);
    });
    let run = Run { outcome: outcome.unwrap(), told: vec![] };
    assert_eq!((counts(&run), run.outcome.snapshot.statistics.added_bytes), ((0, 1, 0), 0));
}

#[test]
fn a_young_file_is_read_again_by_the_next_backup() {
    let home = home();
    home.write("file", b"content");
    let early = |options: &mut BackupOptions<'_>| options.clock = &|| 0;
    home.run_with(early).0.unwrap();
    assert_eq!(counts(&home.run()), (0, 1, 0));
}

#[test]
fn exclusions_markers_and_the_repository_itself() {
    let home = home();
    for name in ["keep", "drop.tmp", "large", "cache/CACHEDIR.TAG", "cache/x", "marked/.skip", "marked/sub/x"] {
        home.write(name, b"Signature: 8a477f597d28d172789f06886806bc55");
    }
    home.write("large", &[1; 5000]);
    std::os::unix::fs::symlink(home.folder.path(), home.source().join("link")).unwrap();
    let (outcome, told) = home.run_with(|options| {
        options.paths = vec![home.folder.path().to_owned()];
        options.is_excluded = &|path, _| path.extension().is_some_and(|extension| extension == "tmp");
        options.exclude_larger_than = Some(4999);
        options.markers = vec![Marker::cache(), Marker { name: ".skip".into(), header: None }];
    });
    assert_eq!(told, Vec::<String>::new());
    let content = home.content(&outcome.unwrap().snapshot);
    let kept: Vec<&str> = content.keys().map(String::as_str).collect();
    assert_eq!(kept, ["/cache/CACHEDIR.TAG", "/keep", "/link", "/marked/.skip"]);
}

/// Folders that are opened ahead, too large for that, nested, empty, excluded, marked: all come in order, once.
#[test]
fn what_is_read_ahead_comes_in_order() {
    let home = home();
    let mut names: Vec<String> = (0..1500).map(|number| format!("/crowded/{number:04}")).collect();
    for folder in 0..60 {
        names.extend((0..3).map(|sub| format!("/f{folder:02}/sub{sub}/file")));
        names.push(format!("/f{folder:02}/a"));
        fs::create_dir_all(home.source().join(format!("f{folder:02}/empty"))).unwrap();
    }
    names.iter().for_each(|name| home.write(&name[1..], name.as_bytes()));
    home.write("f13/.skip", b"");
    fs::remove_dir(home.source().join("f13/empty")).unwrap();
    names.retain(|name| !name.starts_with("/f13/") && !name.starts_with("/f07/") && !name.contains("sub1"));
    names.push("/f13/.skip".into());
    names.sort_unstable();

    let run = || {
        let (outcome, told) = home.run_with(|options| {
            options.is_excluded = &|path, is_folder| is_folder && (path.ends_with("f07") || path.ends_with("sub1"));
            options.markers = vec![Marker { name: ".skip".into(), header: None }];
        });
        assert_eq!(told, Vec::<String>::new());
        outcome.unwrap().snapshot
    };
    let (first, second) = (run(), run());
    let content = home.content(&first);
    assert!(content.keys().eq(names.iter()));
    assert!(names.iter().all(|name| content[name] == name.as_bytes() || name == "/f13/.skip"));
    assert_eq!(second.statistics.files_unmodified, names.len() as u64);
    assert_eq!(second.root, first.root);
}

#[test]
fn several_paths_one_missing_and_none() {
    let home = home();
    home.write("a/x", b"x");
    home.write("b/y", b"y");
    let (outcome, told) = home.run_with(|options| {
        options.paths = ["a", "b/y", "missing"].map(|name| home.source().join(name)).to_vec();
    });
    let outcome = outcome.unwrap();
    let content = home.content(&outcome.snapshot);
    assert_eq!(content.keys().map(String::as_str).collect::<Vec<_>>(), ["/a/x", "/b/y"]);
    assert_eq!((outcome.snapshot.statistics.errors, told.len()), (1, 1), "{told:?}");
    let (none, _) = home.run_with(|options| options.paths = vec![home.source().join("missing")]);
    assert!(matches!(none, Err(SnapshotError::NothingToBackUp)), "{none:?}");
}

#[test]
fn a_link_on_the_way_is_followed_and_one_that_was_asked_for_is_stored() {
    let home = home();
    home.write("real/a/x", b"x");
    std::os::unix::fs::symlink("real", home.source().join("link")).unwrap();
    let (outcome, told) = home.run_with(|options| {
        options.paths = vec![home.source().join("link/a"), home.source().join("link2")];
        std::os::unix::fs::symlink("real", home.source().join("link2")).unwrap();
    });
    assert_eq!(told, Vec::<String>::new());
    let content = home.content(&outcome.unwrap().snapshot);
    assert_eq!(content.keys().map(String::as_str).collect::<Vec<_>>(), ["/link/a/x", "/link2"]);
    // Stored as a link it cannot be the way to something too, which is said.
    for through in [home.source(), home.source().join("link")] {
        let (outcome, told) = home.run_with(|options| options.paths = vec![home.source().join("link/a/x"), through]);
        assert!(outcome.unwrap().snapshot.statistics.errors == 1 && told.len() == 1, "{told:?}");
        assert!(told[0].contains("link/a/x: cannot store"), "{told:?}");
    }
}

#[test]
fn every_given_path_is_a_root_of_its_own_also_beneath_another() {
    let home = home();
    for name in ["a", "skip/deep/f", "skip/other", "thin/.skip", "thin/gone", "thin/keep/gone", "thin/keep/k"] {
        home.write(name, b"x");
    }
    let (outcome, told) = home.run_with(|options| {
        let given = ["", "a", "skip/deep", "thin/keep/k", "missing/m", "a/b/c", "skip/none"];
        options.paths = given.map(|name| home.source().join(name)).to_vec();
        options.is_excluded = &|path, _| path.ends_with("skip") || path.ends_with("deep");
        options.markers = vec![Marker { name: ".skip".into(), header: None }];
    });
    let content = home.content(&outcome.unwrap().snapshot);
    assert!(content.keys().eq(["/a", "/skip/deep/f", "/thin/.skip", "/thin/keep/k"]), "{content:?}");
    let missing = ["/a/b/c", "/missing/m", "/skip/none"];
    assert_eq!(told.len(), missing.len(), "{told:?}");
    assert!(missing.iter().all(|path| told.iter().any(|told| told.ends_with(path))), "{told:?}");
}

#[test]
fn on_one_file_system_is_each_given_path_and_what_is_mounted_beneath_is_an_empty_folder() {
    let (outside, inside) = (Path::new("/dev"), Path::new("/dev/shm"));
    let device = |path| Status::of_path(path).unwrap().device;
    let Ok(mounted) = tempfile::tempdir_in(inside) else { return };
    if device(outside) == device(inside) {
        return;
    }
    fs::write(mounted.path().join("f"), b"x").unwrap();
    let home = home();
    for (given, are_stored) in [(None, false), (Some(""), true), (Some("f"), true)] {
        let (outcome, told) = home.run_with(|options| {
            options.paths = vec![outside.to_owned()];
            options.paths.extend(given.map(|name| mounted.path().join(name).components().collect()));
            options.one_file_system = true;
            options.is_excluded = &|path, _| !path.starts_with("/dev/shm");
        });
        let snapshot = outcome.unwrap().snapshot;
        assert_eq!(told, Vec::<String>::new());
        let mut reader = home.repository.reader().unwrap();
        let mut at = Some(snapshot.root);
        for name in mounted.path().join("f").iter().skip(1) {
            let is_shm = at.as_ref().is_some_and(|node| node.name == b"shm");
            let Some(tree) = at.as_ref().and_then(Node::tree) else { panic!("{at:?}") };
            let found = crate::tree::find(&mut reader, tree, name.as_bytes()).unwrap();
            assert_eq!(found.is_some(), !is_shm || are_stored);
            at = found;
            if at.is_none() {
                break;
            }
        }
        assert_eq!(at.is_some(), are_stored);
    }
}

#[test]
fn a_file_that_keeps_changing_is_reported() {
    let home = home();
    home.write("log", &vec![7; 3 << 20]);
    let appending = Told { appends_to: Some(home.source().join("log")), ..Told::default() };
    let (outcome, told) = home.run_told(appending, &[], |options| backup(&home.repository, options));
    let outcome = outcome.unwrap();
    assert_eq!(outcome.snapshot.statistics.errors, 1, "{told:?}");
    assert!(told[0].contains("consistently"), "{told:?}");
    assert!(home.content(&outcome.snapshot)["/log"].len() >= 3 << 20);
}

#[test]
fn packs_that_vanish_under_a_backup_are_stored_again() {
    let home = home();
    home.write("file", &vec![3; 100_000]);
    let first = home.run().outcome.name.unwrap();
    home.repository.forget_snapshot(first).unwrap();
    // The clock is asked before the walk and after it; the second time, all packs of the forgotten snapshot go.
    let storage = Arc::clone(&home.storage);
    let packs = home.repository.list_packs().unwrap();
    let calls: &'static AtomicUsize = Box::leak(Box::default());
    let clock: &'static (dyn Fn() -> i64 + Sync) = Box::leak(Box::new(move || {
        if calls.fetch_add(1, Ordering::Relaxed) == 1 {
            for (name, _) in &packs {
                storage.remove(Area::Packs, &name.to_string()).unwrap();
            }
        }
        4_000_000_000_000
    }));
    let (outcome, _) = home.run_with(|options| (options.parent, options.clock) = (None, clock));
    let snapshot = outcome.unwrap().snapshot;
    assert!(calls.load(Ordering::Relaxed) >= 4, "it walked twice");
    assert_eq!(home.content(&snapshot)["/file"], vec![3; 100_000]);
}

/// Claims `NAME.app` with `NAME.log` and everything in `NAME.d`, and yields a copy, a virtual file and nothing else.
struct Pretend {
    fail: bool,
}

struct Pretended {
    folder: std::path::PathBuf,
    name: std::path::PathBuf,
    claimed: Vec<std::path::PathBuf>,
    fail: bool,
    previous: Option<Vec<u8>>,
}

impl Application for Pretend {
    fn kind(&self) -> &'static str {
        "pretend"
    }

    fn claim(&self, folder: &capture::Folder<'_>) -> Vec<Box<dyn Capture>> {
        let mains = folder.names.iter().map(Path::new).filter(|name| name.extension() == Some("app".as_ref()));
        let captures = mains.map(|name| {
            let claimed = vec![name.to_owned(), name.with_extension("log"), name.with_extension("d").join("part")];
            let (folder, name) = (folder.path.to_owned(), name.to_owned());
            Box::new(Pretended { folder, name, claimed, fail: self.fail, previous: None }) as Box<dyn Capture>
        });
        captures.collect()
    }
}

impl Capture for Pretended {
    fn name(&self) -> &Path {
        &self.name
    }

    fn claimed(&self) -> &[std::path::PathBuf] {
        &self.claimed
    }

    fn take(&mut self, previous: Option<&[u8]>, pieces: &mut dyn PieceStore) -> Result<Vec<TakenFile>, CaptureError> {
        if self.fail {
            return Err(CaptureError::Application { action: "open", path: self.name.clone(), reason: "no".into() });
        }
        self.previous = previous.map(<[u8]>::to_vec);
        let bytes = |bytes: &'static [u8]| Content::Bytes(Box::new(bytes));
        let main = if previous.is_some() { Content::Unchanged } else { bytes(b"captured") };
        let file = |path: std::path::PathBuf, attributes_of: Option<std::path::PathBuf>, content| TakenFile {
            path,
            attributes_of,
            content,
            cut: None,
        };
        assert!(self.folder.join(&self.name).exists());
        pieces.put(&mut &b"used by nobody"[..], CutPolicy::Fine)?;
        let piece = pieces.put(&mut &b"piece"[..], CutPolicy::Fine)?;
        let parts = vec![Part::Stored(piece.clone()), Part::Hole(2), Part::Hole(1), Part::Stored(piece)];
        Ok(vec![
            file(self.name.clone(), Some(self.name.clone()), main),
            file(self.name.with_extension("virtual"), None, bytes(b"virtual")),
            file(self.name.with_extension("parts"), None, Content::Pieces(parts)),
            file(self.claimed[2].clone(), Some(self.claimed[2].clone()), bytes(b"part as captured")),
        ])
    }

    fn conclude(self: Box<Self>) -> Conclusion {
        Conclusion {
            verdict: Verdict::CrashConsistent,
            version: Some("7".into()),
            consistency_point: None,
            detail: format!("previous: {:?}", self.previous.map(|state| state.len())),
            state: vec![1; fs::metadata(self.folder.join(&self.name)).unwrap().len() as usize],
        }
    }
}

fn with_pretend(
    home: &Home,
    fail: bool,
    change: impl FnOnce(&mut BackupOptions<'_>),
) -> (Result<BackupOutcome>, Vec<String>) {
    home.run_on(&[Box::new(Pretend { fail })], change)
}

#[test]
fn a_capture_decides_what_is_stored_for_what_it_claims() {
    let home = home();
    for name in ["x/db.app", "x/db.log", "x/db.d/part", "x/db.d/other", "x/dc"] {
        home.write(name, b"as it lies on disk");
    }
    let (outcome, told) = with_pretend(&home, false, |_| {});
    let outcome = outcome.unwrap();
    assert_eq!((told, outcome.worst_verdict), (vec![], Some(Verdict::CrashConsistent)));
    let content = home.content(&outcome.snapshot);
    let expected: [(&str, &[u8]); 6] = [
        ("/x/db.app", b"captured"),
        ("/x/db.d/other", b"as it lies on disk"),
        ("/x/db.d/part", b"part as captured"),
        ("/x/db.parts", b"piece\0\0\0piece"),
        ("/x/db.virtual", b"virtual"),
        ("/x/dc", b"as it lies on disk"),
    ];
    assert_eq!(content.iter().map(|(path, bytes)| (path.as_str(), &bytes[..])).collect::<Vec<_>>(), expected);
    let [app] = &outcome.snapshot.applications[..] else { panic!() };
    assert_eq!((app.kind.as_str(), app.verdict.as_str(), app.bytes), ("pretend", "crash-consistent", 44));
    assert_eq!(app.path, home.source().join("x/db.app").into_os_string().into_encoded_bytes());
    let (again, _) = with_pretend(&home, false, |_| {});
    let again = again.unwrap();
    assert_eq!(home.content(&again.snapshot), content);
    let counts = |outcome: &BackupOutcome| {
        let statistics = outcome.snapshot.statistics;
        (statistics.files_new, statistics.files_changed, statistics.files_unmodified)
    };
    assert_eq!((counts(&outcome), counts(&again)), ((6, 0, 0), (0, 0, 6)));
    assert!(again.snapshot.applications[0].detail.contains("Some"), "the state comes back");
    // The main file alone is something to back up.
    let (alone, told) = with_pretend(&home, false, |options| options.paths = vec![home.source().join("x/db.app")]);
    assert!(home.content(&alone.unwrap().snapshot).contains_key("/x/db.app") && told.is_empty(), "{told:?}");
    let (refused, _) = with_pretend(&home, false, |options| options.require_app_ok = true);
    assert!(matches!(refused, Err(SnapshotError::AppNotConsistent { .. })));
    assert_eq!(home.storage.list(Area::Snapshots).unwrap().len(), 3);
}

#[test]
fn what_captures_leave_for_the_next_ones_has_room_in_the_record() {
    let home = home();
    for name in ["a.app", "b.app", "c.app"] {
        home.write(name, b"");
        fs::File::options().write(true).open(home.source().join(name)).unwrap().set_len(2 << 20).unwrap();
    }
    for previous in [["None"; 3], ["Some(2097152)", "None", "None"]] {
        let (outcome, told) = with_pretend(&home, false, |_| {});
        let outcome = outcome.unwrap();
        assert!(outcome.name.is_some() && told.is_empty(), "{told:?}");
        let applications = &outcome.snapshot.applications;
        assert_eq!(applications.iter().map(|app| app.extensions.len()).collect::<Vec<_>>(), [1, 0, 0]);
        assert!(applications.iter().zip(previous).all(|(app, previous)| app.detail == format!("previous: {previous}")));
    }
}

/// Claims a folder `data` and takes a file in it that has lost its name meanwhile.
struct Keeper;

struct Kept(std::path::PathBuf, [std::path::PathBuf; 2]);

impl Application for Keeper {
    fn kind(&self) -> &'static str {
        "keeper"
    }

    fn claim(&self, folder: &crate::capture::Folder<'_>) -> Vec<Box<dyn Capture>> {
        let has_data = folder.look("data".as_ref()).is_some();
        let kept = has_data
            .then(|| Box::new(Kept(folder.path.to_owned(), ["data".into(), "empty".into()])) as Box<dyn Capture>);
        kept.into_iter().collect()
    }
}

impl Capture for Kept {
    fn name(&self) -> &Path {
        Path::new("")
    }

    fn claimed(&self) -> &[std::path::PathBuf] {
        &self.1
    }

    fn folders(&self) -> Vec<std::path::PathBuf> {
        vec!["empty".into()]
    }

    fn take(&mut self, previous: Option<&[u8]>, _: &mut dyn PieceStore) -> Result<Vec<TakenFile>, CaptureError> {
        let path = std::path::PathBuf::from("data/log");
        let content = match std::fs::File::open(self.0.join(&path)) {
            Ok(file) => {
                let file = std::sync::Arc::new(file);
                std::fs::remove_file(self.0.join(&path)).unwrap();
                Content::Held { bytes: Box::new(std::io::Cursor::new(b"as it was")), file }
            }
            Err(_) => {
                assert!(previous.is_some());
                Content::Unchanged
            }
        };
        Ok(vec![TakenFile { attributes_of: Some(path.clone()), path, content, cut: None }])
    }

    fn conclude(self: Box<Self>) -> Conclusion {
        let (verdict, detail, state) = (Verdict::Consistent, String::new(), b"state".to_vec());
        Conclusion { verdict, version: None, consistency_point: None, detail, state }
    }
}

#[test]
fn a_claimed_folder_holds_what_its_capture_yields_even_what_is_gone() {
    let home = home();
    for name in ["app/data.real/log", "app/data.real/other", "app/empty/stranger"] {
        home.write(name, b"as it lies on disk");
    }
    let log = home.source().join("app/data.real/log");
    std::fs::set_permissions(&log, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("data.real", home.source().join("app/data")).unwrap();
    for _ in 0..2 {
        let (outcome, told) = home.run_on(&[Box::new(Keeper)], |_| {});
        let snapshot = outcome.unwrap().snapshot;
        assert_eq!(told, Vec::<String>::new());
        let named = (crate::SnapshotName::from_bytes([0; 32]), snapshot.clone());
        let content = home.content(&snapshot);
        let expected = [("/app/data/log", "as it was"), ("/app/data.real/other", "as it lies on disk")];
        let found: Vec<(&str, &str)> =
            content.iter().map(|(path, bytes)| (path.as_str(), std::str::from_utf8(bytes).unwrap())).collect();
        assert!(found.iter().all(|entry| expected.contains(entry)) && found.len() == 2, "{found:?}");
        let [app] = &snapshot.applications[..] else { panic!() };
        assert_eq!(app.path, home.source().join("app").into_os_string().into_encoded_bytes());
        let path = home.source().join("app/data/log");
        let node = crate::select::resolve_path(&mut home.repository.reader().unwrap(), &named, &path).unwrap();
        assert_eq!(node.mode, 0o640);
        let path = home.source().join("app/empty");
        let node = crate::select::resolve_path(&mut home.repository.reader().unwrap(), &named, &path).unwrap();
        assert!(node.tree().is_some());
    }
}

#[test]
fn a_capture_that_fails_leaves_its_files_out_and_says_so() {
    let home = home();
    for name in ["db.app", "db.log", "other"] {
        home.write(name, b"as it lies on disk");
    }
    let (outcome, told) = with_pretend(&home, true, |_| {});
    let outcome = outcome.unwrap();
    assert_eq!(home.content(&outcome.snapshot).keys().map(String::as_str).collect::<Vec<_>>(), ["/other"]);
    assert_eq!((outcome.snapshot.statistics.errors, told.len()), (1, 1), "{told:?}");
    let [missing] = &outcome.snapshot.not_captured[..] else { panic!("{:?}", outcome.snapshot) };
    assert_eq!((missing.kind.as_str(), missing.place()), ("pretend", &*home.source().join("db.app")));
    assert!(missing.detail.contains("no") && outcome.snapshot.applications.is_empty(), "{missing:?}");
    assert_eq!(crate::Snapshot::read(&home.repository, outcome.name.unwrap()).unwrap(), outcome.snapshot);
    let (refused, _) = with_pretend(&home, true, |options| options.require_app_ok = true);
    assert!(matches!(refused, Err(SnapshotError::AppNotConsistent { applications }) if applications.len() == 1));
}

#[test]
fn a_file_of_a_capture_that_is_not_stored_makes_it_torn() {
    let home = home();
    // What the capture yields there has no attributes: the file does not exist.
    for name in ["db.app", "db.d/other"] {
        home.write(name, b"as it lies on disk");
    }
    let (outcome, told) = with_pretend(&home, false, |_| {});
    let snapshot = outcome.unwrap().snapshot;
    let [app] = &snapshot.applications[..] else { panic!("{snapshot:?}") };
    assert_eq!((app.verdict.as_str(), app.extensions.len(), told.len()), ("torn", 0, 1), "{told:?}");
    assert!(app.detail.contains("db.d/part is not in the snapshot"), "{}", app.detail);
    assert!(!home.content(&snapshot).contains_key("/db.d/part"));
}

#[test]
fn a_stream_is_one_file_and_a_failed_one_is_nothing() {
    let home = home();
    let run = |fails: bool| {
        home.run_options(&[], |options| {
            options.paths = vec!["/dump/db.sql".into()];
            let finish =
                move || if fails { Err(SnapshotError::StreamFailed { detail: "exit 1".into() }) } else { Ok(()) };
            backup_stream(&home.repository, options, &mut &b"dumped"[..], &mut { finish })
        })
    };
    assert!(matches!(run(true).0, Err(SnapshotError::StreamFailed { .. })));
    assert_eq!(home.storage.list(Area::Snapshots).unwrap(), []);
    for counted in [(1, 0), (0, 1)] {
        let snapshot = run(false).0.unwrap().snapshot;
        assert_eq!(home.content(&snapshot), BTreeMap::from([("/dump/db.sql".to_owned(), b"dumped".to_vec())]));
        assert_eq!((snapshot.statistics.files_new, snapshot.statistics.files_unmodified), counted);
    }
}

/// Records a chunk as lost that is there: the next backup must not take over what refers to it.
fn call_lost(home: &Home, id: treering_chunk::ChunkId) {
    let none = home.repository.lost_chunks().unwrap();
    home.repository.record_lost(&none, &BTreeMap::from([(id, ChunkKind::Data)])).unwrap();
}

#[test]
fn an_unchanged_file_with_a_lost_chunk_is_read_again_however_deep_it_lies() {
    let home = home();
    let mut noise = vec![0; 4 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    home.write("large", &noise);
    home.write("other", b"other");
    let first = home.run().outcome.snapshot;
    let mut reader = home.repository.reader().unwrap();
    let mut node = first.root;
    while node.tree().is_some() {
        // The way down has one name in each folder, but for the source: there the file is the first.
        node = TreeReader::new(node.tree().unwrap()).read_next(&mut reader).unwrap().unwrap();
    }
    let NodeKind::File { content, .. } = &node.kind else { panic!() };
    assert!(content.level > 0);
    let mut extents = crate::stream::Extents::of(content);
    let mut middle = None;
    for _ in 0..300 {
        middle = extents.read_next(&mut reader).unwrap().unwrap().chunk();
    }
    let unmodified = home.run().outcome;
    assert_eq!((unmodified.snapshot.statistics.files_unmodified, unmodified.healed.chunks), (2, 0));
    call_lost(&home, middle.unwrap());
    let (dry, _) = home.run_with(|options| options.mode = SessionMode::DryRun);
    assert_eq!(dry.unwrap().healed.chunks, 0);
    let healed = home.run().outcome;
    let statistics = healed.snapshot.statistics;
    assert_eq!((statistics.files_changed, statistics.files_unmodified, healed.healed.chunks), (1, 1, 1));
    assert_eq!(home.run().outcome.snapshot.statistics.files_unmodified, 2);
}

#[test]
fn captures_start_afresh_while_chunks_are_lost() {
    let home = home();
    home.write("db.app", b"as it lies on disk");
    with_pretend(&home, false, |_| {}).0.unwrap();
    call_lost(&home, treering_chunk::ChunkId::from_bytes([9; 32]));
    let outcome = with_pretend(&home, false, |_| {}).0.unwrap();
    assert!(outcome.snapshot.applications[0].detail.contains("None"), "{:?}", outcome.snapshot.applications);
}

#[test]
fn of_a_parent_whose_packs_are_lost_nothing_is_taken_over_unseen() {
    use PackKind::{Data, Meta};
    for (kinds, indexed, opened_between) in [
        (&[Meta][..], true, false),
        (&[Data][..], true, true),
        (&[Data, Meta][..], false, false),
        (&[Data][..], false, true),
    ] {
        let mut home = home();
        home.write("some/large", &(0..80_000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
        home.write("small", b"small");
        let first = home.run().outcome.snapshot;
        let kept = home.content(&first);
        for pack in kinds.iter().flat_map(|kind| home.packs(*kind)) {
            home.storage.remove(Area::Packs, &pack).unwrap();
        }
        if !indexed {
            fs::remove_dir_all(home.folder.path().join("rings/index")).unwrap();
        }
        home.reopen();
        if opened_between {
            // Somebody else has noticed it, and it is not forgotten.
            home.repository.reader().unwrap();
            home.reopen();
        }
        let healed = home.run();
        assert!(healed.outcome.parent_lacks && healed.told.is_empty(), "{:?}", healed.told);
        assert_eq!(healed.outcome.snapshot.statistics.files_unmodified, 0);
        home.reopen();
        assert_eq!(home.content(&healed.outcome.snapshot), kept);
        // What was healed is taken over again, unasked at last.
        for _ in 0..2 {
            let after = home.run().outcome;
            assert_eq!((after.snapshot.statistics.files_unmodified, after.parent_lacks), (2, false));
            assert_eq!(home.content(&after.snapshot), kept);
            home.reopen();
        }
        let (name, _) = Snapshot::read_all(&home.repository).unwrap().snapshots.pop().unwrap();
        let session = Session::start(&home.repository, Some(name), Compression::DEFAULT, SessionMode::DryRun).unwrap();
        assert!(session.trusts_parent());
    }
}

#[test]
fn a_walk_that_sees_packs_vanish_looks_everything_up() {
    let mut home = home();
    home.write("a", b"aaaa");
    home.write("b", b"bbbb");
    let kept = home.content(&home.run().outcome.snapshot);
    let (storage, packs, cache) =
        (Arc::clone(&home.storage), home.packs(PackKind::Data), home.folder.path().join("cache"));
    let walks: &'static AtomicUsize = Box::leak(Box::default());
    let (outcome, told) = home.run_with(|options| {
        let is_excluded = move |path: &Path, _| {
            // Gone while the walk trusts the parent, and noticed by another command.
            if path.ends_with("b") && walks.fetch_add(1, Ordering::Relaxed) == 0 {
                packs.iter().for_each(|pack| storage.remove(Area::Packs, pack).unwrap());
                let opened =
                    Repository::open(Arc::clone(&storage), &Unlock::Nothing, Arc::new(OsEntropy), cache.clone());
                opened.unwrap().reader().unwrap();
            }
            false
        };
        options.is_excluded = Box::leak(Box::new(is_excluded));
    });
    let outcome = outcome.unwrap();
    assert!(outcome.parent_lacks && told.is_empty() && walks.load(Ordering::Relaxed) == 2, "{told:?}");
    home.reopen();
    assert_eq!(home.content(&outcome.snapshot), kept);
}
