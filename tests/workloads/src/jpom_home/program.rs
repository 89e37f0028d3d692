//! What server and agent homes have in common: the program, its settings and its logs.
//!
//! Owns: `bin`, `conf`, `lib`, `logs` and `tmp`.
//! Never: writes below `data` or `db`.
//! Invariant: `lib/run.bin` names a jar that is in `lib`.

use std::path::Path;

use super::jar::Jar;
use super::{Database, Home, Kind, Layout, text};
use crate::calendar::{DAY, Date};
use crate::error::Result;
use crate::{files, h2};

/// A new version arrives this often.
const UPGRADE_DAYS: u32 = 20;
/// What `jpom.system.old-jars-count` keeps.
const OLD_JARS: usize = 2;
const JAR_BYTES: u64 = 80_000_000;
/// The version the home begins with is 2.11.12.
const FIRST_PATCH: u32 = 12;

const SERVER_SETTINGS: &str = "  system:
    old-jars-count: 2
  db:
    mode: H2
    url:
    user-name: jpom
    user-pwd: jpom
    cache-size: 50MB
    auto-backup-interval-day: 1
    auto-backup-reserve-day: 5
  file-storage:
    save-pah:
server:
  port: 2122
";
const AGENT_SETTINGS: &str = "  authorize:
    agent-name: jpomAgent
    agent-pwd:
server:
  port: 2123
";

/// Puts the program where the installer puts it.
pub(super) fn install(home: &Home) -> Result<()> {
    let name = name(home.options.kind);
    let root = home.root();
    scripts(home)?;
    settings(home)?;
    files::write(&root.join("LICENSE"), "Mulan Permissive Software License v2\n".repeat(120), home.now())?;
    jar(home, FIRST_PATCH, &root.join(format!("lib/{name}-2.11.12.jar")), home.now())?;
    jar(home, FIRST_PATCH - 1, &root.join(format!("lib/oldJars/{name}-2.11.11.jar")), home.now() - 100 * DAY)?;
    point_at(home, FIRST_PATCH)?;
    files::create_folder(&root.join("tmp"))
}

/// Begins the day's log and puts yesterday's away.
pub(super) fn log(home: &Home) -> Result<()> {
    let name = name(home.options.kind);
    let logs = home.root().join("logs");
    let current = logs.join(format!("{name}.log"));
    if current.exists() {
        let yesterday = Date::of(home.now() - DAY).day_name();
        files::create_folder(&logs.join(&yesterday))?;
        files::rename(&current, &logs.join(format!("{yesterday}/{name}-{yesterday}-0.log")))?;
    }
    let mut random = home.todays("log");
    let lines = home.options.scaled(30_000) + 200;
    files::write(&current, text::log(&mut random, lines, home.now()), home.now())?;
    files::append(&logs.join("stdout.log"), text::log(&mut random, 50, home.now()), home.now())
}

/// Installs a new version when one is due.
pub(super) fn upgrade(home: &Home) -> Result<()> {
    if !home.day.is_multiple_of(UPGRADE_DAYS) {
        return Ok(());
    }
    let name = name(home.options.kind);
    let lib = home.root().join("lib");
    let patch = FIRST_PATCH + home.day / UPGRADE_DAYS;
    let old = format!("{name}-2.11.{}.jar", patch - 1);
    files::rename(&lib.join(&old), &lib.join("oldJars").join(&old))?;
    jar(home, patch, &lib.join(format!("{name}-2.11.{patch}.jar")), home.now())?;
    point_at(home, patch)?;
    let kept = files::list(&lib.join("oldJars"))?;
    kept.iter().rev().skip(OLD_JARS).try_for_each(|jar| files::remove(jar))
}

fn scripts(home: &Home) -> Result<()> {
    let name = name(home.options.kind);
    let (title, tag) = match home.options.kind {
        Kind::Server => ("Server", "JPOM_SERVER_APPLICATION"),
        Kind::Agent => ("Agent", "JPOM_AGENT_APPLICATION"),
    };
    let bin = home.root().join("bin");
    for file in [&format!("{title}.sh"), &format!("{title}.bat"), "BlockListener.sh", "Service.sh"] {
        let body = format!("#!/bin/bash\n# {file}\nTag=\"{tag}\"\n{}", "echo jpom\n".repeat(80));
        files::write(&bin.join(file), body, home.now())?;
        files::set_mode(&bin.join(file), 0o755)?;
    }
    files::write(&bin.join(format!("{name}.pid")), "12345\n", home.now())
}

fn settings(home: &Home) -> Result<()> {
    let conf = home.root().join("conf");
    let path = match home.options.layout {
        Layout::Host => "",
        Layout::Docker => " ${JPOM_DATA_PATH}",
    };
    let rest = match home.options.kind {
        Kind::Server => SERVER_SETTINGS,
        Kind::Agent => AGENT_SETTINGS,
    };
    let settings = format!("jpom:\n  path:{path}\n{rest}");
    files::write(&conf.join("application.yml"), settings, home.now())?;
    files::write(&conf.join("logback.xml"), "<configuration scan=\"true\"/>\n", home.now())
}

fn jar(home: &Home, patch: u32, path: &Path, built: i64) -> Result<()> {
    let program = format!("jpom {}", name(home.options.kind));
    let bytes = home.options.scaled(JAR_BYTES);
    // A home with a real database has the real library, as Jpom ships it.
    let has_library = home.options.kind == Kind::Server && home.options.database == Database::None;
    let library = if has_library { Some(h2::library()?) } else { None };
    Jar { seed: home.options.seed, program: &program, revision: patch, bytes, built, library }.write(path)
}

/// Writes which jar is to be run, and where it came from.
fn point_at(home: &Home, patch: u32) -> Result<()> {
    let name = name(home.options.kind);
    let lib = home.root().join("lib");
    let (new, old) = (format!("{name}-2.11.{patch}.jar"), format!("{name}-2.11.{}.jar", patch - 1));
    let time = Date::of(home.now());
    files::write(&lib.join("run.bin"), &new, home.now())?;
    let note = format!("{{\"beforeJar\":\"{old}\",\"newJar\":\"{new}\",\"updateTime\":\"{time}\",\"upgradeCount\":0}}");
    files::write(&lib.join("upgrade.json"), note, home.now())
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Server => "server",
        Kind::Agent => "agent",
    }
}
