//! What each path of a home is, and why: the one table of it.
//!
//! The paths are those that Jpom 2.11.12 and the versions since 2.8 write; the names in the table's last column are what
//! they are for. *Critical* is what cannot be made again and without which the home does not work; *wanted* is what
//! somebody will miss; *derivable* can be made or fetched again; *temporary* is cleared by Jpom itself.
//!
//! Invariant: the first rule that fits counts, so special ones stand before general ones; what no rule fits has no
//! role, and is kept wherever not everything but a list is left out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::home::{Home, Kind, Layout};
use crate::restore::Part;

/// How much a path matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Cannot be made again, and nothing works without it.
    Critical,
    /// Will be missed.
    Wanted,
    /// Can be made or fetched again.
    Derivable,
    /// Cleared by Jpom itself.
    Temporary,
}

impl Role {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Role::Critical => "critical",
            Role::Wanted => "wanted",
            Role::Derivable => "derivable",
            Role::Temporary => "temporary",
        }
    }
}

/// Which tree of a home a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Where `bin` and `lib` are.
    Program,
    /// Where `jpom.path` points.
    Data,
}

/// One rule of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    side: Side,
    /// Whose; `None`: of both.
    kind: Option<Kind>,
    /// Names from the side down; a `*` stands for any run of characters in one name.
    pattern: &'static str,
    /// How much it matters.
    pub role: Role,
    /// Whether it holds passwords, keys or tokens that can be read.
    pub secret: bool,
    /// Whether the scope `essential` takes it.
    pub(crate) essential: bool,
    /// Whether it is one of the scripts that the scope `light` leaves out.
    pub(crate) script: bool,
    /// With what it is restored.
    pub(crate) part: Option<Part>,
    /// What it is.
    pub what: &'static str,
}

const fn rule(side: Side, pattern: &'static str, role: Role, what: &'static str) -> Rule {
    Rule { side, kind: None, pattern, role, secret: false, essential: false, script: false, part: None, what }
}

