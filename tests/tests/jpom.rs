//! Homes of Jpom through the program: found, taken in part, stopped and started, brought back.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use treering_tests::{Ran, SmallDisk, Treering, assert_same, fingerprint, id, run};
use treering_workloads::jpom_home::{Database, Home, Options};
use treering_workloads::{Access, h2};

const SCALE: f64 = 0.002;
const SEED: u64 = 5;

/// A server's home with a real database, and a repository beside it.
struct Scene {
    temp: TempDir,
    treering: Treering,
    home: Home,
    database: h2::Database,
}

impl Scene {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let treering = Treering::init(temp.path());
        let options = Options { database: Database::None, ..Options::server(SEED, SCALE) };
        let home = Home::create(&temp.path().join("jpom"), options).unwrap();
        let database = h2::Database::create(&home.base(), 200, SEED).unwrap();
        Self { temp, treering, home, database }
    }

    fn root(&self) -> &Path {
        self.home.root()
    }

    fn backup(&self) -> String {
        id(&self.treering.backup(self.root()))
    }

    /// A restore into the home itself, to be given more arguments.
    fn restore(&self, snapshot: &str, arguments: &[&str]) -> Ran {
        let mut command = self.treering.command("restore");
        command.args(["--snapshot", snapshot, "--target"]).arg(self.root()).args(arguments);
        run(&mut command)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.root().join(path), text).unwrap();
    }

    /// The folders beside the home that are named after it.
    fn beside(&self) -> Vec<PathBuf> {
        let listed = fs::read_dir(self.temp.path()).unwrap().flatten().map(|entry| entry.path());
        let is_ours = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("jpom.treering-");
        listed.filter(is_ours).collect()
    }
}

/// The one folder in `db/recover_backup`.
fn put_aside(base: &Path) -> PathBuf {
    let mut kept: Vec<_> = fs::read_dir(base.join("db/recover_backup")).unwrap().flatten().collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let folder = kept.remove(0).path();
    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.len() == 14 && name.chars().all(|c| c.is_ascii_digit()), "{name}");
    folder
}

#[test]
fn a_home_comes_back_whole_and_what_was_there_is_kept() {
    let scene = Scene::new();
    let (contents, log) = (scene.database.count(Access::ReadOnly).unwrap(), scene.read("db/execute.init.sql.log"));
    let snapshot = scene.backup();
    scene.database.day(1, SEED).unwrap();
    let changed = scene.database.count(Access::ReadOnly).unwrap();
    scene.write("db/execute.init.sql.log", "newer\n");
    scene.write("conf/application.yml", "spoiled: [");
    let ran = scene.restore(&snapshot, &["--h2-check-jar"]).expect(0);
    assert_eq!(scene.database.count(Access::ReadOnly).unwrap(), contents);
    assert_eq!(scene.read("db/execute.init.sql.log"), log);
    assert!(scene.read("conf/application.yml").starts_with("jpom:"));
    let aside = put_aside(scene.root());
    assert_eq!(fs::read_to_string(aside.join("execute.init.sql.log")).unwrap(), "newer\n");
    let looked_at = scene.temp.path().join("looked-at");
    fs::create_dir(&looked_at).unwrap();
    fs::rename(&aside, looked_at.join("db")).unwrap();
    assert_eq!(h2::Database::open(&looked_at).unwrap().count(Access::ReadOnly).unwrap(), changed);
    let app = &ran.message("summary")["apps"][0];
    assert_eq!(app["kind"], "jpom");
    assert!(app["notes"].to_string().contains("without which the old home cannot be started"), "{app}");
    assert!(app["notes"].to_string().contains("h2-2.1.214.jar has opened a copy"), "{app}");
    assert_eq!(scene.beside().len(), 1, "the old home is kept");
    assert!(!scene.root().join("bin/server.pid").exists());
}

#[test]
fn jars_keep_their_times_and_only_a_clone_gets_another_identity() {
    let scene = Scene::new();
    let snapshot = scene.backup();
    let tree = fingerprint(&scene.root().join("lib"));
    let identity = |folder: &Path| -> Value {
        serde_json::from_str(&fs::read_to_string(folder.join("data/INSTALL.json")).unwrap()).unwrap()
    };
    for (name, is_clone) in [("moved", false), ("cloned", true)] {
        let target = scene.temp.path().join(name);
        let mut command = scene.treering.command("restore");
        command.args(["--snapshot", &snapshot, "--target"]).arg(&target);
        if is_clone {
            command.arg("--clone");
        }
        run(&mut command).expect(0);
        assert_same(&tree, &fingerprint(&target.join("lib")));
        let (old, new) = (identity(scene.root()), identity(&target));
        assert_eq!(old["installId"] != new["installId"], is_clone);
        assert_eq!(new["installId"].as_str().unwrap().len(), 32);
        assert_eq!(old["installTime"], new["installTime"]);
    }
}

