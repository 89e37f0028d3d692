//! A command that runs in any case: when we say so, when we fail, and when we die.
//!
//! A shell of its own process group waits for the end of a pipe that only we hold. However that comes about, it runs the
//! command. So a program that was stopped for a capture does not stay stopped.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

/// The shell that waits.
#[derive(Debug)]
pub(crate) struct Afterwards {
    shell: Child,
}

impl Afterwards {
    /// Prepares a command for `sh -c`.
    pub(crate) fn run(command: &str) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", "cat > /dev/null; exec sh -c \"$1\" < /dev/null", "sh", command]);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Ok(Self { shell: shell.spawn()? })
    }

    /// Now. Says how the command ended.
    pub(crate) fn now(mut self) -> io::Result<ExitStatus> {
        drop(self.shell.stdin.take());
        self.shell.wait()
    }
}

impl Drop for Afterwards {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Waiting again for one that was waited for gives its status again.
        drop(self.shell.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_when_it_is_dropped_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let prepared = Afterwards::run(&format!("touch '{}'", mark.display())).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!mark.exists());
        drop(prepared);
        assert!(mark.exists());
    }

    #[test]
    fn its_failure_is_told() {
        assert_eq!(Afterwards::run("exit 7").unwrap().now().unwrap().code(), Some(7));
    }
}
