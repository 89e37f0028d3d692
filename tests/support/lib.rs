//! Helpers of the whole-product tests: the real program, run as a user runs it.
//!
//! Owns: building and running the binary, reading what it prints, stopping and killing it at chosen moments, and
//! changing and comparing folders.
//! Never: uses a crate of the product for more than the names of snapshots, but in `machine` and `sim`, which run the
//! library on a disk in memory: what all others see is what a user sees. A test that needs a library takes it by itself.
//! Invariant: no `TREERING_*` variable of the caller reaches the program, and nothing that it runs outlives its test.
//!
//! Whatever fails here panics with the output of the program: these are tests.

mod binary;
mod campaign;
pub mod guide;
mod jpom;
pub mod ledger;
pub mod machine;
mod mutation;
mod plot;
mod running;
pub mod sim;
mod small_disk;
mod treering;

use std::path::Path;

use treering_workloads::fingerprint::{Fingerprint, differences};

pub use binary::binary;
pub use campaign::Campaign;
pub use jpom::without_temporary;
pub use mutation::mutate;
pub use plot::plot;
pub use running::{Ran, Running};
pub use small_disk::SmallDisk;
pub use treering::{Treering, count, id, name, run};

/// What can be missing on a machine, with the packages that bring it.
const PACKAGES: &str = "install the Debian packages: faketime mount strace util-linux";

/// The fingerprint of a folder.
pub fn fingerprint(folder: &Path) -> Fingerprint {
    treering_workloads::fingerprint(folder).unwrap_or_else(|error| panic!("{error}: {:?}", source(&error)))
}

/// Panics with what differs. `je.lck` is left out: it has no content, no snapshot has it, and whoever locks a JE
/// environment makes it anew.
#[track_caller]
pub fn assert_same(expected: &Fingerprint, actual: &Fingerprint) {
    let without_locks = |all: &Fingerprint| -> Fingerprint {
        let kept = all.iter().filter(|(path, _)| !path.ends_with("je.lck"));
        kept.map(|(path, what)| (path.clone(), what.clone())).collect()
    };
    let found = differences(&without_locks(expected), &without_locks(actual), 20);
    assert!(found.is_empty(), "the folders differ:\n{}", found.join("\n"));
}

/// A number that the environment may set, for a longer campaign than continuous integration has time for.
///
/// # Panics
///
/// If the variable is not a number.
pub fn setting<T: std::str::FromStr>(variable: &str, default: T) -> T {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")),
        Err(_) => default,
    }
}

/// A number for people: `12.3 MB`.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.3} MB", bytes as f64 / 1e6)
}

fn source(error: &dyn std::error::Error) -> Option<String> {
    error.source().map(ToString::to_string)
}
