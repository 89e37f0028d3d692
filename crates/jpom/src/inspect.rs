//! What is in a home, and what belongs to it and is not in it.
//!
//! Reads names and sizes, settings and the manifest of the program; no content of anything else.
//!
//! Invariant: every file of the home is counted in exactly one line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::home::database::{Database, Mode};
use crate::home::program::Program;
use crate::home::settings::{self, Settings};
use crate::home::{Home, Kind, Layout, names, read_text};
use crate::process::Running;
use crate::roles::{self, Known, Role};
use crate::scope::{Decision, Scoping};

/// Deeper folders are not looked into.
const DEPTH_MOST: usize = 64;
/// Projects of an agent that are named.
const PROJECTS_MOST: usize = 50;

/// What was found.
#[derive(Debug)]
pub struct Inspection {
    /// The home.
    pub home: Home,
    /// Its program, if it is here and can be read.
    pub program: Option<Program>,
    /// Its process, if it runs here.
    pub running: Option<i32>,
    /// Its identity.
    pub install_id: Option<String>,
    /// Its database.
    pub database: Database,
    /// One line for each rule that fits something, in the order of paths.
    pub lines: Vec<Line>,
    /// What belongs to it and lies elsewhere.
    pub outside: Vec<Outside>,
    /// What could not be read.
    pub errors: Vec<Error>,
}

/// Files that the same is true of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The path or pattern, relative to the home.
    pub path: PathBuf,
    /// How much they matter; `None` if they are not known.
    pub role: Option<Role>,
    /// Whether passwords, keys or tokens can be read in them.
    pub secret: bool,
    /// Files and links.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the scope takes them, and why.
    pub decision: Decision,
    /// What they are.
    pub what: &'static str,
}

/// Something of the home that lies elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// A path or an address.
    pub place: String,
    /// What it is.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

/// Looks at a home.
pub fn inspect(home: &Home, scoping: &Scoping) -> Inspection {
    let running = Running::of(home);
    let mut errors = Vec::new();
    let settings = home.settings(running.as_ref()).map_err(|error| errors.push(error)).unwrap_or_default();
    let program = home.program().map_err(|error| errors.push(error)).unwrap_or_default();
    let mut lines = Lines { home, scoping, found: BTreeMap::new() };
    lines.folder(Path::new(""), 0);
    Inspection {
        program,
        running: running.map(|running| running.pid),
        install_id: home.install_id(),
        database: home.database(&settings),
        lines: lines.found.into_values().collect(),
        outside: outside(home, &settings),
        errors,
        home: home.clone(),
    }
}

/// The lines under way, by their paths and whether they are taken.
struct Lines<'a> {
    home: &'a Home,
    scoping: &'a Scoping,
    found: BTreeMap<(PathBuf, bool), Line>,
}

impl Lines<'_> {
    fn folder(&mut self, path: &Path, depth: usize) {
        for name in names(&self.home.root().join(path)) {
            let path = path.join(name);
            let Ok(metadata) = self.home.root().join(&path).symlink_metadata() else { continue };
            match metadata.is_dir() {
                true if depth < DEPTH_MOST => self.folder(&path, depth + 1),
                true => {}
                false => self.count(&path, if metadata.is_file() { metadata.len() } else { 0 }),
            }
        }
    }

    fn count(&mut self, path: &Path, bytes: u64) {
        let decision = self.scoping.decide(self.home, path);
        let (shown, rule) = match roles::of(self.home, path) {
            Known::By(rule) => (rule.pattern(self.home), Some(rule)),
            Known::Passage | Known::Nothing => (unknown(self.home, path), None),
        };
        let line = self.found.entry((shown.clone(), decision.taken)).or_insert_with(|| Line {
            path: shown,
            role: rule.map(|rule| rule.role),
            secret: rule.is_some_and(|rule| rule.secret),
            files: 0,
            bytes: 0,
            decision,
            what: rule.map_or("not known to treering", |rule| rule.what),
        });
        line.files += 1;
        line.bytes = line.bytes.saturating_add(bytes);
    }
}

/// What is shown of a path that is not known: so much that it is no folder on the way to something that is.
fn unknown(home: &Home, path: &Path) -> PathBuf {
    let mut shown = PathBuf::new();
    for name in path {
        shown.push(name);
        if roles::of(home, &shown) != Known::Passage {
            break;
        }
    }
    shown
}

fn outside(home: &Home, settings: &Settings) -> Vec<Outside> {
    let mut found: Vec<Outside> = data_elsewhere(home, settings).into_iter().collect();
    found.extend(database_elsewhere(home, settings));
    found.extend(storage_elsewhere(home, settings));
    found.extend(folders_of(home));
    found
}

fn data_elsewhere(home: &Home, settings: &Settings) -> Option<Outside> {
    let found = settings::data_elsewhere(home, settings)?;
    (home.layout == Layout::Program).then(|| Outside {
        place: found.display().to_string(),
        what: "data and database (jpom.path)".to_owned(),
        advice: "Back it up in the same snapshot: name both folders.".to_owned(),
    })
}

