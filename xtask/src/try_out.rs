//! `cargo xtask try`: builds treering and does its main job once, on a real folder, with a repository of its own.
//!
//! Owns: the folder that it works in; made on the first run, used again on the next, so that the second run shows a
//! snapshot that stores nothing new.
//! Never: touches anything outside that folder and the build.
//! Invariant: every command is printed before it runs, so that it can be typed by hand.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::ci::{finish, root};
use crate::error::{Context, Error, Result};

/// How `cargo xtask try` was called.
#[derive(Args)]
pub(crate) struct Arguments {
    /// What to back up [default: the folder docs of this repository]
    path: Option<PathBuf>,
    /// Where the repository and its key go [default: ~/treering-try]
    #[arg(long)]
    home: Option<PathBuf>,
}

/// Builds, makes a repository if there is none, backs up, and shows the snapshots.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run_shown(Command::new(cargo).args(["build", "--release", "--package", "treering"]))?;
    let home = home(arguments)?;
    std::fs::create_dir_all(&home).context("create", &home)?;
    let (key, repository) = (home.join("rings.key"), home.join("rings"));
    let path = match &arguments.path {
        Some(path) => std::path::absolute(path).context("find", path)?,
        None => root().join("docs"),
    };
    let treering = |words: &[&str]| {
        let mut command = Command::new(program());
        command.args(words).arg("--repo").arg(&repository).arg("--key-file").arg(&key);
        command
    };
    if !repository.join("config").exists() {
        run_shown(Command::new(program()).args(["key", "new-file"]).arg(&key))?;
        run_shown(&mut treering(&["init"]))?;
    }
    run_shown(treering(&["backup"]).arg(&path))?;
    run_shown(&mut treering(&["snapshots"]))
}

fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("release/treering")
}

fn home(arguments: &Arguments) -> Result<PathBuf> {
    let own = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join("treering-try"));
    let home = arguments.home.clone().or_else(own);
    home.ok_or_else(|| Error::message("there is no HOME: name a folder with --home"))
}

fn run_shown(command: &mut Command) -> Result<()> {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let line: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    eprintln!("$ {}", line.join(" "));
    finish(command, &line.join(" "))
}
