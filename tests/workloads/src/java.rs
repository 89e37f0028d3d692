//! The Java programs that write real databases.
//!
//! Owns: finding the Java tools and Debian's libraries, compiling each program once, running it, and reading what
//! it prints.
//! Never: skips: a missing tool or library is an error that names the Debian packages.
//! Invariant: compiled classes are kept under the hash of their source and library, and appear there complete or
//! not at all, so tests that run at the same time can share them.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::error::{Context, Error, Result};
use crate::{files, program};

/// Where Debian puts Java libraries.
const LIBRARIES: &str = "/usr/share/java";

static COMPILING: Mutex<()> = Mutex::new(());

/// A Java program of this crate and what it needs.
pub(crate) struct Source {
    /// The main class; the file is named after it.
    pub(crate) class: &'static str,
    pub(crate) text: &'static str,
    /// The library is `<name>.jar`, or the newest `<name>-<version>.jar`.
    pub(crate) library: &'static str,
    pub(crate) packages: &'static [&'static str],
}

/// A compiled program, ready to run.
#[derive(Clone, Debug)]
pub(crate) struct JavaProgram {
    java: PathBuf,
    class_path: String,
    class: &'static str,
}

/// Whether a database may be written while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// No file that is there changes; JE adds its empty lock file where that is missing. A database that was
    /// not closed may be refused.
    ReadOnly,
    /// Opening may repair, checkpoint and clean, as the application would.
    Writable,
}

impl Access {
    fn word(self) -> &'static str {
        match self {
            Access::ReadOnly => "read-only",
            Access::Writable => "writable",
        }
    }
}

/// What is in a database, in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// How many records or rows there are.
    pub records: u64,
    /// A sum over all records, so the order they are read in does not matter.
    pub checksum: u64,
    /// How many commits of live writers are there. They are numbered without a gap, or reading is an error.
    pub acknowledged: u64,
}

/// A program that keeps writing to a database until it is stopped.
#[derive(Debug)]
pub struct LiveWriter {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    last: u64,
    name: &'static str,
}

impl LiveWriter {
    /// Waits until the next commit is on disk and gives its number: whatever is captured from now on must hold it.
    pub fn next_commit(&mut self) -> Result<u64> {
        let mut line = String::new();
        self.output.read_line(&mut line).context("read the output of", Path::new(self.name))?;
        self.last = number(&line, "committed")?;
        Ok(self.last)
    }

    /// Lets the program close its database and end; gives the number of its last commit.
    pub fn stop(mut self) -> Result<u64> {
        drop(self.input.take());
        for line in (&mut self.output).lines() {
            self.last = number(&line.context("read the output of", Path::new(self.name))?, "committed")?;
        }
        let status = self.child.wait().context("wait for", Path::new(self.name))?;
        match status.success() {
            true => Ok(self.last),
            false => Err(Error::Unexpected(format!("{} ended with {status}", self.name))),
        }
    }

    /// Ends the program as a power cut would, leaving the database unclosed.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("kill", Path::new(self.name))?;
        self.child.wait().context("wait for", Path::new(self.name)).map(drop)
    }
}

impl Drop for LiveWriter {
    fn drop(&mut self) {
        // A test that panicked must not leave the program behind; it may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl JavaProgram {
    /// Finds everything and compiles the program unless that was done before.
    pub(crate) fn prepare(source: &Source) -> Result<Self> {
        Self::prepare_with(source, &[])
    }

    /// The same, with further classes that the program uses, by name and text.
    pub(crate) fn prepare_with(source: &Source, beside: &[(&str, &str)]) -> Result<Self> {
        let java = program::find("java", &[], source.packages)?;
        let library = library(source)?;
        let classes = classes(source, beside, &library)?;
        let class_path = format!("{}:{}", classes.display(), library.display());
        Ok(Self { java, class_path, class: source.class })
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str], folder: &Path) -> Result<String> {
        let (verb, rest) = arguments.split_first().unwrap_or((&"", &[]));
        program::run(self.command().arg(verb).arg(folder).args(rest))
    }

    /// Runs `count` and reads its answer.
    pub(crate) fn count(&self, folder: &Path, access: Access) -> Result<Contents> {
        let printed = self.run(&["count", access.word()], folder)?;
        Ok(Contents {
            records: number(&printed, "records")?,
            checksum: number(&printed, "checksum")?,
            acknowledged: number(&printed, "acknowledged")?,
        })
    }

