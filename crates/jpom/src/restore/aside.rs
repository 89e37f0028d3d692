//! Where a database goes that another one has taken the place of.
//!
//! Jpom's own recovery keeps it in `db/recover_backup/<time>`, where an administrator looks for it and Jpom never cleans
//! up (`H2StorageServiceImpl.recoverDb` of Jpom 2.11.12).
//!
//! Invariant: files are only renamed, into a folder that did not exist.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::tidy::SCHEMA_LOG;
use crate::error::{Error, io_error};
use crate::home::{Home, names};
use crate::roles::{self, Known, Role};

/// Files of a database.
const FILES: [&str; 3] = ["Server.mv.db", SCHEMA_LOG, "Server.trace.db"];
/// Folders of the same second that are tried.
const NAMES_MOST: u32 = 100;

/// Moves the database of a home that was put aside into the home that has taken its place. `time` is the name of the
/// folder: year to second, fourteen digits. Says where it is now; `None` if there was none.
///
/// # Errors
///
/// If it cannot be moved; then it is where it was.
pub fn keep_old_database(home: &Path, old: &Path, time: &str) -> Result<Option<PathBuf>, Error> {
    let (Ok(home), Ok(old)) = (Home::at(home), Home::at(old)) else { return Ok(None) };
    let from = old.root().join(old.base()).join("db");
    let db = home.root().join(home.base()).join("db");
    keep(&from, &db, time)
}

/// The same for a database that came back alone: `old` is the folder of what was in its place, `database` the file.
///
/// # Errors
///
/// If it cannot be moved; then it is where it was.
pub fn keep_old_file(database: &Path, old: &Path, time: &str) -> Result<Option<PathBuf>, Error> {
    let Some(db) = database.parent() else { return Ok(None) };
    let kept = keep(old, db, time)?;
    if kept.is_some() && names(old).is_empty() {
        fs::remove_dir(old).map_err(io_error("remove", old))?;
    }
    Ok(kept)
}

/// What a home that was put aside has and the one in its place has not, by the names in its main folders: what was left
/// out of the snapshot, and what has come since. Nothing that Jpom itself clears.
pub fn only_in_old(home: &Path, old: &Path) -> Vec<PathBuf> {
    let (Ok(home), Ok(old)) = (Home::at(home), Home::at(old)) else { return Vec::new() };
    let mut folders = vec![PathBuf::new(), old.base().to_path_buf()];
    folders.dedup();
    folders.extend(["data", "db"].map(|name| old.base().join(name)));
    let inside = |folder: PathBuf| names(&old.root().join(&folder)).into_iter().map(move |name| folder.join(name));
    let is_there = |path: &PathBuf| home.root().join(path).symlink_metadata().is_ok();
    let is_in_new_folder = |path: &PathBuf| path.parent().is_none_or(|folder| home.root().join(folder).is_dir());
    let is_temporary =
        |path: &PathBuf| matches!(roles::of(&old, path), Known::By(rule) if rule.role == Role::Temporary);
    let all = folders.into_iter().flat_map(inside);
    all.filter(|path| !is_there(path) && is_in_new_folder(path) && !is_temporary(path)).collect()
}

fn keep(from: &Path, db: &Path, time: &str) -> Result<Option<PathBuf>, Error> {
    let files: Vec<&str> = FILES.into_iter().filter(|name| from.join(name).symlink_metadata().is_ok()).collect();
    if !files.contains(&"Server.mv.db") {
        return Ok(None);
    }
    let folder = make(&db.join("recover_backup"), time)?;
    for name in files {
        let path = from.join(name);
        fs::rename(&path, folder.join(name)).map_err(io_error("move", &path))?;
    }
    for changed in [&folder, db, from] {
        let synced = File::open(changed).and_then(|folder| folder.sync_all());
        synced.map_err(io_error("make durable", changed))?;
    }
    Ok(Some(folder))
}

/// A folder of this name, or with a number behind it.
fn make(parent: &Path, time: &str) -> Result<PathBuf, Error> {
    fs::create_dir_all(parent).map_err(io_error("make", parent))?;
    for number in 0..NAMES_MOST {
        let suffix = if number == 0 { String::new() } else { format!("-{number}") };
        let folder = parent.join(format!("{time}{suffix}"));
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| folder.clone()).map_err(io_error("make", &folder)),
        }
    }
    Err(io_error("make a folder in", parent)(io::ErrorKind::AlreadyExists.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, INSTALL};

    #[test]
    fn the_old_database_goes_where_jpom_keeps_such() {
        let folder = Folder::new();
        for home in ["new", "old"] {
            folder.write(format!("{home}/data/data/INSTALL.json"), INSTALL);
            folder.write(format!("{home}/bin/Server.sh"), "JPOM_SERVER_APPLICATION");
            folder.write(format!("{home}/data/db/Server.mv.db"), home);
        }
        let kept = keep_old_database(&folder.path("new"), &folder.path("old"), "20261122010203").unwrap().unwrap();
        assert_eq!(kept, folder.path("new/data/db/recover_backup/20261122010203"));
        assert_eq!(fs::read(kept.join("Server.mv.db")).unwrap(), b"old");
        assert_eq!(fs::read(folder.path("new/data/db/Server.mv.db")).unwrap(), b"new");
        assert_eq!(keep_old_database(&folder.path("new"), &folder.path("old"), "20261122010203").unwrap(), None);
    }

    #[test]
    fn what_the_old_home_alone_has_is_named_without_what_is_temporary() {
        let folder = Folder::new();
        for home in ["new", "old"] {
            folder.write(format!("{home}/data/INSTALL.json"), INSTALL);
            folder.write(format!("{home}/bin/Server.sh"), "JPOM_SERVER_APPLICATION");
        }
        for path in ["logs/server.log", "data/script/a/b", "data/temp/x", "bin/server.pid", "db/Server.trace.db"] {
            folder.write(Path::new("old").join(path), "");
        }
        let found = only_in_old(&folder.path("new"), &folder.path("old"));
        assert_eq!(found, ["db", "logs", "data/script"].map(PathBuf::from));
    }

    #[test]
    fn a_name_that_is_taken_is_not_used_again() {
        let folder = Folder::new();
        folder.write("db/recover_backup/1/Server.mv.db", "kept");
        folder.write("db/Server.mv.db", "new");
        folder.write("aside/Server.mv.db", "old");
        let kept = keep_old_file(&folder.path("db/Server.mv.db"), &folder.path("aside"), "1").unwrap().unwrap();
        assert_eq!(kept, folder.path("db/recover_backup/1-1"));
        assert!(!folder.path("aside").exists());
        assert_eq!(fs::read(folder.path("db/recover_backup/1/Server.mv.db")).unwrap(), b"kept");
    }
}
