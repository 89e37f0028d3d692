//! Applications that come back: beside their place first, and into it only when they are sound and nobody has them open.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::build::{Home, home};
use crate::error::SnapshotError;
use crate::progress::Silent;
use crate::record::{AppEntry, Snapshot};
use crate::restore::{
    Fate, Hold, Layer, Overwrite, Place, Proof, Refusal, RestoreOptions, RestoreSummary, Restorer, Unit, layout,
    restore,
};
use crate::testing::application;

/// An application whose folder is in use while it has a file `open`, and damaged if it has a file `bad`.
struct Fake {
    unit: Unit,
}

impl Restorer for Fake {
    fn kind(&self) -> &'static str {
        "fake"
    }

    fn unit(&self, _: &AppEntry) -> Option<Unit> {
        Some(self.unit.clone())
    }

    fn hold(&self, place: &Place<'_>) -> Result<Hold, Refusal> {
        let folder = if place.path.is_dir() { place.path } else { place.path.parent().unwrap() };
        match folder.join("open").exists() {
            true => Err(Refusal::InUse { detail: "there is a file `open`".into() }),
            false => Ok(Box::new(())),
        }
    }

    fn refuse_open(&self, folder: &Place<'_>, _: &[OsString]) -> Result<(), Refusal> {
        self.hold(folder).map(drop)
    }

    fn adapt(&self, staged: &Place<'_>, target: Option<&Place<'_>>) -> Result<(), Refusal> {
        let old = target.map_or(Vec::new(), |target| fs::read(target.path.join("a")).unwrap_or_default());
        match self.unit {
            Unit::Folder => fs::write(staged.path.join("saw"), old).map_err(Refusal::io("write", staged.shown)),
            Unit::File { .. } | Unit::WithCompanions { .. } => Ok(()),
        }
    }

    fn verify(&self, staged: &Place<'_>) -> Result<Proof, Refusal> {
        match staged.path.join("bad").exists() {
            true => Err(Refusal::Unsound { detail: "it is bad".into() }),
            false => Ok(Proof { detail: "it is good".into(), ..Proof::default() }),
        }
    }
}

/// `/data/app` is an instance with these files, `/data/other` a file like any other.
fn snapshot(home: &mut Home, files: &[&str], path: &str) -> Snapshot {
    let files: Vec<_> = files.iter().map(|name| home.file(name, format!("new {name}").as_bytes())).collect();
    let (app, other) = (home.folder("app", files), home.file("other", b"new"));
    let data = home.folder("data", [app, other]);
    let mut snapshot = home.snapshot(data);
    snapshot.applications.push(application("fake", path, None));
    snapshot
}

fn bring_back(
    home: &Home,
    snapshot: &Snapshot,
    unit: Unit,
    sub_path: Option<&str>,
    change: impl FnOnce(&mut RestoreOptions<'_>),
) -> Result<RestoreSummary, SnapshotError> {
    let applications: Vec<Box<dyn Restorer>> = vec![Box::new(Fake { unit })];
    let roots = layout(snapshot, &mut home.repository.reader().unwrap(), sub_path.map(Path::new), false).unwrap();
    let mut options = RestoreOptions { applications: &applications, ..RestoreOptions::new(home.target(), roots) };
    change(&mut options);
    restore(&home.repository, snapshot, &options, &Silent)
}

/// What is in a folder, by name; what stages and old content are called is cut off behind the last `-`.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| match name.contains(".treering-") {
            true => name.rsplit_once('-').unwrap().0.to_owned(),
            false => name,
        })
        .collect();
    names.sort();
    names
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap()
}

fn fate(summary: &RestoreSummary) -> &Fate {
    &summary.applications[0].fate
}

#[test]
fn a_folder_is_exchanged_and_its_old_content_moved_aside() {
    let mut home = home();
    let snapshot = snapshot(&mut home, &["a", "b"], "/data/app");
    let target = home.target();
    fs::create_dir_all(target.join("app")).unwrap();
    fs::write(target.join("app/a"), "old").unwrap();
    fs::write(target.join("app/foreign"), "old").unwrap();
    let done = bring_back(&home, &snapshot, Unit::Folder, None, |_| {}).unwrap();
    assert_eq!((done.errors, done.files_restored), (0, 3));
    assert_eq!(names(&target), ["app", "app.treering-old", "other"]);
    assert_eq!(names(&target.join("app")), ["a", "b", "saw"]);
    assert_eq!(read(target.join("app/saw")), "old");
    let Fate::InPlace { old: Some(old), .. } = fate(&done) else { panic!("{done:?}") };
    assert_eq!(names(old), ["a", "foreign"]);
    // The next one says what there is of the one before, and deletes only what it is told to delete.
    let again = bring_back(&home, &snapshot, Unit::Folder, None, |options| options.delete = true).unwrap();
    assert!(matches!(fate(&again), Fate::InPlace { old: None, .. }), "{again:?}");
    assert_eq!(names(&target), ["app", "other"]);
}

