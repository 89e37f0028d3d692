//! What is backed up, and how it changes from night to night.
//!
//! Owns: making the first version of each dataset in a live folder, and its changes in place.
//! Never: measures, or runs a backup tool.
//! Invariant: every round begins with the same data, and a change leaves what it does not name untouched (inode
//! and times), as between two real backups.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;
use treering_workloads::{h2, incompressible, je, jpom_home, mirror, postgres, small_files};

use super::round::files;
use crate::error::{Context, Error, Result};

const SEED: u64 = 1;
/// Days that pass in the datasets that live by days.
const DAYS: u32 = 3;
/// With the first, fourteen nights.
const JPOM_DAYS: u32 = 13;
/// Longer than clocks of file systems take to tick.
const COARSE_TICK: Duration = Duration::from_millis(200);
/// Some 2 GiB of log.
const JE_NIGHT_RECORDS: u32 = 3_000_000;

/// The kinds of data that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Releases of a source tree, given by --source
    Source,
    /// 300,000 small files
    SmallFiles,
    /// A PostgreSQL folder of 2 GB and its nights
    Postgres,
    /// One gibibyte that nothing can shrink
    Incompressible,
    /// The home of a Jpom server
    Jpom,
    /// A Berkeley DB JE environment
    Je,
    /// A JE environment of 2 GiB, and a night that changes 1 % of it
    JeNight,
    /// An H2 database
    H2,
}

impl Kind {
    /// The name used in files and tables.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// A kind of data at a size, in a folder.
pub(crate) struct Dataset {
    kind: Kind,
    scale: f64,
    /// Folders to begin with or to step through, for the kinds that cannot be made again quickly.
    versions: Vec<PathBuf>,
    live: PathBuf,
}

impl Dataset {
    /// Makes what all rounds share. `sources` are folders or tarballs, oldest first.
    pub(crate) fn prepare(kind: Kind, scale: f64, sources: &[PathBuf], work: &Path) -> Result<Self> {
        std::fs::create_dir_all(work).context("create the folder", work)?;
        let versions = match kind {
            Kind::Source => source_versions(sources, work)?,
            Kind::Postgres => kept(scale, 3, work, |versions| make_postgres_versions(scale, versions))?,
            Kind::JeNight => kept(scale, 1, work, |versions| make_je(scaled(JE_NIGHT_RECORDS, scale), &versions[0]))?,
            _ => Vec::new(),
        };
        let live = work.join("live");
        Ok(Self { kind, scale, versions, live })
    }

    /// The folder to back up.
    pub(crate) fn live(&self) -> &Path {
        &self.live
    }

    /// How many times the data changes.
    pub(crate) fn changes(&self) -> u32 {
        match self.kind {
            Kind::Source | Kind::Postgres => self.versions.len() as u32 - 1,
            Kind::SmallFiles | Kind::Incompressible | Kind::JeNight => 1,
            Kind::Jpom => JPOM_DAYS,
            Kind::Je | Kind::H2 => DAYS,
        }
    }

