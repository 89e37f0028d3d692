//! The binary under test.
//!
//! Invariant: it is built from this workspace with the profile and into the target folder of the running test, once a
//! process; cargo does nothing if it is up to date.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program `treering`, built if need be.
///
/// # Panics
///
/// If it does not build.
pub fn binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build)
}

/// A test runs as `<target>/<profile>/deps/<test>`.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.ancestors().nth(2).expect("a test lies in a target folder");
    let target = folder.parent().expect("a test lies in a target folder");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "treering", "--bin", "treering", "--profile", profile]);
    cargo.arg("--target-dir").arg(target).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "the program does not build: {status}");
    folder.join("treering")
}
