//! The home of a Jpom server or agent, and what a day does to it.
//!
//! Owns: the tree of a home in its two layouts, and the daily builds, uploads, logs, backups and upgrades.
//! Never: starts Jpom. The database written here only changes like one; for a database that opens, choose
//! [`Database::None`] and write one with [`crate::h2`] into [`Home::base`].
//! Invariant: names, bytes, modes and file times are a function of [`Options`] and the day. What belongs to one
//! day is drawn from that day's own random stream, so a home can be reopened and continued.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::calendar::{DAY, FIRST_DAY};
use crate::error::{Error, Result};
use crate::files;
use crate::random::Random;

mod agent;
mod jar;
mod program;
mod server;
mod text;

/// Which of the two programs the home belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The server, which has the database, the builds and the uploads.
    Server,
    /// The agent, which has projects, scripts and their logs.
    Agent,
}

/// Where `jpom.path` points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// At the home itself: `data` and `db` are beside `bin`, `conf` and `lib`.
    Host,
    /// At `<home>/data`, as the images set it: `data/data` and `data/db`.
    Docker,
}

/// What is put where the server's database belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// Nothing: the caller writes a real one.
    None,
    /// A file that grows and changes in 64 KiB regions as an H2 database does, and SQL backups. Good for
    /// measuring sizes; no program can open it.
    Imitation,
}

/// What a home is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Server or agent.
    pub kind: Kind,
    /// Host or container.
    pub layout: Layout,
    /// Names the random streams.
    pub seed: u64,
    /// Multiplies every size: 1 gives one to two gigabytes, 0.01 is enough for a unit test.
    pub scale: f64,
    /// How many build tasks the server has.
    pub builds: u32,
    /// The size of what one build makes, before scaling.
    pub jar_bytes: u64,
    /// How many results each build task keeps.
    pub history: u32,
    /// Whether a database is imitated.
    pub database: Database,
}

impl Options {
    /// A server on a host with four build tasks that make 30 MB each and keep ten results.
    pub fn server(seed: u64, scale: f64) -> Self {
        Self {
            kind: Kind::Server,
            layout: Layout::Host,
            seed,
            scale,
            builds: 4,
            jar_bytes: 30_000_000,
            history: 10,
            database: Database::Imitation,
        }
    }

    /// An agent on a host.
    pub fn agent(seed: u64, scale: f64) -> Self {
        Self { kind: Kind::Agent, database: Database::None, ..Self::server(seed, scale) }
    }

    /// A count or a size of the full-scale home, scaled.
    fn scaled(&self, full: u64) -> u64 {
        (full as f64 * self.scale) as u64
    }
}

/// A generated home.
///
/// ```no_run
/// use treering_workloads::jpom_home::{Home, Options};
/// let mut home = Home::create("/srv/jpom-server".as_ref(), Options::server(1, 0.05))?;
/// home.next_day()?;
/// # Ok::<(), treering_workloads::Error>(())
/// ```
#[derive(Debug)]
pub struct Home {
    root: PathBuf,
    options: Options,
    day: u32,
}

impl Home {
    /// Makes the home as it is on its first day. The folder must be new or empty. How to go on is remembered
    /// in `<folder>.workload`, beside the home.
    pub fn create(folder: &Path, options: Options) -> Result<Self> {
        let home = Self { root: folder.to_path_buf(), options, day: 0 };
        program::install(&home)?;
        match home.options.kind {
            Kind::Server => server::create(&home)?,
            Kind::Agent => agent::create(&home)?,
        }
        program::log(&home)?;
        home.remember()?;
        Ok(home)
    }

    /// A home made earlier.
    pub fn open(folder: &Path) -> Result<Self> {
        let remembered = files::read_text(&memory(folder))?;
        let (options, day) = parse(&remembered)?;
        Ok(Self { root: folder.to_path_buf(), options, day })
    }

    /// Lets a day pass and gives its number.
    pub fn next_day(&mut self) -> Result<u32> {
        self.day += 1;
        match self.options.kind {
            Kind::Server => server::pass_day(self)?,
            Kind::Agent => agent::pass_day(self)?,
        }
        program::log(self)?;
        self.remember()?;
        Ok(self.day)
    }

    /// Removes what a backup need not take: what Jpom clears by itself, and the number of its process.
    pub fn clear_temporary(&self) -> Result<()> {
        let folders = [self.root.join("tmp"), self.data().join("temp"), self.data().join("script_run_cache")];
        folders.iter().try_for_each(|folder| files::remove_folder(folder))?;
        let pid_files = files::list(&self.root.join("bin"))?;
        let mut pid_files = pid_files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "pid"));
        pid_files.try_for_each(|path| files::remove(path))
    }

    /// The home itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What `jpom.path` points at: the folder that holds `data` and `db`.
    pub fn base(&self) -> PathBuf {
        match self.options.layout {
            Layout::Host => self.root.clone(),
            Layout::Docker => self.root.join("data"),
        }
    }

    /// Jpom's data folder.
    pub fn data(&self) -> PathBuf {
        self.base().join("data")
    }

    /// The folder of the server's database.
    pub fn database_folder(&self) -> PathBuf {
        self.base().join("db")
    }

    /// Days since the home was made.
    pub fn day(&self) -> u32 {
        self.day
    }

    /// Seconds after 1970 at the start of the current day.
    fn now(&self) -> i64 {
        FIRST_DAY + DAY * i64::from(self.day)
    }

    fn random(&self, label: impl fmt::Display) -> Random {
        Random::named(self.options.seed, label)
    }

    /// The stream of things that happen on the current day.
    fn todays(&self, label: &str) -> Random {
        self.random(format_args!("{label} day {}", self.day))
    }

    fn remember(&self) -> Result<()> {
        files::write(&memory(&self.root), self.memory_text(), self.now())
    }

    fn memory_text(&self) -> String {
        let Options { kind, layout, seed, scale, builds, jar_bytes, history, database } = &self.options;
        format!(
            "kind={}\nlayout={}\nseed={seed}\nscale={scale}\nbuilds={builds}\njar_bytes={jar_bytes}\n\
             history={history}\nimitation={}\nday={}\n",
            if *kind == Kind::Server { "server" } else { "agent" },
            if *layout == Layout::Host { "host" } else { "docker" },
            *database == Database::Imitation,
            self.day
        )
    }
}

