//! Running the programs that some workloads need.
//!
//! Owns: finding a program, running it to its end, and an error that shows what it printed.
//! Never: installs anything.
//! Invariant: a program that is missing or fails is an error with its name in it, never a workload that is not there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::{Context, Error, Result};

/// How much of a program's output an error repeats.
const SHOWN_BYTES: usize = 2000;

/// Where the program is: in one of the `first` folders or on `PATH`.
pub(crate) fn find(name: &str, first: &[PathBuf], packages: &'static [&'static str]) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    first
        .iter()
        .cloned()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Error::Missing { what: format!("the program {name}"), packages })
}

/// Runs the command to its end and gives what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = PathBuf::from(command.get_program());
    let output = command.stdin(Stdio::null()).output().context("run", &program)?;
    check(&program, output)
}

fn check(program: &Path, output: Output) -> Result<String> {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let all = printed + &String::from_utf8_lossy(&output.stderr);
    let start = all.floor_char_boundary(all.len().saturating_sub(SHOWN_BYTES));
    Err(Error::Failed {
        program: program.display().to_string(),
        status: output.status.to_string(),
        output: all[start..].trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_packages() {
        let error = find("no-such-program", &[], &["some-package"]).unwrap_err();
        assert!(error.to_string().contains("install the Debian packages: some-package"));
    }

    #[test]
    fn a_failure_shows_what_was_printed() {
        let error = run(Command::new("sh").args(["-c", "echo because; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("because"));
    }
}
