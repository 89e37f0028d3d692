//! A home for one test, and the binary run in it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with everything that a test needs.
pub(crate) struct Home {
    folder: TempDir,
}

/// What a run has left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Home {
    /// Without a repository.
    pub(crate) fn empty() -> Home {
        // Where making things durable costs nothing; a repository makes 256 folders durable when it is made.
        let memory = tempfile::tempdir_in("/dev/shm");
        let home = Home { folder: memory.or_else(|_| tempfile::tempdir()).unwrap() };
        for name in ["src", "tmp"] {
            fs::create_dir(home.path(name)).unwrap();
        }
        home.run(["key", "new-file", "key"]).expect(0);
        home
    }

    /// With a repository that the key file opens.
    pub(crate) fn new() -> Home {
        let home = Home::empty();
        home.run(["init"]).expect(0);
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a source file.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path("src").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// The command, with nothing in its environment but what is set here.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_treering"));
        command.args(args).env_clear().current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("PATH", "/usr/bin:/bin").env("TZ", "UTC").env("TREERING_HOST", "testhost");
        command.env("HOME", self.path("home")).env("TMPDIR", self.path("tmp"));
        command.env("TREERING_REPOSITORY", self.path("repository")).env("TREERING_KEY_FILE", self.path("key"));
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        Ran::of(&mut self.command(args))
    }

    /// Backs `src` up and returns the id.
    pub(crate) fn backup(&self) -> String {
        let ran = self.run(["backup", "src", "--json"]).expect(0);
        ran.summary()["snapshot_id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn snapshots(&self) -> Vec<Value> {
        let ran = self.run(["snapshots", "--json"]).expect(0);
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// All packs.
    pub(crate) fn packs(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(self.path("repository/packs")).unwrap();
        let mut packs: Vec<PathBuf> = folders
            .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().map(|pack| pack.unwrap().path()))
            .collect();
        packs.sort();
        packs
    }
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Ran {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// The JSON lines of standard output.
    pub(crate) fn messages(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The message that ends a command.
    pub(crate) fn summary(&self) -> Value {
        let last = self.messages().pop().unwrap();
        assert_eq!(last["message_type"], "summary");
        last
    }
}

/// Compares two folders with diff(1): names, types, contents and link targets.
#[track_caller]
pub(crate) fn assert_same(one: &Path, other: &Path) {
    let output = Command::new("diff").args(["-r", "--no-dereference"]).arg(one).arg(other).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
