//! Stopping a home's own process for a while, and starting it again.
//!
//! Only the process that [`Running`] has proven to be the home's is asked to end, through a descriptor of it, so that no
//! other can be hit; and it is started by what it was started by: the same program, arguments, environment, folder and
//! owner. Nothing is stopped that could not be started again. A process that does not end in time is left alone, never
//! killed: a database that was not closed is what all this is to avoid.
//!
//! Invariant: whoever was stopped is started when [`Stopped::start`] is called or the value is dropped, whichever comes
//! first. Only if this process is killed itself can a home stay down.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, getegid, geteuid, pidfd_send_signal};

use crate::error::{Error, io_error};
use crate::home::Home;
use crate::process::Running;

/// How often it is looked whether somebody wants to stop waiting.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
/// A program that has not ended by then counts as started.
const SETTLED: Duration = Duration::from_secs(2);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(50);

/// What came of stopping.
#[derive(Debug)]
pub enum Stop {
    /// Nothing runs.
    NotRunning,
    /// It has ended.
    Stopped(Stopped),
    /// It was asked to end and has not in time; it is started again once it has.
    StillRunning(Stopped),
}

/// A process that was asked to end.
#[derive(Debug)]
pub struct Stopped {
    home: Home,
    running: Running,
    recipe: Recipe,
    is_started: bool,
}

/// How to start it.
#[derive(Debug, Clone)]
struct Recipe {
    program: PathBuf,
    /// In front of the program: who it runs as.
    owner: Vec<OsString>,
    folder: PathBuf,
}

/// Stops the process of a home, if there is one, and waits for its end up to a limit or until `is_interrupted`.
///
/// # Errors
///
/// [`Error::NotRestartable`] or [`Error::NotAllowed`]; it goes on running then.
pub fn stop(home: &Home, limit: Duration, is_interrupted: &dyn Fn() -> bool) -> Result<Stop, Error> {
    let Some(running) = Running::of(home) else { return Ok(Stop::NotRunning) };
    let recipe = Recipe::of(home, &running)?;
    let refused = || Error::NotAllowed { home: home.root().to_path_buf(), pid: running.pid };
    let handle = running.handle.clone().ok_or_else(refused)?;
    pidfd_send_signal(&*handle, Signal::TERM).map_err(|_| refused())?;
    let stopped = Stopped { home: home.clone(), running, recipe, is_started: false };
    let started = Instant::now();
    while started.elapsed() < limit && !is_interrupted() {
        if stopped.has_ended(Some(&LOOK)) {
            return Ok(Stop::Stopped(stopped));
        }
    }
    Ok(Stop::StillRunning(stopped))
}

impl Stopped {
    /// Starts it again and gives the number of the process; `None` if it never ended.
    ///
    /// # Errors
    ///
    /// [`Error::NotStarted`]: it is down, and somebody has to look after it.
    pub fn start(mut self) -> Result<Option<i32>, Error> {
        self.start_once()
    }

    /// The number that it had.
    pub fn pid(&self) -> i32 {
        self.running.pid
    }

    fn start_once(&mut self) -> Result<Option<i32>, Error> {
        if std::mem::replace(&mut self.is_started, true) || !self.has_ended(Some(&Timespec::default())) {
            return Ok(None);
        }
        let home = self.home.root().to_path_buf();
        self.spawn().map(Some).map_err(|reason| Error::NotStarted { home, reason })
    }

    fn spawn(&self) -> Result<i32, String> {
        let log = self.home.root().join("logs/stdout.log");
        let failed = |what: &str| {
            let what = what.to_owned();
            move |error: io::Error| format!("{what}: {error}")
        };
        let output = File::options().append(true).create(true).open(&log).map_err(failed("cannot open its log"))?;
        let errors = output.try_clone().map_err(failed("cannot open its log"))?;
        let mut command = self.recipe.command(&self.running);
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let mut child = command.spawn().map_err(failed("cannot run it"))?;
        let number = i32::try_from(child.id()).unwrap_or_default();
        fs::write(self.home.root().join(self.home.pid_file()), format!("{number}\n"))
            .map_err(failed("cannot write its pid file"))?;
        let started = Instant::now();
        while started.elapsed() < SETTLED {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("it ended at once ({status}); see {}", log.display()));
            }
            thread::sleep(PAUSE);
        }
        Ok(number)
    }

    /// Whether it has ended; waits that long for it.
    fn has_ended(&self, wait: Option<&Timespec>) -> bool {
        let Some(handle) = &self.running.handle else { return true };
        let mut waiting = [PollFd::new(&**handle, PollFlags::IN)];
        poll(&mut waiting, wait).is_ok_and(|ready| ready > 0)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Nobody is there to be told; who wants to know calls `start`.
        let _ = self.start_once();
    }
}

impl Recipe {
    fn of(home: &Home, running: &Running) -> Result<Recipe, Error> {
        let refused = |reason: String| Error::NotRestartable { home: home.root().to_path_buf(), reason };
        if running.environment.is_empty() {
            return Err(Error::NotAllowed { home: home.root().to_path_buf(), pid: running.pid });
        }
        let program = running.executable().map_err(io_error("find the program of", home.root()))?;
        if !program.is_file() {
            return Err(refused(format!("its program {} is gone", program.display())));
        }
        let folder = running.folder().map_err(io_error("find the folder of", home.root()))?;
        Ok(Recipe { program, owner: owner(running).map_err(refused)?, folder })
    }