fn database_elsewhere(home: &Home, settings: &Settings) -> Option<Outside> {
    match home.database(settings) {
        Database::None => None,
        Database::File { path } => (!path.starts_with(home.root())).then(|| Outside {
            place: path.display().to_string(),
            what: "the H2 database (jpom.db.url)".to_owned(),
            advice: "Back it up in the same snapshot: name its folder too.".to_owned(),
        }),
        Database::Outside { mode, address } => Some(Outside {
            place: address.unwrap_or_else(|| "an address that is not known".to_owned()),
            what: format!("the database: {}", mode.word()),
            advice: advice_on(mode),
        }),
    }
}

/// What to do about a database that no snapshot of the home holds.
pub(crate) fn advice_on(mode: Mode) -> String {
    match mode.dump_program() {
        Some(program) => format!("Back it up as well: treering backup --stdin-from-command -- {program}"),
        None => "Back it up as well, with its own tools.".to_owned(),
    }
}

fn storage_elsewhere(home: &Home, settings: &Settings) -> Option<Outside> {
    let storage = settings::file_storage(home, settings);
    (home.kind == Kind::Server && !storage.starts_with(home.root())).then(|| Outside {
        place: storage.display().to_string(),
        what: "uploaded files (jpom.file-storage.save-pah)".to_owned(),
        advice: "Back it up in the same snapshot: name it too.".to_owned(),
    })
}

/// The folders that an agent's projects are in. A server's folders of static files are in its database, which is not
/// read for this.
fn folders_of(home: &Home) -> Vec<Outside> {
    if home.kind == Kind::Server {
        return vec![Outside {
            place: "see the page of static files in Jpom".to_owned(),
            what: "folders of static files that the server was told of, if any".to_owned(),
            advice: "They may lie anywhere. Name those that you want to keep.".to_owned(),
        }];
    }
    let folders = projects(home);
    folders
        .into_iter()
        .map(|place| Outside {
            place,
            what: "a project of the agent".to_owned(),
            advice: "It lies outside of the home. Name it if it cannot be deployed again.".to_owned(),
        })
        .collect()
}

/// `whitelist` and `lib` of each project of `data/project.json` (`NodeProjectInfoModel` of Jpom 2.11.12); `path` is
/// what older versions wrote.
fn projects(home: &Home) -> Vec<String> {
    let path = home.root().join(home.base()).join("data/project.json");
    let json = read_text(&path).ok().and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let projects = json.iter().filter_map(serde_json::Value::as_object).flat_map(|all| all.values());
    let folder = |project: &serde_json::Value| {
        let text = |name: &str| project.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        match (text("whitelistDirectory"), text("lib")) {
            (Some(allowed), Some(lib)) => {
                Some(format!("{}/{}", allowed.trim_end_matches('/'), lib.trim_start_matches('/')))
            }
            _ => text("path"),
        }
    };
    let mut folders: Vec<String> = projects.filter_map(folder).take(PROJECTS_MOST).collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, INSTALL};

    #[test]
    fn every_file_is_in_one_line() {
        let folder = Folder::new();
        folder.write("bin/Server.sh", "JPOM_SERVER_APPLICATION");
        folder.write("bin/server.pid", "1");
        folder.write("data/INSTALL.json", INSTALL);
        folder.write("data/build/a/source/x", "12345");
        folder.write("data/build/b/source/y", "123");
        folder.write("data/odd/one", "1");
        folder.write("data/odd/two", "12");
        folder.write("conf/application.yml", "jpom:\n  db:\n    mode: MYSQL\n    url: jdbc:mysql://u:p@db/jpom\n");
        let inspection = inspect(&Home::at(&folder.path("")).unwrap(), &Scoping::default());
        let line = |path: &str| {
            let found = inspection.lines.iter().find(|line| line.path == Path::new(path));
            found.map(|line| (line.files, line.bytes, line.decision.taken)).unwrap()
        };
        assert_eq!(line("data/build/*/source"), (2, 8, true));
        assert_eq!(line("data/odd"), (2, 3, true));
        assert_eq!(line("bin/*.pid"), (1, 1, false));
        assert_eq!(inspection.lines.iter().map(|line| line.files).sum::<u64>(), 8);
        let database = &inspection.outside[0];
        assert_eq!(database.place, "jdbc:mysql://db/jpom");
        assert!(database.advice.contains("mysqldump"), "{database:?}");
    }

    #[test]
    fn what_cannot_be_understood_is_said_and_the_rest_is_there() {
        let folder = Folder::new();
        folder.write("bin/Agent.sh", "JPOM_AGENT_APPLICATION");
        folder.write("conf/application.yml", "a: [");
        folder.write("lib/agent.jar", "no jar");
        folder.write("data/INSTALL.json", INSTALL);
        folder.write(
            "data/project.json",
            "{\"a\":{\"whitelistDirectory\":\"/srv/\",\"lib\":\"/x\"},\"b\":{\"path\":\"/y\"}}",
        );
        let inspection = inspect(&Home::at(&folder.path("")).unwrap(), &Scoping::default());
        assert_eq!(inspection.errors.len(), 2, "{:?}", inspection.errors);
        assert_eq!(inspection.database, Database::None);
        let places: Vec<&str> = inspection.outside.iter().map(|outside| outside.place.as_str()).collect();
        assert_eq!(places, ["/srv/x", "/y"]);
    }
}
