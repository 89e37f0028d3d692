//! The process of a home.
//!
//! Jpom's own scripts search all processes of the machine for a word and take the first one, so with two homes they
//! stop the wrong one. Here a process belongs to a home only if the home's pid file names it, its command line has the
//! application's tag, and the jar that it runs lies in the home's `lib` (`Server.sh` of Jpom 2.11.12 writes all three).
//! A process in a container has another number there than here, so it is never found: the lock on its database tells that
//! it runs.
//!
//! Invariant: everything that is known was read while the process was held by a descriptor, so that its number cannot
//! have passed to another one.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::home::{Home, read_text};

/// The running process of a home.
#[derive(Clone)]
pub struct Running {
    /// Its number.
    pub pid: i32,
    pub(crate) arguments: Vec<OsString>,
    /// `NAME=value`; empty if it may not be read.
    pub(crate) environment: Vec<OsString>,
    /// Held as long as this is.
    pub(crate) handle: Option<Arc<OwnedFd>>,
}

/// Its environment may hold passwords, so it is never shown.
impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({})", self.pid)
    }
}

impl Running {
    /// The process of this home, if it runs on this machine and not in a container.
    pub fn of(home: &Home) -> Option<Running> {
        let number = read_text(&home.root().join(home.pid_file())).ok()?.trim().parse::<i32>().ok()?;
        let number = (number > 0).then_some(number)?;
        let handle = pidfd_open(Pid::from_raw(number)?, PidfdFlags::empty()).ok()?;
        let arguments = words(number, "cmdline").ok()?;
        let running = Running {
            pid: number,
            environment: words(number, "environ").unwrap_or_default(),
            arguments,
            handle: Some(Arc::new(handle)),
        };
        running.is_of(home).then_some(running)
    }

    fn is_of(&self, home: &Home) -> bool {
        let tag = format!("-Djpom.application.tag={}", home.kind.tag());
        self.arguments.iter().any(|argument| argument.as_bytes() == tag.as_bytes()) && self.runs_a_jar_of(home)
    }

    fn runs_a_jar_of(&self, home: &Home) -> bool {
        let behind = self.arguments.iter().skip_while(|argument| argument.as_bytes() != b"-jar").nth(1);
        let folder = |path: &Path| path.parent().and_then(|parent| parent.canonicalize().ok());
        let lib = home.root().join("lib").canonicalize().ok();
        // A relative path is relative to a folder that only the process knows; Jpom's script gives none.
        let jar = behind.map(Path::new).filter(|jar| jar.is_absolute());
        lib.is_some() && jar.and_then(folder) == lib
    }

    /// What follows the first argument that begins so.
    pub(crate) fn value_of(&self, start: &str) -> Option<String> {
        behind(&self.arguments, start.as_bytes())
    }

    /// A variable of its environment.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        behind(&self.environment, format!("{name}=").as_bytes())
    }

    /// What it runs.
    pub(crate) fn executable(&self) -> io::Result<PathBuf> {
        fs::read_link(self.path("exe"))
    }

    /// The folder that it is in.
    pub(crate) fn folder(&self) -> io::Result<PathBuf> {
        fs::read_link(self.path("cwd"))
    }

    /// User and group that it runs as, and its further groups.
    pub(crate) fn owner(&self) -> io::Result<(u32, u32, Vec<u32>)> {
        let metadata = fs::metadata(self.path(""))?;
        let status = fs::read_to_string(self.path("status"))?;
        let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
        let groups = groups.split_whitespace().filter_map(|group| group.parse().ok()).collect();
        Ok((metadata.uid(), metadata.gid(), groups))
    }

    /// Whether it has this file open; `None` if that may not be looked at.
    pub(crate) fn has_open(&self, path: &Path) -> Option<bool> {
        let wanted = path.canonicalize().ok()?;
        let open = fs::read_dir(self.path("fd")).ok()?;
        Some(open.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == wanted)))
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.pid.to_string()).join(name)
    }

    /// One that is not there.
    #[cfg(test)]
    pub(crate) fn imagined(arguments: Vec<OsString>, environment: Vec<OsString>) -> Running {
        Running { pid: 0, arguments, environment, handle: None }
    }
}

fn words(pid: i32, file: &str) -> io::Result<Vec<OsString>> {
    let bytes = fs::read(format!("/proc/{pid}/{file}"))?;
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    Ok(words.map(|word| OsString::from_vec(word.to_vec())).collect())
}

fn behind(words: &[OsString], start: &[u8]) -> Option<String> {
    let found = words.iter().find_map(|word| word.as_bytes().strip_prefix(start));
    found.map(|value| OsStr::from_bytes(value).to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::testing::{Folder, INSTALL};

    /// A process whose command line is like the server's.
    fn imitate(tag: &str, jar: &Path) -> Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read line", "java", tag, "-jar"]).arg(jar);
        // It waits for its input, which ends with this test.
        let child = command.stdin(Stdio::piped()).spawn().unwrap();
        // A process has no command line yet for a moment after it has begun.
        while words(child.id() as i32, "cmdline").unwrap().is_empty() {}
        child
    }

    #[test]
    fn only_the_process_of_this_very_home_is_found() {
        let folder = Folder::new();
        for home in ["a", "b"] {
            folder.write(format!("{home}/bin/Server.sh"), "JPOM_SERVER_APPLICATION");
            folder.write(format!("{home}/data/INSTALL.json"), INSTALL);
            folder.write(format!("{home}/lib/server.jar"), "");
        }
        let (a, b) = (Home::at(&folder.path("a")).unwrap(), Home::at(&folder.path("b")).unwrap());
        let tag = "-Djpom.application.tag=JPOM_SERVER_APPLICATION";
        let mut child = imitate(tag, &folder.path("a/lib/server.jar"));
        let number = child.id().to_string();
        assert!(Running::of(&a).is_none(), "without a pid file");
        folder.write("a/bin/server.pid", format!("{number}\n"));
        folder.write("b/bin/server.pid", &number);
        assert_eq!(Running::of(&a).map(|running| running.pid.to_string()), Some(number));
        assert!(Running::of(&b).is_none(), "its jar is another home's");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Running::of(&a).is_none(), "it has ended");
    }

    #[test]
    fn a_number_that_went_to_another_process_is_not_believed() {
        let folder = Folder::new();
        folder.write("bin/Agent.sh", "JPOM_AGENT_APPLICATION");
        folder.write("data/INSTALL.json", INSTALL);
        folder.write("bin/agent.pid", std::process::id().to_string());
        assert!(Running::of(&Home::at(&folder.path("")).unwrap()).is_none());
        for nonsense in ["", "-1", "0", "x", "99999999999"] {
            folder.write("bin/agent.pid", nonsense);
            assert!(Running::of(&Home::at(&folder.path("")).unwrap()).is_none(), "{nonsense}");
        }
    }
}
