//! What comes from standard input or from a command.
//!
//! Invariant: a command that did not end well makes the backup fail, and one that is still running when the backup
//! fails is ended. A read that waits for more notices a signal.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use treering_snapshot::SnapshotError;

use crate::exit::Failure;
use crate::process;

/// How long a signal may go unnoticed that comes just before the wait.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// Where the bytes come from.
pub(super) struct Stream {
    /// To be read to the end.
    pub(super) from: Box<dyn Read + Send>,
    /// Who writes them.
    pub(super) child: Writer,
}

/// The command, if it is one.
pub(super) struct Writer {
    child: Option<(String, Child)>,
}

impl Stream {
    pub(super) fn of_stdin() -> Stream {
        Stream { from: Box::new(Patient(io::stdin())), child: Writer { child: None } }
    }

    pub(super) fn of_command(words: &[OsString]) -> Result<Stream, Failure> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(Failure::usage("--stdin-from-command needs a command behind `--`"));
        };
        let spawned = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| Failure::io("run", Path::new(program), &error))?;
        let from: Box<dyn Read + Send> = match child.stdout.take() {
            Some(stdout) => Box::new(Patient(stdout)),
            None => Box::new(io::empty()),
        };
        let name = program.to_string_lossy().into_owned();
        Ok(Stream { from, child: Writer { child: Some((name, child)) } })
    }
}

impl Writer {
    /// Whether everything was written that should be. Called when the stream has ended.
    pub(super) fn finish(&mut self) -> Result<(), SnapshotError> {
        let Some((name, mut child)) = self.child.take() else { return Ok(()) };
        let failed = |how: String| SnapshotError::StreamFailed { detail: format!("`{name}` ended with {how}") };
        match child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(status.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Ends it, if it has not ended.
    pub(super) fn stop(&mut self) {
        if let Some((_, mut child)) = self.child.take() {
            // Both fail only if it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for bytes in a way that a signal ends.
pub(super) struct Patient<R>(pub(super) R);

impl<R: Read + AsFd> Read for Patient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if process::is_interrupted() {
                return Err(io::Error::other("interrupted"));
            }
            let mut waiting = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut waiting, Some(&WAIT)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                // What cannot be waited for is read, and says by itself what is wrong.
                Ok(_) | Err(_) => return self.0.read(buffer),
            }
        }
    }
}