#[test]
fn nothing_is_written_over_a_database_in_use() {
    let scene = Scene::new();
    let snapshot = scene.backup();
    scene.write("conf/application.yml", "jpom: changed");
    let mut writer = scene.database.live(SEED).unwrap();
    writer.next_commit().unwrap();
    let (database, config) = (["--jpom-only", "database"], ["--jpom-only", "config"]);
    let dry = ["--dry-run", "--jpom-only", "database"];
    for arguments in [&[][..], &database, &config, &["--dry-run"], &dry] {
        let ran = scene.restore(&snapshot, arguments).expect(1);
        assert!(ran.stderr.contains("has locked"), "{ran}");
    }
    // The same home, named by where its full path leads.
    let mut command = scene.treering.command("restore");
    let ran = run(command.args(["--snapshot", &snapshot, "--full-paths", "--target", "/", "--jpom-only", "config"]));
    assert!(ran.expect(1).stderr.contains("has locked"));
    assert_eq!(scene.read("conf/application.yml"), "jpom: changed");
    assert!(scene.beside().is_empty(), "{:?}", scene.beside());
    let last = writer.stop().unwrap();
    assert_eq!(scene.database.count(Access::ReadOnly).unwrap().acknowledged, last);
}

/// Within a container `data` and `conf` are mounts: exchanged with their home they would stay with the old one.
#[test]
fn a_home_that_something_is_mounted_in_is_left_alone() {
    let scene = Scene::new();
    let snapshot = scene.backup();
    scene.write("conf/application.yml", "jpom: changed");
    let data = scene.root().join("data");
    let disk = SmallDisk::mount(&data, 64 << 20);
    let wrapper = disk.wrapper();
    let words: Vec<&str> = wrapper.iter().map(|word| word.to_str().unwrap()).collect();
    let restore = |path: &Path, target: &Path| {
        let mut command = scene.treering.through(&words).command("restore");
        run(command.args(["--snapshot", &snapshot, "--path"]).arg(path).arg("--target").arg(target))
    };
    let refused = restore(scene.root(), scene.root()).expect(1);
    assert!(refused.stderr.contains("data is a mount point within"), "{refused}");
    assert_eq!(scene.read("conf/application.yml"), "jpom: changed");
    assert!(scene.beside().is_empty(), "{:?}", scene.beside());
    // What is in the volume comes back into the volume: it is no application by itself, but files.
    restore(&data, &data).expect(0);
    assert!(disk.shell(&format!("ls '{}'", data.display())).contains("INSTALL.json"));
}

#[test]
fn parts_come_back_alone() {
    let scene = Scene::new();
    let contents = scene.database.count(Access::ReadOnly).unwrap();
    let (log, settings) = (scene.read("db/execute.init.sql.log"), scene.read("conf/application.yml"));
    let snapshot = scene.backup();
    scene.database.day(1, SEED).unwrap();
    scene.write("db/execute.init.sql.log", "newer\n");
    scene.write("conf/application.yml", "changed: 1");
    scene.write("lib/run.bin", "changed");
    fs::remove_dir_all(scene.root().join("data/certificate")).unwrap();
    let ran = scene.restore(&snapshot, &["--jpom-only", "database,certificates"]).expect(0);
    let app = &ran.message("summary")["apps"][0];
    assert!(app["moved_to"].is_null() && app["notes"].to_string().contains("recover_backup"), "{app}");
    assert_eq!(scene.database.count(Access::ReadOnly).unwrap(), contents);
    assert_eq!(scene.read("db/execute.init.sql.log"), log);
    assert_eq!(
        (scene.read("conf/application.yml"), scene.read("lib/run.bin")),
        ("changed: 1".into(), "changed".into())
    );
    assert!(scene.root().join("data/certificate").is_dir());
    assert_eq!(fs::read_to_string(put_aside(scene.root()).join("execute.init.sql.log")).unwrap(), "newer\n");
    scene.restore(&snapshot, &["--jpom-only", "config"]).expect(0);
    assert_eq!((scene.read("conf/application.yml"), scene.read("lib/run.bin")), (settings, "changed".into()));
    assert!(scene.beside().is_empty(), "{:?}", scene.beside());
}