impl Rule {
    const fn of(self, kind: Kind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn essential(self) -> Self {
        Self { essential: true, ..self }
    }

    const fn script(self) -> Self {
        Self { script: true, ..self }
    }

    const fn part(self, part: Part) -> Self {
        Self { part: Some(part), ..self }
    }

    /// The pattern, relative to the home.
    pub fn pattern(&self, home: &Home) -> PathBuf {
        match self.side {
            Side::Program => PathBuf::from(self.pattern),
            Side::Data => home.base().join(self.pattern),
        }
    }
}

use Kind::{Agent, Server};
use Part::{Certificates, Config, FileStorage, Installation};
use Role::{Critical, Derivable, Temporary, Wanted};
use Side::{Data, Program};

/// The table.
const RULES: &[Rule] = &[
    rule(Program, "bin/*.pid", Temporary, "number of the running process"),
    rule(Program, "bin", Wanted, "start scripts").essential().part(Installation),
    rule(Program, "conf", Critical, "settings, with passwords and tokens").secret().essential().part(Config),
    rule(Program, "conf_default", Derivable, "settings as shipped").part(Installation),
    rule(Program, "lib/oldJars", Derivable, "former versions of the program").part(Installation),
    rule(Program, "lib", Wanted, "the program; its version belongs to the database").essential().part(Installation),
    rule(Program, "LICENSE", Derivable, "as shipped").part(Installation),
    rule(Program, "logs", Wanted, "logs of Jpom itself"),
    rule(Program, "tmp", Temporary, "temporary files of Java"),
    rule(Data, "db/Server.mv.db", Critical, "the database, with passwords, keys and tokens")
        .of(Server)
        .secret()
        .essential()
        .part(Part::Database),
    rule(Data, "db/execute.init.sql.log", Critical, "which schema scripts the database has seen")
        .of(Server)
        .essential()
        .part(Part::Database),
    rule(Data, "db/*.lock.db", Temporary, "lock of the database").of(Server),
    rule(Data, "db/*.tempFile", Temporary, "unfinished compaction of the database").of(Server),
    rule(Data, "db/*.newFile", Temporary, "unfinished compaction of the database").of(Server),
    rule(Data, "db/*.temp.db", Temporary, "temporary tables of the database").of(Server),
    rule(Data, "db/*.trace.db", Wanted, "errors of the database engine").of(Server),
    rule(Data, "db/backup", Wanted, "Jpom's own SQL backups, with passwords in clear").of(Server).secret().essential(),
    rule(Data, "db/recover_backup", Derivable, "databases that a restore has put aside").of(Server).secret(),
    rule(Data, "data/INSTALL.json", Critical, "identity of the installation").essential(),
    rule(Data, "data/certificate", Critical, "certificates with their private keys")
        .of(Server)
        .secret()
        .essential()
        .part(Certificates),
    rule(Data, "data/docker/tls-cert", Critical, "certificates of Docker hosts, with private keys")
        .of(Server)
        .secret()
        .essential()
        .part(Certificates),
    rule(Data, "data/sshkey", Critical, "private keys for repositories")
        .of(Server)
        .secret()
        .essential()
        .part(Certificates),
    rule(Data, "data/file-storage", Critical, "uploaded files that the database refers to")
        .of(Server)
        .essential()
        .part(FileStorage),
    rule(Data, "data/build/*/source", Derivable, "working copies of repositories").of(Server),
    rule(Data, "data/build/*/history/*/zip", Derivable, "packed on demand from the result beside it").of(Server),
    rule(Data, "data/build", Wanted, "results and logs of builds").of(Server),
    rule(Data, "data/script/*/log", Wanted, "logs of scripts").script(),
    rule(Data, "data/script", Wanted, "scripts").essential().script(),
    rule(Data, "data/script_log.json", Wanted, "list of the runs of scripts").of(Agent).script(),
    rule(Data, "data/script_run_cache", Temporary, "scripts as they were run"),
    rule(Data, "data/global-script", Wanted, "scripts of the server").of(Agent).essential().script(),
    rule(Data, "data/command_log", Wanted, "logs of commands").of(Server),
    rule(Data, "data/outgiving", Wanted, "distributed files").of(Server),
    rule(Data, "data/file-release*", Wanted, "logs of releases").of(Server),
    rule(Data, "data/agent", Derivable, "installation packages of agents").of(Server),
    rule(Data, "data/remote_version.json", Derivable, "what the last look for a new version found"),
    rule(Data, "data/agent_authorize.json", Critical, "login of the agent; without it the server must be paired anew")
        .of(Agent)
        .secret()
        .essential(),
    rule(Data, "data/project.json", Critical, "projects").of(Agent).essential(),
    rule(Data, "data/script.json", Critical, "list of scripts").of(Agent).essential().script(),
    rule(Data, "data/whitelistDirectory.json", Critical, "folders that projects may be in").of(Agent).essential(),
    rule(Data, "data/workspace_env_var.json", Critical, "variables of workspaces").of(Agent).secret().essential(),
    rule(Data, "data/nginx_conf.json", Derivable, "not used any more").of(Agent),
    rule(Data, "data/temp", Temporary, "unfinished uploads; cleared at each start"),
    rule(Data, "project-log", Wanted, "output of projects").of(Agent),
];

/// What is known of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is, or lies in, what this rule is about.
    By(&'static Rule),
    /// A folder on the way to something that a rule is about.
    Passage,
    /// Nothing.
    Nothing,
}

/// What is known of a path, relative to the home.
pub fn of(home: &Home, path: &Path) -> Known {
    let mut is_passage = path.as_os_str().is_empty();
    for (rule, rest) in RULES.iter().filter_map(|rule| Some((rule, on_side(home, rule, path)?))) {
        match fit(rule.pattern, rest) {
            Fit::Within => return Known::By(rule),
            Fit::OnTheWay => is_passage = true,
            Fit::Not => {}
        }
    }
    if is_passage { Known::Passage } else { Known::Nothing }
}

/// The rest of a path on the side of a rule; `None` if the rule is not about it.
fn on_side<'p>(home: &Home, rule: &Rule, path: &'p Path) -> Option<&'p Path> {
    if rule.kind.is_some_and(|kind| kind != home.kind) {
        return None;
    }
    match (rule.side, home.layout) {
        (Side::Program, Layout::Data) | (Side::Data, Layout::Program) => None,
        (Side::Program, _) => Some(path),
        // The folder of the base is on the way to all that is in it.
        (Side::Data, _) if home.base().starts_with(path) && path != home.base() => Some(Path::new("")),
        (Side::Data, _) => path.strip_prefix(home.base()).ok(),
    }
}