    /// What treering verifies by itself, without a repository: the command, and the file or folder.
    pub(crate) fn verify(&self) -> Option<(&'static str, PathBuf)> {
        match self.kind {
            Kind::Je | Kind::JeNight => Some((r#""$BIN" je verify "$LIVE""#, self.live.clone())),
            Kind::H2 | Kind::Jpom => {
                Some((r#""$BIN" h2 verify "$LIVE/db/Server.mv.db""#, self.live.join("db/Server.mv.db")))
            }
            Kind::Source | Kind::SmallFiles | Kind::Postgres | Kind::Incompressible => None,
        }
    }

    /// Makes the live folder its first version.
    pub(crate) fn reset(&self) -> Result<()> {
        let live = &self.live;
        remove_folder(live)?;
        match self.kind {
            Kind::Source | Kind::Postgres => mirror::mirror(&self.versions[0], live)?,
            Kind::JeNight => {
                mirror::mirror(&self.versions[0], live)?;
                touch_last(live)?;
            }
            Kind::SmallFiles => small_files::create(live, &self.small_files())?,
            Kind::Incompressible => incompressible::create(live, &self.incompressible())?,
            Kind::Jpom => self.create_jpom(live)?,
            Kind::Je => drop(je::Environment::create(live, self.count(200_000), SEED)?),
            Kind::H2 => drop(h2::Database::create(live, self.count(100_000), SEED)?),
        }
        Ok(())
    }

    /// Change number `step`, from 1, of the live folder.
    pub(crate) fn change(&self, step: u32) -> Result<()> {
        let live = &self.live;
        match self.kind {
            Kind::Source | Kind::Postgres => mirror::mirror(&self.versions[step as usize], live)?,
            Kind::SmallFiles => drop(small_files::change(live, &self.small_files(), step.into())?),
            Kind::Incompressible => incompressible::change(live, &self.incompressible(), step)?,
            Kind::Jpom => self.pass_jpom_day(live, step)?,
            Kind::Je => je::Environment::open(live)?.day(step, SEED)?,
            Kind::JeNight => je::Environment::open(live)?.night(step, SEED)?,
            Kind::H2 => h2::Database::open(live)?.day(step, SEED)?,
        }
        Ok(())
    }

    /// A server with a real database. What is temporary is nobody's to back up: treering would leave it out.
    fn create_jpom(&self, live: &Path) -> Result<()> {
        let options = jpom_home::Options::server(SEED, self.scale);
        let home =
            jpom_home::Home::create(live, jpom_home::Options { database: jpom_home::Database::None, ..options })?;
        h2::Database::create(&home.base(), self.count(60_000).max(100), SEED)?;
        Ok(home.clear_temporary()?)
    }

    fn pass_jpom_day(&self, live: &Path, day: u32) -> Result<()> {
        let mut home = jpom_home::Home::open(live)?;
        home.next_day()?;
        h2::Database::open(&home.base())?.day(day, SEED)?;
        Ok(home.clear_temporary()?)
    }

    fn small_files(&self) -> small_files::Options {
        let count = u64::from(self.count(small_files::FULL_COUNT as u32));
        small_files::Options { seed: SEED, count }
    }

    fn incompressible(&self) -> incompressible::Options {
        let full = incompressible::Options::full(SEED);
        let scaled = |(count, bytes): (u32, u64)| (count, (bytes as f64 * self.scale) as u64);
        incompressible::Options {
            large: scaled(full.large),
            middle: scaled(full.middle),
            added_bytes: scaled((1, full.added_bytes)).1,
            ..full
        }
    }

    fn count(&self, full: u32) -> u32 {
        scaled(full, self.scale)
    }
}

fn scaled(full: u32, scale: f64) -> u32 {
    (f64::from(full) * scale) as u32
}

/// Removes a folder, if it is there.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.context("remove the folder", folder),
    }
}

fn source_versions(sources: &[PathBuf], work: &Path) -> Result<Vec<PathBuf>> {
    if sources.len() < 2 {
        return Err(Error::message(
            "the dataset source needs --source with two or more releases: folders or tarballs, oldest first",
        ));
    }
    sources
        .iter()
        .enumerate()
        .map(|(number, source)| unpacked(source, &work.join(format!("v{}", number + 1))))
        .collect()
}

/// The folder itself, or where its tarball is unpacked without the folder around everything.
fn unpacked(source: &Path, folder: &Path) -> Result<PathBuf> {
    if source.is_dir() {
        return source.canonicalize().context("find", source);
    }
    std::fs::create_dir_all(folder).context("create the folder", folder)?;
    let mut tar = Command::new("tar");
    tar.args(["--strip-components=1", "-xf"]).arg(source).arg("-C").arg(folder);
    let status = tar.status().context("run", "tar")?;
    match status.success() {
        true => Ok(folder.to_path_buf()),
        false => Err(Error::message(format!("cannot unpack {} ({status})", source.display()))),
    }
}

/// So many versions that take minutes to make, and so are kept. They are there all together or are made anew.
fn kept(scale: f64, count: u32, work: &Path, make: impl FnOnce(&[PathBuf]) -> Result<()>) -> Result<Vec<PathBuf>> {
    let named = |ending: &str| -> Vec<PathBuf> {
        (1..=count).map(|number| work.join(format!("scale-{scale}-v{number}{ending}"))).collect()
    };
    let (versions, unfinished) = (named(""), named(".unfinished"));
    if versions.iter().all(|version| version.is_dir()) {
        return Ok(versions);
    }
    versions.iter().chain(&unfinished).try_for_each(|folder| remove_folder(folder))?;
    make(&unfinished)?;
    for (made, version) in unfinished.iter().zip(&versions) {
        std::fs::rename(made, version).context("move", made)?;
    }
    Ok(versions)
}

/// A database and its nights.
fn make_postgres_versions(scale: f64, versions: &[PathBuf]) -> Result<()> {
    // Not beside them: the server runs as its own user, who need not be able to reach that.
    let work = PathBuf::from(format!("/var/tmp/treering-postgres-{}", std::process::id()));
    let made = mirror_postgres_nights(scale, &work, versions);
    made.and(remove_folder(&work))
}

fn mirror_postgres_nights(scale: f64, work: &Path, versions: &[PathBuf]) -> Result<()> {
    let full = postgres::Options::full();
    let scaled = |count: u32| scaled(count, scale).max(1);
    let options = postgres::Options {
        accounts_scale: scaled(full.accounts_scale),
        documents: scaled(full.documents),
        night_rows: scaled(full.night_rows),
    };
    let cluster = postgres::Cluster::create(work, options)?;
    for (night, version) in versions.iter().enumerate() {
        if night > 0 {
            cluster.night(night as u32)?;
        }
        mirror::mirror(&cluster.data(), version)?;
    }
    Ok(())
}

fn make_je(records: u32, folder: &Path) -> Result<()> {
    je::Environment::create(folder, records, SEED)?;
    Ok(())
}

/// A log that grew by and by has one file that changed last. In a copy of it many have changed in the same moment, and a
/// program that looks for changes cannot trust those.
fn touch_last(folder: &Path) -> Result<()> {
    let Some((last, _)) = files(folder)?.into_iter().rfind(|(path, _)| path.extension() == Some("jdb".as_ref())) else {
        return Ok(());
    };
    std::thread::sleep(COARSE_TICK);
    let file = std::fs::File::options().write(true).open(&last).context("open", &last)?;
    let modified = file.metadata().and_then(|metadata| metadata.modified()).context("look at", &last)?;
    file.set_modified(modified).context("touch", &last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_needs_releases() {
        let temp = tempfile::tempdir().unwrap();
        let error = Dataset::prepare(Kind::Source, 1.0, &[], temp.path()).err().unwrap();
        assert!(error.to_string().contains("--source"));
    }

    #[test]
    fn folders_and_tarballs_are_stepped_through() {
        let temp = tempfile::tempdir().unwrap();
        let [old, new, tarball] = ["old", "new", "new.tar"].map(|name| temp.path().join(name));
        for (folder, text) in [(&old, "1"), (&new, "2")] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("file"), text).unwrap();
        }
        let mut tar = Command::new("tar");
        tar.arg("-cf").arg(&tarball).arg("-C").arg(temp.path()).arg("new");
        assert!(tar.status().unwrap().success());
        let sources = [old, tarball];
        let dataset = Dataset::prepare(Kind::Source, 1.0, &sources, &temp.path().join("work")).unwrap();
        dataset.reset().unwrap();
        assert_eq!(std::fs::read(dataset.live().join("file")).unwrap(), b"1");
        dataset.change(1).unwrap();
        assert_eq!(std::fs::read(dataset.live().join("file")).unwrap(), b"2");
        assert_eq!(dataset.changes(), 1);
    }

    #[test]
    fn kept_versions_are_made_once_and_all_together() {
        let temp = tempfile::tempdir().unwrap();
        let mut made = 0;
        let mut keep = |text: &str| {
            kept(0.5, 2, temp.path(), |versions| {
                made += 1;
                for version in versions {
                    std::fs::create_dir(version).unwrap();
                    std::fs::write(version.join("file"), text).unwrap();
                }
                if text == "broken" { Err(Error::message(text)) } else { Ok(()) }
            })
        };
        keep("broken").unwrap_err();
        let versions = keep("one").unwrap();
        assert_eq!(keep("two").unwrap(), versions);
        std::fs::remove_dir_all(&versions[1]).unwrap();
        keep("three").unwrap();
        assert_eq!(made, 3);
        let texts = versions.iter().map(|version| std::fs::read_to_string(version.join("file")).unwrap());
        assert_eq!(texts.collect::<Vec<_>>(), ["three", "three"]);
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_quiet_night_of_je_leaves_most_of_the_log_alone() {
        let temp = tempfile::tempdir().unwrap();
        let dataset = Dataset::prepare(Kind::JeNight, 0.01, &[], temp.path()).unwrap();
        dataset.reset().unwrap();
        let before = files(dataset.live()).unwrap();
        dataset.change(1).unwrap();
        let after = files(dataset.live()).unwrap();
        let same = before.iter().filter(|(path, file)| after.get(*path) == Some(file)).count();
        assert!(same < before.len() && same * 10 > before.len() * 7, "{same} of {}", before.len());
        assert_eq!(dataset.changes(), 1);
    }

    #[test]
    fn a_round_begins_where_the_last_one_began() {
        let temp = tempfile::tempdir().unwrap();
        let dataset = Dataset::prepare(Kind::Jpom, 0.002, &[], temp.path()).unwrap();
        let detail = treering_workloads::fingerprint::Detail::portable();
        let rounds = [1, 2].map(|_| {
            dataset.reset().unwrap();
            dataset.change(1).unwrap();
            let mut tree = treering_workloads::fingerprint::describe(dataset.live(), &detail).unwrap();
            // What H2 writes has the same rows and other bytes.
            tree.retain(|path, _| !path.starts_with("db"));
            tree
        });
        assert_eq!(rounds[0], rounds[1]);
    }
}
