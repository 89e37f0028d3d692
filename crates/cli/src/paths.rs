//! Paths as snapshots name them: absolute, without `.`, `..` and double slashes.
//!
//! Never: asks the file system; `a/../b` is `b` even where `a` is a symbolic link, as in restic.

use std::path::{Component, Path, PathBuf};

use crate::exit::Failure;

/// The absolute, clean form of a path that was typed.
pub(crate) fn absolute(typed: &Path) -> Result<PathBuf, Failure> {
    if typed.as_os_str().is_empty() {
        return Err(Failure::usage("a path is empty").next("Name a file or a folder; `.` is the current one."));
    }
    let absolute = std::path::absolute(typed).map_err(|error| Failure::io("make absolute", typed, &error))?;
    Ok(clean(&absolute))
}

/// Resolves `.` and `..` by their text alone; beneath `/` there is nothing.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => drop(cleaned.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_their_text() {
        for (typed, cleaned) in [("/a/./b//c/../d/", "/a/b/d"), ("/../..", "/"), ("x", "/x"), ("/", "/")] {
            assert_eq!(clean(Path::new(typed)), Path::new(cleaned), "{typed}");
        }
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute(Path::new("../x")).unwrap(), here.parent().unwrap().join("x"));
    }
}