fn memory(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".workload");
    PathBuf::from(name)
}

fn parse(text: &str) -> Result<(Options, u32)> {
    let flag = |name| field::<bool>(text, name);
    let options = Options {
        kind: if field::<String>(text, "kind")? == "server" { Kind::Server } else { Kind::Agent },
        layout: if field::<String>(text, "layout")? == "host" { Layout::Host } else { Layout::Docker },
        seed: field(text, "seed")?,
        scale: field(text, "scale")?,
        builds: field(text, "builds")?,
        jar_bytes: field(text, "jar_bytes")?,
        history: field(text, "history")?,
        database: if flag("imitation")? { Database::Imitation } else { Database::None },
    };
    Ok((options, field(text, "day")?))
}

fn field<T: FromStr>(text: &str, name: &str) -> Result<T> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.parse().ok())
        .ok_or_else(|| Error::Unexpected(format!("no usable {name} in a .workload file")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::{Detail, describe};

    const TINY: f64 = 0.005;

    fn tree(home: &Home) -> crate::fingerprint::Fingerprint {
        describe(home.root(), &Detail::portable()).unwrap()
    }

    fn lived(folder: &Path, options: Options, days: u32) -> Home {
        let mut home = Home::create(folder, options).unwrap();
        (0..days).for_each(|_| assert!(home.next_day().unwrap() > 0));
        home
    }

    #[test]
    fn the_same_options_give_the_same_home() {
        let temp = tempfile::tempdir().unwrap();
        for (name, options) in [("server", Options::server(3, TINY)), ("agent", Options::agent(3, TINY))] {
            let one = lived(&temp.path().join(format!("{name}1")), options.clone(), 3);
            let two = lived(&temp.path().join(format!("{name}2")), options.clone(), 3);
            let other = lived(&temp.path().join(format!("{name}3")), Options { seed: 4, ..options }, 3);
            assert_eq!(tree(&one), tree(&two));
            assert_ne!(tree(&one), tree(&other));
        }
    }

    #[test]
    fn a_reopened_home_goes_on_as_if_never_closed() {
        let temp = tempfile::tempdir().unwrap();
        let straight = lived(&temp.path().join("straight"), Options::server(1, TINY), 2);
        drop(lived(&temp.path().join("closed"), Options::server(1, TINY), 1));
        let mut reopened = Home::open(&temp.path().join("closed")).unwrap();
        assert_eq!(reopened.next_day().unwrap(), 2);
        assert_eq!(tree(&straight), tree(&reopened));
    }

    #[test]
    fn each_layout_has_its_data_where_jpom_looks() {
        let temp = tempfile::tempdir().unwrap();
        let docker = Options { layout: Layout::Docker, ..Options::server(1, TINY) };
        let host = lived(&temp.path().join("host"), Options::server(1, TINY), 0);
        let docker = lived(&temp.path().join("docker"), docker, 0);
        assert!(host.root().join("db/Server.mv.db").is_file());
        assert!(host.root().join("data/INSTALL.json").is_file());
        assert!(docker.root().join("data/db/Server.mv.db").is_file());
        assert!(docker.root().join("data/data/INSTALL.json").is_file());
    }

    #[test]
    fn old_results_and_backups_go_away() {
        let temp = tempfile::tempdir().unwrap();
        let options = Options { history: 2, builds: 1, ..Options::server(1, TINY) };
        let home = lived(&temp.path().join("home"), options, 21);
        let build = &files::list(&home.data().join("build")).unwrap()[0];
        assert_eq!(files::list(&build.join("history")).unwrap().len(), 2);
        assert_eq!(files::list(&home.database_folder().join("backup")).unwrap().len(), 5);
        assert_eq!(files::list(&home.root().join("lib/oldJars")).unwrap().len(), 2);
        assert!(home.root().join("lib/server-2.11.13.jar").is_file());
    }

    #[test]
    fn a_day_leaves_most_of_the_home_alone() {
        let temp = tempfile::tempdir().unwrap();
        let mut home = lived(&temp.path().join("home"), Options::server(1, TINY), 3);
        let before = tree(&home);
        home.next_day().unwrap();
        let after = tree(&home);
        let same = before.iter().filter(|(path, entry)| after.get(*path) == Some(entry)).count();
        assert!(same * 10 > before.len() * 8, "{same} of {}", before.len());
        assert!(same < before.len());
    }
}
