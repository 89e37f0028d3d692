//! Making the writer stop for a moment, and go on in any case.

use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::afterwards::Afterwards;
use super::holder::holder;
use crate::error::Error;
use crate::options::Down;

/// How often something that must come about is looked for.
const LOOK: Duration = Duration::from_millis(20);
/// How long a process may take to stop after the signal.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// A writer that does not write; when this is dropped, it goes on. That it does not is told to [`Down`].
#[derive(Debug)]
pub(crate) struct Pause {
    after: Option<Afterwards>,
    command: String,
    down: Down,
}

impl Pause {
    /// Stops the process that holds the database.
    pub(crate) fn freeze(file: &File, path: &Path, down: &Down) -> Result<Self, Error> {
        let not_live = |reason: &str| Error::NotLive { path: path.to_owned(), reason: reason.to_owned() };
        let held = holder(file).map_err(Error::io("look for locks on", path))?;
        let held = held.ok_or_else(|| not_live("nobody holds it, so nobody can be frozen"))?;
        let process = held.process.ok_or_else(|| not_live("who holds it cannot be seen from here"))?;
        let command = format!("kill -CONT {}", process.as_raw_nonzero());
        let after = Afterwards::run(&command).map_err(Error::io("prepare to go on with", path))?;
        let pause = Self { after: Some(after), command, down: down.clone() };
        kill_process(process, Signal::STOP).map_err(|e| Error::io("stop the holder of", path)(e.into()))?;
        wait_for(STOP_WAIT, || is_stopped(process)).then_some(pause).ok_or_else(|| not_live("its holder did not stop"))
    }

    /// Runs the user's command and waits until nobody holds the database.
    pub(crate) fn stop(file: &File, path: &Path, hooks: &Hooks<'_>, down: &Down) -> Result<Self, Error> {
        let &Hooks { stop, start, wait } = hooks;
        let after = Afterwards::run(start).map_err(Error::io("prepare to start what uses", path))?;
        let pause = Self { after: Some(after), command: start.to_owned(), down: down.clone() };
        let started = Instant::now();
        run(stop, wait)?;
        let is_free = || holder(file).is_ok_and(|holder| holder.is_none());
        let failed = |reason: &str| Error::Command { command: stop.to_owned(), reason: reason.to_owned() };
        let left = wait.saturating_sub(started.elapsed());
        wait_for(left, is_free).then_some(pause).ok_or_else(|| failed("ended, but the database is still held"))
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        let Some(after) = self.after.take() else { return };
        match after.now() {
            Ok(status) if status.success() => {}
            Ok(status) => self.down.add(&self.command, format!("failed ({status})")),
            Err(error) => self.down.add(&self.command, format!("could not be run: {error}")),
        }
    }
}

/// The user's commands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hooks<'a> {
    pub(crate) stop: &'a str,
    pub(crate) start: &'a str,
    pub(crate) wait: Duration,
}

fn wait_for(most: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !is_so() {
        if started.elapsed() >= most {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

/// Whether every thread of a process has stopped.
fn is_stopped(process: Pid) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero())) else { return false };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name, in parentheses, may hold anything.
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']))
    })
}

/// Runs a command for `sh -c`, and ends it when it takes too long.
fn run(command: &str, most: Duration) -> Result<(), Error> {
    let failed = |reason: String| Error::Command { command: command.to_owned(), reason };
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = shell.spawn().map_err(|error| failed(format!("could not be run: {error}")))?;
    let mut ended: Option<ExitStatus> = None;
    let in_time = wait_for(most, || {
        ended = child.try_wait().unwrap_or_default();
        ended.is_some()
    });
    if !in_time {
        // It may end at this very moment.
        let _ = child.kill();
        let _ = child.wait();
        return Err(failed(format!("took longer than {} seconds", most.as_secs())));
    }
    match ended {
        Some(status) if status.success() => Ok(()),
        status => Err(failed(format!("failed ({})", status.map_or_else(String::new, |status| status.to_string())))),
    }
}
