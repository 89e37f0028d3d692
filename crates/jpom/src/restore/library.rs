//! Whether the real H2 opens a database.
//!
//! It is given a copy, so that nothing that it does comes near what is restored, and reads every row of it: `SCRIPT`
//! writes them to a file that goes away with the copy. The password of an embedded database guards nothing from who can
//! read the file, so it may stand on the command line.
//!
//! Invariant: the copy is private, and gone when [`check`] returns; so is the process.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use treering_h2::store::StoreError;

use super::{LibraryCheck, RestoreRules};
use crate::error::{Error, io_error};
use crate::home::open_plain;
use crate::home::program::{self, Program};
use crate::home::settings::Settings;

/// Between two looks at the process.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest answer that is shown.
const ANSWER_MOST_BYTES: u64 = 4096;
/// How H2 says that user or password are wrong, which it does when it has opened the database.
const WRONG_LOGIN: &str = "[28000-";
/// What is run of the library.
const SHELL: &str = "org/h2/tools/Shell.class";
/// What Jpom uses unless it is told otherwise (`DbExtConfig`).
const DEFAULT_LOGIN: &str = "jpom";

/// Has the library open a copy; says what was done, or nothing if nothing was asked for.
pub(super) fn check(
    rules: &RestoreRules,
    program: Option<&Program>,
    settings: &Settings,
    database: &Path,
) -> Result<Option<String>, Error> {
    if rules.library == LibraryCheck::No {
        return Ok(None);
    }
    if is_encrypted(database)? {
        return Ok(Some(
            "no H2 library was asked: it is encrypted, and nobody opens it without its password".to_owned(),
        ));
    }
    let private = Permissions::from_mode(0o700);
    let room = tempfile::Builder::new().prefix("treering-jpom-").permissions(private).tempdir_in(&rules.temp_folder);
    let room = room.map_err(io_error("make a folder in", &rules.temp_folder))?;
    let Some((jar, shown)) = jar(rules, program, &room)? else {
        return Ok(Some("no H2 library was found beside it, so none has opened it: name one".to_owned()));
    };
    copy(database, &room.path().join("Server.mv.db"))?;
    match run(&jar, &shown, &room, settings, rules.library_limit) {
        Ok(()) => Ok(Some(format!("{} has opened a copy of it and read every row", shown.display()))),
        Err(Error::Refused { reason, .. }) if reason.contains(WRONG_LOGIN) => {
            let said = "has opened a copy of it; rows were not read, because its user and password are not known";
            Ok(Some(format!("{} {said}", shown.display())))
        }
        Err(error) => Err(error),
    }
}

/// Refuses a library that none can be asked with, before anything is restored.
///
/// # Errors
///
/// [`Error::Io`] or [`Error::Jar`]: it is not there, or it is no H2.
pub fn refuse_no_library(check: &LibraryCheck) -> Result<(), Error> {
    let LibraryCheck::Jar(jar) = check else { return Ok(()) };
    match program::has_entry(jar, SHELL)? {
        true => Ok(()),
        false => Err(Error::Jar { path: jar.clone(), reason: "it is no H2 library".to_owned() }),
    }
}

fn is_encrypted(database: &Path) -> Result<bool, Error> {
    let file = open_plain(database).map_err(io_error("open", database))?;
    Ok(matches!(treering_h2::verify::look(&mut &file), Err(StoreError::Encrypted)))
}

/// The library, and what it is called for people.
fn jar(rules: &RestoreRules, program: Option<&Program>, room: &TempDir) -> Result<Option<(PathBuf, PathBuf)>, Error> {
    match (&rules.library, program) {
        (LibraryCheck::Jar(jar), _) => Ok(Some((jar.clone(), jar.clone()))),
        (LibraryCheck::Auto, Some(program)) => {
            let Some(library) = &program.library else { return Ok(None) };
            let unpacked = room.path().join("h2.jar");
            let mut file = File::create(&unpacked).map_err(io_error("make", &unpacked))?;
            program.unpack_library(&mut file)?;
            let name = Path::new(&library.entry).file_name().unwrap_or_default();
            Ok(Some((unpacked, PathBuf::from(name))))
        }
        (LibraryCheck::Auto | LibraryCheck::No, _) => Ok(None),
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let mut source = open_plain(from).map_err(io_error("open", from))?;
    let mut target = File::create(to).map_err(io_error("make", to))?;
    io::copy(&mut source, &mut target).map(drop).map_err(io_error("copy", from))
}

fn run(jar: &Path, shown: &Path, room: &TempDir, settings: &Settings, limit: Duration) -> Result<(), Error> {
    let answer = room.path().join("answer");
    let output = File::create(&answer).map_err(io_error("make", &answer))?;
    let errors = output.try_clone().map_err(io_error("make", &answer))?;
    let mut command = command(jar, room.path(), settings);
    let mut child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().map_err(|error| {
        let reason = format!("java cannot be run: {error}");
        Error::Refused { jar: shown.to_path_buf(), reason }
    })?;
    let started = Instant::now();
    loop {
        match child.try_wait().map_err(io_error("wait for java with", jar))? {
            Some(status) if status.success() => return Ok(()),
            Some(_) => return Err(Error::Refused { jar: shown.to_path_buf(), reason: read(&answer) }),
            None if started.elapsed() < limit => thread::sleep(PAUSE),
            None => {
                // It fails only if the process has ended by itself.
                let _ = child.kill();
                let _ = child.wait();
                return Err(Error::NoAnswer { jar: shown.to_path_buf(), limit });
            }
        }
    }
}

fn command(jar: &Path, room: &Path, settings: &Settings) -> Command {
    let login = |key: &str| settings.get(key).unwrap_or_else(|| DEFAULT_LOGIN.to_owned());
    let mut command = Command::new("java");
    command.arg("-cp").arg(jar).arg("org.h2.tools.Shell");
    command.arg("-url").arg(format!("jdbc:h2:{}/Server;MODE=MYSQL;IFEXISTS=TRUE;ACCESS_MODE_DATA=r", room.display()));
    command.arg("-user").arg(login("jpom.db.user-name")).arg("-password").arg(login("jpom.db.user-pwd"));
    command.arg("-sql").arg(format!("SCRIPT TO '{}/all.sql'", room.display().to_string().replace('\'', "''")));
    command
}

/// The first lines of what it said.
fn read(answer: &Path) -> String {
    let mut text = Vec::new();
    let read = fs::File::open(answer).and_then(|file| file.take(ANSWER_MOST_BYTES).read_to_end(&mut text));
    match read {
        Ok(_) => String::from_utf8_lossy(&text).lines().take(3).collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string(),
    }
}