#[test]
fn a_part_that_is_not_there_is_told() {
    let scene = Scene::new();
    let mut backup = scene.treering.backup_command(scene.root());
    let without =
        id(&run(backup.args(["--jpom-exclude", "db", "--jpom-exclude", "conf"])).expect(0).message("summary"));
    let ran = scene.restore(&without, &["--jpom-only", "database"]).expect(1);
    assert!(ran.stderr.contains("no database of a home is in this snapshot"), "{ran}");
    let ran = scene.restore(&without, &["--jpom-only", "config"]).expect(0);
    assert!(ran.stderr.contains("nothing of these parts is in this snapshot"), "{ran}");
    let (snapshot, nowhere) = (scene.backup(), scene.temp.path().join("nowhere"));
    let mut command = scene.treering.command("restore");
    command.args(["--snapshot", &snapshot, "--jpom-only", "database", "--target"]).arg(&nowhere);
    let ran = run(&mut command).expect(2);
    assert!(ran.stderr.contains("there is no home in") && !nowhere.exists(), "{ran}");
    let mut backup = scene.treering.backup_command(scene.root());
    let ran = run(backup.args(["--jpom-include", "nosuch", "--jpom-include", "logs"])).expect(0);
    assert!(ran.stderr.contains("--jpom-include nosuch: nothing") && !ran.stderr.contains("logs: nothing"), "{ran}");
}

#[test]
fn a_database_without_headers_is_told_as_damaged() {
    let scene = Scene::new();
    let before = id(&scene.treering.backup(scene.root()));
    let path = scene.root().join("db/Server.mv.db");
    let file = fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 8192], 0).unwrap();
    for _ in 0..2 {
        let summary = run(&mut scene.treering.backup_command(scene.root())).expect(6).message("summary");
        let apps = summary["apps"].as_array().unwrap();
        let h2 = apps.iter().find(|app| app["kind"] == "h2").unwrap();
        assert_eq!(h2["state"], "torn", "{h2}");
        file.set_len(0).unwrap();
    }
    scene.restore("latest", &[]).expect(6);
    // The restore puts the damaged one aside, where it is a file like any other and no later backup minds it.
    scene.restore(&before, &[]).expect(0);
    assert_eq!(fs::read(put_aside(scene.root()).join("Server.mv.db")).unwrap(), b"");
    let summary = scene.treering.backup(scene.root());
    let kinds = summary["apps"].as_array().unwrap().iter().map(|app| app["kind"].as_str().unwrap());
    assert_eq!(kinds.filter(|kind| *kind == "h2").count(), 1, "{summary}");
    let listed = run(scene.treering.command("ls").arg(id(&summary))).expect(0).stdout;
    assert!(listed.lines().any(|line| line.contains("recover_backup/") && line.contains("Server.mv.db")), "{listed}");
}

#[test]
fn a_home_with_a_database_is_not_replaced_by_one_without() {
    let scene = Scene::new();
    let contents = scene.database.count(Access::ReadOnly).unwrap();
    let mut backup = scene.treering.backup_command(scene.root());
    let snapshot = id(&run(backup.args(["--jpom-exclude", "db/Server.mv.db"])).expect(0).message("summary"));
    let ran = scene.restore(&snapshot, &[]).expect(6);
    assert!(ran.stderr.contains("there is no database in this part of the snapshot"), "{ran}");
    assert_eq!(scene.database.count(Access::ReadOnly).unwrap(), contents);
    assert!(!scene.root().join("db/recover_backup").exists());
}

#[test]
fn what_a_scope_has_left_out_is_named_when_it_comes_back_in_place() {
    let scene = Scene::new();
    let mut backup = scene.treering.backup_command(scene.root());
    let snapshot = id(&run(backup.args(["--jpom-scope", "essential"])).expect(0).message("summary"));
    let ran = scene.restore(&snapshot, &[]).expect(0);
    let notes = ran.message("summary")["apps"][0]["notes"].to_string();
    assert!(notes.contains("only in the old home: ") && notes.contains("logs"), "{ran}");
}