/// How a path of a home, relative to it, lies to these parts, whichever layout the home has: a host's home has nothing
/// in `data/data` and `data/db`, a container's nothing else in `data`.
pub(crate) fn fit_of_parts(parts: &[Part], path: &Path) -> Fit {
    let in_container = path.strip_prefix("data").ok();
    let mut best = Fit::Not;
    for (rule, path) in RULES.iter().flat_map(|rule| {
        let inner = in_container.filter(|_| rule.side == Side::Data);
        [Some(path), inner].into_iter().flatten().map(move |path| (rule, path))
    }) {
        let is_wanted = rule.part.is_some_and(|part| parts.contains(&part));
        match fit(rule.pattern, path) {
            Fit::Within => return if is_wanted { Fit::Within } else { best },
            Fit::OnTheWay if is_wanted => best = Fit::OnTheWay,
            Fit::OnTheWay | Fit::Not => {}
        }
    }
    best
}

/// How a path lies to a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It is what the pattern names, or in it.
    Within,
    /// The pattern goes on where the path ends.
    OnTheWay,
    /// They part.
    Not,
}

/// Compares name by name.
pub(crate) fn fit(pattern: &str, path: &Path) -> Fit {
    let mut names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    for wanted in pattern.split('/').filter(|wanted| !wanted.is_empty()) {
        match names.next() {
            None => return Fit::OnTheWay,
            Some(name) if name_fits(wanted, name) => {}
            Some(_) => return Fit::Not,
        }
    }
    Fit::Within
}

/// One `*` at most, which no name in the table exceeds.
fn name_fits(wanted: &str, name: &OsStr) -> bool {
    let name = name.as_bytes();
    match wanted.split_once('*') {
        None => wanted.as_bytes() == name,
        Some((start, end)) => {
            let rest = name.strip_prefix(start.as_bytes());
            rest.is_some_and(|rest| rest.ends_with(end.as_bytes()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, INSTALL};

    fn server(layout: Layout) -> Home {
        let folder = Folder::new();
        let base = if layout == Layout::Container { "data/" } else { "" };
        folder.write("bin/Server.sh", "JPOM_SERVER_APPLICATION");
        folder.write(format!("{base}data/INSTALL.json"), INSTALL);
        let home = Home::at(&folder.path("")).unwrap();
        assert_eq!(home.layout, layout);
        home
    }

    fn role(home: &Home, path: &str) -> Option<Role> {
        match of(home, Path::new(path)) {
            Known::By(rule) => Some(rule.role),
            Known::Passage | Known::Nothing => None,
        }
    }

    #[test]
    fn roles_follow_the_layout() {
        for (layout, base) in [(Layout::Host, ""), (Layout::Container, "data/")] {
            let home = server(layout);
            let of_data = |path: &str| role(&home, &format!("{base}{path}"));
            assert_eq!(of_data("db/Server.mv.db"), Some(Critical));
            assert_eq!(of_data("data/build/x/source/a/b"), Some(Derivable));
            assert_eq!(of_data("data/build/x/history/#1/result/app.jar"), Some(Wanted));
            assert_eq!(of_data("data/build/x/history/#1/zip/app.zip"), Some(Derivable));
            assert_eq!(of_data("data/temp/upload"), Some(Temporary));
            assert_eq!(of_data("data/something-new"), None);
            assert_eq!(role(&home, "bin/server.pid"), Some(Temporary));
            assert_eq!(role(&home, "bin/Server.sh"), Some(Wanted));
            assert_eq!(role(&home, "lib/oldJars/x.jar"), Some(Derivable));
        }
    }

    #[test]
    fn folders_on_the_way_are_known_as_such() {
        let home = server(Layout::Container);
        for path in ["", "data", "data/data", "data/db", "data/data/docker"] {
            assert_eq!(of(&home, Path::new(path)), Known::Passage, "{path}");
        }
        for path in ["other", "data/other", "data/data/other", "data/data/docker/other"] {
            assert_eq!(of(&home, Path::new(path)), Known::Nothing, "{path}");
        }
        // In a container the data of a host are not data.
        assert_eq!(of(&home, Path::new("db/Server.mv.db")), Known::Nothing);
    }

    #[test]
    fn a_rule_shows_its_path_in_the_home() {
        let home = server(Layout::Container);
        let Known::By(rule) = of(&home, Path::new("data/data/build/a/source")) else { panic!() };
        assert_eq!(rule.pattern(&home), Path::new("data/data/build/*/source"));
    }
}
