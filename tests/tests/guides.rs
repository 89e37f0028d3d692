//! Every command of a guide, run as it is written.

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

#[test]
fn the_chinese_guides_have_the_same_commands() {
    assert!(!blocks(&guide("je.md")).is_empty());
    assert_eq!(blocks(&guide("je.md")), blocks(&guide("je.zh-CN.md")));
}
