//! Databases of real H2, captured while they are written, slowly, under heavy reuse of space, and opened again.
//!
//! Campaign `h2-capture`: a round is one live capture beside a writer with Jpom's options. Fewer of the other kinds go
//! with it, in the proportions of [`Sizes`].

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use treering_tests::{Campaign, Treering, id, run};
use treering_workloads::h2_load::{Checker, Found, Load, LoadDatabase, THREADS};

/// Commits that are older than this when a capture begins are in it: H2 writes behind by half a second, and a capture
/// may wait for a settled version, which only makes it newer.
const BEHIND_MS: u64 = 3000;
/// Transactions a second.
const RATE: u32 = 280;
const ROWS: u32 = 12_000;
/// Smaller where reading is slow, so that it ends.
const SLOW_RATE: u32 = 150;
const SLOW_ROWS: u32 = 4000;

/// How often each kind is done.
struct Sizes {
    captures: u64,
    slow: u64,
    retention_zero: u64,
    reopened: u64,
    /// Plain copies, which take long where they are slow.
    plain: u64,
    slow_plain: u64,
    /// Bytes a second where reading is slow.
    slow_rate: u64,
}

impl Sizes {
    /// The full campaign has 150, 40, 20 and 30. The small one has no time to be as slow.
    fn of(rounds: u64) -> Self {
        let part = |of: u64| (rounds * of).div_ceil(150);
        let slow_rate = if rounds >= 100 { 2 << 20 } else { 16 << 20 };
        let (plain, slow_plain) = (part(50), rounds * 8 / 150);
        Self {
            captures: rounds,
            slow: part(40),
            retention_zero: part(20),
            reopened: part(30),
            plain,
            slow_plain,
            slow_rate,
        }
    }
}

/// What became of copies of one kind.
#[derive(Debug, Default)]
struct Tally {
    copies: u64,
    unopened: u64,
    crc: u64,
    settled: u64,
    settled_anomalies: u64,
    anomalies: u64,
    /// Copies that lack a commit that they should have.
    old: u64,
    took: Duration,
    longest: Duration,
}

impl Tally {
    fn count(&mut self, found: &Result<Found, String>, is_settled: bool, least: [u64; THREADS], took: Duration) {
        self.copies += 1;
        self.took += took;
        self.longest = self.longest.max(took);
        let Ok(found) = found else {
            self.unopened += 1;
            return;
        };
        self.crc += u64::from(found.crc > 0);
        self.settled += u64::from(is_settled);
        self.settled_anomalies += u64::from(is_settled && found.is_anomalous());
        self.anomalies += u64::from(found.is_anomalous());
        self.old += u64::from((0..THREADS).any(|thread| found.heads[thread] < least[thread]));
    }

    fn line(&self, name: &str) -> String {
        let Self { copies, unopened, crc, settled, settled_anomalies, anomalies, old, took, longest } = self;
        let mean = took.as_secs_f64() / (*copies).max(1) as f64;
        format!(
            "| {name} | {copies} | {unopened} | {crc} | {old} | {anomalies} | {settled_anomalies} of {settled} | {mean:.2} | {:.2} |",
            longest.as_secs_f64()
        )
    }
}

const HEAD: &str = "| kind | copies | do not open | broken checksums | lack a commit | tables apart | of those settled | s | longest |";

struct Bench {
    temp: tempfile::TempDir,
    treering: Treering,
    checker: Checker,
}

