//! The capture of a home, and the order in which its parts are read.
//!
//! Three things must fit together when a home comes back (upstream: `InitDb`, `BackupInfoController` and
//! `CertificateInfoService` of Jpom 2.11.12):
//!
//! 1. `db/execute.init.sql.log` says which schema scripts the database has seen. A log that is newer than the database
//!    makes Jpom skip a script, and then columns are missing for ever; one that is older only makes it run a script
//!    again, which is made for that. So the log is read *before* the database.
//! 2. The database names files: certificates in `data/certificate`, uploads in `data/file-storage`. A row without its
//!    file is a fault, a file without its row only takes space. Jpom writes the file first. So they are read *after* the
//!    database.
//! 3. Everything else stands by itself.
//!
//! A walk goes by names, and `data` comes before `db`. But it shows a folder to the applications before it looks at
//! anything in it, and takes what they claim at once, in their order. So at the home itself, before anything of it is
//! listed, the log is read and then the version of the database is fixed, both from here. Whatever the walk lists and
//! reads later is newer than both. Nothing else has to be claimed for that.
//!
//! Invariant: a schema log in a snapshot is never newer than the database in it.

use std::ffi::OsString;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use treering_snapshot::capture::{
    Application, Capture, CaptureError, Conclusion, Content, Folder, Names, PieceStore, TakenFile, Verdict,
};

use crate::app::Homes;
use crate::error::io_error;
use crate::home::database::Database;
use crate::home::settings::Settings;
use crate::home::{Home, Layout, ends_with, names, open_plain, read_bytes};
use crate::inspect::advice_on;
use crate::process::Running;

/// The longest schema log: Jpom 2.11.12 has some 40 scripts, with 41 bytes each.
const SCHEMA_LOG_MOST_BYTES: u64 = 16 << 20;
/// How each statement of a dump ends, and so the last one.
const STATEMENT_END: &[u8] = b";\n";

/// What is claimed of a home: the schema log first, then the database.
pub(crate) fn captures(
    home: Home,
    folder: &Folder<'_>,
    homes: &Arc<Homes>,
    database: &dyn Application,
) -> Vec<Box<dyn Capture>> {
    let mut captures: Vec<Box<dyn Capture>> = Vec::new();
    let databases = databases(&home, folder, database);
    captures.push(Box::new(HomeCapture::new(home, folder, Arc::clone(homes))));
    captures.extend(databases);
    captures
}

/// What the database's own application claims in `db`, seen from the home.
fn databases(home: &Home, folder: &Folder<'_>, database: &dyn Application) -> Vec<Box<dyn Capture>> {
    let inside = home.base().join("db");
    let path = home.root().join(&inside);
    if !is_walked(home, folder, &inside) {
        return Vec::new();
    }
    let listed: Vec<OsString> = names(&path);
    let Ok(listed) = Names::of(listed.iter().map(OsString::as_os_str)) else { return Vec::new() };
    let shown = Folder { path: &path, names: &listed, is_excluded: folder.is_excluded };
    let wrap = |capture| Box::new(Inside::new(&inside, database.kind(), capture)) as Box<dyn Capture>;
    database.claim(&shown).into_iter().map(wrap).collect()
}

/// Whether the walk will come to a path: its folders are real ones, and none of it is left out.
fn is_walked(home: &Home, folder: &Folder<'_>, inside: &Path) -> bool {
    let first = inside.components().next();
    let mut path = home.root().to_path_buf();
    let mut is_taken = |name| {
        path.push(name);
        path.symlink_metadata()
            .is_ok_and(|metadata| !metadata.is_symlink() && !(folder.is_excluded)(&path, metadata.is_dir()))
    };
    first.is_some_and(|first| folder.names.has(first.as_os_str())) && inside.iter().all(&mut is_taken)
}

/// The capture of a home: its schema log, and what is to be said of all of it.
struct HomeCapture {
    home: Home,
    /// The schema log, if the walk comes to it.
    claimed: Vec<PathBuf>,
    homes: Arc<Homes>,
    conclusion: Conclusion,
}

