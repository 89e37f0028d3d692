//! The data of an agent home.
//!
//! Owns: the JSON files, scripts and project logs of an agent.
//! Never: writes a database; an agent has none.
//! Invariant: `agent_authorize.json`, the secret that pairs it with a server, is readable by its owner only.

use std::path::PathBuf;

use super::{Home, program, text};
use crate::calendar::Date;
use crate::error::Result;
use crate::files;

const SCRIPTS: u64 = 12;
const RECORDS: u64 = 30;
/// The files that hold one record for each thing the agent manages.
const STORES: [&str; 5] =
    ["project.json", "script.json", "whitelistDirectory.json", "workspace_env_var.json", "global-script/scripts.json"];

/// Fills the data of a new home.
pub(super) fn create(home: &Home) -> Result<()> {
    let data = home.data();
    let mut random = home.random("agent");
    let install = format!("{{\"installId\":\"{}\",\"installTime\":\"{}\"}}", random.identifier(), Date::of(home.now()));
    files::write(&data.join("INSTALL.json"), install, home.now())?;
    for store in STORES {
        files::write(&data.join(store), records(home, store, None), home.now())?;
    }
    let secret = format!("{{\"agentName\":\"jpomAgent\",\"agentPwd\":\"{}\"}}", &random.identifier()[..10]);
    files::write(&data.join("agent_authorize.json"), secret, home.now())?;
    files::set_mode(&data.join("agent_authorize.json"), 0o600)?;
    for number in 0..SCRIPTS {
        files::write(&script_folder(home, number).join("script.sh"), text::script(&mut random, 30), home.now())?;
    }
    project_log(home, home.options.scaled(20_000))
}

/// What a day brings.
pub(super) fn pass_day(home: &Home) -> Result<()> {
    let data = home.data();
    let mut random = home.todays("agent");
    files::write(&data.join("project.json"), records(home, "project.json", Some(home.day)), home.now())?;
    let runs = records(home, &format!("runs {}", home.day), None);
    files::write(&data.join("script_log.json"), runs, home.now())?;
    let log = script_folder(home, random.below(SCRIPTS)).join(format!("log/{}.log", home.day));
    files::write(&log, text::log(&mut random, 60, home.now()), home.now())?;
    project_log(home, home.options.scaled(3000) + 50)?;
    program::upgrade(home)
}

/// A store with one record renamed on that day.
fn records(home: &Home, store: &str, renamed: Option<u32>) -> String {
    let mut random = home.random(store);
    let chosen = renamed.map(|day| (day, u64::from(day) % RECORDS));
    let lines: Vec<String> = (0..RECORDS)
        .map(|number| {
            let id = random.identifier();
            let name = match chosen {
                Some((day, which)) if which == number => format!("renamed on {day}"),
                _ => format!("项目{number}"),
            };
            format!(" \"{id}\": {{\"id\": \"{id}\", \"name\": \"{name}\", \"path\": \"/srv/app{number}\"}}")
        })
        .collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

fn script_folder(home: &Home, number: u64) -> PathBuf {
    let id = home.random(format_args!("script {number}")).identifier();
    home.data().join("script").join(id)
}

/// Project logs are beside the data folder, not in it.
fn project_log(home: &Home, lines: u64) -> Result<()> {
    let path = home.base().join("project-log/app1/app1.log");
    files::append(&path, text::log(&mut home.todays("project log"), lines, home.now()), home.now())
}
