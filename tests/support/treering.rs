//! A repository and the program at work on it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use treering_snapshot::SnapshotName;
use treering_workloads::fingerprint::Fingerprint;

use crate::ledger::Ledger;
use crate::running::{Ran, Running};

/// A repository that a key file opens: it starts at once, while a passphrase costs seconds in a debug build.
#[derive(Debug)]
pub struct Treering {
    repository: PathBuf,
    key_file: PathBuf,
    cache: PathBuf,
    /// A program that runs ours, with its arguments.
    wrapper: Vec<OsString>,
}

impl Treering {
    /// Makes a repository `repository` in a folder, beside a key file and a cache folder.
    pub fn init(folder: &Path) -> Self {
        Self::init_at(&folder.join("repository"), folder, Vec::new())
    }

    /// Makes a repository at this place, with the key file and the cache in another folder, by a program that runs
    /// ours.
    pub fn init_at(repository: &Path, folder: &Path, wrapper: Vec<OsString>) -> Self {
        let (key_file, cache) = (folder.join("key"), folder.join("cache"));
        let made = Self { repository: repository.to_owned(), key_file, cache, wrapper };
        let mut new_file = made.bare("key");
        new_file.arg("new-file").arg(&made.key_file);
        run(&mut new_file).expect(0);
        run(&mut made.command("init")).expect(0);
        made
    }

    /// The same repository through a program that runs ours.
    pub fn through(&self, wrapper: &[&str]) -> Self {
        let Self { repository, key_file, cache, .. } = self;
        let wrapper = wrapper.iter().map(OsString::from).collect();
        Self { repository: repository.clone(), key_file: key_file.clone(), cache: cache.clone(), wrapper }
    }

    /// What opens this one, on a repository at another place, which need not exist.
    pub fn on(&self, repository: &Path) -> Self {
        let Self { key_file, cache, wrapper, .. } = self;
        Self {
            repository: repository.to_owned(),
            key_file: key_file.clone(),
            cache: cache.clone(),
            wrapper: wrapper.clone(),
        }
    }

    /// Where the repository is.
    pub fn repository(&self) -> &Path {
        &self.repository
    }

    /// The cache folder.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// A command on the repository, to be given its arguments; it prints JSON.
    pub fn command(&self, verb: &str) -> Command {
        let mut command = self.bare(verb);
        command.arg("--repo").arg(&self.repository).arg("--key-file").arg(&self.key_file);
        command.arg("--cache-dir").arg(&self.cache);
        command
    }

    /// A command that needs no repository.
    pub fn bare(&self, verb: &str) -> Command {
        let binary = crate::binary();
        let mut command = match self.wrapper.split_first() {
            None => Command::new(binary),
            Some((wrapper, arguments)) => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(binary);
                command
            }
        };
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.as_encoded_bytes().starts_with(b"TREERING_")) {
            command.env_remove(name);
        }
        command.arg("--json").arg(verb);
        command
    }

    /// A backup of this folder, to be given more arguments.
    pub fn backup_command(&self, folder: &Path) -> Command {
        let mut command = self.command("backup");
        // The same name on every machine, so that the parent is found.
        command.args(["--host", "test"]).arg(folder);
        command
    }

    /// Backs a folder up, without any fault, and gives the summary.
    #[track_caller]
    pub fn backup(&self, folder: &Path) -> Value {
        run(&mut self.backup_command(folder)).expect(0).message("summary")
    }

    /// Restores everything of a snapshot into a folder.
    #[track_caller]
    pub fn restore(&self, snapshot: &str, target: &Path) -> Ran {
        let mut command = self.command("restore");
        command.args(["--privileged", "--snapshot", snapshot, "--target"]).arg(target);
        run(&mut command).expect(0)
    }

    /// Insists that a snapshot restores to exactly this.
    #[track_caller]
    pub fn assert_restores(&self, snapshot: &str, target: &Path, expected: &Fingerprint) {
        self.restore(snapshot, target);
        crate::assert_same(expected, &crate::fingerprint(target));
        std::fs::remove_dir_all(target).expect("what was restored can be removed");
    }

    /// Insists that a check that reads all data finds nothing.
    #[track_caller]
    pub fn check(&self) -> Ran {
        run(self.command("check").arg("--read-data")).expect(0)
    }

    /// The names of the snapshots, oldest first.
    #[track_caller]
    pub fn names(&self) -> Vec<SnapshotName> {
        self.snapshots().iter().map(|snapshot| name(&snapshot["id"])).collect()
    }

    /// Insists that the repository holds what the ledger says, when nobody is at work on it: every snapshot is restored.
    #[track_caller]
    pub fn assert_holds(&self, ledger: &mut Ledger<Fingerprint>, target: &Path) {
        let seen = self.names();
        let mut read = |name: SnapshotName| {
            self.restore(&name.to_string(), target);
            let restored = crate::fingerprint(target);
            std::fs::remove_dir_all(target).map_err(|error| error.to_string())?;
            Ok(restored)
        };
        ledger.settle(&seen, &mut read).unwrap_or_else(|wrong| panic!("{wrong}"));
        for name in seen {
            let expected = ledger.tree(name).unwrap_or_else(|| panic!("nobody knows {name}"));
            self.assert_restores(&name.to_string(), target, expected);
        }
    }

    /// The snapshots, oldest first.
    #[track_caller]
    pub fn snapshots(&self) -> Vec<Value> {
        match run(&mut self.command("snapshots")).expect(0).document() {
            Value::Array(snapshots) => snapshots,
            other => panic!("snapshots are no list: {other}"),
        }
    }

    /// The bytes of all published packs.
    pub fn pack_bytes(&self) -> u64 {
        let packs = self.repository.join("packs");
        let shards = std::fs::read_dir(&packs).expect("the packs can be listed");
        let files = shards.flatten().flat_map(|shard| std::fs::read_dir(shard.path()).expect("a shard can be listed"));
        files.flatten().map(|file| file.metadata().map_or(0, |metadata| metadata.len())).sum()
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ran {
    Running::start(command).finish()
}

/// The full id in a backup's summary.
#[track_caller]
pub fn id(summary: &Value) -> String {
    summary["snapshot_id"].as_str().unwrap_or_else(|| panic!("no snapshot was written: {summary}")).to_owned()
}

/// A name as JSON has it.
#[track_caller]
pub fn name(value: &Value) -> SnapshotName {
    value.as_str().and_then(SnapshotName::from_hex).unwrap_or_else(|| panic!("{value} is no name of a snapshot"))
}

/// A number in a summary; what is left out is zero.
#[track_caller]
pub fn count(summary: &Value, name: &str) -> u64 {
    summary.get(name).map_or(0, |value| value.as_u64().unwrap_or_else(|| panic!("{name} is {value}")))
}