#[test]
fn a_library_that_is_none_is_refused_before_anything_is_restored() {
    let scene = Scene::new();
    let snapshot = scene.backup();
    let mut beside = fs::read_dir(scene.root().join("lib")).unwrap().flatten().map(|entry| entry.path());
    let of_jpom = beside.find(|path| path.extension().is_some_and(|ending| ending == "jar")).unwrap();
    for jar in [Path::new("/nope.jar"), &of_jpom] {
        let ran = scene.restore(&snapshot, &[&format!("--h2-check-jar={}", jar.display())]).expect(1);
        assert!(ran.stderr.contains(jar.to_str().unwrap()) && ran.stderr.contains("Nothing was changed"), "{ran}");
    }
    assert!(scene.beside().is_empty(), "{:?}", scene.beside());
}

/// The "Double mark" of H2 2.1.214: it needs a file that was not closed, opened at once, written to and opened again.
#[test]
fn a_database_that_was_not_closed_comes_back_and_starts_twice() {
    let scene = Scene::new();
    let mut writer = scene.database.live(SEED).unwrap();
    let seen = (0..20).map(|_| writer.next_commit().unwrap()).last().unwrap();
    writer.kill().unwrap();
    let snapshot = scene.backup();
    let target = scene.temp.path().join("restored");
    scene.treering.restore(&snapshot, &target);
    let restored = h2::Database::open(&target).unwrap();
    for start in 0..2 {
        let mut writer = restored.live(start).unwrap();
        assert!(writer.next_commit().unwrap() > seen);
        writer.stop().unwrap();
    }
    assert!(restored.count(Access::ReadOnly).unwrap().acknowledged > seen + 1);
}

#[test]
fn scopes_take_what_inspect_says() {
    let scene = Scene::new();
    fs::write(scene.root().join("data/of-somebody"), "1").unwrap();
    for arguments in [&["--jpom-scope", "full"][..], &["--jpom-scope", "essential", "--jpom-include", "logs"]] {
        let mut inspect = scene.treering.bare("jpom");
        let said = run(inspect.arg("inspect").arg(scene.root()).args(arguments)).expect(0).document();
        let said = said["paths"].as_array().unwrap().iter().filter(|path| path["in_scope"] == true);
        let said: u64 = said.map(|path| path["files"].as_u64().unwrap()).sum();
        let mut backup = scene.treering.backup_command(scene.root());
        let summary = run(backup.arg("--force").args(arguments)).expect(0).message("summary");
        assert_eq!(summary["total_files_processed"], said, "{arguments:?}");
        let listed = run(scene.treering.command("ls").arg(id(&summary))).expect(0).stdout;
        assert!(listed.contains("logs/server.log") && !listed.contains("data/temp") && !listed.contains("server.pid"));
        assert_eq!(listed.contains("of-somebody"), arguments.contains(&"full"));
    }
}

/// Nobody has to tell a policy that a snapshot holds less than others of the same path.
#[test]
fn a_snapshot_of_a_smaller_scope_takes_no_place_of_a_whole_one() {
    let scene = Scene::new();
    let take = |day: u8, arguments: &[&str]| {
        let mut backup = scene.treering.backup_command(scene.root());
        let summary = run(backup.args(["--time", &format!("2026-01-0{day} 01:00:00")]).args(arguments)).expect(0);
        id(&summary.message("summary"))
    };
    let whole = [1, 2, 3].map(|day| take(day, &[]));
    let parts = [4, 5].map(|day| take(day, &["--jpom-scope", "essential"]));
    // For a server, this is everything.
    let light = take(6, &["--jpom-scope", "light"]);
    run(scene.treering.command("forget").args(["--keep-last", "2"])).expect(0);
    let left = run(scene.treering.command("snapshots").arg("--json")).expect(0).document();
    let left = left.as_array().unwrap();
    let kept: Vec<&str> = left.iter().map(|snapshot| snapshot["id"].as_str().unwrap()).collect();
    assert_eq!(kept, [&whole[2], &parts[0], &parts[1], &light]);
    let scopes = left.iter().map(|snapshot| {
        let apps = snapshot["apps"].as_array().unwrap();
        apps.iter().find(|app| app["kind"] == "jpom").unwrap()["scope"].as_str()
    });
    assert_eq!(scopes.collect::<Vec<_>>(), [None, Some("essential"), Some("essential"), None]);
    assert_eq!(left[3]["parent"].as_str(), Some(&*whole[2]), "the newest that lacks nothing of what is asked for");
    assert_eq!(left[1]["parent"].as_str(), Some(&*whole[2]));
}

