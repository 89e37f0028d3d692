//! What a restore does to what is in its target already.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::fs;

use treering_tests::{SmallDisk, Treering, run};

#[test]
fn a_target_that_leads_nowhere_and_a_path_that_is_not_there_are_named() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (source, link) = (temp.path().join("source"), temp.path().join("link"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "new").unwrap();
    let id = treering.backup(&source)["snapshot_id"].as_str().unwrap().to_owned();
    std::os::unix::fs::symlink(temp.path().join("nowhere"), &link).unwrap();
    let mut command = treering.command("restore");
    let told = run(command.args(["latest", "--target"]).arg(&link)).expect(1).to_string();
    assert!(told.contains("a symbolic link that leads nowhere is in its place"), "{told}");
    let mut command = treering.command("restore");
    let told = run(command.args(["latest:/nope", "--target"]).arg(temp.path().join("new"))).expect(1).to_string();
    assert!(told.contains(&format!("/nope is not in snapshot {}", &id[..8])), "{told}");
}

/// What is mounted beneath the target is somebody else's: named, and left alone.
#[test]
fn nothing_is_deleted_on_a_file_system_that_is_mounted_beneath_the_target() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let (source, target) = (temp.path().join("source"), temp.path().join("target"));
    fs::create_dir_all(source.join("folder")).unwrap();
    fs::write(source.join("file"), "new").unwrap();
    fs::write(source.join("folder/inner"), "new").unwrap();
    treering.backup(&source);
    // In the place of a file, of a folder, and of nothing.
    for (place, said) in [("file/deep", "file/deep"), ("folder", "target/folder"), ("extra/deep", "extra/deep")] {
        fs::create_dir_all(target.join(place)).unwrap();
        fs::create_dir_all(target.join("gone")).unwrap();
        let top = target.join(place.split('/').next().unwrap());
        fs::write(top.join("beside"), "old").unwrap();
        let disk = SmallDisk::mount(&target.join(place), 1 << 20);
        disk.shell(&format!("echo data > '{}/data'", target.join(place).display()));
        let wrapper = disk.wrapper();
        let words: Vec<&str> = wrapper.iter().map(|word| word.to_str().unwrap()).collect();
        let through = treering.through(&words);
        for more in [&["--dry-run"][..], &[]] {
            let mut command = through.command("restore");
            command.args(["latest", "--delete", "--target"]).arg(&target).args(more);
            let told = run(&mut command).expect(3).to_string();
            assert!(told.contains("mounted beneath the target") && told.contains(said), "{told}");
            assert_eq!(disk.shell(&format!("cat '{}/data'", target.join(place).display())), "data\n");
        }
        assert!(!target.join("gone").exists() && target.join(place).exists());
        // Before a file takes the place of a folder, nothing of that is deleted.
        assert_eq!(top.join("beside").exists(), place != "extra/deep");
        drop(disk);
        fs::remove_dir_all(&target).unwrap();
    }
}

/// The repository is not in the snapshot, because a backup leaves it out; that is no reason to delete it.
#[test]
fn the_repository_that_is_restored_from_is_never_deleted_or_written_to() {
    let temp = tempfile::tempdir().unwrap();
    let own = temp.path().join("own");
    fs::create_dir_all(own.join("data")).unwrap();
    fs::write(own.join("data/file"), "kept").unwrap();
    let treering = Treering::init_at(&own.join("repository"), temp.path(), Vec::new());
    treering.backup(&own);
    fs::write(own.join("extra"), "new").unwrap();
    let mut delete = treering.command("restore");
    let told = run(delete.args(["latest", "--delete", "--target"]).arg(&own)).expect(0);
    assert!(told.to_string().contains("belongs to the repository: it is not deleted"), "{told}");
    assert!(!own.join("extra").exists() && own.join("data/file").exists());
    for target in [treering.repository().to_owned(), treering.repository().join("new")] {
        let mut into = treering.command("restore");
        let told = run(into.args(["latest", "--target"]).arg(&target)).expect(1).to_string();
        assert!(told.contains("belongs to the repository") && told.contains("Nothing was restored"), "{told}");
    }
    run(&mut treering.command("check")).expect(0);
}

/// A folder that was asked for may lie on any file system, which is then not one that is mounted beneath it.
#[test]
fn deleting_works_where_everything_came_from_on_whatever_file_system() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let mounted = temp.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    let disk = SmallDisk::mount(&mounted, 1 << 20);
    let wrapper = disk.wrapper();
    let words: Vec<&str> = wrapper.iter().map(|word| word.to_str().unwrap()).collect();
    let through = treering.through(&words);
    let inner = mounted.join("inner");
    disk.shell(&format!("mkdir '{0}' && echo kept > '{0}/kept'", inner.display()));
    for path in [&mounted, &inner] {
        through.backup(path);
        disk.shell(&format!("echo new > '{}/extra'", path.display()));
        let mut command = through.command("restore");
        run(command.args(["latest", "--original", "--delete"])).expect(0);
        assert_eq!(disk.shell(&format!("ls '{}'", inner.display())), "kept\n");
        assert_eq!(disk.shell(&format!("ls '{}'", mounted.display())), "inner\n");
    }
}
