//! Making databases, running captures as the walk does, and looking at the result.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use treering_chunk::CutPolicy;
use treering_snapshot::capture::{
    Application, Capture, CaptureError, Conclusion, Content, Folder, Names, Piece, PieceStore,
};

use crate::{Options, Sqlite};

/// A source folder, and a folder for copies.
pub(crate) struct Kit {
    pub(crate) source: TempDir,
    pub(crate) temp: TempDir,
    pub(crate) options: Options,
}

/// What a capture yielded.
pub(crate) struct Taken {
    /// `None` for unchanged.
    pub(crate) files: BTreeMap<PathBuf, Option<Vec<u8>>>,
    pub(crate) cuts: Vec<Option<CutPolicy>>,
    pub(crate) conclusion: Conclusion,
}

impl Kit {
    pub(crate) fn new() -> Kit {
        let temp = TempDir::new().unwrap();
        let mut options = Options::new(temp.path());
        options.lock_wait = Duration::from_secs(5);
        Kit { source: TempDir::new().unwrap(), temp, options }
    }

    /// A kit with `a.db` in the given journal mode, closed.
    pub(crate) fn with_database(mode: &str) -> Kit {
        let kit = Kit::new();
        make_database(&kit.database(), mode, 200);
        kit
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.source.path().join("a.db")
    }

    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        self.source.path().join(format!("a.db{suffix}"))
    }

    pub(crate) fn captures(&self) -> Vec<Box<dyn Capture>> {
        self.captures_in(self.source.path())
    }

    pub(crate) fn captures_in(&self, path: &Path) -> Vec<Box<dyn Capture>> {
        let names = names(path);
        let names = Names::of(names.iter().map(OsString::as_os_str)).unwrap();
        let folder = Folder { path, names: &names, is_excluded: &|_, _| false };
        Sqlite::new(self.options.clone()).unwrap().claim(&folder)
    }

    /// Captures the only database of the folder.
    pub(crate) fn try_take(&self, previous: Option<&[u8]>) -> Result<Taken, CaptureError> {
        let mut captures = self.captures();
        assert_eq!(captures.len(), 1);
        let taken = read(captures.remove(0), previous);
        assert!(names(self.temp.path()).is_empty(), "left in the temporary folder");
        taken
    }

    pub(crate) fn take(&self) -> Taken {
        self.try_take(None).unwrap()
    }

    /// Captures while nobody writes, and sees to it that the source keeps every file and byte but those of the `-shm`.
    pub(crate) fn take_untouched(&self) -> Taken {
        let before = contents(self.source.path());
        let taken = self.take();
        assert!(before == contents(self.source.path()), "the capture changed its source");
        taken
    }
}

/// This crate copies to files first.
pub(crate) struct NoPieces;

impl PieceStore for NoPieces {
    fn put(&mut self, _: &mut dyn Read, _: CutPolicy) -> Result<Piece, CaptureError> {
        Err(CaptureError::NotStored)
    }
}

pub(crate) fn read(mut capture: Box<dyn Capture>, previous: Option<&[u8]>) -> Result<Taken, CaptureError> {
    let (mut files, mut cuts) = (BTreeMap::new(), Vec::new());
    for file in capture.take(previous, &mut NoPieces)? {
        assert_eq!(file.attributes_of.as_ref(), Some(&file.path));
        assert!(capture.claimed().contains(&file.path));
        cuts.push(file.cut);
        files.insert(file.path, read_content(file.content));
    }
    Ok(Taken { files, cuts, conclusion: capture.conclude() })
}

fn read_content(content: Content) -> Option<Vec<u8>> {
    match content {
        Content::Unchanged | Content::Pieces(_) => None,
        Content::Bytes(mut reader) | Content::Held { bytes: mut reader, .. } => {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            Some(bytes)
        }
    }
}

impl Taken {
    /// Writes the files somewhere and opens the database there, as a restored application would.
    pub(crate) fn restore(&self) -> (TempDir, Connection) {
        let folder = TempDir::new().unwrap();
        for (path, bytes) in &self.files {
            fs::write(folder.path().join(path), bytes.as_ref().unwrap()).unwrap();
        }
        let connection = Connection::open(folder.path().join("a.db")).unwrap();
        (folder, connection)
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.files.keys().map(|path| path.to_str().unwrap()).collect()
    }

    pub(crate) fn main(&self) -> &[u8] {
        self.files[Path::new("a.db")].as_deref().unwrap()
    }
}

/// Two tables that every transaction changes together.
pub(crate) fn make_database(path: &Path, mode: &str, rows: u32) {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", mode).unwrap();
    connection
        .execute_batch(&format!(
            "CREATE TABLE a (n INTEGER UNIQUE, pad BLOB); CREATE TABLE b (n INTEGER);
             WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})
             INSERT INTO a SELECT n, randomblob(400) FROM c;
             INSERT INTO b SELECT n FROM a;"
        ))
        .unwrap();
}

/// The rows of a database that is whole: integrity and the invariant hold.
pub(crate) fn whole_rows(connection: &Connection) -> i64 {
    let integrity: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    let sql =
        "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b), (SELECT max(n) FROM a), (SELECT max(n) FROM b)";
    let (a, b, max_a, max_b): (i64, i64, i64, i64) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    assert_eq!((a, max_a), (b, max_b), "a transaction was torn");
    a
}

pub(crate) fn names(folder: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

fn contents(folder: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let read = |name: &OsString| fs::read(folder.join(name)).unwrap_or_default();
    let is_shm = |name: &OsString| name.as_encoded_bytes().ends_with(b"-shm");
    names(folder).into_iter().map(|name| (name.clone(), if is_shm(&name) { Vec::new() } else { read(&name) })).collect()
}