#[test]
fn the_target_itself_is_exchanged() {
    let mut home = home();
    let snapshot = snapshot(&mut home, &["a"], "/data/app");
    for _ in 0..2 {
        let done = bring_back(&home, &snapshot, Unit::Folder, Some("/data/app"), |_| {}).unwrap();
        assert!(matches!(fate(&done), Fate::InPlace { .. }));
        assert_eq!(names(&home.target()), ["a", "saw"]);
    }
    assert_eq!(
        bring_back(&home, &snapshot, Unit::Folder, Some("/data/app"), |_| {}).unwrap().applications[0].leftovers.len(),
        1
    );
}

#[test]
fn nothing_is_touched_while_somebody_has_it_open() {
    let mut home = home();
    let snapshot = snapshot(&mut home, &["a"], "/data/app");
    fs::create_dir_all(home.target().join("app")).unwrap();
    fs::write(home.target().join("app/open"), "").unwrap();
    let refused = bring_back(&home, &snapshot, Unit::Folder, None, |_| {});
    assert!(matches!(refused, Err(SnapshotError::InUse { .. })), "{refused:?}");
    assert_eq!(names(&home.target()), ["app"]);
    assert_eq!(names(&home.target().join("app")), ["open"]);
}

/// The snapshot holds nothing of the application, or its files like any others, and somebody has it open in the target.
#[test]
fn what_somebody_has_open_is_not_touched_though_the_snapshot_does_not_know_of_it() {
    let mut home = home();
    let mut plain = snapshot(&mut home, &["a"], "/data/app");
    plain.applications.clear();
    let other = home.file("other", b"new");
    let data = home.folder("data", [other]);
    let without = home.snapshot(data);
    fs::create_dir_all(home.target().join("app/deep")).unwrap();
    fs::create_dir_all(home.target().join("more/app")).unwrap();
    fs::write(home.target().join("app/open"), "").unwrap();
    for dry_run in [true, false] {
        for (snapshot, delete) in [(&plain, false), (&plain, true), (&without, true)] {
            let refused = bring_back(&home, snapshot, Unit::Folder, None, |options| {
                (options.delete, options.dry_run) = (delete, dry_run);
            });
            let Err(SnapshotError::InUse { path, .. }) = refused else { panic!("{refused:?}") };
            assert_eq!(path, home.target().join("app"));
            assert_eq!(
                (names(&home.target()).len(), names(&home.target().join("app"))),
                (2, vec!["deep".to_owned(), "open".to_owned()])
            );
        }
    }
    // Deep in what would go.
    fs::rename(home.target().join("app/open"), home.target().join("more/app/open")).unwrap();
    fs::write(home.target().join("more/app/a"), "").unwrap();
    let refused = bring_back(&home, &plain, Unit::Folder, None, |options| options.delete = true);
    assert!(matches!(&refused, Err(SnapshotError::InUse { path, .. }) if path.ends_with("more/app")), "{refused:?}");
    // What is not touched may be open, and so may everything if nobody is asked.
    bring_back(&home, &plain, Unit::Folder, None, |_| {}).unwrap();
    bring_back(&home, &without, Unit::Folder, None, |options| (options.delete, options.applications) = (true, &[]))
        .unwrap();
    assert_eq!(names(&home.target()), ["other"]);
}

/// A dry run is refused what the real one would be.
#[test]
fn a_dry_run_over_what_somebody_has_open_is_refused() {
    let mut home = home();
    let snapshot = snapshot(&mut home, &["a"], "/data/app");
    fs::create_dir_all(home.target().join("app")).unwrap();
    fs::write(home.target().join("app/open"), "").unwrap();
    let refused = bring_back(&home, &snapshot, Unit::Folder, None, |options| options.dry_run = true);
    assert!(matches!(refused, Err(SnapshotError::InUse { .. })), "{refused:?}");
    let refused = bring_back(&home, &snapshot, Unit::Folder, None, |options| {
        (options.dry_run, options.overwrite) = (true, Overwrite::Never);
    });
    assert!(matches!(refused, Err(SnapshotError::NotBroughtBack { .. })), "{refused:?}");
    assert_eq!(names(&home.target().join("app")), ["open"]);
}