impl HomeCapture {
    fn new(home: Home, folder: &Folder<'_>, homes: Arc<Homes>) -> Self {
        let log = home.schema_log();
        let claimed = if is_walked(&home, folder, &log) { vec![log] } else { Vec::new() };
        let conclusion = Conclusion {
            verdict: Verdict::Unknown,
            version: None,
            consistency_point: None,
            detail: "nothing was taken".to_owned(),
            state: Vec::new(),
        };
        Self { home, claimed, homes, conclusion }
    }

    fn schema_log(&self, path: &Path) -> Result<(TakenFile, usize), CaptureError> {
        let full = self.home.root().join(path);
        let bytes = read_bytes(&full, SCHEMA_LOG_MOST_BYTES).map_err(io_error("read", &full))?;
        let scripts = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        let content = Content::Bytes(Box::new(Cursor::new(bytes)));
        let path = path.to_path_buf();
        Ok((TakenFile { attributes_of: Some(path.clone()), path, content, cut: None }, scripts))
    }

    fn conclude_with(&mut self, scripts: Option<usize>) {
        let running = Running::of(&self.home);
        let mut said = vec![format!("{}, {} layout", self.home.kind.word(), self.home.layout.word())];
        if scripts.is_some() {
            said.push("its schema log was read before its database, and everything else after it".to_owned());
        }
        let notes = notes(&self.home, running.as_ref());
        notes.iter().for_each(|note| self.homes.note(&self.home, note.clone()));
        said.extend(notes);
        let version = self.home.program().ok().flatten().and_then(|program| program.version);
        self.conclusion.verdict = Verdict::Consistent;
        self.conclusion.version = version.map(|version| format!("{} {version}", self.home.kind.word()));
        self.conclusion.consistency_point = scripts.map(|scripts| format!("{scripts} schema scripts"));
        self.conclusion.detail = said.join("; ");
    }
}

impl Capture for HomeCapture {
    fn name(&self) -> &Path {
        Path::new("")
    }

    fn scope(&self) -> Option<&'static str> {
        self.homes.scope_of(&self.home)
    }

    fn claimed(&self) -> &[PathBuf] {
        &self.claimed
    }

    fn take(&mut self, _previous: Option<&[u8]>, _pieces: &mut dyn PieceStore) -> Result<Vec<TakenFile>, CaptureError> {
        let log = self.claimed.first().map(|path| self.schema_log(path)).transpose()?;
        self.conclude_with(log.as_ref().map(|(_, scripts)| *scripts));
        Ok(log.map(|(file, _)| file).into_iter().collect())
    }

    fn conclude(self: Box<Self>) -> Conclusion {
        self.conclusion
    }
}

/// What the user should know.
fn notes(home: &Home, running: Option<&Running>) -> Vec<String> {
    let mut notes: Vec<String> = unfinished(home, running).iter().map(|name| half_written(name)).collect();
    match home.settings(running) {
        Ok(settings) => notes.extend(elsewhere(home, &settings)),
        Err(error) => notes.push(format!("{error}; where its database is, is not known")),
    }
    notes
}

fn half_written(name: &Path) -> String {
    format!("{} is half written: Jpom was making this backup; the next snapshot has it whole", name.display())
}

fn elsewhere(home: &Home, settings: &Settings) -> Option<String> {
    match home.database(settings) {
        Database::Outside { mode, address } => {
            let address = address.map(|address| format!(" at {address}")).unwrap_or_default();
            let what = mode.word();
            Some(format!("its database ({what}{address}) is NOT in this snapshot. {}", advice_on(mode)))
        }
        Database::File { path } if !path.starts_with(home.root()) => {
            let path = path.display();
            Some(format!("its database {path} lies outside of it: name its folder in the same backup"))
        }
        Database::File { path } if home.layout != Layout::Program && path.symlink_metadata().is_err() => Some(
            "it has no database file: if its database is MySQL, MariaDB or PostgreSQL, back that up as well".to_owned(),
        ),
        Database::File { .. } | Database::None => None,
    }
}

