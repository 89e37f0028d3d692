//! Where a home keeps what belongs into a database.
//!
//! Jpom's modes are `DbExtConfig.Mode` of Jpom 2.11.12: H2, which is embedded and a file of the home, and three servers
//! that are not. H2's address is `jpom.db.url` or, if that is empty, `db/Server` below `jpom.path`
//! (`H2StorageServiceImpl`).
//!
//! Invariant: an agent has no database, whatever is configured.

use std::path::PathBuf;

use super::settings::Settings;
use super::{Home, Kind};

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Embedded: a file.
    H2,
    /// A server.
    MySql,
    /// A server.
    MariaDb,
    /// A server.
    PostgreSql,
    /// A mode of a later version.
    Unknown,
}

impl Mode {
    fn of(word: &str) -> Mode {
        match word.trim().to_ascii_uppercase().as_str() {
            "H2" => Mode::H2,
            "MYSQL" => Mode::MySql,
            "MARIADB" => Mode::MariaDb,
            "POSTGRESQL" => Mode::PostgreSql,
            _ => Mode::Unknown,
        }
    }

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Mode::H2 => "H2",
            Mode::MySql => "MySQL",
            Mode::MariaDb => "MariaDB",
            Mode::PostgreSql => "PostgreSQL",
            Mode::Unknown => "a database that this version does not know",
        }
    }

    /// The program that writes a dump of it to standard output.
    pub fn dump_program(self) -> Option<&'static str> {
        match self {
            Mode::MySql => Some("mysqldump --single-transaction --databases jpom"),
            Mode::MariaDb => Some("mariadb-dump --single-transaction --databases jpom"),
            Mode::PostgreSql => Some("pg_dump jpom"),
            Mode::H2 | Mode::Unknown => None,
        }
    }
}

/// A home's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// An agent has none.
    None,
    /// A file of H2.
    File {
        /// Absolute. It need not be there.
        path: PathBuf,
    },
    /// Somewhere else: not in a snapshot of the home.
    Outside {
        /// Which.
        mode: Mode,
        /// Its address without user, password and parameters, if it is known.
        address: Option<String>,
    },
}

impl Database {
    pub(crate) fn of(home: &Home, settings: &Settings) -> Database {
        if home.kind == Kind::Agent {
            return Database::None;
        }
        let (mode, url) = (settings.get("jpom.db.mode"), settings.get("jpom.db.url"));
        match mode.as_deref().map_or(Mode::H2, Mode::of) {
            Mode::H2 => Self::of_h2(home, url.as_deref()),
            mode => Database::Outside { mode, address: url.as_deref().map(without_secrets) },
        }
    }

    fn of_h2(home: &Home, url: Option<&str>) -> Database {
        let usual = || home.root().join(home.database_file());
        match url.map(h2_file) {
            None => Database::File { path: usual() },
            Some(Some(path)) if path.is_absolute() => Database::File { path },
            // Relative to a folder that only the process knows; where it is there, it is the home.
            Some(Some(path)) if home.root().join(&path).symlink_metadata().is_ok() => {
                Database::File { path: home.root().join(path) }
            }
            // In memory, over TCP, or not understood.
            Some(_) => Database::Outside { mode: Mode::H2, address: url.map(without_secrets) },
        }
    }
}

/// The file of `jdbc:h2:[file:]/path/name;OPTION=…`.
fn h2_file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("jdbc:h2:")?.split(';').next()?;
    let path = path.strip_prefix("file:").unwrap_or(path);
    let is_file = !path.contains(':') && !path.starts_with('~') && !path.is_empty();
    is_file.then(|| PathBuf::from(format!("{path}.mv.db")))
}

/// An address up to its parameters, and without `user:password@`.
fn without_secrets(url: &str) -> String {
    let plain = url.split(['?', ';']).next().unwrap_or_default();
    match (plain.split_once("//"), plain.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}//{host}"),
        _ => plain.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_file() {
        assert_eq!(h2_file("jdbc:h2:/srv/db/Server;MODE=MYSQL"), Some("/srv/db/Server.mv.db".into()));
        assert_eq!(h2_file("jdbc:h2:file:/srv/x"), Some("/srv/x.mv.db".into()));
        assert_eq!(h2_file("jdbc:h2:tcp://host/~/x"), None);
        assert_eq!(h2_file("jdbc:h2:mem:x"), None);
        assert_eq!(h2_file("jdbc:h2:./db/Server"), Some("./db/Server.mv.db".into()));
        assert_eq!(h2_file("jdbc:h2:~/Server"), None);
    }

    #[test]
    fn an_address_is_told_without_its_secrets() {
        let told = without_secrets("jdbc:mysql://me:secret@db:3306/jpom?password=x");
        assert_eq!(told, "jdbc:mysql://db:3306/jpom");
        assert_eq!(without_secrets("jdbc:postgresql://db/jpom"), "jdbc:postgresql://db/jpom");
    }
}
