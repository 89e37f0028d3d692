//! A disk that fills up: a file system in memory, of a few megabytes, in a mount namespace of its own.
//!
//! Invariant: the mount belongs to a process that ends with the test, however that ends, so none is left behind. It
//! takes root, or a kernel that lets users have namespaces; a test that gets neither fails.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A small disk that is mounted on a folder, for those only who run through [`SmallDisk::wrapper`].
#[derive(Debug)]
pub struct SmallDisk {
    holder: Child,
    is_root: bool,
}

impl SmallDisk {
    /// Mounts one of this size.
    ///
    /// # Panics
    ///
    /// If that is not possible here.
    pub fn mount(folder: &Path, bytes: u64) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        let mut command = Command::new("unshare");
        command.arg("--mount").args(if is_root { &[][..] } else { &["--user", "--map-root-user"] });
        // It lives until its input ends, which it does with this process.
        let script = "mount -t tmpfs -o size=\"$1\" tmpfs \"$2\" && echo mounted && exec cat";
        command.args(["sh", "-c", script, "sh"]).arg(bytes.to_string()).arg(folder);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut holder = spawned.unwrap_or_else(|error| panic!("cannot run unshare: {error}; {}", super::PACKAGES));
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("its output is a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line, "mounted\n", "a small disk needs root, or user namespaces; {}", super::PACKAGES);
        Self { holder, is_root }
    }

    /// What a program is run through to see the disk.
    pub fn wrapper(&self) -> Vec<OsString> {
        let id = self.holder.id();
        let mut words = vec!["nsenter".to_owned(), format!("--mount=/proc/{id}/ns/mnt")];
        if !self.is_root {
            words.extend([format!("--user=/proc/{id}/ns/user"), "--preserve-credentials".to_owned()]);
        }
        words.into_iter().map(OsString::from).collect()
    }

    /// Runs a shell command that sees the disk, and gives what it prints.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn shell(&self, script: &str) -> String {
        let wrapper = self.wrapper();
        let (program, arguments) = wrapper.split_first().expect("a wrapper is a program");
        let output = Command::new(program).args(arguments).args(["sh", "-c", script]).output().expect("nsenter runs");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
