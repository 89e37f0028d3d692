//! What of a home a snapshot holds.
//!
//! Pure: decides by the table of [`roles`] and by what the user says on top.
//!
//! Invariant: a folder is never left out if something in it is taken, so a walk that skips what is left out misses
//! nothing.

use std::path::Path;

use crate::home::{Home, Kind};
use crate::roles::{self, Fit, Known, Role, fit};

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// Everything but what is temporary.
    #[default]
    Full,
    /// What a home needs to work again: settings, program, database, keys, certificates, uploads, scripts.
    Essential,
    /// For agents: without scripts and what is temporary. A server is taken as with `Full`.
    Light,
}

impl Scope {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Scope::Full => "full",
            Scope::Essential => "essential",
            Scope::Light => "light",
        }
    }

    /// The word that snapshots of it carry; those of everything carry none.
    pub fn asked_for(self) -> Option<&'static str> {
        (self != Scope::Full).then(|| self.word())
    }
}

/// A scope and what the user wants besides.
#[derive(Debug, Clone, Default)]
pub struct Scoping {
    /// How much.
    pub scope: Scope,
    /// Paths relative to a home that are taken in spite of the scope; a `*` stands for any run of characters in a name.
    pub include: Vec<String>,
    /// Paths relative to a home that are left out. They beat those that are included.
    pub exclude: Vec<String>,
}

/// What happens to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is taken; a folder that is taken may lack things.
    pub taken: bool,
    /// Why, for people.
    pub why: &'static str,
}

impl Scoping {
    /// Decides about a path, relative to the home.
    pub fn decide(&self, home: &Home, path: &Path) -> Decision {
        if self.exclude.iter().any(|pattern| fit(pattern, path) == Fit::Within) {
            return no("excluded by --jpom-exclude");
        }
        match self.include.iter().map(|pattern| fit(pattern, path)).find(|fit| *fit != Fit::Not) {
            Some(Fit::Within) => return yes("included by --jpom-include"),
            Some(_) => return yes("on the way to what --jpom-include names"),
            None => {}
        }
        self.by_role(home, roles::of(home, path))
    }

    /// Which of the user's patterns a path, relative to the home, fits: by their place in `include` and behind it `exclude`.
    pub(crate) fn fits<'s>(&'s self, path: &'s Path) -> impl Iterator<Item = usize> + 's {
        let patterns = self.include.iter().chain(&self.exclude).enumerate();
        patterns.filter(move |(_, pattern)| fit(pattern, path) == Fit::Within).map(|(number, _)| number)
    }

    /// The scope as it is for this home: of a server, `Light` is everything.
    pub(crate) fn scope_for(&self, home: &Home) -> Scope {
        match (self.scope, home.kind) {
            (Scope::Light, Kind::Server) => Scope::Full,
            (scope, _) => scope,
        }
    }

    fn by_role(&self, home: &Home, known: Known) -> Decision {
        let is_light = self.scope_for(home) == Scope::Light;
        match known {
            Known::Passage => yes("a folder on the way"),
            Known::Nothing if self.scope == Scope::Essential => no("not on the list of what is essential"),
            Known::Nothing => yes("not known to treering, so it is kept"),
            Known::By(rule) if rule.role == Role::Temporary => no("temporary"),
            Known::By(rule) if self.scope == Scope::Essential && !rule.essential => no("not essential"),
            Known::By(rule) if is_light && rule.script => no("scripts are not in the scope light"),
            Known::By(rule) => yes(rule.what),
        }
    }
}

fn yes(why: &'static str) -> Decision {
    Decision { taken: true, why }
}

fn no(why: &'static str) -> Decision {
    Decision { taken: false, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, INSTALL};

    fn home(script: &str, tag: &str) -> Home {
        let folder = Folder::new();
        folder.write(Path::new("bin").join(script), tag);
        folder.write("data/INSTALL.json", INSTALL);
        Home::at(&folder.path("")).unwrap()
    }

    fn taken(scoping: &Scoping, home: &Home, path: &str) -> bool {
        scoping.decide(home, Path::new(path)).taken
    }

    #[test]
    fn each_scope_takes_its_part() {
        let server = home("Server.sh", "JPOM_SERVER_APPLICATION");
        let [full, essential, light] =
            [Scope::Full, Scope::Essential, Scope::Light].map(|scope| Scoping { scope, ..Scoping::default() });
        for (path, expected) in [
            ("db/Server.mv.db", [true, true, true]),
            ("conf/application.yml", [true, true, true]),
            ("logs/server.log", [true, false, true]),
            ("data/build/x/source", [true, false, true]),
            ("data/unheard-of", [true, false, true]),
            ("data/temp", [false, false, false]),
            ("tmp", [false, false, false]),
            ("bin/server.pid", [false, false, false]),
            ("data", [true, true, true]),
        ] {
            assert_eq!([&full, &essential, &light].map(|scoping| taken(scoping, &server, path)), expected, "{path}");
        }
        let agent = home("Agent.sh", "JPOM_AGENT_APPLICATION");
        assert!(taken(&full, &agent, "data/script/x/script.sh"));
        assert!(!taken(&light, &agent, "data/script/x/script.sh"));
        assert!(taken(&light, &agent, "data/project.json"));
    }

    #[test]
    fn what_the_user_says_comes_on_top() {
        let server = home("Server.sh", "JPOM_SERVER_APPLICATION");
        let scoping = Scoping {
            scope: Scope::Essential,
            include: vec!["logs/20*".into(), "data/temp/keep".into()],
            exclude: vec!["data/file-storage/*.zip".into(), "logs/2024-01-01".into()],
        };
        let taken = |path| taken(&scoping, &server, path);
        assert!(taken("logs") && taken("logs/2025-01-01/x.log") && !taken("logs/server.log"));
        assert!(!taken("logs/2024-01-01/x.log"));
        assert!(taken("data/temp") && taken("data/temp/keep/x") && !taken("data/temp/other"));
        assert!(taken("data/file-storage/a.jar") && !taken("data/file-storage/a.zip"));
    }
}
