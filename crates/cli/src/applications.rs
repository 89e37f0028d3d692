//! Which applications this program knows: the one list of them.

use std::path::PathBuf;
use std::sync::Arc;

use treering_h2::H2;
use treering_je::Je;
use treering_je::restore::JeRestorer;
use treering_jpom::{Homes, Jpom, OtherDatabases};
use treering_snapshot::capture::Application;
use treering_snapshot::restore::{Restorer, Root};
use treering_snapshot::select::Named;
use treering_sqlite::{Options, Sqlite};

use crate::args::JeRestoreArgs;
use crate::commands::je::history::environments;
use crate::commands::je::jar;
use crate::commands::je::moment::Moment;
use crate::environment::Environment;
use crate::exit::{Failure, Kind};
use crate::settings::Apps;

/// Where copies go if `TMPDIR` does not say.
const DEFAULT_TEMP_FOLDER: &str = "/tmp";

/// How applications are captured.
#[derive(Default)]
pub(crate) struct Ways {
    /// H2 databases.
    pub(crate) h2: treering_h2::Options,
    /// JE environments.
    pub(crate) je: treering_je::Options,
    /// The Jpom homes that were found, and how much of them is wanted.
    pub(crate) homes: Arc<Homes>,
}

/// Those that were asked for, in the order in which they may claim files.
pub(crate) fn chosen(
    apps: &Apps,
    ways: &Ways,
    environment: &Environment,
) -> Result<Vec<Box<dyn Application>>, Failure> {
    let all = known(ways, environment)?;
    let Apps::Kinds(kinds) = apps else { return Ok(all) };
    if let Some(unknown) = kinds.iter().find(|kind| all.iter().all(|app| app.kind() != *kind)) {
        let known: Vec<&str> = all.iter().map(|app| app.kind()).collect();
        return Err(Failure::usage(format!("there is no application `{unknown}`"))
            .next(format!("--app knows auto, none, {}.", known.join(", "))));
    }
    Ok(all.into_iter().filter(|app| kinds.iter().any(|kind| kind == app.kind())).collect())
}

fn known(ways: &Ways, environment: &Environment) -> Result<Vec<Box<dyn Application>>, Failure> {
    let sqlite = Sqlite::new(Options::new(temp_folder(environment)))
        .map_err(|error| Failure::new(Kind::Failed, "SQLite cannot be used").because(&error))?;
    let databases = Arc::new(H2::new(ways.h2.clone()));
    let jpom = Jpom::new(Arc::clone(&ways.homes), databases.clone());
    let h2 = OtherDatabases::new(Arc::clone(&ways.homes), databases);
    Ok(vec![Box::new(jpom), Box::new(Je::new(ways.je.clone())), Box::new(h2), Box::new(sqlite)])
}

/// Where copies go.
pub(crate) fn temp_folder(environment: &Environment) -> PathBuf {
    environment.temp_folder.clone().unwrap_or_else(|| DEFAULT_TEMP_FOLDER.into())
}

/// Brings JE environments back, cut at a moment if one was asked for. A cut is for one environment.
pub(crate) fn je_restorer(
    args: &JeRestoreArgs,
    environment: &Environment,
    moment: Option<&Moment>,
    named: &Named,
    roots: &[Root],
) -> Result<Box<dyn Restorer>, Failure> {
    let mut restorer = JeRestorer::new();
    if let Some(jar) = args.je_jar.as_ref().or(args.je_check_jar.as_ref()) {
        let (newest, reader) = jar::version(jar)?;
        restorer = restorer.for_version(newest, reader);
    }
    if let Some(jar) = &args.je_check_jar {
        restorer = restorer.check_with(jar::check(jar.clone(), temp_folder(environment)));
    }
    let Some(moment) = moment else { return Ok(Box::new(restorer)) };
    let is_restored = |path: &PathBuf| roots.iter().any(|root| path.starts_with(&root.path));
    let restored: Vec<PathBuf> = environments(named).into_iter().filter(is_restored).collect();
    // One beneath it belongs to its folder, and comes as the snapshot has it.
    let is_one = restored.iter().any(|path| path == moment.path());
    if !is_one || !restored.iter().all(|path| path.starts_with(moment.path())) {
        return Err(Failure::usage("a moment is for one JE environment, which is restored as a whole")
            .next(format!("Pick it with --path {}.", moment.path().display())));
    }
    Ok(Box::new(restorer.cut(moment.planned())))
}

/// Those of `all` that were asked for.
pub(crate) fn restorers(
    apps: &Apps,
    environment: &Environment,
    all: Vec<Box<dyn Restorer>>,
) -> Result<Vec<Box<dyn Restorer>>, Failure> {
    chosen(apps, &Ways::default(), environment)?;
    let Apps::Kinds(kinds) = apps else { return Ok(all) };
    Ok(all.into_iter().filter(|app| kinds.iter().any(|kind| kind == app.kind())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_chosen_by_name() {
        let kinds = |apps: Apps| {
            chosen(&apps, &Ways::default(), &Environment::default())
                .map(|apps| apps.iter().map(|a| a.kind()).collect::<Vec<_>>())
        };
        assert_eq!(kinds(Apps::All).unwrap(), ["jpom", "je", "h2", "sqlite"]);
        assert_eq!(kinds(Apps::Kinds(vec![])).unwrap(), Vec::<&str>::new());
        assert_eq!(kinds(Apps::Kinds(vec!["sqlite".into()])).unwrap(), ["sqlite"]);
        assert_eq!(kinds(Apps::Kinds(vec!["oracle".into()])).unwrap_err().kind, Kind::Usage);
    }
}
