//! `cargo xtask ci`: everything that must pass before a change lands.
//!
//! Owns: installing the Debian packages that the tests use, and the order of the checks.
//! Never: skips a part that was asked for; a part that cannot run fails and says why.
//! Invariant: the same command runs here, in continuous integration and in the README.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args, ValueEnum};

use crate::error::{Context, Error, Result};

/// Where the packages are listed, one a line.
const PACKAGES_FILE: &str = "tests/debian-packages.txt";

/// How `cargo xtask ci` was called.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Run only this part; may be given several times
    #[arg(long, value_enum)]
    only: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Debian packages that the tests drive
    Packages,
    /// cargo fmt --check
    Format,
    /// cargo clippy, warnings denied
    Lint,
    /// cargo test
    Test,
}

/// Runs the parts in order and stops at the first that fails.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let all = [Part::Packages, Part::Format, Part::Lint, Part::Test];
    all.into_iter().filter(|part| arguments.only.is_empty() || arguments.only.contains(part)).try_for_each(run_part)
}

fn run_part(part: Part) -> Result<()> {
    match part {
        Part::Packages => install_packages(),
        Part::Format => cargo(&["fmt", "--all", "--check"]),
        Part::Lint => cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        Part::Test => cargo(&["test", "--workspace"]),
    }
}

fn cargo(arguments: &[&str]) -> Result<()> {
    eprintln!("== cargo {}", arguments.join(" "));
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    finish(Command::new(program).args(arguments), &format!("cargo {}", arguments[0]))
}

fn install_packages() -> Result<()> {
    let wanted = read_packages(&root().join(PACKAGES_FILE))?;
    let missing: Vec<String> = wanted.into_iter().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("== installing {}", missing.join(" "));
    install(&missing).map_err(|error| {
        Error::message(format!(
            "the tests need these Debian packages, and installing them failed ({error}); as root, run: \
             apt-get update && apt-get install --no-install-recommends {}",
            missing.join(" ")
        ))
    })
}

fn install(packages: &[String]) -> Result<()> {
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        command
    };
    finish(apt().arg("update"), "apt-get update")?;
    let mut command = apt();
    command.args(["install", "-y", "--no-install-recommends"]).args(packages);
    finish(&mut command, "apt-get install")
}

fn is_installed(package: &str) -> bool {
    let query =
        Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}", package]).stderr(Stdio::null()).output();
    query.is_ok_and(|output| output.stdout == b"installed")
}

fn read_packages(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).context("read", path)?;
    Ok(parse_packages(&text))
}

/// One package a line; `#` begins a comment.
fn parse_packages(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

pub(crate) fn finish(command: &mut Command, name: &str) -> Result<()> {
    let status = command.current_dir(root()).stdin(Stdio::null()).status().context("run", name)?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::message(format!("{name} failed ({status})"))),
    }
}

/// The folder of the workspace, wherever the command was given.
pub(crate) fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.parent().unwrap_or(folder).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_empty_lines_are_no_packages() {
        let text = "# needed by je\nlibdb-je-java # 3.3\n\n  postgresql\n";
        assert_eq!(parse_packages(text), ["libdb-je-java", "postgresql"]);
    }

    #[test]
    fn the_list_of_this_repository_is_read() {
        let packages = read_packages(&root().join(PACKAGES_FILE)).unwrap();
        assert!(packages.contains(&"libdb-je-java".to_owned()));
    }

    #[test]
    fn a_package_that_does_not_exist_is_not_installed() {
        assert!(!is_installed("no-such-package-at-all"));
    }
}