#[test]
fn what_is_not_sound_stays_beside_its_place() {
    let mut home = home();
    let snapshot = snapshot(&mut home, &["a", "bad"], "/data/app");
    fs::create_dir_all(home.target().join("app")).unwrap();
    fs::write(home.target().join("app/a"), "old").unwrap();
    let done = bring_back(&home, &snapshot, Unit::Folder, None, |_| {}).unwrap();
    let Fate::Staged { stage, why } = fate(&done) else { panic!("{done:?}") };
    assert_eq!(why, "it is bad");
    assert_eq!(read(home.target().join("app/a")), "old");
    assert_eq!(read(stage.join("a")), "new a");
    let again = bring_back(&home, &snapshot, Unit::Folder, None, |_| {}).unwrap();
    assert_eq!(again.applications[0].leftovers.as_slice(), std::slice::from_ref(stage));
}

#[test]
fn a_file_and_those_beside_it_are_exchanged_one_by_one() {
    let mut home = home();
    let snapshot = snapshot(&mut home, &["main", "side", "other"], "/data/app/main");
    let app = home.target().join("app");
    fs::create_dir_all(&app).unwrap();
    fs::write(app.join("main"), "old").unwrap();
    let unit = Unit::File { beside: vec!["side".into(), "absent".into()] };
    let done = bring_back(&home, &snapshot, unit.clone(), None, |_| {}).unwrap();
    assert_eq!(names(&app), ["main", "main.treering-old", "other", "side"]);
    assert_eq!((read(app.join("main")), read(app.join("side"))), ("new main".into(), "new side".into()));
    let Fate::InPlace { old: Some(old), .. } = fate(&done) else { panic!("{done:?}") };
    assert_eq!(read(old.join("main")), "old");
}

#[test]
fn what_an_application_would_take_for_a_part_of_it_does_not_stay_beside_it() {
    let mut home = home();
    let snapshot = snapshot(&mut home, &["main", "log", "other"], "/data/app/main");
    let app = home.target().join("app");
    let unit = |may_be_stored| Unit::WithCompanions { names: vec!["log".into(), "stale".into()], may_be_stored };
    let run = |may_be_stored, change: &dyn Fn(&mut RestoreOptions<'_>)| {
        bring_back(&home, &snapshot, unit(may_be_stored), None, |options| change(options)).unwrap()
    };
    assert_eq!(run(false, &|_| {}).applications, [], "an empty target needs no stage");
    assert_eq!(names(&app), ["log", "main", "other"]);
    for name in ["main", "stale", "foreign"] {
        fs::write(app.join(name), "old").unwrap();
    }
    fs::remove_file(app.join("log")).unwrap();
    assert_eq!(run(false, &|options| options.overwrite = Overwrite::Never).applications, []);
    assert_eq!(names(&app), ["foreign", "main", "other", "stale"], "no log comes beside a file that stays");
    assert_eq!(read(app.join("main")), "old");
    let newer = |options: &mut RestoreOptions<'_>| options.overwrite = Overwrite::IfNewer;
    let refused = bring_back(&home, &snapshot, unit(false), None, newer);
    assert!(matches!(refused, Err(SnapshotError::NotBroughtBack { .. })), "{refused:?}");
    let done = run(false, &|_| {});
    assert_eq!(names(&app), ["foreign", "log", "main", "main.treering-old", "other"]);
    let Fate::InPlace { old: Some(old), .. } = fate(&done) else { panic!("{done:?}") };
    assert_eq!((read(old.join("main")), read(old.join("stale"))), ("old".into(), "old".into()));
    assert_eq!((read(app.join("main")), read(app.join("log"))), ("new main".into(), "new log".into()));
    fs::remove_dir_all(old).unwrap();
    fs::remove_file(app.join("main")).unwrap();
    fs::write(app.join("stale"), "old").unwrap();
    run(false, &|options| options.delete = true);
    assert_eq!(names(&app), ["log", "main", "other"], "what was beside nothing has gone too");
    assert_eq!(run(true, &|_| {}).applications.len(), 1);
}

#[test]
fn parts_of_it_and_dry_runs_and_other_kinds_are_files_like_any_other() {
    let mut home = home();
    let snapshot = snapshot(&mut home, &["a"], "/data/app");
    let done = bring_back(&home, &snapshot, Unit::Folder, None, |options| options.dry_run = true).unwrap();
    assert!(done.applications.is_empty() && done.files_restored == 2);
    assert!(!home.target().exists());
    let done = bring_back(&home, &snapshot, Unit::Folder, Some("/data/app/a"), |_| {}).unwrap();
    assert!(done.applications.is_empty());
    assert_eq!(names(&home.target()), ["a"]);
}

