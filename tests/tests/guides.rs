//! Every command of a guide, run as it is written.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use treering_tests::guide::{Sandbox, blocks, guide};
use treering_workloads::je_load::{Load, Pace, check};

#[test]
fn the_guide_to_je_environments() {
    let temp = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(temp.path());
    let home = sandbox.path("/var/lib/app/je");
    std::fs::create_dir_all(&home).unwrap();
    let acknowledged = sandbox.path("/var/lib/app/acknowledged");
    let mut load = Load::start(&home, &acknowledged, Pace { threads: 2, pause_ms: 20, seed: 1 }).unwrap();
    sandbox.service("app", load.process());
    load.wait_for(100).unwrap();
    sandbox.run(&guide("je.md"));
    drop(load);
    for restored in ["/var/lib/app/je", "/srv/je-before", "/srv/new/je", "/backup/standby", "/srv/standby"] {
        let found = check(&sandbox.path(restored)).unwrap();
        assert_eq!(found.sum, found.expected, "{restored}");
    }
}

/// Of a night whose snapshot is saved in part or in doubt the rest is done as well; of one without a snapshot it is not.
#[test]
fn the_nightly_script_goes_on_after_a_snapshot_that_is_saved() {
    let all = blocks(&guide("je.md")).join("\n");
    let (_, rest) = all.split_once("je-nightly <<'END'\n").unwrap();
    let (script, _) = rest.split_once("\nEND\n").unwrap();
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("nightly"), script).unwrap();
    let stub = temp.path().join("treering");
    std::fs::write(&stub, "#!/bin/sh\necho $1\n[ $1 != backup ] || exit $CODE\n").unwrap();
    std::fs::set_permissions(&stub, PermissionsExt::from_mode(0o755)).unwrap();
    for (code, done) in
        [(0, "backup\nprune\ncheck\n"), (3, "backup\nprune\ncheck\n"), (6, "backup\nprune\ncheck\n"), (1, "backup\n")]
    {
        let mut command = Command::new("sh");
        command.arg(temp.path().join("nightly")).env("CODE", code.to_string());
        let path = format!("{}:/usr/bin:/bin", temp.path().display());
        assert_eq!(treering_tests::run(command.env("PATH", path)).expect(code).stdout, done);
    }
}

#[test]
fn the_chinese_guides_have_the_same_commands() {
    assert!(!blocks(&guide("je.md")).is_empty());
    assert_eq!(blocks(&guide("je.md")), blocks(&guide("je.zh-CN.md")));
}
