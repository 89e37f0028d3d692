//! A program that runs: how it ends, what it prints and how much memory it takes; stopped and killed on purpose.
//!
//! Invariant: it ends within [`DEADLINE`] or is killed and fails the test, so a program that hangs cannot hang a test.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Far longer than anything here takes on a slow machine, and far shorter than a hang.
const DEADLINE: Duration = Duration::from_secs(300);
/// How often a running program is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// A program that runs, with its output going into files.
pub struct Running {
    child: Child,
    shown: String,
    stdout: File,
    stderr: File,
    started: Instant,
    peak_bytes: u64,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ran {
    /// How it was called.
    pub shown: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
    /// The most memory that it had, sampled.
    pub peak_bytes: u64,
    /// How long it took.
    pub took: Duration,
}

impl Running {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let file = || tempfile::tempfile().expect("a temporary file");
        let (stdout, stderr) = (file(), file());
        let handle = |file: &File| Stdio::from(file.try_clone().expect("a second descriptor"));
        command.stdin(Stdio::null()).stdout(handle(&stdout)).stderr(handle(&stderr));
        let shown = format!("{command:?}");
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot run {shown}: {error}; {}", super::PACKAGES));
        Self { child, shown, stdout, stderr, started: Instant::now(), peak_bytes: 0 }
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Ran {
        let status = loop {
            self.sample();
            match self.child.try_wait().expect("a child can be waited for") {
                Some(status) => break status,
                None => self.wait_a_little(),
            }
        };
        let took = self.started.elapsed();
        let (stdout, stderr) = (text(&mut self.stdout), text(&mut self.stderr));
        Ran { shown: self.shown.clone(), status, stdout, stderr, peak_bytes: self.peak_bytes, took }
    }

    /// Ends it as a power cut would, unless it has ended.
    pub fn kill(mut self) -> Ran {
        self.child.kill().expect("a child can be killed");
        self.finish()
    }

    /// Stops it in the midst of reading a file.
    ///
    /// # Panics
    ///
    /// If it ends before.
    pub fn stop_while_reading(&mut self, path: &Path) {
        self.stop_when(path, |offset| offset > 0);
    }

    /// Lets it go on and stops it when it has begun to read the file once more.
    ///
    /// # Panics
    ///
    /// If it ends before.
    pub fn stop_at_next_attempt(&mut self, path: &Path) {
        let mut furthest = self.offset(path).unwrap_or(0);
        self.go_on();
        self.stop_when(path, |offset| {
            let is_again = offset > 0 && offset < furthest;
            furthest = furthest.max(offset);
            is_again
        });
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Stops it wherever it is. Says whether it had not ended before.
    pub fn stop(&mut self) -> bool {
        let is_running = self.is_running();
        if is_running {
            self.signal(Signal::STOP);
        }
        is_running
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn stop_when(&mut self, path: &Path, mut is_time: impl FnMut(u64) -> bool) {
        while !self.offset(path).is_some_and(&mut is_time) {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                let printed = text(&mut self.stdout) + &text(&mut self.stderr);
                panic!("{} ended ({status}) before it was stopped in {}:\n{printed}", self.shown, path.display());
            }
            self.check_deadline();
        }
        self.signal(Signal::STOP);
        while !self.is_stopped() {
            self.wait_a_little();
        }
        assert!(self.offset(path).is_some(), "{} had closed {} before it stopped", self.shown, path.display());
    }

    /// Where it reads in a file that it has open.
    fn offset(&self, path: &Path) -> Option<u64> {
        let process = format!("/proc/{}", self.child.id());
        let open = fs::read_dir(format!("{process}/fd")).ok()?;
        let descriptor = open.flatten().find(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == path))?;
        let info = Path::new(&process).join("fdinfo").join(descriptor.file_name());
        field(&fs::read_to_string(info).ok()?, "pos:")
    }

    fn is_stopped(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:") && line.contains('T'))
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has an id");
        kill_process(id, signal).expect("a child that was not waited for takes signals");
    }

    fn sample(&mut self) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let peak: Option<u64> = field(&status, "VmHWM:");
        self.peak_bytes = self.peak_bytes.max(peak.unwrap_or(0) * 1024);
    }

    fn wait_a_little(&mut self) {
        self.check_deadline();
        std::thread::sleep(LOOK);
    }

    fn check_deadline(&mut self) {
        assert!(self.started.elapsed() < DEADLINE, "{} hangs", self.shown);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    /// Insists on an exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    /// Whether it was killed before it could end.
    pub fn was_killed(&self) -> bool {
        self.status.signal() == Some(Signal::KILL.as_raw())
    }

    /// The one message of this type among its lines of JSON.
    #[track_caller]
    pub fn message(&self, kind: &str) -> Value {
        let mut all = self.messages(kind);
        assert_eq!(all.len(), 1, "there is not one message {kind}: {self}");
        all.remove(0)
    }

    /// The messages of this type, on both outputs.
    pub fn messages(&self, kind: &str) -> Vec<Value> {
        let lines = self.stdout.lines().chain(self.stderr.lines());
        let parsed = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        parsed.filter(|message| message["message_type"] == kind).collect()
    }

    /// The paths that it said it had failed with.
    pub fn failed_items(&self) -> Vec<String> {
        self.messages("error").iter().filter_map(|error| error["item"].as_str().map(str::to_owned)).collect()
    }

    /// What it printed, as one JSON document.
    #[track_caller]
    pub fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { shown, status, stdout, stderr, .. } = self;
        write!(f, "{shown} ended with {status}\n-- output:\n{stdout}\n-- errors:\n{stderr}")
    }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a temporary file can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
