//! One measured command, in a process of its own.
//!
//! Owns: running a command in a session of its own and measuring everything it starts.
//! Never: knows what the command is for.
//! Invariant: one process measures one command, so what the system counts for the waited-for children of this
//! process is the command's alone: nothing has to be subtracted.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use nix::sys::resource::{UsageWho, getrusage};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};

/// How often memory is sampled.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);
/// The kernel's counter of what was read, from wherever it came.
const ASKED: &str = "rchar:";

/// How `cargo xtask cell` was called.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Where the command's output is added
    #[arg(long)]
    pub(crate) log: PathBuf,
    /// Kill the command after this many seconds
    #[arg(long)]
    pub(crate) timeout_seconds: u64,
    /// What to give to sh -c
    pub(crate) command: String,
}

/// What a command cost.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Usage {
    /// The exit status; a signal counts as 128 and its number, as in a shell.
    pub(crate) exit_code: i32,
    pub(crate) wall_seconds: f64,
    pub(crate) user_seconds: f64,
    pub(crate) system_seconds: f64,
    /// The most memory that all its processes had at once, or its largest process alone if that was more
    /// (samples can miss a short peak).
    pub(crate) peak_bytes: u64,
    /// What its processes read from and wrote to disks.
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
    /// What its processes asked to be read, whether it came from a disk or from a cache; what is mapped into memory is
    /// not in it. Older results do not have it.
    pub(crate) asked_bytes: Option<u64>,
    /// Whether it was killed because it was late.
    #[serde(default)]
    pub(crate) timed_out: bool,
    /// CPU time that the rest of the machine used meanwhile.
    pub(crate) others_cpu_seconds: f64,
}

impl Usage {
    /// CPU time in programs and in the kernel.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.user_seconds + self.system_seconds
    }
}

/// Runs the command and prints its [`Usage`] as JSON.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let usage = measure(arguments)?;
    let json = serde_json::to_string(&usage).map_err(|source| Error::Json { what: "the usage".into(), source })?;
    println!("{json}");
    Ok(())
}

/// Measures the command in a new process of this program, with exactly this environment.
pub(crate) fn start(arguments: &Arguments, folder: &Path, environment: &[(String, String)]) -> Result<Usage> {
    let program = std::env::current_exe().context("find", "xtask")?;
    let mut command = Command::new(&program);
    command
        .arg("cell")
        .arg("--log")
        .arg(&arguments.log)
        .arg("--timeout-seconds")
        .arg(arguments.timeout_seconds.to_string())
        .arg("--")
        .arg(&arguments.command)
        .env_clear()
        .envs(environment.iter().cloned())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command.output().context("run", &program)?;
    serde_json::from_slice(&output.stdout)
        .map_err(|source| Error::Json { what: format!("the answer of the cell {:?}", arguments.command), source })
}

fn measure(arguments: &Arguments) -> Result<Usage> {
    // Everything the command starts inherits this session, whatever its parent: that is how it is found.
    let session = rustix::process::setsid().context("make", "a session")?;
    let busy_before = busy_seconds()?;
    let ended = supervise(arguments, session)?;
    let mut usage = children_usage(&ended)?;
    usage.peak_bytes = usage.peak_bytes.max(ended.watched.peak_bytes);
    let busy = busy_seconds()? - busy_before;
    let own = usage.cpu_seconds() + self_seconds()?;
    usage.others_cpu_seconds = (busy - own).max(0.0);
    Ok(usage)
}

fn spawn(arguments: &Arguments) -> Result<Child> {
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    let log = &arguments.log;
    let mut out = File::options().append(true).create(true).open(log).context("open", log)?;
    writeln!(out, "\n$ {}", arguments.command).context("write", log)?;
    let errors = out.try_clone().context("open", log)?;
    Command::new("sh")
        .args(["-c", &arguments.command])
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(errors)
        // A group of its own, so that a timeout ends the command and not this process.
        .process_group(0)
        .spawn()
        .context("run", "sh")
}

/// How a command ended.
struct Ended {
    status: ExitStatus,
    wall_seconds: f64,
    watched: Watched,
}

/// What the watcher of a command has seen and done.
#[derive(Default)]
struct Watched {
    /// The most memory.
    peak_bytes: u64,
    /// Whether it has killed the command.
    was_late: bool,
    /// What it has read itself, for that is no part of the command.
    own_bytes: u64,
}

