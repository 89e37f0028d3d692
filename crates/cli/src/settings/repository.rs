//! Where the repository is.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::args::GlobalArgs;
use crate::environment::Environment;
use crate::exit::Failure;

/// Schemes that restic knows. They are refused by name, lest a folder called `s3:…` be created.
const UNSUPPORTED_SCHEMES: [&str; 9] = ["sftp", "s3", "rest", "b2", "azure", "gs", "swift", "rclone", "http"];

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RepositoryLocation {
    /// In a folder.
    Folder(PathBuf),
}

impl RepositoryLocation {
    /// Reads a location: a path, or `local:` and a path.
    pub(crate) fn parse(text: &OsStr) -> Result<Self, Failure> {
        let bytes = text.as_bytes();
        let scheme = bytes.split(|byte| *byte == b':').next().filter(|scheme| scheme.len() < bytes.len());
        if let Some(scheme) =
            scheme.and_then(|scheme| UNSUPPORTED_SCHEMES.iter().find(|known| known.as_bytes() == scheme))
        {
            return Err(Failure::usage(format!("repositories in `{scheme}:` are not supported, only local folders"))
                .next(format!("For a folder of that name write `./{scheme}:…`.")));
        }
        let path = bytes.strip_prefix(b"local:").unwrap_or(bytes);
        match path {
            b"" => {
                Err(Failure::usage("the place of the repository is empty")
                    .next("Name its folder, as in -r /backup/rings."))
            }
            path => Ok(RepositoryLocation::Folder(PathBuf::from(OsStr::from_bytes(path)))),
        }
    }
}

/// What is typed beats the environment; within each, the place and a file with the place exclude each other.
pub(super) fn resolve(args: &GlobalArgs, environment: &Environment) -> Result<Option<RepositoryLocation>, Failure> {
    let typed = (args.repo.as_ref(), args.repository_file.as_ref());
    let set = (environment.repository.as_ref(), environment.repository_file.as_ref());
    let text = match if typed == (None, None) { set } else { typed } {
        (Some(_), Some(_)) => return Err(conflict()),
        (Some(place), None) => place.clone(),
        (None, Some(file)) => first_line(file)?,
        (None, None) => return Ok(None),
    };
    RepositoryLocation::parse(&text).map(Some)
}

fn first_line(file: &Path) -> Result<OsString, Failure> {
    let content = std::fs::read(file).map_err(|error| {
        Failure::io("read the repository file", file, &error)
            .next("Check --repository-file and TREERING_REPOSITORY_FILE.")
    })?;
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(OsString::from_vec(line.trim_ascii().to_vec()))
}

fn conflict() -> Failure {
    Failure::usage("TREERING_REPOSITORY and TREERING_REPOSITORY_FILE are both set")
        .next("Unset one of them, or use -r.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::tests::environment;

    fn folder(path: &str) -> Option<RepositoryLocation> {
        Some(RepositoryLocation::Folder(path.into()))
    }

    #[test]
    fn typed_then_environment() {
        let variables = environment(&[("TREERING_REPOSITORY", "/env")]).unwrap();
        let typed = GlobalArgs { repo: Some("/typed".into()), ..Default::default() };
        assert_eq!(resolve(&typed, &variables).unwrap(), folder("/typed"));
        assert_eq!(resolve(&GlobalArgs::default(), &variables).unwrap(), folder("/env"));
        assert_eq!(resolve(&GlobalArgs::default(), &environment(&[]).unwrap()).unwrap(), None);
        let both = environment(&[("TREERING_REPOSITORY", "/a"), ("TREERING_REPOSITORY_FILE", "/b")]).unwrap();
        assert!(resolve(&GlobalArgs::default(), &both).is_err());
        assert_eq!(resolve(&typed, &both).unwrap(), folder("/typed"));
    }

    #[test]
    fn a_file_holds_the_place_in_its_first_line() {
        let temporary = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(temporary.path(), " /srv/my rings \n# comment\n").unwrap();
        let args = GlobalArgs { repository_file: Some(temporary.path().into()), ..Default::default() };
        assert_eq!(resolve(&args, &Environment::default()).unwrap(), folder("/srv/my rings"));
    }

    #[test]
    fn other_places_than_folders_are_refused() {
        for text in ["sftp:u@h:/x", "s3:https://x/y", "rest:http://x", "", "local:"] {
            assert!(RepositoryLocation::parse(text.as_ref()).is_err(), "{text}");
        }
        for (text, path) in [("local:/x", "/x"), ("./s3:x", "./s3:x"), ("a:b", "a:b"), ("s3", "s3"), ("C:", "C:")] {
            assert_eq!(RepositoryLocation::parse(text.as_ref()).ok(), folder(path), "{text}");
        }
    }
}
