//! What is a home: recognised by evidence in the files, as Jpom itself finds them.
//!
//! The one variable that decides the tree is `jpom.path`: Jpom keeps `data` and `db` in it. On a host it is the folder of
//! the program; the images set it to `data` within that folder, so that there `data` comes twice
//! (`ExtConfigBean.getPath`, `StorageServiceFactory.dbLocalPath` and the Dockerfiles of Jpom 2.11.12). A volume holds the
//! latter alone; and who sets it to somewhere else has a program without data.
//!
//! Invariant: nothing is followed out of the folder that was looked at, and nothing larger than a few KiB is read.

pub(crate) mod database;
pub(crate) mod program;
pub(crate) mod settings;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use treering_snapshot::capture;

use self::database::Database;
use self::program::Program;
use self::settings::Settings;
use crate::error::Error;
use crate::process::Running;

/// The longest start script and settings that are read.
const TEXT_MOST_BYTES: u64 = 1 << 20;
/// How every MVStore file begins.
const H2_MAGIC: &[u8] = b"H:2,";

/// Which of the two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The server, with a database, builds and uploads.
    Server,
    /// The agent, with projects and scripts.
    Agent,
}

impl Kind {
    /// `server` or `agent`, as in the names of jars, logs and pid files.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Server => "server",
            Kind::Agent => "agent",
        }
    }

    /// The name of the start script.
    pub fn script(self) -> &'static str {
        match self {
            Kind::Server => "Server.sh",
            Kind::Agent => "Agent.sh",
        }
    }

    /// What a running program has in its command line.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Kind::Server => "JPOM_SERVER_APPLICATION",
            Kind::Agent => "JPOM_AGENT_APPLICATION",
        }
    }
}

/// Where `jpom.path` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The folder of the program: `data` and `db` are beside `bin`.
    Host,
    /// `data` in it, as in containers: `data/data` and `data/db`.
    Container,
    /// This folder is `jpom.path`, and the program is elsewhere: a volume, for instance.
    Data,
    /// This folder is the program, and `jpom.path` is elsewhere.
    Program,
}

impl Layout {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Layout::Host => "host",
            Layout::Container => "container",
            Layout::Data => "data only",
            Layout::Program => "program only",
        }
    }
}

/// A home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
    /// Server or agent.
    pub kind: Kind,
    /// Where its data are.
    pub layout: Layout,
}

impl Home {
    /// The home in a folder.
    ///
    /// # Errors
    ///
    /// [`Error::NotAHome`] if nothing of Jpom is there.
    pub fn at(folder: &Path) -> Result<Home, Error> {
        let has = |name: &str| folder.join(name).symlink_metadata().is_ok();
        Self::find(folder, &has).ok_or_else(|| Error::NotAHome { path: folder.to_path_buf() })
    }

    /// The home in a folder whose names are known. Looks at nothing more if they do not make one likely.
    pub(crate) fn find(folder: &Path, has: &dyn Fn(&str) -> bool) -> Option<Home> {
        let program = if has("bin") { kind_of_program(folder) } else { None };
        let (direct, nested) = match has("data") || has("db") {
            true => (kind_of_data(folder, program), kind_of_data(&folder.join("data"), program)),
            false => (None, None),
        };
        let (kind, layout) = match (program, direct, nested) {
            (Some(kind), Some(_), _) => (kind, Layout::Host),
            (Some(kind), None, Some(_)) => (kind, Layout::Container),
            (Some(kind), None, None) => (kind, Layout::Program),
            (None, Some(kind), _) => (kind, Layout::Data),
            (None, None, _) => return None,
        };
        Some(Home { root: folder.to_path_buf(), kind, layout })
    }

    /// The folder that was looked at.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What `jpom.path` points at, relative to the home.
    pub fn base(&self) -> &'static Path {
        match self.layout {
            Layout::Container => Path::new("data"),
            Layout::Host | Layout::Data | Layout::Program => Path::new(""),
        }
    }

    /// Where the database file is if nothing else is configured, relative to the home.
    pub fn database_file(&self) -> PathBuf {
        self.base().join("db/Server.mv.db")
    }

    /// Where the checksums of the schema scripts are that have run, relative to the home.
    pub fn schema_log(&self) -> PathBuf {
        self.base().join("db/execute.init.sql.log")
    }

    /// The folder of Jpom's own SQL backups, relative to the home.
    pub fn sql_backups(&self) -> PathBuf {
        self.base().join("db/backup")
    }

    /// The folder of databases that others have taken the place of, relative to the home.
    pub fn put_aside(&self) -> PathBuf {
        self.base().join("db/recover_backup")
    }

    /// The file with the identity of the installation, relative to the home.
    pub fn identity(&self) -> PathBuf {
        self.base().join("data/INSTALL.json")
    }

    /// The file with the number of the process, relative to the home.
    pub(crate) fn pid_file(&self) -> PathBuf {
        Path::new("bin").join(format!("{}.pid", self.kind.word()))
    }

    /// Whether the program is here.
    pub fn has_program(&self) -> bool {
        self.layout != Layout::Data
    }

    /// What is configured, by its files and by its running process.
    ///
    /// # Errors
    ///
    /// If there are settings that cannot be read or understood.
    pub fn settings(&self, running: Option<&Running>) -> Result<Settings, Error> {
        Settings::read(self, running)
    }

    /// Where its data are kept that belong into a database.
    pub fn database(&self, settings: &Settings) -> Database {
        Database::of(self, settings)
    }

    /// The program that is run.
    ///
    /// # Errors
    ///
    /// If there is a jar and it cannot be read.
    pub fn program(&self) -> Result<Option<Program>, Error> {
        Program::of(self)
    }

    /// The number that the installation gave itself.
    pub fn install_id(&self) -> Option<String> {
        install_id(&self.root.join(self.identity()))
    }
}