/// Runs the command while another thread samples its memory and watches the time.
fn supervise(arguments: &Arguments, session: Pid) -> Result<Ended> {
    let begun = Instant::now();
    let mut child = spawn(arguments)?;
    let group = Pid::from_child(&child);
    let deadline = begun + Duration::from_secs(arguments.timeout_seconds);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&ended, session, group, deadline));
        let status = child.wait();
        // Before the watcher is waited for, which may sleep yet.
        let wall_seconds = begun.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
        let watched = watcher.join().map_err(|_| Error::message("the watcher panicked"))?;
        Ok(Ended { status: status.context("wait for", "sh")?, wall_seconds, watched })
    })
}

/// Samples memory. Kills the command when it is late; then it has ended, and the other thread sees it.
fn watch(ended: &AtomicBool, session: Pid, group: Pid, deadline: Instant) -> Watched {
    let mut watched = Watched::default();
    while !ended.load(Ordering::Relaxed) {
        watched.peak_bytes = watched.peak_bytes.max(session_bytes(session));
        if Instant::now() > deadline {
            // It may have ended by itself this very moment.
            watched.was_late |= rustix::process::kill_process_group(group, Signal::KILL).is_ok();
        }
        std::thread::park_timeout(SAMPLE_EVERY);
    }
    watched.own_bytes = counter(&io_of("thread-self"), ASKED);
    watched
}

/// The memory of all processes of the session but this one. Processes end while this reads: what cannot be read
/// does not count.
fn session_bytes(session: Pid) -> u64 {
    let own = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok())
        .filter_map(|stat| resident_bytes(&stat, session))
        .sum()
}

/// Fields 6 (session) and 24 (resident pages) of `/proc/<pid>/stat`, counted behind the name, which may hold
/// spaces and brackets.
fn resident_bytes(stat: &str, session: Pid) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = behind_name.split_whitespace().collect();
    let pages: u64 = fields.get(21)?.parse().ok()?;
    let same_session = fields.get(3)?.parse() == Ok(session.as_raw_nonzero().get());
    same_session.then(|| pages * rustix::param::page_size() as u64)
}

fn children_usage(ended: &Ended) -> Result<Usage> {
    use std::os::unix::process::ExitStatusExt;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("measure", "the command")?;
    // The counters of this process hold those of the children it waited for. Of disks its own share is a log line; of
    // what it has asked for, it is mostly what it has read to sample memory.
    let (io, own) = (io_of("self"), counter(&io_of("thread-self"), ASKED) + ended.watched.own_bytes);
    let status = ended.status;
    Ok(Usage {
        exit_code: status.code().unwrap_or(128 + status.signal().unwrap_or_default()),
        wall_seconds: ended.wall_seconds,
        user_seconds: seconds(usage.user_time()),
        system_seconds: seconds(usage.system_time()),
        peak_bytes: usage.max_rss() as u64 * 1024,
        read_bytes: counter(&io, "read_bytes:"),
        written_bytes: counter(&io, "write_bytes:"),
        asked_bytes: Some(counter(&io, ASKED).saturating_sub(own)),
        // A command that had ended well by then was not late.
        timed_out: ended.watched.was_late && !status.success(),
        others_cpu_seconds: 0.0,
    })
}

/// The counters of a process or thread; none where the kernel does not count.
fn io_of(task: &str) -> String {
    std::fs::read_to_string(format!("/proc/{task}/io")).unwrap_or_default()
}

fn self_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("measure", "this process")?;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

fn seconds(time: nix::sys::time::TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

fn counter(text: &str, name: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(name)).and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// CPU time the whole machine has used for programs and the kernel since it started.
fn busy_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat").context("read", "/proc/stat")?;
    Ok(busy_ticks(&stat) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// user, nice, system, irq and softirq, but not idle and iowait, nor what other machines stole.
fn busy_ticks(stat: &str) -> u64 {
    let first = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> = first.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    [0, 1, 2, 5, 6].iter().filter_map(|index| fields.get(*index)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let session = Pid::from_raw(77).unwrap();
        let stat = "12 (a) b) S 1 12 77 0 -1 4 0 0 0 0 5 6 0 0 20 0 1 0 100 9999 3 18446744073709551615";
        assert_eq!(resident_bytes(stat, session), Some(3 * rustix::param::page_size() as u64));
        assert_eq!(resident_bytes(stat, Pid::from_raw(78).unwrap()), None);
    }

    #[test]
    fn idle_time_is_not_busy() {
        assert_eq!(busy_ticks("cpu  1 2 3 4000 5000 6 7 8000 0 0\ncpu0 9\n"), 19);
    }

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let io = "read_bytes: 5\nwrite_bytes: 7\ncancelled_write_bytes: 9\n";
        assert_eq!(counter(io, "write_bytes:"), 7);
    }
}
