//! The guide for Jpom, in both languages: every command in it, run as it is written.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::fs;

use treering_tests::guide::{Sandbox, blocks, guide};
use treering_workloads::jpom_home::{Database, Home, Options};
use treering_workloads::{Access, h2};

const SCALE: f64 = 0.002;
const SEED: u64 = 9;
/// Programs that the guide uses and that no test machine has.
const STAND_INS: [(&str, &str); 4] = [
    ("mysqldump", "#!/bin/sh\necho '-- a dump of MySQL'\n"),
    ("mariadb-dump", "#!/bin/sh\necho '-- a dump of MariaDB'\n"),
    ("pg_dump", "#!/bin/sh\necho '-- a dump of PostgreSQL'\n"),
    ("docker", "#!/bin/sh\necho /srv/volumes/$5\n"),
];

fn server(sandbox: &Sandbox, folder: &str) -> Home {
    let options = Options { database: Database::None, ..Options::server(SEED, SCALE) };
    let home = Home::create(&sandbox.path(folder), options).unwrap();
    h2::Database::create(&home.base(), 100, SEED).unwrap();
    home
}

/// Puts a Jpom server, an agent and the volumes of a container on the machine.
fn furnish(sandbox: &Sandbox) -> Home {
    for (name, text) in STAND_INS {
        sandbox.program(name, text);
    }
    server(sandbox, "/srv/volumes/jpom-server-data");
    fs::create_dir_all(sandbox.path("/srv/volumes/jpom-server-conf")).unwrap();
    Home::create(&sandbox.path("/opt/jpom-agent"), Options::agent(SEED, SCALE)).unwrap();
    server(sandbox, "/opt/jpom-server")
}

#[test]
fn both_languages_have_the_same_commands() {
    assert_eq!(blocks(&guide("jpom.md")), blocks(&guide("jpom.zh-CN.md")));
    assert!(blocks(&guide("jpom.md")).len() > 10);
}

#[test]
fn every_command_of_the_guide_works_as_written() {
    let temp = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(temp.path());
    let home = furnish(&sandbox);
    let contents = h2::Database::open(&home.base()).unwrap().count(Access::ReadOnly).unwrap();
    let ran = sandbox.run(&guide("jpom.md"));
    for said in ["h2: consistent", "jpom: consistent", "no errors were found"] {
        let said = said.replace(' ', "");
        assert!(ran.stdout.replace(' ', "").contains(&said), "{said}: {ran}");
    }
    for restored in ["/opt/jpom-new", "/opt/jpom-drill", "/opt/jpom-server"] {
        let database = h2::Database::open(&sandbox.path(restored)).unwrap();
        assert_eq!(database.count(Access::ReadOnly).unwrap(), contents, "{restored}");
    }
    assert!(sandbox.path("/opt/jpom-agent-new/data/agent_authorize.json").is_file());
    assert!(!sandbox.path("/opt/jpom-agent-new/data/script").exists());
    assert!(sandbox.path("/opt/jpom-server/db/recover_backup").is_dir());
    a_doubtful_night_is_pruned_and_checked_all_the_same(&sandbox);
}

fn a_doubtful_night_is_pruned_and_checked_all_the_same(sandbox: &Sandbox) {
    fs::write(sandbox.path("/opt/jpom-server/db/Server.mv.db"), [0; 8192]).unwrap();
    let all = blocks(&guide("jpom.md"));
    let block = |with: &str| all.iter().find(|block| block.contains(with)).unwrap().trim_end();
    let nightly = block("cat > /usr/local/bin/jpom-nightly");
    let ran =
        sandbox.run(&format!("```sh\n{}\n{nightly} || code=$?\ntest \"$code\" = 6\n```\n", block("install -m 755")));
    assert!(ran.stderr.contains("it is no H2 database: it begins with zeros"), "{ran}");
    assert!(ran.stdout.contains("no errors were found"), "{ran}");
}