/// By the start script, which has the same tag in all versions since 2.8.
fn kind_of_program(root: &Path) -> Option<Kind> {
    [Kind::Server, Kind::Agent].into_iter().find(|kind| {
        let script = read_text(&root.join("bin").join(kind.script()));
        script.is_ok_and(|script| script.contains(kind.tag()))
    })
}

/// By the identity of the installation or by a database.
fn kind_of_data(base: &Path, program: Option<Kind>) -> Option<Kind> {
    if begins_with(&base.join("db/Server.mv.db"), H2_MAGIC) {
        return Some(Kind::Server);
    }
    install_id(&base.join("data/INSTALL.json"))?;
    let is_there = |path: &str| base.join(path).symlink_metadata().is_ok();
    let is_agent = is_there("data/agent_authorize.json") || is_there("data/whitelistDirectory.json");
    Some(program.unwrap_or(if is_agent && !is_there("db") { Kind::Agent } else { Kind::Server }))
}

fn install_id(path: &Path) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(&read_text(path).ok()?).ok()?;
    json.get("installId")?.as_str().map(str::to_owned)
}

/// A regular file of bounded size as text; what is no UTF-8 in it is replaced.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read_bytes(path, TEXT_MOST_BYTES)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A regular file of bounded size.
pub(crate) fn read_bytes(path: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_plain(path)?.take(most_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= most_bytes {
        true => Ok(bytes),
        false => Err(io::Error::other(format!("it is longer than {most_bytes} bytes"))),
    }
}

/// Opens a regular file for reading; a link or a pipe of that name is an error, and never waited for.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    let file = capture::open_plain(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

fn begins_with(path: &Path, magic: &[u8]) -> bool {
    let mut start = vec![0; magic.len()];
    open_plain(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == magic
}

/// The names in a folder, sorted; none if it cannot be listed.
pub(crate) fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
    names.sort();
    names
}

/// Whether a name ends so, in any case.
pub(crate) fn ends_with(name: &OsStr, ending: &str) -> bool {
    name.to_str().is_some_and(|name| name.to_ascii_lowercase().ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, INSTALL};

    #[test]
    fn homes_are_found_in_each_layout() {
        let folder = Folder::new();
        folder.write("host/bin/Server.sh", "PID_TAG=\"JPOM_SERVER_APPLICATION\"");
        folder.write("host/data/INSTALL.json", INSTALL);
        folder.write("box/bin/Server.sh", "PID_TAG=\"JPOM_SERVER_APPLICATION\"");
        folder.write("box/data/data/INSTALL.json", INSTALL);
        folder.write("volume/db/Server.mv.db", "H:2,block:2,format:2");
        folder.write("agent/data/INSTALL.json", INSTALL);
        folder.write("agent/data/agent_authorize.json", "{}");
        folder.write("elsewhere/bin/Agent.sh", "JPOM_AGENT_APPLICATION");
        let found = |name: &str| Home::at(&folder.path(name)).map(|home| (home.kind, home.layout)).unwrap();
        assert_eq!(found("host"), (Kind::Server, Layout::Host));
        assert_eq!(found("box"), (Kind::Server, Layout::Container));
        assert_eq!(found("box/data"), (Kind::Server, Layout::Data));
        assert_eq!(found("volume"), (Kind::Server, Layout::Data));
        assert_eq!(found("agent"), (Kind::Agent, Layout::Data));
        assert_eq!(found("elsewhere"), (Kind::Agent, Layout::Program));
    }

    #[test]
    fn what_only_looks_like_a_home_is_none() {
        let folder = Folder::new();
        folder.write("a/data/INSTALL.json", "{\"name\": 1}");
        folder.write("a/bin/Server.sh", "echo something else");
        folder.write("b/db/Server.mv.db", "not H2");
        folder.write("c/data/readme", "");
        for name in ["a", "b", "c", "none"] {
            assert!(matches!(Home::at(&folder.path(name)), Err(Error::NotAHome { .. })), "{name}");
        }
    }

    #[test]
    fn a_pipe_or_a_link_is_not_waited_for_or_followed() {
        let folder = Folder::new();
        folder.write("real", INSTALL);
        std::fs::create_dir_all(folder.path("a/data")).unwrap();
        std::os::unix::fs::symlink(folder.path("real"), folder.path("a/data/INSTALL.json")).unwrap();
        assert!(Home::at(&folder.path("a")).is_err());
    }
}
