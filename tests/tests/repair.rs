//! The worst day: each kind of object damaged or deleted, then the repairs, then a check that finds nothing; and what is
//! restored is what was backed up, but for the paths that were named.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use treering_tests::{Ran, Treering, assert_same, count, fingerprint, id, run};
use treering_workloads::Random;

struct Home {
    temp: tempfile::TempDir,
    treering: Treering,
    snapshot: String,
}

/// Two packs: data in several frames, and trees; plus the pack of the record's second copy.
fn home() -> Home {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let tree = temp.path().join("tree");
    let mut random = Random::named(1, "repair");
    for folder in ["one", "two"] {
        fs::create_dir_all(tree.join(folder)).unwrap();
        fs::write(tree.join(folder).join("large"), random.bytes(3 << 20)).unwrap();
        for number in 0..50 {
            fs::write(tree.join(folder).join(format!("{number:02}")), random.bytes(20_000)).unwrap();
        }
    }
    // What is as young as the snapshot is read again by the next.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let snapshot = id(&treering.backup(&tree));
    Home { temp, treering, snapshot }
}

impl Home {
    fn tree(&self) -> PathBuf {
        self.temp.path().join("tree")
    }

    /// All objects of an area, the largest first.
    fn objects(&self, area: &str) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = files(&self.treering.repository().join(area)).into_keys().collect();
        found.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
        found
    }

    /// The pack of data, or one of the others.
    fn pack(&self, kind: u8) -> PathBuf {
        self.objects("packs").into_iter().find(|pack| fs::read(pack).unwrap()[10] == kind).unwrap()
    }

    fn repair(&self, arguments: &[&str]) -> Ran {
        run(self.treering.command("repair").args(arguments))
    }

    /// What a dry run says, which changes nothing, and the repair says again.
    #[track_caller]
    fn repair_twice(&self, arguments: &[&str], code: i32) -> Value {
        let before = self.listing();
        let planned = self.repair(&[arguments, &["--dry-run"]].concat()).expect(code);
        assert_eq!(before, self.listing(), "a dry run of {arguments:?} changed something");
        let done = self.repair(arguments).expect(code);
        let summary = done.message("summary");
        let mut expected = planned.message("summary");
        expected["dry_run"] = false.into();
        assert_eq!(summary, expected, "{planned}\n{done}");
        summary
    }

    /// All files but those of the index, which follows from the others.
    fn listing(&self) -> BTreeMap<PathBuf, blake3::Hash> {
        let mut all = files(self.treering.repository());
        all.retain(|path, _| !path.starts_with(self.treering.repository().join("index")));
        all
    }

    #[track_caller]
    fn check(&self, read_data: bool, code: i32) -> Ran {
        let mut command = self.treering.command("check");
        command.args(read_data.then_some("--read-data"));
        run(&mut command).expect(code)
    }

    fn restore(&self, snapshot: &str) -> PathBuf {
        let target = self.temp.path().join("restored");
        drop(fs::remove_dir_all(&target));
        self.treering.restore(snapshot, &target);
        target
    }

    /// If the tree of the root is lost, so is the path that was backed up: then there is nothing to restore.
    fn restore_rest(&self, snapshot: &str) -> PathBuf {
        let target = self.temp.path().join("restored");
        drop(fs::remove_dir_all(&target));
        let ran = run(self.treering.command("restore").args(["--snapshot", snapshot, "--target"]).arg(&target));
        assert!(matches!(ran.status.code(), Some(0 | 1)), "{ran}");
        target
    }

    #[track_caller]
    fn assert_whole(&self) {
        assert_same(&fingerprint(&self.tree()), &fingerprint(&self.restore(&self.snapshot)));
        self.check(true, 0);
    }

    fn latest(&self) -> Value {
        self.treering.snapshots().pop().unwrap()
    }

    /// Records of kind 4; the kind stands in their clear header.
    fn records_of_lost_chunks(&self) -> usize {
        let records = self.objects("records");
        records.iter().filter(|path| fs::read(path).unwrap()[6..8] == 4u16.to_le_bytes()).count()
    }

    fn replaced(&self) -> usize {
        files(&self.treering.repository().join("replaced")).len()
    }

    /// Restores the repaired snapshot: what is missing is what was named, and everything else is the same.
    #[track_caller]
    fn assert_repaired(&self, rewritten: &Value) {
        let prefix = self.tree().canonicalize().unwrap();
        let snapshot = rewritten["snapshot_id"].as_str().unwrap();
        assert_eq!(rewritten["original"], self.snapshot.as_str());
        assert_eq!(self.latest()["id"], snapshot);
        assert!(self.latest()["tags"].as_array().unwrap().contains(&"repaired".into()));
        let (restored, mut missing) = (self.restore_rest(snapshot), Vec::new());
        for (path, hash) in files(&self.tree()) {
            let relative = path.strip_prefix(self.tree()).unwrap();
            match fs::read(restored.join(relative)) {
                Ok(bytes) => assert_eq!(blake3::hash(&bytes), hash, "{}", path.display()),
                Err(_) => missing.push(prefix.join(relative).to_str().unwrap().to_owned()),
            }
        }
        let list = |name: &str| -> Vec<String> { serde_json::from_value(rewritten[name].clone()).unwrap() };
        let (lost, torn) = (list("lost_files"), list("torn_folders"));
        assert!(!missing.is_empty());
        assert!(lost.iter().all(|path| missing.contains(path)), "{lost:?}");
        let is_named = |path: &&String| lost.contains(path) || torn.iter().any(|folder| path.starts_with(folder));
        assert_eq!(missing.iter().filter(is_named).count(), missing.len(), "{missing:?}\n{lost:?}\n{torn:?}");
    }
}