#[test]
fn it_is_exchanged_as_a_whole_or_not_at_all() {
    let mut home = home();
    let snapshot = snapshot(&mut home, &["a"], "/data/app");
    fs::create_dir_all(home.target().join("app")).unwrap();
    fs::write(home.target().join("app/a"), "old").unwrap();
    let refused = bring_back(&home, &snapshot, Unit::Folder, None, |options| options.overwrite = Overwrite::Never);
    assert!(matches!(refused, Err(SnapshotError::NotBroughtBack { .. })), "{refused:?}");
}

#[test]
fn a_link_in_the_way_is_not_followed() {
    let mut home = home();
    let snapshot = snapshot(&mut home, &["a"], "/data/app");
    fs::create_dir_all(home.target()).unwrap();
    std::os::unix::fs::symlink(home.path("outside"), home.target().join("app")).unwrap();
    let refused = bring_back(&home, &snapshot, Unit::Folder, None, |_| {});
    assert!(matches!(refused, Err(SnapshotError::Blocked { .. })), "{refused:?}");
    assert_eq!(names(&home.path("outside")), ["canary"]);
}

/// It would go with the old content.
#[test]
fn what_holds_the_repository_is_not_exchanged() {
    let mut home = home();
    for (path, unit) in [
        ("/data", Unit::Folder),
        ("/data/rings", Unit::Folder),
        ("/data/other", Unit::File { beside: vec!["rings".into()] }),
        ("/data/other", Unit::WithCompanions { names: vec!["rings".into()], may_be_stored: false }),
    ] {
        let snapshot = snapshot(&mut home, &["a"], path);
        for dry_run in [true, false] {
            let refused = bring_back(&home, &snapshot, unit.clone(), None, |options| {
                (options.target, options.dry_run, options.delete) = (home.folder.path().to_owned(), dry_run, true);
            });
            let is_refused = match &refused {
                Err(SnapshotError::NotBroughtBack { detail, .. }) => detail.contains("the repository"),
                Err(SnapshotError::OfRepository { path, .. }) => path.ends_with("rings"),
                _ => false,
            };
            assert!(is_refused && home.path("rings/config").exists(), "{path}: {refused:?}");
        }
    }
}

/// Two snapshots in one stage.
struct Layered {
    other: Snapshot,
}

impl Restorer for Layered {
    fn kind(&self) -> &'static str {
        "fake"
    }

    fn unit(&self, _: &AppEntry) -> Option<Unit> {
        Some(Unit::Folder)
    }

    fn layers<'s>(&'s self, _: &AppEntry, snapshot: &'s Snapshot) -> Vec<Layer<'s>> {
        let takes: Box<dyn Fn(&Path) -> bool + Sync> = Box::new(|path| path == Path::new("b"));
        vec![Layer { snapshot, takes: None }, Layer { snapshot: &self.other, takes: Some(takes) }]
    }

    fn hold(&self, _: &Place<'_>) -> Result<Hold, Refusal> {
        Ok(Box::new(()))
    }

    fn verify(&self, _: &Place<'_>) -> Result<Proof, Refusal> {
        Ok(Proof::default())
    }
}

#[test]
fn a_stage_may_come_from_two_snapshots() {
    let mut home = home();
    let files = [home.file("a", b"later"), home.file("b", b"later")];
    let (app, other) = (home.folder("app", files), home.file("other", b"later"));
    let data = home.folder("data", [app, other]);
    let root = home.folder("root", [data]);
    let first = snapshot(&mut home, &["a"], "/data/app");
    let applications: Vec<Box<dyn Restorer>> = vec![Box::new(Layered { other: Snapshot { root, ..first.clone() } })];
    let roots = layout(&first, &mut home.repository.reader().unwrap(), None, false).unwrap();
    let options = RestoreOptions { applications: &applications, ..RestoreOptions::new(home.target(), roots) };
    restore(&home.repository, &first, &options, &Silent).unwrap();
    let app = home.target().join("app");
    assert_eq!((names(&app), read(app.join("a"))), (vec!["a".to_owned(), "b".to_owned()], "new a".to_owned()));
    assert_eq!((read(app.join("b")), read(home.target().join("other"))), ("later".into(), "new".into()));
}
