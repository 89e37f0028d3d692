//! The lists of `--files-from`, `--files-from-verbatim` and `--files-from-raw`.
//!
//! Owns: the syntax of the three kinds of list, and the expansion of wildcards.
//! Never: says whether a path in a list exists; only wildcards are compared with what is there.
//! Invariant: the order of the lists and of their lines is kept; the names that one wildcard finds are sorted.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::exit::Failure;
use treering_snapshot::filter::Glob;

/// What stands for standard input.
const STDIN: &str = "-";

/// What the lists say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The paths, as they were written or found.
    pub(crate) paths: Vec<PathBuf>,
    /// Lines of `--files-from` that no file matches; worth a warning.
    pub(crate) unmatched: Vec<OsString>,
}

/// Reads all lists: first those with wildcards, then the verbatim ones, then the raw ones.
pub(crate) fn read(globs: &[PathBuf], verbatim: &[PathBuf], raw: &[PathBuf]) -> Result<Listed, Failure> {
    let from_stdin = globs.iter().chain(verbatim).chain(raw).filter(|list| is_stdin(list)).count();
    if from_stdin > 1 {
        return Err(Failure::usage("only one list can be read from standard input"));
    }
    let mut listed = Listed::default();
    for list in globs {
        listed.add_globs(&content_of(list)?).map_err(|line| bad_pattern(&line, list))?;
    }
    for list in verbatim {
        listed.paths.extend(lines(&content_of(list)?).filter(|line| !line.is_empty()).map(to_path));
    }
    for list in raw {
        listed.paths.extend(parse_raw(&content_of(list)?).map_err(|reason| bad_raw(reason, list))?);
    }
    Ok(listed)
}

/// Whether a list, or anything else, is read from standard input.
pub(crate) fn is_stdin(list: &Path) -> bool {
    list == Path::new(STDIN)
}

impl Listed {
    /// Expands the lines of a list with wildcards; the error is a malformed line.
    fn add_globs(&mut self, content: &[u8]) -> Result<(), OsString> {
        for line in lines(content).map(<[u8]>::trim_ascii) {
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let found = expand(line).ok_or_else(|| OsString::from_vec(line.to_vec()))?;
            if found.is_empty() {
                self.unmatched.push(OsString::from_vec(line.to_vec()));
            }
            self.paths.extend(found);
        }
        Ok(())
    }
}

fn content_of(list: &Path) -> Result<Vec<u8>, Failure> {
    if !is_stdin(list) {
        return fs::read(list).map_err(|error| Failure::io("read the list", list, &error));
    }
    let mut content = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut content);
    read.map_err(|error| Failure::io("read the list", Path::new("from standard input"), &error))?;
    Ok(content)
}

/// The lines without their ends, of either kind, and without a byte order mark.
fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    content.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn parse_raw(content: &[u8]) -> Result<Vec<PathBuf>, &'static str> {
    if content.is_empty() {
        return Ok(Vec::new());
    }
    let Some(names) = content.strip_suffix(b"\0") else {
        return Err("the last name is not ended by a NUL byte");
    };
    let names: Vec<&[u8]> = names.split(|byte| *byte == 0).collect();
    match names.iter().any(|name| name.is_empty()) {
        true => Err("a name is empty"),
        false => Ok(names.into_iter().map(to_path).collect()),
    }
}

/// The existing paths that a pattern stands for, sorted folder by folder; `None` if it is malformed.
///
/// Folders that cannot be read hold nothing, as for Go's `filepath.Glob`. A wildcard also finds names with a dot.
fn expand(pattern: &[u8]) -> Option<Vec<PathBuf>> {
    if !has_wildcard(pattern) {
        let path = to_path(pattern);
        return Some(if path.symlink_metadata().is_ok() { vec![path] } else { Vec::new() });
    }
    let root = if pattern.starts_with(b"/") { "/" } else { "" };
    let mut found = vec![PathBuf::from(root)];
    for component in pattern.split(|byte| *byte == b'/').filter(|component| !component.is_empty()) {
        let glob = Glob::parse(component)?;
        found = match has_wildcard(component) {
            true => found.iter().flat_map(|folder| entries(folder, &glob)).collect(),
            false => existing(found, component),
        };
    }
    Some(found)
}

