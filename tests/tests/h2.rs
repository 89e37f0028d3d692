//! H2 databases through the program: looked at, captured closed, frozen, stopped, killed, damaged.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use treering_tests::{Ran, Treering, id, run};
use treering_workloads::h2_load::{Checker, Load, LoadDatabase};

const ROWS: u32 = 3000;
const ENCRYPTED: &str = ";CIPHER=AES";

struct Home {
    temp: tempfile::TempDir,
    treering: Treering,
}

impl Home {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let treering = Treering::init(temp.path());
        Self { temp, treering }
    }

    fn database(&self, options: &str) -> LoadDatabase {
        LoadDatabase::create_with(&self.temp.path().join("home"), ROWS, 1, options).expect("H2 makes a database")
    }

    fn look(&self, verb: &str, target: &str) -> Ran {
        run(self.treering.command("h2").args([verb, target]))
    }

    /// Backs up and gives the summary and what it says of the database.
    fn backup(&self, database: &LoadDatabase, arguments: &[&str], code: i32) -> (Value, Value) {
        let file = database.file();
        let folder = file.parent().expect("it is in a folder");
        let summary = run(self.treering.backup_command(folder).args(arguments)).expect(code).message("summary");
        let mut apps = summary["apps"].as_array().into_iter().flatten();
        let app = apps.rfind(|app| app["kind"] == "h2").expect("a database").clone();
        (summary, app)
    }
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("a path of a test is UTF-8")
}

