//! Init, backup, change, backup, look, restore, check.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::kit::{Home, Ran, assert_same};

fn fill(home: &Home) {
    home.write("a", "hello");
    home.write("folder/b", vec![7; 300_000]);
    home.write("folder/empty", "");
    fs::hard_link(home.path("src/a"), home.path("src/hard")).unwrap();
    std::os::unix::fs::symlink("a", home.path("src/soft")).unwrap();
}

#[test]
fn a_snapshot_comes_back_as_it_was() {
    let home = Home::new();
    fill(&home);
    let first = home.run(["backup", "src"]).expect(0);
    assert!(first.stdout.contains("no parent snapshot found"), "{}", first.stdout);
    assert!(first.stdout.contains("Files:          4 new,     0 changed,     0 unmodified"), "{}", first.stdout);
    assert!(first.stdout.lines().last().unwrap().ends_with(" saved"));
    home.run(["restore", "latest", "--target", "out"]).expect(0);
    assert_same(&home.path("src"), &home.path("out"));
    assert_eq!(fs::metadata(home.path("out/a")).unwrap().ino(), fs::metadata(home.path("out/hard")).unwrap().ino());
    let check = home.run(["check", "--read-data"]).expect(0);
    assert!(check.stdout.contains("no errors were found"));
}

#[test]
fn each_of_two_snapshots_comes_back() {
    let home = Home::new();
    fill(&home);
    let first = home.backup();
    home.write("new", "x");
    fs::remove_file(home.path("src/a")).unwrap();
    home.write("folder/b", vec![8; 300_000]);
    let second = home.backup();
    let diff = home.run(["diff", &first, "latest"]).expect(0).stdout;
    let source = home.path("src").display().to_string();
    for line in [format!("-    {source}/a"), format!("M    {source}/folder/b"), format!("+    {source}/new")] {
        assert!(diff.lines().any(|found| found == line), "{line} in {diff}");
    }
    home.run(["restore", &first[..8], "-t", "one", "-q"]).expect(0);
    assert_eq!(fs::read(home.path("one/a")).unwrap(), b"hello");
    assert!(!home.path("one/new").exists());
    home.run(["restore", "--snapshot", &second, "-t", "one", "--delete"]).expect(0);
    assert_same(&home.path("src"), &home.path("one"));
}

#[test]
fn the_first_line_says_where_things_go() {
    let home = Home::new();
    home.write("sub/file", "x");
    home.backup();
    let (source, target) = (home.path("src"), home.path("out"));
    let first_line = |args: &[&str]| {
        let ran = home.run(["restore", "-t", "out"].iter().chain(args)).expect(0);
        ran.stdout.lines().next().unwrap().to_owned()
    };
    let line = first_line(&["latest"]);
    assert!(line.starts_with(&format!("restoring the content of {} of", source.display())), "{line}");
    assert!(line.ends_with(&format!("into {}", target.display())), "{line}");
    assert!(home.path("out/sub/file").exists());
    assert!(first_line(&["latest", "--full-paths"]).ends_with("under its full path"));
    assert!(target.join(source.strip_prefix("/").unwrap()).join("sub/file").exists());
    let sub = format!("latest:{}/sub", source.display());
    assert!(first_line(&[&sub]).contains("/src/sub of snapshot"));
    assert!(home.path("out/file").exists());
}

#[test]
fn include_and_exclude_choose_what_is_restored() {
    let home = Home::new();
    for name in ["a.txt", "b.log", "sub/c.txt", "sub/d.log"] {
        home.write(name, name);
    }
    home.backup();
    home.run(["restore", "latest", "-t", "in", "--include", "*.txt"]).expect(0);
    assert!(home.path("in/a.txt").exists() && home.path("in/sub/c.txt").exists());
    assert!(!home.path("in/b.log").exists() && !home.path("in/sub/d.log").exists());
    home.run(["restore", "latest", "-t", "ex", "--exclude", "sub"]).expect(0);
    assert!(home.path("ex/a.txt").exists() && !home.path("ex/sub").exists());
    home.run(["restore", "latest", "-t", "dry", "--dry-run"]).expect(0);
    assert!(!home.path("dry/a.txt").exists());
}

#[test]
fn a_passphrase_opens_as_well() {
    let home = Home::empty();
    home.write("a", "hello");
    fs::write(home.path("pass"), "correct horse\n").unwrap();
    let with = |args: &[&str]| {
        let mut command = home.command(args);
        command.env_remove("TREERING_KEY_FILE").env("TREERING_PASSWORD_FILE", home.path("pass"));
        Ran::of(&mut command)
    };
    let init = with(&["init"]).expect(0);
    assert!(!init.stdout.contains("Recovery key"));
    with(&["backup", "src"]).expect(0);
    with(&["restore", "latest", "-t", "out"]).expect(0);
    assert_same(&home.path("src"), &home.path("out"));
    // The key file opens nothing here.
    home.run(["snapshots"]).expect(12);
}