fn has_wildcard(pattern: &[u8]) -> bool {
    pattern.iter().any(|byte| b"*?[\\".contains(byte))
}

fn entries(folder: &Path, glob: &Glob) -> Vec<PathBuf> {
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = fs::read_dir(listed).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names: Vec<OsString> = entries.filter(|name| glob.matches(name.as_bytes())).collect();
    names.sort();
    names.into_iter().map(|name| folder.join(name)).collect()
}

fn existing(folders: Vec<PathBuf>, name: &[u8]) -> Vec<PathBuf> {
    let joined = folders.into_iter().map(|folder| folder.join(to_path(name)));
    joined.filter(|path| path.symlink_metadata().is_ok()).collect()
}

fn to_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

fn bad_pattern(line: &OsString, list: &Path) -> Failure {
    let line = line.display();
    Failure::usage(format!("the list {} has a malformed pattern, `{line}`", list.display()))
        .next("Use --files-from-verbatim for names with `[` or `\\`.")
}

fn bad_raw(reason: &str, list: &Path) -> Failure {
    Failure::usage(format!("the list {} is damaged: {reason}", list.display()))
        .next("Each name must end with a NUL byte, as `find -print0` writes it.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/deep")).unwrap();
        fs::create_dir_all(folder.path().join("b")).unwrap();
        for file in ["a/1.txt", "a/2.txt", "a/.hidden.txt", "b/3.txt", "b/[x].txt"] {
            fs::write(folder.path().join(file), file).unwrap();
        }
        folder
    }

    fn globbed(folder: &tempfile::TempDir, lines: &str) -> Listed {
        let root = folder.path().to_str().unwrap();
        let mut listed = Listed::default();
        listed.add_globs(lines.replace('@', root).as_bytes()).unwrap();
        let relative = |path: &PathBuf| path.strip_prefix(root).unwrap().to_owned();
        listed.paths = listed.paths.iter().map(relative).collect();
        listed
    }

    #[test]
    fn wildcards_find_what_exists() {
        let folder = folder();
        let found = |line: &str| -> Vec<String> {
            let listed = globbed(&folder, line);
            listed.paths.iter().map(|path| path.to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(found("@/a/*.txt"), ["a/.hidden.txt", "a/1.txt", "a/2.txt"]);
        assert_eq!(found("@/*/?.txt"), ["a/1.txt", "a/2.txt", "b/3.txt"]);
        assert_eq!(found("@/[b-z]/*3*"), ["b/3.txt"]);
        assert_eq!(found("@/*/deep"), ["a/deep"]);
        assert_eq!(found("@/b/\\[x\\].txt"), ["b/[x].txt"]);
        assert_eq!(found("# @/a\n\n  @/a  \r\n"), ["a"]);
    }

    #[test]
    fn what_finds_nothing_is_reported() {
        let folder = folder();
        let listed = globbed(&folder, "@/c/*\n@/nothing\n@/b");
        assert_eq!(listed.paths, [PathBuf::from("b")]);
        assert_eq!(listed.unmatched.len(), 2);
        assert_eq!(Listed::default().add_globs(b"/x/[").unwrap_err(), "/x/[");
    }

    #[test]
    fn verbatim_lines_are_kept_as_they_are() {
        let folder = folder();
        let list = folder.path().join("list");
        fs::write(&list, b" # no comment \n\n*.txt\r\n/caf\xe9").unwrap();
        let listed = read(&[], &[list], &[]).unwrap();
        let expected = [to_path(b" # no comment "), to_path(b"*.txt"), to_path(b"/caf\xe9")];
        assert_eq!(listed.paths, expected);
    }

    #[test]
    fn raw_names_end_with_nul() {
        assert_eq!(parse_raw(b"").unwrap(), Vec::<PathBuf>::new());
        assert_eq!(parse_raw(b"a\nb\0/c\0").unwrap(), [to_path(b"a\nb"), to_path(b"/c")]);
        assert!(parse_raw(b"a\0b").is_err());
        assert!(parse_raw(b"a\0\0b\0").is_err());
        assert!(parse_raw(b"\0").is_err());
    }

    #[test]
    fn standard_input_is_one_list_only() {
        let stdin = [PathBuf::from("-")];
        assert!(read(&stdin, &stdin, &[]).unwrap_err().message().contains("only one"));
    }
}
