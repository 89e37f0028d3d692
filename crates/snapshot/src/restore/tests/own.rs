//! The repository that is restored from lies in the target, or the target in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::build::*;
use crate::error::SnapshotError;
use crate::node::{Node, NodeKind};
use crate::record::Snapshot;
use crate::restore::{Choice, Overwrite, RestoreOptions, RestoreSummary, restore};

/// The names and contents of the repository, without its index, which may be in the midst of something.
fn content(home: &Home) -> BTreeMap<PathBuf, (u64, Vec<u8>)> {
    let all = look(&home.path("rings")).into_iter().filter(|(path, _)| !path.starts_with("index"));
    all.map(|(path, seen)| (path, (seen.inode, seen.content))).collect()
}

/// What lies beside the repository in the folder of the test; `rings` is as the snapshot has it, if it does.
fn beside(home: &mut Home, rings: Option<NodeKind>) -> Snapshot {
    let file = home.file("canary", b"alive");
    let outside = home.folder("outside", [file]);
    let rings = rings.map(|kind| node("rings", kind));
    let data = home.folder("data", [outside].into_iter().chain(rings));
    home.snapshot(Node { mode: 0o700, ..data })
}

/// A repository's own names, as a snapshot of another one may have them.
fn rings(home: &mut Home) -> NodeKind {
    let config = home.file("config", b"another config");
    let packs = home.folder("packs", []);
    home.folder("rings", [config, packs]).kind
}

fn in_home(home: &Home, target: &Path, snapshot: &Snapshot, options: &mut RestoreOptions<'_>) {
    *options = RestoreOptions { delete: true, verify: true, ..RestoreOptions::new(target, home.roots(snapshot)) };
}

#[test]
fn a_target_that_is_or_lies_in_the_repository_is_refused() {
    let mut home = home();
    let snapshot = beside(&mut home, None);
    fs::create_dir(home.path("cache")).unwrap();
    std::os::unix::fs::symlink(home.path("rings"), home.path("link")).unwrap();
    let before = content(&home);
    for target in ["rings", "rings/packs", "rings/none/new", "link", "link/packs", "cache", "outside/../rings"] {
        for dry_run in [true, false] {
            let (refused, _) = home.restore(&snapshot, |options| {
                in_home(&home, &home.path(target), &snapshot, options);
                options.dry_run = dry_run;
            });
            assert!(matches!(refused, Err(SnapshotError::OfRepository { .. })), "{target}: {refused:?}");
            assert!(content(&home) == before, "{target}");
        }
    }
}

#[test]
fn a_repository_in_the_target_is_not_deleted() {
    let mut home = home();
    let snapshot = beside(&mut home, None);
    for name in ["cache", "gone"] {
        fs::create_dir(home.path(name)).unwrap();
    }
    let before = content(&home);
    for dry_run in [true, false] {
        let (summary, log) = home.restore(&snapshot, |options| {
            in_home(&home, home.folder.path(), &snapshot, options);
            options.dry_run = dry_run;
        });
        let summary = summary.unwrap();
        assert_eq!((summary.errors, log.failures(), summary.files_deleted), (0, vec![], 1));
        let spared = ["cache", "rings"].map(|name| home.path(name).canonicalize().unwrap());
        assert!(summary.spared.iter().eq(&spared), "{:?}", summary.spared);
        assert!(content(&home) == before && home.path("gone").exists() == dry_run);
    }
    // Nor in a folder that the snapshot does not have.
    let (snapshot, before) = (in_the_folder_above(&mut home, &[]), content(&home));
    let (summary, _) = restore_above(&home, &snapshot, true);
    assert!(summary.spared.contains(&home.path("rings").canonicalize().unwrap()));
    assert!(content(&home) == before);
}

fn name(home: &Home) -> String {
    home.folder.path().file_name().unwrap().to_str().unwrap().to_owned()
}

/// A snapshot of the folder that the folder of the test is in.
fn in_the_folder_above(home: &mut Home, entries: &[Node]) -> Snapshot {
    let data = home.folder("data", entries.iter().cloned());
    home.snapshot(data)
}

/// There is more in the folder above than this test has made, and that folder itself stays as it is.
fn only(name: &str, path: &Path) -> Choice {
    match path.strip_prefix("/data") {
        Ok(inside) if inside.starts_with(name) => Choice::Take,
        Ok(inside) if inside.as_os_str().is_empty() => Choice::Descend,
        _ => Choice::Skip,
    }
}

fn restore_above(home: &Home, snapshot: &Snapshot, dry_run: bool) -> (RestoreSummary, Log) {
    let (name, log) = (name(home), Log::default());
    let selection = |path: &Path, _: bool| only(&name, path);
    let target = home.folder.path().parent().unwrap();
    let options = RestoreOptions {
        selection: &selection,
        delete: true,
        dry_run,
        ..RestoreOptions::new(target, home.roots(snapshot))
    };
    (restore(&home.repository, snapshot, &options, &log).unwrap(), log)
}

#[test]
fn what_a_snapshot_has_in_the_place_of_the_repository_is_not_restored() {
    for (is_folder, rule) in [(true, Overwrite::Always), (true, Overwrite::Never), (false, Overwrite::Always)] {
        let mut home = home();
        let rings = if is_folder { rings(&mut home) } else { home.file("rings", b"a file").kind };
        let snapshot = beside(&mut home, Some(rings));
        let before = content(&home);
        for dry_run in [true, false] {
            let (summary, log) = home.restore(&snapshot, |options| {
                in_home(&home, home.folder.path(), &snapshot, options);
                (options.dry_run, options.overwrite) = (dry_run, rule);
            });
            let summary = summary.unwrap();
            assert_eq!((summary.errors, log.failures()), (1, vec!["/data/rings".to_owned()]), "{is_folder}");
            assert!(log.failed.lock()[0].1.contains("belongs to the repository"), "{:?}", log.failed.lock());
            assert!(content(&home) == before, "{is_folder} {rule:?}");
        }
    }
}

/// Before a file takes the place of a folder, nothing in that is deleted.
#[test]
fn a_folder_that_holds_the_repository_gives_way_to_nothing() {
    let mut home = home();
    let name = name(&home);
    let (file, link) = (home.file(&name, b"a file"), symlink(&name, "nowhere"));
    for entry in [file, link] {
        let snapshot = in_the_folder_above(&mut home, &[entry]);
        let before = content(&home);
        let (summary, log) = restore_above(&home, &snapshot, false);
        assert_eq!((summary.errors, log.failures().len()), (1, 1), "{:?}", log.failed.lock());
        assert!(content(&home) == before && home.path("outside/canary").exists());
    }
}