#[test]
fn a_dumped_folder_is_an_archive_that_tar_unpacks() {
    let home = Home::new();
    fill(&home);
    home.write(&"long".repeat(50), "long name");
    home.backup();
    let source = home.path("src");
    let parent = format!("latest:{}", source.parent().unwrap().display());
    home.run(["dump", &parent, "src", "--target", "src.tar"]).expect(0);
    fs::create_dir(home.path("unpacked")).unwrap();
    let tar = Command::new("tar").arg("xf").arg(home.path("src.tar")).current_dir(home.path("unpacked")).status();
    assert!(tar.unwrap().success());
    assert_same(&source, &home.path("unpacked/src"));
    let file = format!("{}/a", source.display());
    assert_eq!(home.run(["dump", "latest", &file]).expect(0).stdout, "hello");
}

/// GNU tar brings ACLs back with `--acls`; without, nobody may more than with them.
#[test]
fn acls_of_a_dumped_folder_come_back_with_tar() {
    let home = Home::new();
    let file = home.write("folder/f", "x");
    // Owner rwx, user 1234 rwx, group r-x, mask rwx, others none.
    let entries = [(1, 7, u32::MAX), (2, 7, 1234), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 0, u32::MAX)];
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        acl.extend([u16::to_le_bytes(tag), u16::to_le_bytes(rights)].concat());
        acl.extend(u32::to_le_bytes(id));
    }
    let (folder, name) = (home.path("src/folder"), "system.posix_acl_access");
    let set = [(&file, name), (&folder, name), (&folder, "system.posix_acl_default")]
        .map(|(path, name)| rustix::fs::setxattr(path, name, &acl, rustix::fs::XattrFlags::empty()));
    if set.contains(&Err(rustix::io::Errno::OPNOTSUPP)) {
        return eprintln!("the file system has no ACLs");
    }
    home.backup();
    let source = format!("latest:{}", home.path("src").display());
    home.run(["dump", &source, "/", "--target", "src.tar"]).expect(0);
    let unpack = |name: &str, option: &str| {
        let to = home.path(name);
        fs::create_dir(&to).unwrap();
        let mut tar = Command::new("tar");
        tar.args([option, "-xpf"]).arg(home.path("src.tar")).arg("-C").arg(&to);
        assert!(tar.status().unwrap().success());
        to
    };
    let read = |path: &Path, name: &str| {
        let mut value = [0; 100];
        let length = rustix::fs::getxattr(path, name, &mut value[..]);
        length.map(|length| value[..length].to_vec())
    };
    let with = unpack("with", "--acls");
    for (path, name) in [("folder/f", name), ("folder", name), ("folder", "system.posix_acl_default")] {
        assert_eq!(read(&with.join(path), name).as_ref(), Ok(&acl), "{path} {name}");
    }
    let without = unpack("without", "--no-acls");
    for path in ["folder/f", "folder"] {
        assert_eq!(fs::metadata(without.join(path)).unwrap().mode() & 0o777, 0o750, "{path}");
    }
}

#[test]
fn a_dump_that_finds_nothing_leaves_its_target_alone() {
    let home = Home::new();
    home.write("a", "hello");
    home.backup();
    let target = home.path("target");
    fs::write(&target, "precious").unwrap();
    home.run(["dump", "latest", "/nowhere", "--target", "target"]).expect(1);
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    let file = home.path("src/a").display().to_string();
    home.run(["dump", "latest", &file, "--target", "target"]).expect(0);
    assert_eq!(fs::read(&target).unwrap(), b"hello");
    home.run(["dump", "latest", &file, "--target", "/dev/null"]).expect(0);
    let full = home.run(["dump", "latest", &file, "--target", "/dev/full"]).expect(14);
    assert!(full.stderr.contains("cannot write to /dev/full"), "{}", full.stderr);
}

#[test]
fn a_path_in_a_comparison_ends_with_one_slash() {
    let home = Home::new();
    let path = home.write("turns", "file");
    home.backup();
    fs::remove_file(&path).unwrap();
    home.write("turns/into/folder", "");
    home.backup();
    let at = |snapshot: &str| format!("{snapshot}:{}", path.display());
    let said = home.run(["diff", "-q", &at("latest~1"), &at("latest")]).expect(0).stdout;
    assert_eq!(said.lines().collect::<Vec<_>>(), ["T    /", "+    /into/", "+    /into/folder"]);
}

