//! What is changed in a home before it takes its place.
//!
//! Invariant: everything that is changed here is durable when it returns.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde_json::Value;

use super::database_of;
use crate::error::{Error, io_error};
use crate::home::{ends_with, names, read_text};

/// The log of the schema scripts that a database has seen.
pub(super) const SCHEMA_LOG: &str = "execute.init.sql.log";
/// What only says something while the database is open or being compacted.
const PASSING: [&str; 4] = [".lock.db", ".tempfile", ".newfile", ".temp.db"];

/// Makes a restored home one that Jpom can be started in.
pub(super) fn tidy(home: &Path, clone_as: Option<&str>) -> Result<(), Error> {
    remove(&home.join("bin"), &|name| ends_with(name, ".pid"))?;
    for base in [home.to_path_buf(), home.join("data")] {
        remove(&base.join("db"), &|name| PASSING.iter().any(|ending| ends_with(name, ending)))?;
        if database_of(home).is_none() {
            remove(&base.join("db"), &|name| name == SCHEMA_LOG)?;
        }
        if let Some(number) = clone_as {
            renew(&base.join("data"), number)?;
        }
    }
    Ok(())
}

/// A database without a log gets an empty one: Jpom then runs all scripts again, as after its own restore.
pub(super) fn ensure_schema_log(folder: &Path) -> Result<(), Error> {
    let path = folder.join(SCHEMA_LOG);
    match File::options().write(true).create_new(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|file| file.sync_all()).map_err(io_error("make", &path)).and_then(|()| sync(folder)),
    }
}

/// Removes files of these names from a folder, if it is there.
fn remove(folder: &Path, is_one: &dyn Fn(&OsStr) -> bool) -> Result<(), Error> {
    let found: Vec<_> = names(folder).into_iter().filter(|name| is_one(name)).collect();
    for name in &found {
        let path = folder.join(name);
        fs::remove_file(&path).map_err(io_error("remove", &path))?;
    }
    if found.is_empty() { Ok(()) } else { sync(folder) }
}

/// Gives an installation another number, if it has one.
fn renew(folder: &Path, number: &str) -> Result<(), Error> {
    let (path, fresh) = (folder.join("INSTALL.json"), folder.join("INSTALL.json.treering"));
    let Ok(text) = read_text(&path) else { return Ok(()) };
    let Ok(Value::Object(mut fields)) = serde_json::from_str::<Value>(&text) else { return Ok(()) };
    if fields.insert("installId".to_owned(), number.into()).is_none() {
        return Ok(());
    }
    let mut file = File::create(&fresh).map_err(io_error("make", &fresh))?;
    let text = format!("{:#}", Value::Object(fields));
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io_error("write", &fresh))?;
    fs::rename(&fresh, &path).map_err(io_error("replace", &path))?;
    sync(folder)
}

fn sync(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("make durable", folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    #[test]
    fn what_only_a_running_server_has_does_not_come_back() {
        for base in ["", "data/"] {
            let folder = Folder::new();
            let db = |name: &str| format!("{base}db/{name}");
            folder.write("bin/server.pid", "1");
            folder.write("bin/Server.sh", "");
            for name in ["Server.mv.db", SCHEMA_LOG, "Server.lock.db", "Server.mv.db.tempFile", "Server.trace.db"] {
                folder.write(db(name), "");
            }
            tidy(&folder.path(""), None).unwrap();
            assert_eq!(names(&folder.path("bin")), ["Server.sh"]);
            let left = names(&folder.path(db("")));
            assert_eq!(left, ["Server.mv.db", "Server.trace.db", SCHEMA_LOG]);
        }
    }

    #[test]
    fn a_schema_log_does_not_come_back_without_its_database() {
        let folder = Folder::new();
        folder.write(format!("db/{SCHEMA_LOG}"), "one");
        tidy(&folder.path(""), None).unwrap();
        assert!(names(&folder.path("db")).is_empty());
        ensure_schema_log(&folder.path("db")).unwrap();
        ensure_schema_log(&folder.path("db")).unwrap();
        assert_eq!(fs::read(folder.path("db").join(SCHEMA_LOG)).unwrap(), b"");
    }

    #[test]
    fn only_a_clone_gets_another_number() {
        let folder = Folder::new();
        folder.write("data/data/INSTALL.json", "{\"installId\":\"a\",\"installTime\":\"2026-01-01 00:00:00\"}");
        folder.write("data/INSTALL.json", "not ours");
        tidy(&folder.path(""), None).unwrap();
        let number =
            || -> Value { serde_json::from_str(&read_text(&folder.path("data/data/INSTALL.json")).unwrap()).unwrap() };
        assert_eq!(number()["installId"], "a");
        tidy(&folder.path(""), Some("b")).unwrap();
        assert_eq!(
            (number()["installId"].as_str(), number()["installTime"].as_str()),
            (Some("b"), Some("2026-01-01 00:00:00"))
        );
        assert_eq!(fs::read(folder.path("data/INSTALL.json")).unwrap(), b"not ours");
    }
}
