//! The rules by which a home comes back.
//!
//! A home is restored beside its place, checked there and exchanged at once. What makes the result one that Jpom starts
//! with, and goes on with as if nothing had happened (upstream: `Server.sh`, `InitDb`, `JpomApplicationEvent.install`,
//! `H2StorageServiceImpl` of Jpom 2.11.12):
//!
//! * Nothing is exchanged over a server that runs or a database that somebody has open.
//! * The database is closed by its own format's rules and verified, natively and, if that is asked for, by the real library.
//! * `db/execute.init.sql.log` comes from the same snapshot as the database, or there is none: a log without its database
//!   would keep Jpom from making the tables that are missing.
//! * Pid files, locks and unfinished compactions do not come back. The times of jars and `run.bin` do, for by them the
//!   start script chooses what it runs.
//! * `INSTALL.json` is kept for a move and gets a new number for a clone: two servers with one number fight over it.
//! * A home with a database is not replaced by one without.
//! * The database that was there goes to `db/recover_backup/<time>`, where Jpom's own recovery puts it.
//!
//! Invariant: the old home is never changed before the new one has taken its place, and never deleted here.

mod aside;
mod library;
mod part;
mod tidy;

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use treering_h2::H2Restorer;
use treering_h2::restore::each_database;
use treering_snapshot::record::AppEntry;
use treering_snapshot::restore::{Hold, Place, Proof, Refusal, Restorer, Unit};

pub use aside::{keep_old_database, keep_old_file, only_in_old};
pub use library::refuse_no_library;
pub use part::{Part, Parts};

use crate::error::Error;
use crate::home::{Home, open_plain};
use crate::process::Running;

/// Where a home has its database: directly, or in the folder that is a container's volume.
const DATABASES: [&str; 2] = ["db/Server.mv.db", "data/db/Server.mv.db"];

/// How a home is brought back.
#[derive(Debug, Clone)]
pub struct RestoreRules {
    /// The number of a new installation: 32 hexadecimal digits. `None` keeps the old one.
    pub clone_as: Option<String>,
    /// Which H2 library opens a copy of the database.
    pub library: LibraryCheck,
    /// How long that may take.
    pub library_limit: Duration,
    /// Where the copy is made.
    pub temp_folder: PathBuf,
}

/// Which H2 library opens a copy of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LibraryCheck {
    /// None does.
    No,
    /// The one in the home's own program.
    Auto,
    /// This one.
    Jar(PathBuf),
}

/// Brings homes back.
pub struct JpomRestorer {
    rules: RestoreRules,
    database: Box<dyn Restorer>,
}

impl JpomRestorer {
    /// By these rules; `database` brings the database back.
    pub fn new(rules: RestoreRules, database: Box<dyn Restorer>) -> Self {
        Self { rules, database }
    }

    /// Does something with the database of a home, if there is one.
    fn with_database<T>(
        &self,
        place: &Place<'_>,
        work: impl FnOnce(&dyn Restorer, &Place<'_>) -> Result<T, Refusal>,
    ) -> Result<Option<T>, Refusal> {
        let Some(file) = database_of(place.path) else { return Ok(None) };
        let (path, shown) = (place.path.join(&file), place.shown.join(&file));
        work(&*self.database, &Place { path: &path, shown: &shown }).map(Some)
    }

    /// Whether the real library opens it, and a word about its format.
    fn check_library(&self, staged: &Place<'_>, proof: &mut Proof) -> Result<(), Refusal> {
        let Some(file) = database_of(staged.path) else { return Ok(()) };
        let home = Home::at(staged.path).ok();
        let program = home.as_ref().and_then(|home| home.program().ok().flatten());
        let library = program.as_ref().and_then(|program| program.library.as_ref());
        let database = staged.path.join(file);
        if let (Some(library), Some(found)) = (library, format_of(&database))
            && library.format().is_some_and(|format| format != found)
        {
            proof.notes.push(other_format(found, &library.version));
        }
        let settings = home.as_ref().and_then(|home| home.settings(None).ok()).unwrap_or_default();
        let checked = library::check(&self.rules, program.as_ref(), &settings, &database);
        proof.notes.extend(checked.map_err(|error| unsound(&error))?);
        Ok(())
    }
}

impl Restorer for JpomRestorer {
    fn kind(&self) -> &'static str {
        "jpom"
    }

    fn unit(&self, _entry: &AppEntry) -> Option<Unit> {
        Some(Unit::Folder)
    }

    fn hold(&self, place: &Place<'_>) -> Result<Hold, Refusal> {
        self.refuse_open(place, &[])?;
        let held = self.with_database(place, |restorer, database| restorer.hold(database))?;
        Ok(held.unwrap_or_else(|| Box::new(())))
    }

    /// Whatever is touched in a home: its process must not run. Who brings databases back looks at that of a home.
    fn refuse_open(&self, folder: &Place<'_>, _: &[OsString]) -> Result<(), Refusal> {
        match Home::at(folder.path).ok().and_then(|home| Running::of(&home)) {
            Some(running) => Err(in_use(folder.shown, &running)),
            None => Ok(()),
        }
    }

    fn adapt(&self, staged: &Place<'_>, target: Option<&Place<'_>>) -> Result<(), Refusal> {
        tidy::tidy(staged.path, self.rules.clone_as.as_deref()).map_err(|error| unsound(&error))?;
        let old = target.and_then(|target| Some((target, database_of(target.path)?)));
        if let Some((_, file)) = old.as_ref().filter(|_| database_of(staged.path).is_none()) {
            return Err(without_database(file));
        }
        let old = old.map(|(target, file)| (target.path.join(&file), target.shown.join(file)));
        let old = old.as_ref().map(|(path, shown)| Place { path, shown });
        self.with_database(staged, |restorer, database| restorer.adapt(database, old.as_ref()))?;
        Ok(())
    }

