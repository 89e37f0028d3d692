//! Parts of a home that can be brought back alone.
//!
//! Invariant: a path belongs to the same part in a host's and in a container's layout.

use std::path::{Path, PathBuf};

use treering_snapshot::restore::Choice;

use crate::roles::{Fit, fit_of_parts};

/// A part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The database and which schema scripts it has seen: never one without the other.
    Database,
    /// Certificates and keys.
    Certificates,
    /// Settings.
    Config,
    /// Uploaded files.
    FileStorage,
    /// The program.
    Installation,
}

/// Which parts of which homes are brought back.
#[derive(Debug, Clone)]
pub struct Parts {
    homes: Vec<PathBuf>,
    parts: Vec<Part>,
}

impl Parts {
    /// These parts of the homes of these paths in a snapshot.
    pub fn of(parts: Vec<Part>, homes: Vec<PathBuf>) -> Parts {
        Parts { homes, parts }
    }

    /// Whether this part is among them.
    pub fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// What is done with a path of the snapshot.
    pub fn choose(&self, path: &Path, is_folder: bool) -> Choice {
        if is_folder && self.homes.iter().any(|home| home.starts_with(path)) {
            return Choice::Descend;
        }
        let inside = self.homes.iter().find_map(|home| path.strip_prefix(home).ok());
        match inside.map(|path| fit_of_parts(&self.parts, path)) {
            Some(Fit::Within) => Choice::Take,
            Some(Fit::OnTheWay) if is_folder => Choice::Descend,
            Some(Fit::OnTheWay | Fit::Not) | None => Choice::Skip,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_the_same_in_each_layout() {
        let parts = Parts::of(vec![Part::Database, Part::Certificates], vec!["/opt/jpom".into()]);
        let choose = |path: &str, is_folder| parts.choose(Path::new(path), is_folder);
        for base in ["/opt/jpom", "/opt/jpom/data"] {
            let of = |path: &str, is_folder| choose(&format!("{base}/{path}"), is_folder);
            assert_eq!(of("db/Server.mv.db", false), Choice::Take);
            assert_eq!(of("db/execute.init.sql.log", false), Choice::Take);
            assert_eq!(of("data/certificate/a/X.509/server.key", false), Choice::Take);
            assert_eq!(of("data/docker", true), Choice::Descend);
            assert_eq!(of("data/docker/tls-cert", true), Choice::Take);
            assert_eq!(of("data/file-storage", true), Choice::Skip);
            assert_eq!(of("db/backup/1.sql", false), Choice::Skip);
        }
        assert_eq!(choose("/opt", true), Choice::Descend);
        assert_eq!(choose("/opt/jpom/conf", true), Choice::Skip);
        assert_eq!(choose("/opt/other", true), Choice::Skip);
    }

    #[test]
    fn the_program_comes_without_the_number_of_a_process() {
        let parts = Parts::of(vec![Part::Installation], vec!["/j".into()]);
        assert_eq!(parts.choose(Path::new("/j/bin/server.pid"), false), Choice::Skip);
        assert_eq!(parts.choose(Path::new("/j/bin/Server.sh"), false), Choice::Take);
        assert_eq!(parts.choose(Path::new("/j/lib/oldJars/a.jar"), false), Choice::Take);
    }
}