/// Waits for commits that were not there before.
fn assert_goes_on(load: &mut Load) {
    let (before, started) = (load.commits().len(), Instant::now());
    while load.commits().len() <= before + 5 {
        assert!(load.is_running() && started.elapsed() < Duration::from_secs(60), "the writer does not go on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Its database is closed a moment before it ends.
fn assert_ends(load: &mut Load) {
    let started = Instant::now();
    while load.is_running() {
        assert!(started.elapsed() < Duration::from_secs(60), "the writer does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_closed_database_is_taken_byte_for_byte_and_not_read_again() {
    let home = Home::new();
    let database = home.database("");
    let (summary, app) = home.backup(&database, &[], 0);
    assert_eq!((app["kind"].as_str(), app["state"].as_str()), (Some("h2"), Some("consistent")), "{app}");
    assert_eq!(app["version"], "MVStore 2");
    let target = home.temp.path().join("restored");
    home.treering.restore(&id(&summary), &target);
    let original = fs::read(database.file()).expect("it can be read");
    assert!(fs::read(target.join("Server.mv.db")).expect("it was restored") == original);
    let (_, again) = home.backup(&database, &[], 0);
    assert!(again["detail"].as_str().is_some_and(|detail| detail.contains("unchanged since the parent")), "{again}");
    assert_eq!(again["consistency_point"], app["consistency_point"]);
}

#[test]
fn files_and_snapshots_are_looked_at() {
    let home = Home::new();
    let database = home.database("");
    let file = database.file();
    let of_file = home.look("verify", shown(&file)).expect(0).message("h2_database");
    assert_eq!((of_file["format"].as_u64(), of_file["is_clean"].as_bool()), (Some(2), Some(true)));
    let (summary, _) = home.backup(&database, &[], 0);
    for target in [id(&summary), "latest".to_owned(), format!("latest:{}", shown(&file))] {
        let of_snapshot = home.look("info", &target).expect(0).message("h2_database");
        assert_eq!(of_snapshot["maps"], of_file["maps"], "{target}");
        assert_eq!(of_snapshot["snapshot_id"], id(&summary));
    }
    let text = run(home.treering.bare("h2").arg("info").arg(&file)).expect(0);
    assert!(text.stdout.contains("lobData"), "{text}");
    let mut bytes = fs::read(&file).expect("it can be read");
    bytes.truncate(bytes.len() / 2);
    let damaged = home.temp.path().join("damaged.mv.db");
    fs::write(&damaged, &bytes).expect("it can be written");
    home.look("verify", shown(&damaged)).expect(5);
    fs::write(&damaged, b"H2encrypt\n and so on").expect("it can be written");
    home.look("verify", shown(&damaged)).expect(13);
    home.look("verify", "no-such-thing!").expect(2);
}

#[test]
fn what_cannot_be_captured_live_is_taken_as_the_user_has_chosen() {
    let home = Home::new();
    let database = home.database(ENCRYPTED);
    let mut load = database.load(1, 50, ENCRYPTED).expect("the writer starts");
    assert_goes_on(&mut load);
    let (_, raw) = home.backup(&database, &[], 6);
    assert_eq!(raw["state"], "unknown");
    assert!(raw["detail"].as_str().is_some_and(|detail| detail.contains("encrypted")), "{raw}");
    run(home.treering.backup_command(database.file().parent().expect("a folder")).args(["--h2-fallback", "fail"]))
        .expect(3);
    let (_, frozen) = home.backup(&database, &["--h2-fallback", "freeze"], 6);
    assert_eq!(frozen["state"], "crash-consistent", "{frozen}");
    assert_goes_on(&mut load);
    let (stop, mark) = (format!("kill {}", load.process()), home.temp.path().join("started"));
    let start = format!("touch '{}'", shown(&mark));
    let hooks = ["--h2-fallback", "stop-hook", "--h2-stop-cmd", &stop, "--h2-start-cmd", &start];
    let (_, stopped) = home.backup(&database, &hooks, 6);
    assert_eq!(stopped["state"], "crash-consistent", "{stopped}");
    assert!(mark.exists());
    assert_ends(&mut load);
    fs::remove_file(&mark).expect("it can be removed");
    let hooks = ["--h2-fallback", "stop-hook", "--h2-stop-cmd", "false", "--h2-start-cmd", &start];
    run(home.treering.backup_command(database.file().parent().expect("a folder")).args(hooks)).expect(3);
    assert!(mark.exists(), "it is started again also if stopping failed");
    let (_, free) = home.backup(&database, &["--h2-fallback", "freeze"], 6);
    assert_eq!(free["state"], "unknown", "nobody is there to be frozen: {free}");
}

#[test]
fn what_does_not_run_again_after_a_capture_is_told_and_the_snapshot_is_kept() {
    let home = Home::new();
    let database = home.database(ENCRYPTED);
    let folder = database.file().parent().expect("a folder").to_owned();
    let hooks = ["--h2-fallback", "stop-hook", "--h2-stop-cmd", "true", "--h2-start-cmd", "exit 7"];
    let ran = run(home.treering.backup_command(&folder).args(hooks)).expect(1);
    assert!(ran.stderr.contains("is DOWN: the command `exit 7` failed (exit status: 7)"), "{ran}");
    let summary = ran.message("summary");
    assert_eq!(summary["apps"][0]["state"], "crash-consistent", "{summary}");
    run(home.treering.command("ls").arg(id(&summary))).expect(0);
}

#[test]
fn an_encrypted_database_comes_back_and_is_said_to_be_unchecked() {
    let home = Home::new();
    let database = home.database(ENCRYPTED);
    let (summary, _) = home.backup(&database, &[], 6);
    let target = home.temp.path().join("restored");
    let mut command = home.treering.command("restore");
    let ran = run(command.args(["--snapshot", &id(&summary), "--target"]).arg(&target)).expect(0);
    let app = &ran.message("summary")["apps"][0];
    assert!(app["verified"].as_str().is_some_and(|said| said.contains("cannot be checked")), "{app}");
    let read = |path: &Path| fs::read(path).expect("it can be read");
    assert!(read(&target.join("Server.mv.db")) == read(&database.file()));
}

#[test]
fn what_is_called_a_database_and_is_none_is_not_passed_over() {
    let home = Home::new();
    let folder = home.temp.path().join("home");
    fs::create_dir(&folder).expect("a folder");
    let contents = [("empty", Vec::new()), ("zeros", vec![0; 20_000]), ("text", b"something else".to_vec())];
    for (name, content) in &contents {
        fs::write(folder.join(format!("{name}.mv.db")), content).expect("it can be written");
    }
    let summary = run(&mut home.treering.backup_command(&folder)).expect(6).message("summary");
    let apps = summary["apps"].as_array().expect("applications");
    assert_eq!(apps.len(), contents.len(), "{summary}");
    for app in apps {
        assert_eq!(app["state"], "torn", "{app}");
        assert!(app["detail"].as_str().is_some_and(|said| said.contains("it is no H2 database: it ")), "{app}");
    }
    run(home.treering.backup_command(&folder).arg("--require-app-ok")).expect(1);
    let target = home.temp.path().join("restored");
    let mut command = home.treering.command("restore");
    run(command.args(["--snapshot", &id(&summary), "--app", "none", "--target"]).arg(&target)).expect(0);
    for (name, content) in &contents {
        assert_eq!(fs::read(target.join(format!("{name}.mv.db"))).expect("it was restored"), *content);
    }
}

#[test]
fn a_killed_database_is_captured_closed_and_can_be_opened_twice() {
    let home = Home::new();
    let database = home.database("");
    let mut load = database.load(1, 200, "").expect("the writer starts");
    assert_goes_on(&mut load);
    std::thread::sleep(Duration::from_secs(2));
    load.kill().expect("it can be killed");
    let (summary, app) = home.backup(&database, &[], 0);
    assert_eq!(app["state"], "consistent", "{app}");
    let target = home.temp.path().join("restored");
    home.treering.restore(&id(&summary), &target);
    let report = home.look("verify", shown(&target.join("Server.mv.db"))).expect(0).message("h2_database");
    assert_eq!(report["is_clean"], true);
    // The same for a copy of the file that the killed process left.
    let copy = home.temp.path().join("copy");
    fs::create_dir(&copy).expect("a folder for a copy");
    fs::copy(database.file(), copy.join("Server.mv.db")).expect("it can be copied");
    let file = fs::File::options().read(true).write(true).open(copy.join("Server.mv.db")).expect("it can be opened");
    assert!(treering_h2::normalise(&file).expect("it can be closed").is_some());
    let mut checker = Checker::start().expect("Java runs");
    for folder in [&target, &copy] {
        let found = checker.reopen(folder).expect("the checker answers").expect("it opens, twice");
        assert_eq!((found.crc, found.sum), (0, 0), "{found:?}");
    }
}
