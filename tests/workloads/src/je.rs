//! A real Berkeley DB Java Edition environment and its days.
//!
//! Owns: running `java/JeNights.java` against Debian's `libdb-je-java`.
//! Never: reads or writes a log file itself.
//! Invariant: an environment is closed between calls, after a checkpoint and a cleaning, unless a live writer runs
//! on it or was killed. Records are a function of the seeds and days; the log's bytes are not, for they hold times.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::files;
use crate::java::{Access, Contents, JavaProgram, LiveWriter, Source};

const SOURCE: Source = Source {
    class: "JeNights",
    text: include_str!("../java/JeNights.java"),
    library: "db-je",
    packages: &["libdb-je-java", "default-jdk-headless"],
};

/// An environment in a folder.
#[derive(Clone, Debug)]
pub struct Environment {
    folder: PathBuf,
    program: JavaProgram,
}

impl Environment {
    /// Makes an environment with this many records of 50 to 1,000 bytes, in log files of 1 MB.
    pub fn create(folder: &Path, records: u32, seed: u64) -> Result<Self> {
        files::create_folder(folder)?;
        let environment = Self::open(folder)?;
        environment.program.run(&["create", &records.to_string(), &seed.to_string()], folder)?;
        Ok(environment)
    }

    /// An environment that is there already, for example a restored one.
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self { folder: folder.to_path_buf(), program: JavaProgram::prepare(&SOURCE)? })
    }

    /// Where the log files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A day of updates, inserts and deletes in transactions, one of which is aborted.
    pub fn day(&self, day: u32, seed: u64) -> Result<()> {
        self.program.run(&["day", &day.to_string(), &seed.to_string()], &self.folder).map(drop)
    }

    /// A quiet night: half a percent of the records, all of them among the newest hundredth, are updated, and as many are
    /// added. About 1 % of the log is new then.
    pub fn night(&self, night: u32, seed: u64) -> Result<()> {
        self.program.run(&["night", &night.to_string(), &seed.to_string()], &self.folder).map(drop)
    }

    /// What is in the environment.
    pub fn count(&self, access: Access) -> Result<Contents> {
        self.program.count(&self.folder, access)
    }

    /// Starts a program that writes until it is stopped.
    pub fn live(&self, seed: u64) -> Result<LiveWriter> {
        self.program.live(&self.folder, seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_depend_on_seed_and_day_only() {
        let temp = tempfile::tempdir().unwrap();
        let counts = ["one", "two"].map(|name| {
            let environment = Environment::create(&temp.path().join(name), 3000, 1).unwrap();
            let first = environment.count(Access::ReadOnly).unwrap();
            environment.day(1, 9).unwrap();
            assert_ne!(first, environment.count(Access::Writable).unwrap());
            [first, environment.count(Access::ReadOnly).unwrap()]
        });
        assert_eq!(counts[0], counts[1]);
        assert_eq!(counts[0][0].records, 6000);
        let logs = files::list(&temp.path().join("one")).unwrap();
        assert!(logs.iter().filter(|path| path.extension().is_some_and(|end| end == "jdb")).count() > 1);
    }

    /// Captures must cope with numbers that are missing in the middle.
    #[test]
    fn days_make_the_cleaner_delete_files() {
        let temp = tempfile::tempdir().unwrap();
        let environment = Environment::create(temp.path(), 6000, 1).unwrap();
        let before = files::list(temp.path()).unwrap();
        (1..4).for_each(|day| environment.day(day, 1).unwrap());
        assert!(before.iter().any(|log| !log.exists()));
    }

    #[test]
    fn reading_only_changes_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let environment = Environment::create(temp.path(), 500, 1).unwrap();
        let before = crate::fingerprint(temp.path()).unwrap();
        environment.count(Access::ReadOnly).unwrap();
        assert_eq!(before, crate::fingerprint(temp.path()).unwrap());
    }

    #[test]
    fn what_a_killed_writer_committed_is_there() {
        let temp = tempfile::tempdir().unwrap();
        let environment = Environment::create(temp.path(), 500, 1).unwrap();
        let mut writer = environment.live(2).unwrap();
        let seen = (0..5).map(|_| writer.next_commit().unwrap()).last().unwrap();
        writer.kill().unwrap();
        assert!(environment.count(Access::Writable).unwrap().acknowledged >= seen);
        let mut writer = environment.live(3).unwrap();
        writer.next_commit().unwrap();
        let last = writer.stop().unwrap();
        assert_eq!(environment.count(Access::ReadOnly).unwrap().acknowledged, last);
    }
}