#[test]
fn a_database_elsewhere_is_told() {
    let scene = Scene::new();
    scene.write("conf/application.yml", "jpom:\n  db:\n    mode: MARIADB\n    url: jdbc:mariadb://u:secret@db/jpom\n");
    let summary = scene.treering.backup(scene.root());
    let apps = summary["apps"].as_array().unwrap();
    let jpom = apps.iter().find(|app| app["kind"] == "jpom").unwrap();
    let detail = jpom["detail"].as_str().unwrap();
    assert!(
        detail.contains("MariaDB at jdbc:mariadb://db/jpom") && detail.contains("NOT in this snapshot"),
        "{detail}"
    );
    assert!(detail.contains("--stdin-from-command -- mariadb-dump"), "{detail}");
}

/// Something like the process that Jpom's script starts: it ends when it is told to.
struct Imitation(Child);

impl Imitation {
    fn start(home: &Path) -> Self {
        let java = home.join("bin/java");
        fs::write(&java, "#!/bin/sh\ntrap 'exit 0' TERM\n: > \"$READY\"\nwhile :; do sleep 0.05; done\n").unwrap();
        fs::set_permissions(&java, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new("/bin/sh");
        command.arg(&java).arg("-Djpom.application.tag=JPOM_SERVER_APPLICATION").arg("-jar");
        command.arg(home.join("lib/server-2.11.12.jar")).env("READY", home.join("tmp/ready"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        fs::write(home.join("bin/server.pid"), child.id().to_string()).unwrap();
        wait_for(&home.join("tmp/ready"));
        Self(child)
    }
}

impl Drop for Imitation {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(path: &Path) {
    let started = Instant::now();
    while !path.exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "{} does not come", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn pid(home: &Path) -> i32 {
    fs::read_to_string(home.join("bin/server.pid")).unwrap().trim().parse().unwrap()
}

fn end(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn what_was_stopped_for_a_backup_runs_again_also_after_a_failure() {
    let scene = Scene::new();
    let first = Imitation::start(scene.root());
    fs::remove_file(scene.root().join("tmp/ready")).unwrap();
    let mut backup = scene.treering.backup_command(scene.root());
    run(backup.arg("--jpom-stop-start")).expect(0);
    wait_for(&scene.root().join("tmp/ready"));
    let second = pid(scene.root());
    assert_ne!(second.to_string(), first.0.id().to_string());
    let mut backup = scene.treering.backup_command(scene.root());
    let ran = run(backup.args(["--jpom-stop-start", "--parent", "00000000"])).expect(1);
    let third = pid(scene.root());
    assert_ne!(second, third, "{ran}");
    // Nothing is written over what runs.
    let ran = scene.restore("latest", &[]).expect(1);
    assert!(ran.stderr.contains(&format!("process {third}")), "{ran}");
    let ran = scene.restore("latest", &["--jpom-only", "config"]).expect(1);
    assert!(ran.stderr.contains(&format!("process {third}")), "{ran}");
    end(third);
}

#[test]
fn a_volume_is_found_through_the_client() {
    let scene = Scene::new();
    let programs = scene.temp.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let docker = programs.join("docker");
    let root = scene.root().display();
    let script = format!(
        "#!/bin/sh\n[ \"$1 $2 $3 $4 $5\" = \"volume inspect -f {{{{ .Mountpoint }}}} jpom-data\" ] && echo {root} && exit\n\
         echo \"Error: no such volume: $5\" >&2; exit 1\n"
    );
    fs::write(&docker, script).unwrap();
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
    let path =
        std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())));
    let path = path.unwrap();
    let backup = |volume: &str| {
        let mut command = scene.treering.command("backup");
        run(command.args(["--docker-volume", volume]).env("PATH", &path))
    };
    let summary = backup("jpom-data").expect(0).message("summary");
    assert!(summary["apps"].as_array().unwrap().iter().any(|app| app["kind"] == "jpom"), "{summary}");
    let ran = backup("other").expect(1);
    assert!(ran.stderr.contains("no such volume: other"), "{ran}");
    backup("../etc").expect(2);
}