    fn verify(&self, staged: &Place<'_>) -> Result<Proof, Refusal> {
        let found = self.with_database(staged, |restorer, database| restorer.verify(database))?;
        let mut proof =
            found.unwrap_or_else(|| Proof { detail: "it has no database in it".to_owned(), ..Proof::default() });
        self.check_library(staged, &mut proof)?;
        Ok(proof)
    }
}

/// Brings databases back that are restored for themselves: any of H2's, or that of a home with the log of the schema
/// scripts that it has seen.
pub struct DatabaseRestorer {
    rules: RestoreRules,
    database: Box<dyn Restorer>,
    with_schema_log: bool,
}

impl DatabaseRestorer {
    /// By these rules; `database` brings the file back.
    pub fn new(rules: RestoreRules, database: Box<dyn Restorer>) -> Self {
        Self { rules, database, with_schema_log: false }
    }

    /// One for the databases of homes alone.
    #[must_use]
    pub fn with_schema_log(self) -> Self {
        Self { with_schema_log: true, ..self }
    }
}

impl Restorer for DatabaseRestorer {
    fn kind(&self) -> &'static str {
        self.database.kind()
    }

    fn unit(&self, entry: &AppEntry) -> Option<Unit> {
        match self.database.unit(entry)? {
            Unit::File { mut beside } if self.with_schema_log => {
                beside.push(tidy::SCHEMA_LOG.into());
                Some(Unit::File { beside })
            }
            unit => Some(unit),
        }
    }

    fn hold(&self, place: &Place<'_>) -> Result<Hold, Refusal> {
        // `db` is in `jpom.path`, which is the home or in it.
        for home in place.shown.ancestors().skip(2).take(2) {
            if let Some(running) = Home::at(home).ok().and_then(|home| Running::of(&home)) {
                return Err(in_use(home, &running));
            }
        }
        self.database.hold(place)
    }

    fn refuse_open(&self, folder: &Place<'_>, names: &[OsString]) -> Result<(), Refusal> {
        each_database(folder, names, &|database| self.hold(database).map(drop))
    }

    fn adapt(&self, staged: &Place<'_>, target: Option<&Place<'_>>) -> Result<(), Refusal> {
        if let Some(folder) = staged.path.parent().filter(|_| self.with_schema_log) {
            tidy::ensure_schema_log(folder).map_err(|error| unsound(&error))?;
        }
        self.database.adapt(staged, target)
    }

    fn verify(&self, staged: &Place<'_>) -> Result<Proof, Refusal> {
        let mut proof = self.database.verify(staged)?;
        let settings = crate::Settings::default();
        let checked = library::check(&self.rules, None, &settings, staged.path);
        proof.notes.extend(checked.map_err(|error| unsound(&error))?);
        Ok(proof)
    }
}

/// Refuses to write into a home whose server or agent runs, or whose database somebody has open, as from a container.
///
/// # Errors
///
/// [`Error::Running`], [`Error::InUse`].
pub fn refuse_running(home: &Home) -> Result<(), Error> {
    if let Some(running) = Running::of(home) {
        return Err(Error::Running { home: home.root().to_path_buf(), pid: running.pid });
    }
    let Some(file) = database_of(home.root()) else { return Ok(()) };
    let path = home.root().join(file);
    match H2Restorer::new().hold(&Place { path: &path, shown: &path }) {
        Err(refusal @ Refusal::InUse { .. }) => {
            Err(Error::InUse { home: home.root().to_path_buf(), reason: refusal.to_string() })
        }
        // What cannot be locked cannot be written to either, which is told then.
        _ => Ok(()),
    }
}

/// Where the database of a home in either layout is, if it is there.
fn database_of(home: &Path) -> Option<PathBuf> {
    let is_file = |path: &PathBuf| home.join(path).symlink_metadata().is_ok_and(|metadata| metadata.is_file());
    DATABASES.into_iter().map(PathBuf::from).find(is_file)
}

/// Whether this path, relative to a home, is that of its own database.
pub fn is_own_database(inside: &Path) -> bool {
    DATABASES.iter().any(|own| inside == Path::new(own))
}

fn format_of(database: &Path) -> Option<u32> {
    let file: File = open_plain(database).ok()?;
    let newest = treering_h2::verify::look(&mut &file).ok()?;
    Some(u32::from(newest.version.format.number()))
}

fn other_format(found: u32, version: &str) -> String {
    format!(
        "the database has format {found}, which H2 {version} of the program in this snapshot cannot open: use the \
         program that wrote it, or export it there with --backup-h2 and import it here with --replace-import-h2-sql"
    )
}

/// A home that has a database is not replaced by one without: its capture failed, or it was left out.
fn without_database(file: &Path) -> Refusal {
    let file = file.display();
    let detail = format!(
        "there is no database in this part of the snapshot, because its capture failed or it was left out, and the home \
         that is there has one ({file}): restore another snapshot, or parts of this one (--jpom-only), or into a new folder"
    );
    Refusal::Unsound { detail }
}

fn in_use(home: &Path, running: &Running) -> Refusal {
    let detail = format!("Jpom runs in {} as process {}: stop it first", home.display(), running.pid);
    Refusal::InUse { detail }
}

fn unsound(error: &Error) -> Refusal {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Refusal::Unsound { detail: format!("{error}{cause}") }
}