/// Jpom's own SQL backups that are not complete: it has them open, or they do not end as a dump does.
fn unfinished(home: &Home, running: Option<&Running>) -> Vec<PathBuf> {
    let inside = home.sql_backups();
    let folder = home.root().join(&inside);
    let dumps = names(&folder).into_iter().filter(|name| ends_with(name, ".sql"));
    let is_open = |path: &Path| running.and_then(|running| running.has_open(path)).unwrap_or(false);
    let is_unfinished = |name: &OsString| {
        let path = folder.join(name);
        is_open(&path) || !ends_with_a_statement(&path)
    };
    dumps.filter(is_unfinished).map(|name| inside.join(name)).collect()
}

/// Whether the last statement of a dump is whole (`ScriptCommand` of H2 ends each with a semicolon and a line feed). What
/// cannot be read is not judged.
fn ends_with_a_statement(path: &Path) -> bool {
    let Ok(mut file) = open_plain(path) else { return true };
    let mut end = [0; STATEMENT_END.len()];
    let start = SeekFrom::End(-(STATEMENT_END.len() as i64));
    file.seek(start).and_then(|_| file.read_exact(&mut end)).is_ok() && end == STATEMENT_END
}

/// Another application's capture in a folder of the home.
struct Inside {
    inside: PathBuf,
    kind: &'static str,
    name: PathBuf,
    claimed: Vec<PathBuf>,
    capture: Box<dyn Capture>,
}

impl Inside {
    fn new(inside: &Path, kind: &'static str, capture: Box<dyn Capture>) -> Self {
        let name = inside.join(capture.name());
        let claimed = capture.claimed().iter().map(|path| inside.join(path)).collect();
        Self { inside: inside.to_path_buf(), kind, name, claimed, capture }
    }
}

impl Capture for Inside {
    fn kind(&self) -> Option<&'static str> {
        Some(self.kind)
    }

    fn name(&self) -> &Path {
        &self.name
    }

    fn claimed(&self) -> &[PathBuf] {
        &self.claimed
    }

    fn take(&mut self, previous: Option<&[u8]>, pieces: &mut dyn PieceStore) -> Result<Vec<TakenFile>, CaptureError> {
        let mut taken = self.capture.take(previous, pieces)?;
        for file in &mut taken {
            file.path = self.inside.join(&file.path);
            file.attributes_of = file.attributes_of.take().map(|path| self.inside.join(path));
        }
        Ok(taken)
    }

    fn conclude(self: Box<Self>) -> Conclusion {
        self.capture.conclude()
    }
}

#[cfg(test)]
mod tests {
    use treering_chunk::CutPolicy;
    use treering_snapshot::capture::Piece;

    use super::*;
    use crate::Scoping;
    use crate::scope::Scope;
    use crate::testing::{Folder as Temp, INSTALL};

    /// Claims what ends in `.mv.db`.
    struct Databases;

    struct Whole([PathBuf; 1]);

    /// Nobody stores pieces here.
    struct NoPieces;

    impl PieceStore for NoPieces {
        fn put(&mut self, _: &mut dyn Read, _: CutPolicy) -> Result<Piece, CaptureError> {
            Err(CaptureError::NotStored)
        }
    }

    impl Application for Databases {
        fn kind(&self) -> &'static str {
            "h2"
        }

