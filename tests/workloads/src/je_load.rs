//! A real Berkeley DB Java Edition environment under load, and the look at what came back of it.
//!
//! Owns: running `java/JeLoad.java`, together with the class that applications drop in, against Debian's
//! `libdb-je-java`, and reading what it acknowledged.
//! Never: reads or writes a log file itself.
//! Invariant: a commit is in [`Load::acknowledged`] only after JE had said that it is done, also if the load was killed.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout};

use crate::error::{Context, Error, Result};
use crate::files;
use crate::java::{JavaProgram, Source, number};

const SOURCE: Source = Source {
    class: "JeLoad",
    text: include_str!("../java/JeLoad.java"),
    library: "db-je",
    packages: &["libdb-je-java", "default-jdk-headless"],
};

const DROP_IN: (&str, &str) = ("TreeringBackup", include_str!("../../../integrations/je/TreeringBackup.java"));

/// How hard it writes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Threads that commit.
    pub threads: u32,
    /// How long each of them rests between two commits on average, in milliseconds; 0 for not at all.
    pub pause_ms: u32,
    /// What decides the amounts and the accounts.
    pub seed: u64,
}

/// A commit that the application knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its number; they ascend by one.
    pub number: u64,
    /// A moment before it, in milliseconds since 1970.
    pub before_ms: i64,
    /// A moment when it had been acknowledged.
    pub after_ms: i64,
}

/// What was found in an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The sum of all accounts.
    pub sum: i64,
    /// What it must be.
    pub expected: i64,
    /// The number of the last commit.
    pub last: u64,
    /// The moment before it.
    pub time_ms: i64,
}

/// A load at work.
#[derive(Debug)]
pub struct Load {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    acknowledged: PathBuf,
}

impl Load {
    /// Starts to write to an environment, which is made if there is none. `acknowledged` is a file outside of it.
    pub fn start(home: &Path, acknowledged: &Path, pace: Pace) -> Result<Self> {
        files::create_folder(home)?;
        let program = program()?;
        let [threads, pause, seed] =
            [u64::from(pace.threads), u64::from(pace.pause_ms), pace.seed].map(|number| number.to_string());
        let words = [OsStr::new("load"), home.as_os_str(), acknowledged.as_os_str()];
        let numbers = [threads.as_ref(), pause.as_ref(), seed.as_ref()];
        let (child, input, output) = program.start(&[words, numbers].concat())?;
        let mut load = Self { child, input: Some(input), output, acknowledged: acknowledged.to_owned() };
        load.answer("ready")?;
        Ok(load)
    }

    /// The commits that were acknowledged by now, in the order of their numbers.
    pub fn acknowledged(&self) -> Result<Vec<Commit>> {
        acknowledged(&self.acknowledged)
    }

    /// The last of them.
    pub fn last(&self) -> Result<u64> {
        Ok(self.acknowledged()?.last().map_or(0, |commit| commit.number))
    }

    /// Waits until so many more commits have been acknowledged.
    pub fn wait_for(&mut self, more: u64) -> Result<()> {
        let from = self.last()?;
        while self.last()? < from + more {
            if let Some(status) = self.child.try_wait().context("wait for", Path::new("JeLoad"))? {
                return Err(Error::Unexpected(format!("JeLoad ended with {status}")));
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(())
    }

    /// Writes a checkpoint.
    pub fn checkpoint(&mut self) -> Result<()> {
        self.ask("checkpoint")?;
        self.answer("checkpointed").map(drop)
    }

    /// Commits nothing more until [`Load::resume`].
    pub fn pause(&mut self) -> Result<()> {
        self.ask("pause")?;
        self.answer("paused").map(drop)
    }

    /// Commits again.
    pub fn resume(&mut self) -> Result<()> {
        self.ask("resume")?;
        self.answer("resumed").map(drop)
    }

    /// Lets the application back itself up with the class that it has dropped in. Gives the last file, or why it
    /// failed.
    pub fn back_up(
        &mut self,
        after: i64,
        limit_ms: u64,
        command: &[&OsStr],
    ) -> Result<std::result::Result<u64, String>> {
        let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
        self.ask(&format!("backup\t{after}\t{limit_ms}\t{}", words.join("\t")))?;
        let line = self.line()?;
        match line.trim().split_once('=') {
            Some(("stored", _)) => number(&line, "stored").map(Ok),
            Some(("failed", why)) => Ok(Err(why.to_owned())),
            _ => Err(Error::Unexpected(format!("JeLoad answered {line:?} to backup"))),
        }
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Lets it close its environment and end.
    pub fn stop(mut self) -> Result<()> {
        drop(self.input.take());
        let status = self.child.wait().context("wait for", Path::new("JeLoad"))?;
        match status.success() {
            true => Ok(()),
            false => Err(Error::Unexpected(format!("JeLoad ended with {status}"))),
        }
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("kill", Path::new("JeLoad"))?;
        self.child.wait().context("wait for", Path::new("JeLoad")).map(drop)
    }

    fn ask(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().ok_or_else(|| Error::Unexpected("JeLoad has no input".into()))?;
        writeln!(input, "{line}").context("write to", Path::new("JeLoad"))
    }

    fn answer(&mut self, expected: &str) -> Result<()> {
        let line = self.line()?;
        match line.trim() == expected {
            true => Ok(()),
            false => Err(Error::Unexpected(format!("JeLoad said {line:?} and not {expected}"))),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).context("read the output of", Path::new("JeLoad"))?;
        Ok(line)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A test that panicked must not leave the program behind; it may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The commits that a file of acknowledgements names, in the order of their numbers.
pub fn acknowledged(file: &Path) -> Result<Vec<Commit>> {
    let text = fs::read_to_string(file).context("read", file)?;
    // A line without an end is still being written.
    let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
    let mut commits = whole.lines().map(commit).collect::<Result<Vec<_>>>()?;
    commits.sort_unstable_by_key(|commit| commit.number);
    Ok(commits)
}

fn commit(line: &str) -> Result<Commit> {
    let numbers: Vec<i64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    match *numbers.as_slice() {
        [number, before_ms, after_ms] => Ok(Commit { number: number.unsigned_abs(), before_ms, after_ms }),
        _ => Err(Error::Unexpected(format!("an acknowledgement is {line:?}"))),
    }
}

/// Opens an environment as its application would, with recovery, and reads all of it. Fails if it does not open, or if
/// a commit is missing among later ones.
pub fn check(home: &Path) -> Result<Found> {
    let printed = program()?.run(&["check"], home)?;
    let signed = |name| number(&printed, name).map(|value| value as i64);
    Ok(Found {
        sum: signed("sum")?,
        expected: signed("expected")?,
        last: number(&printed, "last")?,
        time_ms: signed("time")?,
    })
}

fn program() -> Result<JavaProgram> {
    JavaProgram::prepare_with(&SOURCE, &[DROP_IN])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_is_there_after_a_kill_and_files_come_and_go() {
        let temp = tempfile::tempdir().unwrap();
        let (home, acknowledged) = (temp.path().join("je"), temp.path().join("acknowledged"));
        let mut load = Load::start(&home, &acknowledged, Pace { threads: 3, pause_ms: 0, seed: 1 }).unwrap();
        load.wait_for(1500).unwrap();
        let last = load.last().unwrap();
        load.kill().unwrap();
        let found = check(&home).unwrap();
        assert_eq!(found.sum, found.expected);
        assert!(found.last >= last);
        assert!(!home.join("00000000.jdb").exists(), "the cleaner deleted nothing");
    }
}