#[test]
fn the_parent_may_be_of_another_group() {
    let home = Home::new();
    home.write("one/a", "hello");
    home.run(["backup", "src/one"]).expect(0);
    let parent = |args: &[&str]| {
        let ran = home.run(["backup", "src", "--dry-run"].iter().chain(args)).expect(0);
        ran.stdout.contains("using parent snapshot")
    };
    assert!(!parent(&[]) && !parent(&["--group-by", "host,paths"]));
    assert!(parent(&["--group-by", "host"]) && parent(&["-g", ""]));
}

#[test]
fn an_unencrypted_repository_is_opened_without_a_key_and_refuses_one() {
    let home = Home::empty();
    home.write("a", "hello");
    let without = |args: &[&str]| Ran::of(home.command(args).env_remove("TREERING_KEY_FILE"));
    home.run(["init", "--encryption", "none"]).expect(2);
    assert!(without(&["init", "--encryption", "none"]).expect(0).stderr.contains("not encrypted"));
    without(&["backup", "src"]).expect(0);
    without(&["check"]).expect(0);
    assert!(home.run(["snapshots"]).expect(12).stderr.contains("claims to be unencrypted"));
    for change in [&["key", "add", "--new-key-file", "key"][..], &["key", "export"]] {
        assert!(without(change).expect(1).stderr.contains("it has no keys"));
    }
}

#[test]
fn exclusions_leave_files_out() {
    let home = Home::new();
    for name in ["keep", "x.tmp", "X.LOG", "cache/CACHEDIR.TAG", "cache/inside", "marked/.nobackup", "marked/inside"] {
        home.write(name, "Signature: 8a477f597d28d172789f06886806bc55");
    }
    home.write("big", vec![0; 5000]);
    home.write("list", home.path("src/keep").to_str().unwrap());
    let mut args = vec!["backup", "src", "--exclude", "*.tmp", "--iexclude", "*.log", "--exclude-caches"];
    args.extend(["--exclude-if-present", ".nobackup", "--exclude-larger-than", "4K"]);
    home.run(args).expect(0);
    let listed = home.run(["ls", "latest", "-q"]).expect(0).stdout;
    let has = |name: &str| listed.lines().any(|line| line.ends_with(name));
    assert!(has("/keep") && has("/CACHEDIR.TAG") && has("/.nobackup"), "{listed}");
    assert!(!has("/x.tmp") && !has("/X.LOG") && !has("/inside") && !has("/big"), "{listed}");
    home.run(["backup", "--files-from-verbatim", "src/list"]).expect(0);
    let listed = home.run(["ls", "latest", "-q"]).expect(0).stdout;
    assert!(listed.ends_with("/keep\n") && !listed.contains("list"), "{listed}");
}

#[test]
fn snapshots_are_chosen_by_time_and_files_left_alone() {
    let home = Home::new();
    home.write("a", "old");
    home.run(["backup", "src", "--time", "2026-01-01 12:00"]).expect(0);
    home.write("a", "newer");
    home.run(["backup", "src", "--time", "2026-02-01 12:00"]).expect(0);
    let restored = |args: &[&str]| {
        home.run(["restore", "-t", "out", "--at"].iter().chain(args)).expect(0);
        fs::read_to_string(home.path("out/a")).unwrap()
    };
    assert_eq!(restored(&["2026-01-15"]), "old");
    assert_eq!(restored(&["2026-03-01", "--overwrite", "never"]), "old");
    assert_eq!(restored(&["2026-03-01"]), "newer");
    home.run(["restore", "-t", "out", "--at", "2025-01-01"]).expect(1);
    home.run(["restore", "-t", "out", "--at", "then"]).expect(2);
    // Back to where it came from, and no further.
    home.write("a", "changed since");
    home.write("added", "since");
    home.run(["restore", "latest", "--original"]).expect(0);
    assert_eq!(fs::read_to_string(home.path("src/a")).unwrap(), "newer");
    assert!(home.path("src/added").exists());
}

#[test]
fn only_the_named_path_of_several_is_restored() {
    let home = Home::new();
    home.write("one/a", "1");
    home.write("two/b", "2");
    home.run(["backup", "src/one", "src/two"]).expect(0);
    home.run(["restore", "latest", "-t", "both"]).expect(0);
    let source = home.path("src");
    let under = |target: &str| home.path(target).join(source.strip_prefix("/").unwrap());
    assert!(under("both").join("one/a").exists() && under("both").join("two/b").exists());
    let two = source.join("two").display().to_string();
    home.run(["restore", "latest", "-t", "single", "--path", &two]).expect(0);
    assert!(home.path("single/b").exists() && !home.path("single/a").exists());
}