impl Bench {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let treering = Treering::init(temp.path());
        Self { temp, treering, checker: Checker::start().expect("Java runs") }
    }

    /// A database and a writer at its speed.
    fn start(&self, rows: u32, rate: u32, seed: u64, options: &str) -> (LoadDatabase, Load) {
        let database = LoadDatabase::create(&self.temp.path().join("jpom"), rows, seed).expect("H2 makes a database");
        let mut load = database.load(seed, rate, options).expect("the writer starts");
        warm_up(&mut load);
        (database, load)
    }

    /// Captures and restores. Says whether the capture chose a settled version, and how long it took.
    fn capture(&self, database: &LoadDatabase, options: &[&str]) -> (PathBuf, bool, Duration) {
        let file = database.file();
        let folder = file.parent().expect("it is in a folder");
        let started = Instant::now();
        let summary = run(self.treering.backup_command(folder).args(options)).expect(0).message("summary");
        let took = started.elapsed();
        let app = the_app(&summary);
        println!("{:.1} s, {} bytes stored: {}", took.as_secs_f64(), summary["data_added_packed"], app["detail"]);
        assert_eq!(app["state"], "consistent", "{app}");
        let is_settled = app["detail"].as_str().is_some_and(|detail| detail.contains("no transaction was open"));
        let target = self.temp.path().join("restored");
        remove(&target);
        self.treering.restore(&id(&summary), &target);
        (target, is_settled, took)
    }

    fn plain(&self, name: &str) -> PathBuf {
        let target = self.temp.path().join(name);
        remove(&target);
        fs::create_dir(&target).expect("a folder for a copy");
        target
    }

    fn check(&mut self, folder: &Path) -> Result<Found, String> {
        self.checker.check(folder).expect("the checker answers")
    }
}

fn the_app(summary: &Value) -> &Value {
    let apps = summary["apps"].as_array().expect("a list of applications");
    apps.iter().find(|app| app["kind"] == "h2").unwrap_or_else(|| panic!("no H2 database was captured: {summary}"))
}

fn remove(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).expect("a folder of ours can be removed");
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as u64
}

/// Lets a writer reach its speed.
fn warm_up(load: &mut Load) {
    let started = Instant::now();
    while load.commits().len() < 600 {
        assert!(load.is_running() && started.elapsed() < Duration::from_secs(180), "the writer does not write");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(1));
}

/// Captures so many times.
fn captures(bench: &mut Bench, database: &LoadDatabase, load: &mut Load, times: u64, options: &[&str]) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..times {
        let least = load.before(now_ms() - BEHIND_MS);
        let (folder, is_settled, took) = bench.capture(database, options);
        let found = bench.check(&folder);
        assert!(found.is_ok(), "{found:?}");
        tally.count(&found, is_settled, least, took);
        assert!(load.is_running(), "the writer failed");
    }
    tally
}

/// Copies as many times while the writer is stopped: an image of one moment, without any race.
fn frozen(bench: &mut Bench, database: &LoadDatabase, load: &Load, times: u64) -> Tally {
    let process = i32::try_from(load.process()).ok().and_then(Pid::from_raw).expect("a child has an id");
    let mut tally = Tally::default();
    for _ in 0..times {
        std::thread::sleep(Duration::from_millis(150));
        let (folder, least) = (bench.plain("frozen"), load.before(now_ms() - BEHIND_MS));
        let started = Instant::now();
        kill_process(process, Signal::STOP).expect("it can be stopped");
        let copied = fs::copy(database.file(), folder.join("Server.mv.db"));
        kill_process(process, Signal::CONT).expect("it can go on");
        copied.expect("it can be copied");
        let took = started.elapsed();
        tally.count(&bench.check(&folder), false, least, took);
    }
    tally
}

/// Copies as `cp` does, at this many bytes a second.
fn copied(bench: &mut Bench, database: &LoadDatabase, load: &Load, times: u64, rate: Option<u64>) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..times {
        let (folder, least) = (bench.plain("copied"), load.before(now_ms() - BEHIND_MS));
        let started = Instant::now();
        copy_slowly(&database.file(), &folder.join("Server.mv.db"), rate);
        let took = started.elapsed();
        tally.count(&bench.check(&folder), false, least, took);
    }
    tally
}

fn copy_slowly(from: &Path, to: &Path, rate: Option<u64>) {
    let (from, to) = (fs::File::open(from).expect("it can be read"), fs::File::create(to).expect("it can be made"));
    let (started, mut at, mut buffer) = (Instant::now(), 0, vec![0; 64 << 10]);
    loop {
        let got = from.read_at(&mut buffer, at).expect("it can be read");
        to.write_all_at(&buffer[..got], at).expect("it can be written");
        at += got as u64;
        if let Some(rate) = rate {
            std::thread::sleep(Duration::from_secs_f64(at as f64 / rate as f64).saturating_sub(started.elapsed()));
        }
        if got == 0 {
            return;
        }
    }
}

