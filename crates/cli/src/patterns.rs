//! The patterns of `--exclude`, `--include` and their files, put together.
//!
//! Owns: the syntax of a file of patterns, and the order in which options and files count.
//! Never: matches; `exclude` does.
//! Invariant: patterns from options come before those from files, both in the order in which they were given.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::args::{ExcludeArgs, IncludeArgs};
use crate::environment::{self, Lookup};
use crate::exit::Failure;
use treering_snapshot::filter::{BadPattern, Case, PatternSet, Verdict};

/// The patterns of one side, with and without regard to capitals. A path is chosen if either of them matches.
#[derive(Debug, Clone)]
pub(crate) struct Patterns {
    /// `--exclude`, `--exclude-file`.
    pub(crate) sensitive: PatternSet,
    /// `--iexclude`, `--iexclude-file`.
    pub(crate) insensitive: PatternSet,
}

impl Patterns {
    /// What to leave out.
    pub(crate) fn of_excludes(args: &ExcludeArgs) -> Result<Patterns, Failure> {
        Ok(Patterns {
            sensitive: collect(&args.exclude, &args.exclude_file, Case::Sensitive)?,
            insensitive: collect(&args.iexclude, &args.iexclude_file, Case::Insensitive)?,
        })
    }

    /// What alone to take.
    pub(crate) fn of_includes(args: &IncludeArgs) -> Result<Patterns, Failure> {
        Ok(Patterns {
            sensitive: collect(&args.include, &args.include_file, Case::Sensitive)?,
            insensitive: collect(&args.iinclude, &args.iinclude_file, Case::Insensitive)?,
        })
    }

    /// Whether there are no patterns at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.sensitive.is_empty() && self.insensitive.is_empty()
    }

    /// Whether either set matches.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        self.sensitive.matches(path) || self.insensitive.matches(path)
    }

    /// Whether either set matches, and whether either may match below.
    pub(crate) fn verdict(&self, path: &[u8]) -> Verdict {
        let (one, other) = (self.sensitive.verdict(path), self.insensitive.verdict(path));
        Verdict { matched: one.matched || other.matched, child_may_match: one.child_may_match || other.child_may_match }
    }
}

fn collect(options: &[OsString], files: &[PathBuf], case: Case) -> Result<PatternSet, Failure> {
    let mut patterns: Vec<Vec<u8>> = options.iter().map(|option| option.as_bytes().to_vec()).collect();
    for file in files {
        patterns.extend(read_file(file, &environment::variable)?);
    }
    PatternSet::parse(&patterns, case)
        .map_err(|error: BadPattern| Failure::usage("a pattern is malformed").because(&error))
}

/// The patterns of a file.
fn read_file(path: &Path, lookup: Lookup<'_>) -> Result<Vec<Vec<u8>>, Failure> {
    let content = fs::read(path).map_err(|error| Failure::io("read the patterns in", path, &error))?;
    parse_file(&content, lookup).map_err(|name| {
        Failure::usage(format!("{} uses the environment variable {name}, which is not set", path.display()))
            .next("Write $$ for a dollar sign.")
    })
}

/// The patterns in the content of a file, or the name of a variable that does not exist.
///
/// restic takes a missing variable for an empty one, which makes of `$CACHE/*` the pattern `/*`: everything.
fn parse_file(content: &[u8], lookup: Lookup<'_>) -> Result<Vec<Vec<u8>>, String> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let lines = content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).map(|line| expand(line, lookup)).collect()
}

/// Replaces `$NAME`, `${NAME}` and `$$`. A dollar sign before anything else stays.
fn expand(mut line: &[u8], lookup: Lookup<'_>) -> Result<Vec<u8>, String> {
    let mut expanded = Vec::with_capacity(line.len());
    while let Some(at) = line.iter().position(|byte| *byte == b'$') {
        expanded.extend_from_slice(&line[..at]);
        line = &line[at + 1..];
        let (name, rest) = variable_name(line);
        match name {
            b"" => expanded.push(b'$'),
            name => expanded.extend(value_of(name, lookup)?),
        }
        line = rest;
    }
    expanded.extend_from_slice(line);
    Ok(expanded)
}

/// The name behind a dollar sign, and what follows it. The name is empty for a sign that stands for itself.
fn variable_name(line: &[u8]) -> (&[u8], &[u8]) {
    if let Some(rest) = line.strip_prefix(b"$") {
        return (b"", rest);
    }
    if let Some(rest) = line.strip_prefix(b"{") {
        let end = rest.iter().position(|byte| *byte == b'}');
        return end.map_or((b"", line), |end| (&rest[..end], &rest[end + 1..]));
    }
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let end = line.iter().position(|byte| !is_name(byte)).unwrap_or(line.len());
    line.split_at(end)
}

fn value_of(name: &[u8], lookup: Lookup<'_>) -> Result<Vec<u8>, String> {
    let name = String::from_utf8_lossy(name);
    lookup(&name).map(OsString::into_vec).ok_or_else(|| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<OsString> {
        match name {
            "HOME" => Some("/home/u".into()),
            "EMPTY" => Some("".into()),
            _ => None,
        }
    }

    fn parse(content: &str) -> Result<Vec<String>, String> {
        let patterns = parse_file(content.as_bytes(), &lookup)?;
        Ok(patterns.into_iter().map(|pattern| String::from_utf8(pattern).unwrap()).collect())
    }

    #[test]
    fn comments_and_blanks_are_skipped() {
        let content = "\u{feff}# comment\n\n  *.o  \r\n\t# another\n!keep.o\n a # b";
        assert_eq!(parse(content).unwrap(), ["*.o", "!keep.o", "a # b"]);
    }

    #[test]
    fn variables_are_replaced() {
        let content = "$HOME/x\n${HOME}y\n$$HOME\na$\n$/b\n${HOME\n$EMPTY/c\n\\$$";
        let expected = ["/home/u/x", "/home/uy", "$HOME", "a$", "$/b", "${HOME", "/c", "\\$"];
        assert_eq!(parse(content).unwrap(), expected);
    }

    #[test]
    fn a_missing_variable_is_an_error() {
        assert_eq!(parse("$CACHE/*"), Err("CACHE".to_owned()));
    }

    #[test]
    fn options_and_files_are_put_together() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("excludes");
        fs::write(&file, "*.o\n!keep.o\n").unwrap();
        let args = ExcludeArgs {
            exclude: vec!["*.tmp".into()],
            iexclude: vec!["*.BAK".into()],
            exclude_file: vec![file],
            iexclude_file: Vec::new(),
        };
        let patterns = Patterns::of_excludes(&args).unwrap();
        for (path, expected) in
            [("/a.tmp", true), ("/a.TMP", false), ("/x.bak", true), ("/x.o", true), ("/keep.o", false)]
        {
            assert_eq!(patterns.matches(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn malformed_patterns_and_missing_files_are_named() {
        let args = ExcludeArgs { exclude: vec!["[".into()], ..ExcludeArgs::default() };
        assert!(Patterns::of_excludes(&args).unwrap_err().message().contains("`[`"));
        let args = ExcludeArgs { exclude_file: vec!["/nonexistent".into()], ..ExcludeArgs::default() };
        assert!(Patterns::of_excludes(&args).unwrap_err().message().contains("/nonexistent"));
    }
}
