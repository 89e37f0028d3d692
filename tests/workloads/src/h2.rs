//! A real H2 database as Jpom makes one, and its days.
//!
//! Owns: running `java/H2Nights.java` against Debian's `libh2-java`, which is the version that Jpom ships.
//! Never: reads or writes the database file itself.
//! Invariant: the database is `db/Server` below the folder, with Jpom's URL, user and password, and is closed
//! between calls unless a live writer runs on it or was killed. Rows are a function of the seeds and days; the
//! file's bytes are not.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::files;
use crate::java::{Access, Contents, JavaProgram, LiveWriter, Source};

const SOURCE: Source = Source {
    class: "H2Nights",
    text: include_str!("../java/H2Nights.java"),
    library: "h2",
    packages: &["libh2-java", "default-jdk-headless"],
};

/// The library.
pub(crate) fn library() -> Result<PathBuf> {
    crate::java::library(&SOURCE)
}

/// A database in `db` below a folder, such as [`Home::base`](crate::jpom_home::Home::base).
#[derive(Clone, Debug)]
pub struct Database {
    folder: PathBuf,
    program: JavaProgram,
}

impl Database {
    /// Makes a database with this many rows in its largest tables.
    pub fn create(folder: &Path, rows: u32, seed: u64) -> Result<Self> {
        files::create_folder(&folder.join("db"))?;
        let database = Self::open(folder)?;
        database.program.run(&["create", &rows.to_string(), &seed.to_string()], folder)?;
        Ok(database)
    }

    /// A database that is there already, for example a restored one.
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self { folder: folder.to_path_buf(), program: JavaProgram::prepare(&SOURCE)? })
    }

    /// The file of the database.
    pub fn file(&self) -> PathBuf {
        self.folder.join("db/Server.mv.db")
    }

    /// A day of monitoring rows, builds and edits, old rows deleted, and Jpom's own SQL backup, of which five stay.
    pub fn day(&self, day: u32, seed: u64) -> Result<()> {
        self.program.run(&["day", &day.to_string(), &seed.to_string()], &self.folder).map(drop)
    }

    /// What is in the database.
    pub fn count(&self, access: Access) -> Result<Contents> {
        self.program.count(&self.folder, access)
    }

    /// Starts a program that writes until it is stopped, and keeps the file locked as Jpom does.
    pub fn live(&self, seed: u64) -> Result<LiveWriter> {
        self.program.live(&self.folder, seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_depend_on_seed_and_day_only() {
        let temp = tempfile::tempdir().unwrap();
        let counts = ["one", "two"].map(|name| {
            let database = Database::create(&temp.path().join(name), 2000, 1).unwrap();
            let first = database.count(Access::ReadOnly).unwrap();
            database.day(1, 9).unwrap();
            [first, database.count(Access::Writable).unwrap()]
        });
        assert_eq!(counts[0], counts[1]);
        assert_ne!(counts[0][0], counts[0][1]);
        assert_eq!(files::list(&temp.path().join("one/db/backup")).unwrap().len(), 1);
    }

    #[test]
    fn reading_only_changes_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let database = Database::create(temp.path(), 300, 1).unwrap();

        let before = crate::fingerprint(temp.path()).unwrap();
        database.count(Access::ReadOnly).unwrap();
        assert_eq!(before, crate::fingerprint(temp.path()).unwrap());
    }

    #[test]
    fn what_a_killed_writer_committed_is_there() {
        let temp = tempfile::tempdir().unwrap();
        let database = Database::create(temp.path(), 200, 1).unwrap();
        let mut writer = database.live(2).unwrap();
        let seen = (0..5).map(|_| writer.next_commit().unwrap()).last().unwrap();
        writer.kill().unwrap();
        assert!(database.count(Access::Writable).unwrap().acknowledged >= seen);
        let writer = database.live(3).unwrap();
        let last = writer.stop().unwrap();
        assert_eq!(database.count(Access::ReadOnly).unwrap().acknowledged, last);
    }
}