fn files(root: &Path) -> BTreeMap<PathBuf, blake3::Hash> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => folders.push(path),
                false => drop(found.insert(path.clone(), blake3::hash(&fs::read(&path).unwrap()))),
            }
        }
    }
    found
}

/// Flips a bit, counted from the start or, if negative, from the end.
fn flip(path: &Path, at: i64) {
    let mut bytes = fs::read(path).unwrap();
    let at = if at < 0 { bytes.len() - at.unsigned_abs() as usize } else { at as usize };
    bytes[at] ^= 1;
    // Objects are never written to: another takes the place.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn truncate(path: &Path, keep: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(keep).unwrap();
}

/// In the first and in the last frame: stat streams are written before trees, or the other way round.
fn flip_trees(pack: &Path) {
    flip(pack, 120);
    flip(pack, trailer_at(pack) - 40);
}

/// What the footer says: where the trailer is.
fn trailer_at(path: &Path) -> i64 {
    let bytes = fs::read(path).unwrap();
    let footer = &bytes[bytes.len() - 102..];
    i64::try_from(u64::from_le_bytes(footer[78..86].try_into().unwrap())).unwrap()
}

#[test]
fn a_pack_whose_frames_are_whole_is_mended_without_loss() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 5] = [
        ("header", |pack| flip(pack, 30)),
        ("trailer", |pack| flip(pack, trailer_at(pack) + 5)),
        ("footer", |pack| flip(pack, -20)),
        ("second header", |pack| flip(pack, -80)),
        ("cut off behind the frames", |pack| truncate(pack, trailer_at(pack) as u64)),
    ];
    let home = home();
    for (what, harm) in harms {
        for kind in [1, 2] {
            harm(&home.pack(kind));
            home.check(false, 5);
            let summary = home.repair_twice(&["packs"], 0);
            assert_eq!((count(&summary, "packs"), count(&summary, "lost_chunks")), (1, 0), "{what}: {summary}");
            assert_eq!(home.replaced(), 1, "{what}");
            home.check(false, 0);
            assert_eq!(home.replaced(), 1, "a check that reads no data removes nothing");
            home.assert_whole();
            assert_eq!(home.replaced(), 0, "a check of all data without errors removes what was replaced");
        }
    }
}

#[test]
fn what_a_flipped_bit_in_data_costs_is_named_and_everything_else_comes_back() {
    let home = home();
    flip(&home.pack(1), 3 << 20);
    home.check(false, 0);
    home.check(true, 5);
    let nothing = home.repair_twice(&["packs"], 0);
    assert_eq!(count(&nothing, "packs"), 0, "the structure does not show it");
    let summary = home.repair_twice(&["packs", "--read-data"], 3);
    assert!(count(&summary, "packs") == 1 && count(&summary, "lost_chunks") > 0, "{summary}");
    home.check(true, 5);
    assert_eq!(home.replaced(), 1, "what was replaced is kept while there are errors");
    home.repair_twice_snapshots();
    home.check(true, 0);
    assert_eq!(home.replaced(), 0);
}