        fn claim(&self, folder: &Folder<'_>) -> Vec<Box<dyn Capture>> {
            let found = folder.names.iter().filter(|name| ends_with(name, ".mv.db"));
            found.map(|name| Box::new(Whole([PathBuf::from(name)])) as Box<dyn Capture>).collect()
        }
    }

    impl Capture for Whole {
        fn name(&self) -> &Path {
            &self.0[0]
        }

        fn claimed(&self) -> &[PathBuf] {
            &self.0
        }

        fn take(&mut self, _: Option<&[u8]>, _: &mut dyn PieceStore) -> Result<Vec<TakenFile>, CaptureError> {
            let path = self.0[0].clone();
            let content = Content::Bytes(Box::new(std::io::empty()));
            Ok(vec![TakenFile { attributes_of: Some(path.clone()), path, content, cut: None }])
        }

        fn conclude(self: Box<Self>) -> Conclusion {
            unreachable!("nobody asks")
        }
    }

    fn claim(temp: &Temp, homes: &Arc<Homes>) -> Vec<Box<dyn Capture>> {
        let path = temp.path("");
        let listed = names(&path);
        let listed = Names::of(listed.iter().map(OsString::as_os_str)).unwrap();
        let is_excluded = |path: &Path, _: bool| homes.leaves_out(path);
        let folder = Folder { path: &path, names: &listed, is_excluded: &is_excluded };
        crate::Jpom::new(Arc::clone(homes), Arc::new(Databases)).claim(&folder)
    }

    fn server(base: &str) -> Temp {
        let temp = Temp::new();
        temp.write("bin/Server.sh", "JPOM_SERVER_APPLICATION");
        temp.write(format!("{base}data/INSTALL.json"), INSTALL);
        temp.write(format!("{base}db/Server.mv.db"), "H:2,");
        temp.write(format!("{base}db/execute.init.sql.log"), "one\ntwo\n");
        temp
    }

    #[test]
    fn the_schema_log_is_taken_before_the_database_in_each_layout() {
        for base in ["", "data/"] {
            let temp = server(base);
            let captures = claim(&temp, &Arc::default());
            let names: Vec<_> = captures.iter().flat_map(|capture| capture.claimed().to_vec()).collect();
            let expected = ["db/execute.init.sql.log", "db/Server.mv.db"].map(|name| PathBuf::from(base).join(name));
            assert_eq!(names, expected);
            assert_eq!(captures.iter().map(|capture| capture.kind()).collect::<Vec<_>>(), [None, Some("h2")]);
            for mut capture in captures {
                let taken = capture.take(None, &mut NoPieces).unwrap();
                assert_eq!(taken[0].path, capture.claimed()[0]);
                assert_eq!(taken[0].attributes_of.as_ref(), Some(&taken[0].path));
            }
        }
    }

    #[test]
    fn the_data_of_a_container_are_no_second_home() {
        let (temp, homes) = (server("data/"), Arc::default());
        assert_eq!(claim(&temp, &homes).len(), 2);
        let path = temp.path("data");
        let listed = names(&path);
        let listed = Names::of(listed.iter().map(OsString::as_os_str)).unwrap();
        let folder = Folder { path: &path, names: &listed, is_excluded: &|_, _| false };
        assert!(crate::Jpom::new(homes, Arc::new(Databases)).claim(&folder).is_empty());
    }

    #[test]
    fn what_is_left_out_is_not_claimed() {
        let temp = server("");
        let scoping = Scoping { scope: Scope::Full, exclude: vec!["db".into()], ..Scoping::default() };
        let captures = claim(&temp, &Arc::new(Homes::new(scoping)));
        assert_eq!(captures.len(), 1);
        assert!(captures[0].claimed().is_empty());
    }

    #[test]
    fn a_database_elsewhere_and_a_half_written_backup_are_told() {
        let (temp, homes) = (server(""), Arc::default());
        temp.write("conf/application.yml", "jpom:\n  db:\n    mode: POSTGRESQL\n    url: jdbc:postgresql://db/jpom\n");
        temp.write("db/backup/1.sql", "CREATE USER X;\n-- 1 +/- SELECT COUNT(*) FROM A;\n");
        temp.write("db/backup/2.sql", "CREATE USER X;\nINSERT INTO A VAL");
        let mut captures = claim(&temp, &homes);
        captures[0].take(None, &mut NoPieces).unwrap();
        let notes: Vec<String> = homes.take_notes().into_iter().map(|note| note.text).collect();
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].starts_with("db/backup/2.sql is half written"), "{notes:?}");
        assert!(
            notes[1].contains("PostgreSQL at jdbc:postgresql://db/jpom") && notes[1].contains("NOT in this snapshot")
        );
        let conclusion = captures.remove(0).conclude();
        assert_eq!(conclusion.consistency_point.as_deref(), Some("2 schema scripts"));
        assert!(conclusion.detail.contains("NOT in this snapshot"), "{}", conclusion.detail);
    }
}
