//! Which applications this program knows: the one list of them.

use treering_snapshot::capture::Application;
use treering_sqlite::{Options, Sqlite};

use crate::environment::Environment;
use crate::exit::{Failure, Kind};
use crate::settings::Apps;

/// Where copies go if `TMPDIR` does not say.
const DEFAULT_TEMP_FOLDER: &str = "/tmp";

/// Those that were asked for, in the order in which they may claim files.
pub(crate) fn chosen(apps: &Apps, environment: &Environment) -> Result<Vec<Box<dyn Application>>, Failure> {
    let all = known(environment)?;
    let Apps::Kinds(kinds) = apps else { return Ok(all) };
    if let Some(unknown) = kinds.iter().find(|kind| all.iter().all(|app| app.kind() != *kind)) {
        let known: Vec<&str> = all.iter().map(|app| app.kind()).collect();
        return Err(Failure::usage(format!("there is no application `{unknown}`"))
            .next(format!("--app knows auto, none, {}.", known.join(", "))));
    }
    Ok(all.into_iter().filter(|app| kinds.iter().any(|kind| kind == app.kind())).collect())
}

fn known(environment: &Environment) -> Result<Vec<Box<dyn Application>>, Failure> {
    let temp_folder = environment.temp_folder.clone().unwrap_or_else(|| DEFAULT_TEMP_FOLDER.into());
    let sqlite = Sqlite::new(Options::new(temp_folder))
        .map_err(|error| Failure::new(Kind::Failed, "SQLite cannot be used").because(&error))?;
    Ok(vec![Box::new(sqlite)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_chosen_by_name() {
        let kinds = |apps: Apps| {
            chosen(&apps, &Environment::default()).map(|apps| apps.iter().map(|a| a.kind()).collect::<Vec<_>>())
        };
        assert_eq!(kinds(Apps::All).unwrap(), ["sqlite"]);
        assert_eq!(kinds(Apps::Kinds(vec![])).unwrap(), Vec::<&str>::new());
        assert_eq!(kinds(Apps::Kinds(vec!["sqlite".into()])).unwrap(), ["sqlite"]);
        assert_eq!(kinds(Apps::Kinds(vec!["oracle".into()])).unwrap_err().kind, Kind::Usage);
    }
}