impl Home {
    #[track_caller]
    fn repair_twice_snapshots(&self) {
        let before = self.listing();
        let planned = self.repair(&["snapshots", "-n"]).expect(0);
        assert_eq!(before, self.listing());
        let done = self.repair(&["snapshots"]).expect(0);
        let (mut planned, mut rewritten) = (planned.message("rewritten"), done.message("rewritten"));
        self.assert_repaired(&rewritten);
        for message in [&mut planned, &mut rewritten] {
            message.as_object_mut().unwrap().remove("snapshot_id");
        }
        assert_eq!(planned, rewritten);
    }
}

#[test]
fn what_a_cut_off_pack_costs_is_named() {
    let home = home();
    let pack = home.pack(1);
    truncate(&pack, fs::metadata(&pack).unwrap().len() / 2);
    home.check(false, 5);
    home.repair_twice(&["packs"], 3);
    home.repair_twice_snapshots();
    home.check(true, 0);
}

#[test]
fn what_a_flipped_bit_in_a_tree_costs_is_named() {
    let home = home();
    flip_trees(&home.pack(2));
    home.check(false, 5);
    home.repair_twice(&["packs"], 3);
    home.repair_twice_snapshots();
    home.check(true, 0);
}

/// Data, trees or the second copy of the record: the next backup of what is still there heals all snapshots.
#[test]
fn a_backup_heals_what_packs_have_lost() {
    type Harm = fn(&Home);
    let harms: [(&str, Harm); 6] = [
        ("bit of data", |home| flip(&home.pack(1), 3 << 20)),
        ("bit of a stat stream", |home| flip(&home.pack(2), 120)),
        ("bits of trees", |home| flip_trees(&home.pack(2))),
        ("pack of data", |home| fs::remove_file(home.pack(1)).unwrap()),
        ("pack of trees", |home| fs::remove_file(home.pack(2)).unwrap()),
        ("all packs", |home| home.objects("packs").iter().for_each(|pack| fs::remove_file(pack).unwrap())),
    ];
    for (what, harm) in harms {
        let home = home();
        harm(&home);
        home.check(true, 5);
        let lost = count(&home.repair_twice(&["packs", "--read-data"], 3), "lost_chunks");
        let summary = home.treering.backup(&home.tree());
        assert!(count(&summary, "healed_chunks") >= lost && lost > 0, "{what}: {lost} were lost: {summary}");
        assert!(count(&summary, "healed_bytes") > 0, "{what}");
        home.assert_whole();
        let again = home.treering.backup(&home.tree());
        assert_eq!((count(&again, "healed_chunks"), count(&again, "files_changed")), (0, 0), "{what}: {again}");
        assert_eq!(home.records_of_lost_chunks(), 0, "{what}");
    }
}

#[test]
fn a_backup_heals_only_what_is_still_there_and_says_how_much() {
    let home = home();
    fs::remove_file(home.pack(1)).unwrap();
    let lost = count(&home.repair_twice(&["packs"], 3), "lost_chunks");
    fs::remove_dir_all(home.tree().join("one")).unwrap();
    let mut command = home.treering.backup_command(&home.tree());
    let healed = count(&run(&mut command).expect(0).message("summary"), "healed_chunks");
    assert!(healed > 0 && healed < lost, "{healed} of {lost}");
    home.check(true, 5);
    let rewritten = home.repair(&["snapshots"]).expect(0).message("rewritten");
    assert_eq!(rewritten["lost_files"].as_array().unwrap().len(), 51, "{rewritten}");
    home.check(true, 0);
}

#[test]
fn a_lost_or_damaged_snapshot_record_comes_back() {
    let home = home();
    type Harm = fn(&Path);
    let harms: [(Harm, bool); 2] =
        [(|record| fs::remove_file(record).unwrap(), false), (|record| flip(record, 100), true)];
    for (harm, was_committed) in harms {
        harm(&home.objects("snapshots")[0]);
        let planned = home.repair(&["snapshots", "--dry-run"]).expect(0).message("returned");
        let summary = home.repair_twice(&["snapshots"], 0);
        assert_eq!((count(&summary, "returned"), count(&summary, "rewritten")), (1, 0));
        assert_eq!((&planned["action"], &planned["was_committed"]), (&"returned".into(), &was_committed.into()));
        assert_eq!(planned["snapshot_id"], home.snapshot.as_str());
        home.assert_whole();
    }
    // What was forgotten on purpose does not.
    run(home.treering.command("forget").arg(&home.snapshot)).expect(0);
    assert_eq!(count(&home.repair_twice(&["snapshots"], 0), "returned"), 0);
    assert_eq!(home.treering.snapshots().len(), 0);
}

