//! What a backup takes of a home of Jpom unless it is told otherwise.

use std::path::{Path, PathBuf};

use treering_workloads::fingerprint::Fingerprint;

/// A home without what is temporary; `base` is `jpom.path`, relative to it.
pub fn without_temporary(tree: Fingerprint, base: &Path) -> Fingerprint {
    let temporary = [PathBuf::from("tmp"), base.join("data/temp"), base.join("data/script_run_cache")];
    let is_pid = |path: &Path| path.starts_with("bin") && path.extension().is_some_and(|ending| ending == "pid");
    let is_left_out = |path: &Path| is_pid(path) || temporary.iter().any(|folder| path.starts_with(folder));
    tree.into_iter().filter(|(path, _)| !is_left_out(path)).collect()
}
