//! A PostgreSQL data folder and its nights.
//!
//! Owns: driving Debian's PostgreSQL to make large files whose pages change in place, a few of them often.
//! Never: leaves a server running: it runs only while a function of this module does.
//! Invariant: between calls the server has stopped cleanly, so the folder can be copied. The rows are a function
//! of the options and the nights; the bytes are not, for they hold times and transaction numbers.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Context, Error, Result};
use crate::files;
use crate::program;

const PACKAGES: &[&str] = &["postgresql"];
/// Debian keeps the programs of each version in `<version>/bin` below this folder, not on `PATH`.
const VERSIONS: &str = "/usr/lib/postgresql";
const USER: &str = "postgres";
/// Speed, not safety: this data can be made again. No TCP, so no port can be in somebody's way.
const SETTINGS: &str = "
listen_addresses = ''
shared_buffers = 256MB
fsync = off
max_wal_size = 512MB
min_wal_size = 80MB
wal_level = minimal
max_wal_senders = 0
autovacuum = off
";

/// How much is put into the database.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Accounts: narrow rows, 100,000 for each unit.
    pub accounts_scale: u32,
    /// Documents: JSON rows of about 400 bytes.
    pub documents: u32,
    /// Rows that a night touches in each table.
    pub night_rows: u32,
}

impl Options {
    /// About 2.1 GB, of which a night changes 15 % of the 8 KiB pages.
    pub fn full() -> Self {
        Self { accounts_scale: 60, documents: 1_600_000, night_rows: 8000 }
    }
}

/// A database whose server is stopped.
#[derive(Debug)]
pub struct Cluster {
    work: PathBuf,
    options: Options,
    binaries: PathBuf,
}

impl Cluster {
    /// Makes the database below `work`, which the user `postgres` must be able to reach. Must run as root, or as
    /// `postgres` itself.
    pub fn create(work: &Path, options: Options) -> Result<Self> {
        let cluster = Self::at(work, options)?;
        cluster.hand_over()?;
        let data = cluster.data();
        cluster.run("initdb", &["-D", text(&data)?, "-E", "UTF8", "--locale=C"])?;
        let settings = data.join("postgresql.conf");
        let sockets = format!("unix_socket_directories = '{}'\n", work.display());
        let all = files::read_text(&settings)? + SETTINGS + &sockets;
        std::fs::write(&settings, all).context("write", &settings)?;
        cluster.serve(&cluster.tables())?;
        Ok(cluster)
    }

    /// A database that [`Cluster::create`] made.
    pub fn open(work: &Path, options: Options) -> Result<Self> {
        Self::at(work, options)
    }

    /// The data folder: what to back up.
    pub fn data(&self) -> PathBuf {
        self.work.join("data")
    }

    /// A night of updates, most of them to the same few rows, and appended history.
    pub fn night(&self, number: u32) -> Result<()> {
        let Options { accounts_scale, documents, night_rows } = self.options;
        let accounts = u64::from(accounts_scale) * 100_000;
        let seed = f64::from(number % 1000) / 1000.0;
        self.serve(&format!(
            "select setseed({seed});
             create temp table touched as
               select 1 + floor(power(random(), 4) * ({accounts} - 1))::int as account,
                      1 + floor(power(random(), 4) * ({documents} - 1))::int as document
               from generate_series(1, {night_rows});
             update accounts set balance = balance + 1 where id in (select account from touched);
             update documents set hits = hits + 1 where id in (select document from touched);
             insert into history select account, document, {number}, md5(account::text) from touched;
             checkpoint;"
        ))
    }