    /// Runs `live` and lets it go on.
    pub(crate) fn live(&self, folder: &Path, seed: u64) -> Result<LiveWriter> {
        let mut command = self.command();
        command.arg("live").arg(folder).arg(seed.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("run", &self.java)?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or_else(|| Error::Unexpected("java has no output".into()))?;
        Ok(LiveWriter { child, input, output: BufReader::new(output), last: 0, name: self.class })
    }

    /// Starts the program with pipes on its input and output.
    pub(crate) fn start(&self, arguments: &[&OsStr]) -> Result<(Child, ChildStdin, BufReader<ChildStdout>)> {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("run", &self.java)?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok((child, input, BufReader::new(output))),
            _ => Err(Error::Unexpected("java has no input or output".into())),
        }
    }

    /// The same with a word, a folder and more words.
    pub(crate) fn start_in(
        &self,
        arguments: &[&str],
        folder: &Path,
    ) -> Result<(Child, ChildStdin, BufReader<ChildStdout>)> {
        let (verb, rest) = arguments.split_first().unwrap_or((&"", &[]));
        let words: Vec<&OsStr> = rest.iter().map(OsStr::new).collect();
        self.start(&[&[OsStr::new(verb), folder.as_os_str()], &words[..]].concat())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.java);
        // Small and quick to start: these programs run for a second or two, many times.
        command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]);
        command.arg("-cp").arg(&self.class_path).arg(self.class);
        command
    }
}

pub(crate) fn library(source: &Source) -> Result<PathBuf> {
    let exact = Path::new(LIBRARIES).join(format!("{}.jar", source.library));
    if exact.is_file() {
        return Ok(exact);
    }
    let prefix = format!("{}-", source.library);
    let versions = files::list(Path::new(LIBRARIES)).unwrap_or_default();
    let is_version = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(&prefix) && name.ends_with(".jar"))
    };
    versions
        .into_iter()
        .rfind(is_version)
        .ok_or_else(|| Error::Missing { what: format!("the library {}", exact.display()), packages: source.packages })
}

/// The folder of compiled classes.
fn classes(source: &Source, beside: &[(&str, &str)], library: &Path) -> Result<PathBuf> {
    let javac = program::find("javac", &[], source.packages)?;
    let mut name = blake3::Hasher::new();
    name.update(source.text.as_bytes());
    for (_, text) in beside {
        name.update(text.as_bytes());
    }
    name.update(&fs::read(library).context("read", library)?);
    let kept = cache()?.join(format!("{}-{}", source.class, &name.finalize().to_hex()[..16]));
    // Threads of this process would use the same folder for unfinished classes.
    let _one_at_a_time = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
    if !kept.exists() {
        compile(&javac, source, beside, library, &kept)?;
    }
    Ok(kept)
}

/// A folder that only this user can write to, because programs are run from it.
fn cache() -> Result<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let folder = std::env::temp_dir().join(format!("treering-workloads-{user}"));
    let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(&folder);
    made.context("create the folder", &folder)?;
    let metadata = fs::symlink_metadata(&folder).context("read the metadata of", &folder)?;
    match metadata.is_dir() && metadata.uid() == user {
        true => Ok(folder),
        false => Err(Error::Unexpected(format!("{} belongs to somebody else", folder.display()))),
    }
}

fn compile(javac: &Path, source: &Source, beside: &[(&str, &str)], library: &Path, kept: &Path) -> Result<()> {
    let unfinished = kept.with_extension(format!("{}.tmp", std::process::id()));
    files::remove_folder(&unfinished)?;
    files::create_folder(&unfinished)?;
    let mut command = Command::new(javac);
    command.args(["-encoding", "UTF-8", "-cp"]).arg(library).arg("-d").arg(&unfinished);
    for (class, text) in [(source.class, source.text)].iter().chain(beside) {
        let file = unfinished.join(format!("{class}.java"));
        fs::write(&file, text).context("write", &file)?;
        command.arg(&file);
    }
    program::run(&mut command)?;
    match fs::rename(&unfinished, kept) {
        // Another process was quicker; its classes are the same.
        Err(_) if kept.exists() => files::remove_folder(&unfinished),
        other => other.context("move", &unfinished),
    }
}

/// The number behind `name=` in what a program printed.
pub(crate) fn number(printed: &str, name: &str) -> Result<u64> {
    printed
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.parse().ok())
        .ok_or_else(|| Error::Unexpected(format!("a Java program printed no {name}: {printed:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_names_its_packages() {
        let source = Source { class: "None", text: "", library: "no-such-library", packages: &["libnone-java"] };
        let error = JavaProgram::prepare(&source).unwrap_err().to_string();
        assert!(error.contains("install the Debian packages: libnone-java"), "{error}");
    }

    #[test]
    fn numbers_are_read_by_name() {
        assert_eq!(number("records=12 checksum=18446744073709551615\n", "checksum").unwrap(), u64::MAX);
        assert!(number("records=12", "checksum").is_err());
    }
}