    fn command(&self, running: &Running) -> Command {
        let mut words = self.owner.iter().cloned().chain([self.program.clone().into_os_string()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(running.arguments.iter().skip(1));
        command.env_clear().current_dir(&self.folder).process_group(0);
        for variable in &running.environment {
            if let Some((name, value)) = split(variable) {
                command.env(name, value);
            }
        }
        command
    }
}

/// Nothing if it runs as this process does; otherwise `setpriv` of util-linux, which becomes what it runs.
fn owner(running: &Running) -> Result<Vec<OsString>, String> {
    let (user, group, groups) = running.owner().map_err(|error| format!("its owner cannot be told: {error}"))?;
    if (user, group) == (geteuid().as_raw(), getegid().as_raw()) {
        return Ok(Vec::new());
    }
    let found = Command::new("setpriv").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        return Err(format!("it runs as user {user}, and setpriv of util-linux is not there to start it so"));
    }
    let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
    let groups = match groups.is_empty() {
        true => "--clear-groups".to_owned(),
        false => format!("--groups={}", groups.join(",")),
    };
    let words = ["setpriv".to_owned(), format!("--reuid={user}"), format!("--regid={group}"), groups, "--".to_owned()];
    Ok(words.into_iter().map(OsString::from).collect())
}

fn split(variable: &OsString) -> Option<(OsString, OsString)> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = variable.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    let (name, value) = bytes.split_at(at);
    Some((OsString::from_vec(name.to_vec()), OsString::from_vec(value.get(1..)?.to_vec())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::Child;

    use super::*;
    use crate::testing::{Folder, INSTALL};

    /// A server that ends when it is told to, `deaf` one that does not, both as Jpom's script would have started them.
    fn home_with(script: &str) -> (Folder, Home, Child) {
        let folder = Folder::new();
        folder.write("bin/Server.sh", "JPOM_SERVER_APPLICATION");
        folder.write("data/INSTALL.json", INSTALL);
        folder.write("lib/server.jar", "");
        folder.write("logs/stdout.log", "before\n");
        folder.write("java", format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(folder.path("java"), fs::Permissions::from_mode(0o755)).unwrap();
        let home = Home::at(&folder.path("")).unwrap();
        let child = start(&folder, &folder.path("lib/server.jar"));
        folder.write("bin/server.pid", child.id().to_string());
        while Running::of(&home).is_none() || !folder.path("ready").exists() {
            thread::sleep(PAUSE);
        }
        (folder, home, child)
    }

    fn start(folder: &Folder, jar: &Path) -> Child {
        let mut command = Command::new("/bin/sh");
        command.arg(folder.path("java")).arg("-Djpom.application.tag=JPOM_SERVER_APPLICATION").arg("-jar").arg(jar);
        command.env("JPOM_MARK", "kept").stdout(Stdio::null()).stdin(Stdio::null()).spawn().unwrap()
    }

    fn end(home: &Home) {
        let running = Running::of(home).unwrap();
        pidfd_send_signal(&**running.handle.as_ref().unwrap(), Signal::KILL).unwrap();
    }

    const OBEYS: &str = "echo started $JPOM_MARK in $PWD; trap 'exit 0' TERM; : > \"$(dirname \"$0\")/ready\"; while :; do sleep 0.05; done";

    #[test]
    fn what_was_stopped_runs_again_as_it_did() {
        let (folder, home, mut child) = home_with(OBEYS);
        let Stop::Stopped(stopped) = stop(&home, Duration::from_secs(20), &|| false).unwrap() else { panic!() };
        assert_eq!(stopped.pid().to_string(), child.id().to_string());
        child.wait().unwrap();
        assert!(Running::of(&home).is_none());
        let number = stopped.start().unwrap();
        assert_eq!(Running::of(&home).map(|running| running.pid), number);
        let log = fs::read_to_string(folder.path("logs/stdout.log")).unwrap();
        assert!(log.starts_with("before\nstarted kept in /"), "{log}");
        end(&home);
    }

    #[test]
    fn it_runs_again_after_a_panic_too() {
        let (_folder, home, mut child) = home_with(OBEYS);
        let stopped = stop(&home, Duration::from_secs(20), &|| false).unwrap();
        child.wait().unwrap();
        drop(stopped);
        assert!(Running::of(&home).is_some());
        end(&home);
    }

    #[test]
    fn what_does_not_end_in_time_is_left_alone() {
        let (_folder, home, mut child) = home_with(&OBEYS.replace("exit 0", ""));
        let outcome = stop(&home, Duration::from_millis(300), &|| false).unwrap();
        let Stop::StillRunning(stopped) = outcome else { panic!("{outcome:?}") };
        assert_eq!(stopped.start().unwrap(), None);
        assert_eq!(Running::of(&home).map(|running| running.pid.to_string()), Some(child.id().to_string()));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn one_that_cannot_be_started_again_is_told() {
        let (folder, home, mut child) = home_with(OBEYS);
        let Stop::Stopped(stopped) = stop(&home, Duration::from_secs(20), &|| false).unwrap() else { panic!() };
        child.wait().unwrap();
        folder.write("java", "exit 7");
        assert!(matches!(stopped.start(), Err(Error::NotStarted { reason, .. }) if reason.contains("stdout.log")));
    }

    #[test]
    fn where_nothing_runs_nothing_is_started() {
        let (_folder, home, mut child) = home_with(OBEYS);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(stop(&home, Duration::from_secs(1), &|| false), Ok(Stop::NotRunning)));
    }
}