/// Captures, restores, and at once opens, writes and closes twice.
fn reopened(bench: &mut Bench, database: &LoadDatabase, load: &Load, times: u64) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..times {
        let least = load.before(now_ms() - BEHIND_MS);
        let (folder, is_settled, took) = bench.capture(database, &[]);
        let found = bench.checker.reopen(&folder).expect("the checker answers");
        assert!(found.is_ok(), "{found:?}");
        tally.count(&found, is_settled, least, took);
    }
    tally
}

/// A line of the table: what it is about, and whether the copies are ours.
type Line = (&'static str, bool, Tally);

/// Beside a busy writer with Jpom's options.
fn live(sizes: &Sizes, seed: u64) -> Vec<Line> {
    let mut bench = Bench::new();
    let (database, mut load) = bench.start(ROWS, RATE, seed, "");
    let ours = captures(&mut bench, &database, &mut load, sizes.captures, &[]);
    let control = frozen(&mut bench, &database, &load, sizes.captures);
    let plain = copied(&mut bench, &database, &load, sizes.plain, None);
    let again = reopened(&mut bench, &database, &load, sizes.reopened);
    load.stop().expect("the writer ends well");
    no_worse(&ours, &control);
    vec![
        ("treering", true, ours),
        ("SIGSTOP, cp, SIGCONT", false, control),
        ("cp", false, plain),
        ("treering, reopened at once", true, again),
    ]
}

/// H2 does not store a version at one instant for all tables: what is no settled version is as good as its own image.
fn no_worse(ours: &Tally, control: &Tally) {
    let noisy = ours.anomalies - ours.settled_anomalies;
    assert!(noisy <= control.anomalies.max(1), "{noisy} of ours, {} of the control", control.anomalies);
}

/// Read so slowly that much is overwritten meanwhile.
fn slow(sizes: &Sizes, seed: u64, names: [&'static str; 3], times: u64, options: &str) -> Vec<Line> {
    let mut bench = Bench::new();
    let (database, mut load) = bench.start(SLOW_ROWS, SLOW_RATE, seed, options);
    let rate = sizes.slow_rate.to_string();
    let ours = captures(&mut bench, &database, &mut load, times, &["--h2-read-rate", &rate]);
    let control = frozen(&mut bench, &database, &load, times);
    let plain = copied(&mut bench, &database, &load, sizes.slow_plain, Some(sizes.slow_rate));
    load.stop().expect("the writer ends well");
    no_worse(&ours, &control);
    vec![(names[0], true, ours), (names[1], false, control), (names[2], false, plain)]
}

#[test]
fn copies_of_a_database_that_is_written_open_and_belong_together() {
    let campaign = Campaign::start("h2-capture", 9);
    let (sizes, seed) = (Sizes::of(campaign.rounds), campaign.seed);
    let slowly = ["treering, slowly", "SIGSTOP, cp, SIGCONT, of the same", "cp, slowly"];
    let zero = [
        "treering, slowly, RETENTION_TIME=0",
        "SIGSTOP, cp, SIGCONT, RETENTION_TIME=0",
        "cp, slowly, RETENTION_TIME=0",
    ];
    let lines: Vec<Line> = std::thread::scope(|scope| {
        let parts = [
            scope.spawn(|| live(&sizes, seed)),
            scope.spawn(|| slow(&sizes, seed + 1, slowly, sizes.slow, "")),
            scope.spawn(|| slow(&sizes, seed + 2, zero, sizes.retention_zero, ";RETENTION_TIME=0")),
        ];
        parts.into_iter().flat_map(|part| part.join().expect("all of it held")).collect()
    });
    println!("{HEAD}\n|---|---|---|---|---|---|---|---|---|");
    lines.iter().for_each(|(name, _, tally)| println!("{}", tally.line(name)));
    let ours = || lines.iter().filter(|(_, is_ours, _)| *is_ours);
    for (name, _, tally) in ours() {
        assert_eq!((tally.unopened, tally.crc, tally.old, tally.settled_anomalies), (0, 0, 0, 0), "{name}: {tally:?}");
    }
    let counts: Vec<String> = ours().map(|(name, _, tally)| format!("{} {name}", tally.copies)).collect();
    campaign.end(&format!("captures: {}; 0 failed", counts.join(", ")));
}
