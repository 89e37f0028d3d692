//! A writer that tries captures of H2 as hard as they should be tried, and who looks at what they give.
//!
//! Owns: running `java/H2Load.java`; what it acknowledged and when.
//! Never: reads or writes the database file itself.
//! Invariant: transfers keep their sum, every thread numbers its commits without a gap, and every document carries its
//! checksum; so whatever is read tells whether it belongs together.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::error::{Context, Error, Result};
use crate::files;
use crate::java::{JavaProgram, Source};

const SOURCE: Source = Source {
    class: "H2Load",
    text: include_str!("../java/H2Load.java"),
    library: "h2",
    packages: &["libh2-java", "default-jdk-headless"],
};

/// Threads that commit.
pub const THREADS: usize = 4;

/// A database `db/Server` below a folder.
#[derive(Clone, Debug)]
pub struct LoadDatabase {
    folder: PathBuf,
    program: JavaProgram,
}

/// A commit that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Whose.
    pub thread: usize,
    /// Which of theirs.
    pub number: u64,
    /// When it was told, in milliseconds since 1970.
    pub millis: u64,
}

impl LoadDatabase {
    /// Makes one with this many rows to begin with.
    pub fn create(folder: &Path, rows: u32, seed: u64) -> Result<Self> {
        Self::create_with(folder, rows, seed, "")
    }

    /// The same, with more options for its URL; with a cipher among them it is encrypted.
    pub fn create_with(folder: &Path, rows: u32, seed: u64, options: &str) -> Result<Self> {
        files::create_folder(&folder.join("db"))?;
        let program = JavaProgram::prepare(&SOURCE)?;
        program.run(&["create", &rows.to_string(), &seed.to_string(), options], folder)?;
        Ok(Self { folder: folder.to_path_buf(), program })
    }

    /// The file of the database.
    pub fn file(&self) -> PathBuf {
        self.folder.join("db/Server.mv.db")
    }

    /// Starts a writer with this many transactions a second, 0 for as many as it can, and more options for its URL.
    pub fn load(&self, seed: u64, rate: u32, options: &str) -> Result<Load> {
        let arguments = ["load", &seed.to_string(), &rate.to_string(), options];
        let (child, input, output) = self.program.start_in(&arguments, &self.folder)?;
        let commits: Arc<Mutex<Vec<Commit>>> = Arc::default();
        let kept = Arc::clone(&commits);
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(std::io::Result::ok) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).extend(commit(&line));
            }
        });
        Ok(Load { child, input: Some(input), reader: Some(reader), commits })
    }
}

fn commit(line: &str) -> Option<Commit> {
    let mut words = line.strip_prefix("commit ")?.split(' ');
    let mut next = || words.next()?.parse::<u64>().ok();
    Some(Commit { thread: usize::try_from(next()?).ok()?, number: next()?, millis: next()? })
}

/// A writer at work.
#[derive(Debug)]
pub struct Load {
    child: Child,
    input: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
    commits: Arc<Mutex<Vec<Commit>>>,
}

impl Load {
    /// What it has acknowledged so far.
    pub fn commits(&self) -> Vec<Commit> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For each thread the last commit that was acknowledged before this moment.
    pub fn before(&self, millis: u64) -> [u64; THREADS] {
        let mut last = [0; THREADS];
        for commit in self.commits().iter().filter(|commit| commit.millis < millis) {
            if let Some(last) = last.get_mut(commit.thread) {
                *last = commit.number.max(*last);
            }
        }
        last
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still at work.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Lets it close its database and end.
    pub fn stop(mut self) -> Result<()> {
        drop(self.input.take());
        let status = self.child.wait().context("wait for", Path::new("H2Load"))?;
        match status.success() {
            true => Ok(()),
            false => Err(Error::Unexpected(format!("H2Load ended with {status}"))),
        }
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("kill", Path::new("H2Load"))?;
        self.child.wait().context("wait for", Path::new("H2Load")).map(drop)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.reader.take().map(JoinHandle::join);
    }
}

/// What real H2 finds in a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// By how much the sum over all accounts is off.
    pub sum: i64,
    /// How many threads have a gap in their numbers, or a head that is not the last of them.
    pub gaps: u64,
    /// How many documents are not what was stored.
    pub crc: u64,
    /// How many rows the table has more than its index.
    pub indexed: i64,
    /// The last commit of each thread.
    pub heads: [u64; THREADS],
}

impl Found {
    /// Whether tables do not belong together; nothing is damaged by that.
    pub fn is_anomalous(&self) -> bool {
        (self.sum, self.gaps, self.indexed) != (0, 0, 0)
    }
}

/// Real H2, waiting for copies to look at.
#[derive(Debug)]
pub struct Checker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Checker {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let program = JavaProgram::prepare(&SOURCE)?;
        let (child, input, output) = program.start_in(&["check"], Path::new("."))?;
        Ok(Self { child, input, output })
    }

    /// Opens `Server` in a folder and reads all of it; or why that failed.
    pub fn check(&mut self, folder: &Path) -> Result<std::result::Result<Found, String>> {
        self.ask("check", folder)
    }

    /// Opens it, writes to it and closes it, twice; then the same.
    pub fn reopen(&mut self, folder: &Path) -> Result<std::result::Result<Found, String>> {
        self.ask("reopen", folder)
    }

    /// Opens it and gives a checksum over every row of it; or why that failed. It may be damaged in any way.
    pub fn digest(&mut self, folder: &Path) -> Result<std::result::Result<u64, String>> {
        Ok(match self.answer("digest", folder)? {
            Ok(answer) => Ok(number(&answer, "digest")?.unsigned_abs()),
            Err(said) => Err(said),
        })
    }

    fn ask(&mut self, verb: &str, folder: &Path) -> Result<std::result::Result<Found, String>> {
        let answer = match self.answer(verb, folder)? {
            Ok(answer) => answer,
            Err(said) => return Ok(Err(said)),
        };
        let number = |name: &str| number(&answer, name);
        let mut heads = [0; THREADS];
        for (thread, head) in heads.iter_mut().enumerate() {
            *head = number(&format!("head{thread}"))?.unsigned_abs();
        }
        let (gaps, crc) = (number("gaps")?.unsigned_abs(), number("crc")?.unsigned_abs());
        Ok(Ok(Found { sum: number("sum")?, gaps, crc, indexed: number("indexed")?, heads }))
    }

    /// What it says of a database that it has opened; or why it has not.
    fn answer(&mut self, verb: &str, folder: &Path) -> Result<std::result::Result<String, String>> {
        writeln!(self.input, "{verb} {}", folder.display()).context("ask", Path::new("H2Load"))?;
        let mut answer = String::new();
        self.output.read_line(&mut answer).context("read the answer of", Path::new("H2Load"))?;
        Ok(if answer.starts_with("opened ") { Ok(answer) } else { Err(answer.trim().to_owned()) })
    }
}

fn number(answer: &str, name: &str) -> Result<i64> {
    let words = answer.split_whitespace().filter_map(|word| word.split_once('='));
    let value = words.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse::<i64>().ok());
    value.ok_or_else(|| Error::Unexpected(format!("H2Load said no {name}: {answer}")))
}

impl Drop for Checker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