#[test]
fn each_copy_of_the_config_and_of_the_key_is_made_whole() {
    let home = home();
    let root = home.treering.repository().to_owned();
    let key = home.objects("keys")[0].file_name().unwrap().to_owned();
    type Harm = fn(&Path);
    let harms: [Harm; 3] = [|path| flip(path, 40), |path| truncate(path, 10), |path| fs::remove_file(path).unwrap()];
    for path in ["config".into(), "copy/config".into(), Path::new("keys").join(&key), Path::new("copy/keys").join(&key)]
    {
        for harm in harms {
            harm(&root.join(&path));
            home.check(false, 5);
            let summary = home.repair_twice(&["config"], 0);
            assert_eq!((count(&summary, "repaired"), count(&summary, "not_repaired")), (1, 0), "{}", path.display());
            home.check(false, 0);
        }
    }
    home.assert_whole();
    assert_eq!(count(&home.repair_twice(&["config"], 0), "repaired"), 0);
}

#[test]
fn the_index_is_made_anew_whatever_it_was() {
    let home = home();
    let index = home.treering.repository().join("index/index.db");
    for harm in [|path: &Path| fs::write(path, [7; 9000]).unwrap(), |path: &Path| fs::remove_file(path).unwrap()] {
        harm(&index);
        let dry = home.repair(&["index", "--dry-run"]).expect(0).message("summary");
        assert!(!index.exists() || fs::read(&index).unwrap() == [7; 9000], "a dry run leaves the index alone");
        let done = home.repair(&["index"]).expect(0).message("summary");
        assert_eq!((count(&dry, "packs"), count(&dry, "chunks")), (count(&done, "packs"), count(&done, "chunks")));
        assert!(count(&done, "packs") >= 2 && count(&done, "chunks") > 100, "{done}");
        home.assert_whole();
    }
}

/// The order that the guide gives, with everything damaged at once.
#[test]
fn on_the_worst_day_the_guide_leads_to_a_clean_check() {
    let home = home();
    let second = id(&home.treering.backup(&home.tree()));
    flip(&home.pack(1), 2 << 20);
    flip(&home.pack(2), -20);
    fs::remove_file(home.treering.repository().join("snapshots").join(&second)).unwrap();
    fs::remove_file(home.treering.repository().join("config")).unwrap();
    flip(&home.objects("copy/keys")[0], 50);
    fs::write(home.treering.repository().join("index/index.db"), b"rubbish").unwrap();
    home.check(true, 5);
    home.repair(&["config"]).expect(0);
    home.repair(&["index"]).expect(0);
    home.repair(&["packs", "--read-data"]).expect(3);
    home.treering.backup(&home.tree());
    home.repair(&["snapshots"]).expect(0);
    home.check(true, 0);
    assert_eq!(home.replaced(), 0);
    let ids: Vec<String> = home.treering.snapshots().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
    assert!(ids.len() == 3 && ids.contains(&second) && ids.contains(&home.snapshot), "{ids:?}");
    home.assert_whole();
    assert_same(&fingerprint(&home.tree()), &fingerprint(&home.restore(&second)));
}

/// As after one backup by another user. Root may read everything, unless it gives that right away.
#[test]
fn what_may_not_be_read_is_not_called_damaged_and_nothing_is_repaired_meanwhile() {
    let home = home();
    home.check(true, 0);
    let powerless = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"];
    let treering = match rustix::process::geteuid().is_root() {
        true => home.treering.through(&powerless),
        false => home.treering.through(&[]),
    };
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let copy = home.treering.repository().join("copy/config");
    let objects = ["snapshots", "records"].map(|area| home.objects(area).remove(0));
    for path in [home.pack(1), home.pack(2), copy.clone()].into_iter().chain(objects) {
        let before = home.listing();
        mode(&path, 0o000);
        let checked = run(&mut treering.command("check")).expect(1);
        assert!(checked.stderr.contains("Permission denied") && checked.stderr.contains("chown"), "{checked}");
        run(treering.command("check").arg("--packs")).expect(1);
        if path != copy {
            for arguments in [&["repair", "packs"][..], &["repair", "packs", "--read-data"], &["repair", "snapshots"]] {
                let ran = run(treering.command(arguments[0]).args(&arguments[1..])).expect(1);
                assert!(ran.stderr.contains("Permission denied") && ran.stderr.contains("chown"), "{ran}");
            }
            run(&mut treering.command("prune")).expect(1);
        }
        mode(&path, 0o600);
        assert_eq!(home.listing(), before, "{}", path.display());
    }
    home.assert_whole();
}