    fn at(work: &Path, options: Options) -> Result<Self> {
        let versions = files::list(Path::new(VERSIONS)).unwrap_or_default();
        let newest_first: Vec<PathBuf> = versions.iter().rev().map(|path| path.join("bin")).collect();
        let found = program::find("initdb", &newest_first, PACKAGES)?;
        let binaries = found.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Self { work: work.to_path_buf(), options, binaries })
    }

    /// The server refuses to run as root, so its folder belongs to its own user.
    fn hand_over(&self) -> Result<()> {
        files::create_folder(&self.work)?;
        if rustix::process::geteuid().is_root() {
            program::run(Command::new("chown").arg(USER).arg(&self.work))?;
        }
        Ok(())
    }

    fn tables(&self) -> String {
        let Options { accounts_scale, documents, .. } = self.options;
        format!(
            r#"select setseed(0.42);
            create table documents as
              select i as id, md5(i::text) || md5((i * 7)::text) as hash,
                     '{{"user":' || (random() * 100000)::int
                     || ',"state":"' || (array['active', 'deleted', 'pending', 'blocked'])[1 + (random() * 3)::int]
                     || '","title":"' || repeat(md5((i % 5000)::text), 1 + i % 6)
                     || '","time":' || 1700000000 + i * 13 || '}}' as body,
                     random() as score, 0 as hits
              from generate_series(1, {documents}) i;
            alter table documents add primary key (id);
            create index on documents (hash);
            create table accounts (id int primary key, branch int, balance int, filler char(84));
            insert into accounts select i, i % {accounts_scale}, 0, md5(i::text)
              from generate_series(1, {accounts_scale} * 100000) i;
            create table history (account int, document int, night int, note text);
            checkpoint;
            vacuum analyze;
            checkpoint;"#
        )
    }

    /// Starts the server, runs the statements and stops it, whether they succeed or not.
    fn serve(&self, statements: &str) -> Result<()> {
        let data = self.data();
        let log = self.work.join("server.log");
        self.run("pg_ctl", &["-D", text(&data)?, "-l", text(&log)?, "-w", "-s", "start"])?;
        let outcome = self.statements(statements);
        let stopped = self.run("pg_ctl", &["-D", text(&data)?, "-m", "fast", "-w", "-s", "stop"]);
        outcome.and(stopped)
    }

    fn statements(&self, statements: &str) -> Result<()> {
        let script = self.work.join("statements.sql");
        std::fs::write(&script, statements).context("write", &script)?;
        let arguments =
            ["-h", text(&self.work)?, "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-qAt", "-f", text(&script)?];
        self.run("psql", &arguments)
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Result<()> {
        let binary = self.binaries.join(name);
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", USER, "--"]).arg(binary);
            command
        } else {
            Command::new(binary)
        };
        // The server inherits its output from pg_ctl: a pipe would stay open as long as it runs.
        let log = self.work.join(format!("{name}.out"));
        let out = std::fs::File::create(&log).context("create", &log)?;
        let errors = out.try_clone().context("open", &log)?;
        let status = command.args(arguments).current_dir(&self.work).stdout(out).stderr(errors).status();
        let status = status.context("run", Path::new(name))?;
        match status.success() {
            true => Ok(()),
            false => {
                let output = files::read_text(&log)?;
                Err(Error::Failed { program: name.to_owned(), status: status.to_string(), output })
            }
        }
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::Unexpected(format!("{path:?} is not text; PostgreSQL needs a path that is")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::{Detail, describe, differences};

    #[test]
    fn a_night_changes_pages_in_place() {
        let temp = tempfile::Builder::new().prefix("postgres").tempdir_in("/var/tmp").unwrap();
        files::set_mode(temp.path(), 0o755).unwrap();
        let options = Options { accounts_scale: 1, documents: 2000, night_rows: 50 };
        let cluster = Cluster::create(&temp.path().join("work"), options).unwrap();
        assert!(!cluster.data().join("postmaster.pid").exists());
        let before = describe(&cluster.data(), &Detail::content()).unwrap();
        cluster.night(1).unwrap();
        let after = describe(&cluster.data(), &Detail::content()).unwrap();
        assert!(!cluster.data().join("postmaster.pid").exists());
        let changed = differences(&before, &after, usize::MAX).len();
        assert!(changed > 2 && changed < before.len() / 4, "{changed} of {}", before.len());
    }
}
