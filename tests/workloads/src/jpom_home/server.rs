//! The data and the database of a server home.
//!
//! Owns: `data` (builds, uploads, scripts, keys) and `db` of a server.
//! Never: makes a database that opens.
//! Invariant: the number of a build task's newest result is a function of the day, so nothing but the day has to
//! be remembered.

use std::fmt::Write;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::jar::Jar;
use super::{Database, Home, program, text};
use crate::calendar::Date;
use crate::error::{Context, Result};
use crate::files;
use crate::random::Random;

/// How likely a build task runs on a day.
const BUILD_CHANCE: f64 = 0.7;
/// Results that a home begins with.
const FIRST_RESULTS: u32 = 3;
/// How likely a day's build finds a source file changed.
const SOURCE_CHANGES: f64 = 0.03;
/// Uploads beyond this number make an old one go.
const UPLOADS: usize = 20;
/// What `jpom.db.auto-backup-reserve-day` keeps.
const BACKUPS: usize = 5;
/// The imitated database changes in regions of this size, and its first blocks hold its header.
const REGION_BYTES: u64 = 64 * 1024;
const HEADER_BYTES: u64 = 8192;
const REGION_CHANGES: f64 = 0.1;

/// Fills `data` and `db` of a new home.
pub(super) fn create(home: &Home) -> Result<()> {
    identity(home)?;
    for task in 0..home.options.builds {
        check_out(home, task)?;
        for result in 1..=FIRST_RESULTS.min(home.options.history) {
            build(home, task, result)?;
        }
    }
    scripts_and_keys(home)?;
    (0..8).try_for_each(|number| upload(home, number))?;
    schema_log(home)?;
    database(home)
}

/// What a day brings.
pub(super) fn pass_day(home: &Home) -> Result<()> {
    for task in 0..home.options.builds {
        if builds_on(home, task, home.day) {
            build(home, task, results(home, task))?;
        }
    }
    uploads(home)?;
    executions(home)?;
    rare_changes(home)?;
    unfinished_upload(home)?;
    database(home)?;
    program::upgrade(home)
}

fn identity(home: &Home) -> Result<()> {
    let data = home.data();
    let install = format!(
        "{{\n  \"installId\": \"{}\",\n  \"installTime\": \"{}\",\n  \"desc\": \"请勿删除此文件\"\n}}",
        home.random("install").identifier(),
        Date::of(home.now())
    );
    files::write(&data.join("INSTALL.json"), install, home.now())?;
    files::write(&data.join("remote_version.json"), "{\"tag_name\":\"2.11.12\"}", home.now())?;
    let agent_bytes = home.options.scaled(30_000_000) as usize;
    files::write(&data.join("agent/agent.zip"), home.random("agent").bytes(agent_bytes), home.now())?;
    files::create_folder(&data.join("temp"))?;
    files::create_folder(&data.join("script_run_cache"))
}

/// Where a build task keeps everything.
fn task_folder(home: &Home, task: u32) -> PathBuf {
    let id = home.random(format_args!("task {task}")).identifier();
    home.data().join("build").join(id)
}

fn builds_on(home: &Home, task: u32, day: u32) -> bool {
    home.random(format_args!("task {task} on {day}")).chance(BUILD_CHANCE)
}

/// The number of the newest result.
fn results(home: &Home, task: u32) -> u32 {
    let since = (1..=home.day).filter(|day| builds_on(home, task, *day)).count();
    FIRST_RESULTS.min(home.options.history) + since as u32
}

fn build(home: &Home, task: u32, number: u32) -> Result<()> {
    let folder = task_folder(home, task);
    let result = folder.join(format!("history/#{number}"));
    let jar = Jar {
        seed: home.options.seed,
        program: &format!("task {task}"),
        revision: number,
        bytes: home.options.scaled(home.options.jar_bytes),
        built: home.now() + 60 * i64::from(number),
        library: None,
    };
    jar.write(&result.join("result/app.jar"))?;
    let mut random = home.random(format_args!("task {task} result {number}"));
    files::write(&result.join("info.log"), text::log(&mut random, 300, home.now()), home.now())?;
    check_out(home, task)?;
    match number.checked_sub(home.options.history) {
        Some(expired) => files::remove_folder(&folder.join(format!("history/#{expired}"))),
        None => Ok(()),
    }
}

/// Brings a task's working copy up to date: only changed files are written.
fn check_out(home: &Home, task: u32) -> Result<()> {
    let source = task_folder(home, task).join("source");
    for number in 0..home.options.scaled(250).max(8) {
        let changed = source_changed(home, task, number);
        let path = source.join(format!("src/main/java/com/acme/m{}/C{number}.java", number % 7));
        if changed == home.day || !path.exists() {
            let mut random = home.random(format_args!("task {task} source {number} of {changed}"));
            files::write(&path, text::source(&mut random), home.now())?;
        }
    }
    let pack = home.todays(&format!("task {task} pack")).bytes(1000 + home.options.scaled(200_000) as usize);
    files::write(&source.join(".git/HEAD"), "ref: refs/heads/main\n", home.now())?;
    files::write(&source.join(format!(".git/objects/pack/pack-{}.pack", home.day)), pack, home.now())
}

fn source_changed(home: &Home, task: u32, number: u64) -> u32 {
    (1..=home.day)
        .rev()
        .find(|day| home.random(format_args!("task {task} source {number} on {day}")).chance(SOURCE_CHANGES))
        .unwrap_or(0)
}

fn script_folder(home: &Home, number: u64) -> PathBuf {
    let id = home.random(format_args!("script {number}")).identifier();
    home.data().join("script").join(id)
}

fn scripts_and_keys(home: &Home) -> Result<()> {
    let mut random = home.random("keys");
    for number in 0..6 {
        let script = text::script(&mut random, 20);
        files::write(&script_folder(home, number).join("script.sh"), script, home.now())?;
    }
    for _ in 0..3 {
        certificate(home, &mut random)?;
    }
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        let path = home.data().join("docker/tls-cert/0a5d7c9d10f3c7bd8b9c2f2b7c1f1e43ad90b1f2").join(name);
        files::write(&path, text::key(&mut random, "CERTIFICATE", 20), home.now())?;
    }
    let name = format!("{}_id_rsa", random.identifier());
    files::write(&home.data().join("sshkey").join(name), text::key(&mut random, "RSA PRIVATE KEY", 25), home.now())
}

fn certificate(home: &Home, random: &mut Random) -> Result<()> {
    let folder = home.data().join("certificate").join(random.identifier()).join("X.509");
    let key = folder.join("server.key");
    files::write(&key, text::key(random, "PRIVATE KEY", 26), home.now())?;
    files::set_mode(&key, 0o600)?;
    files::write(&folder.join("server.crt"), text::key(random, "CERTIFICATE", 26), home.now())
}

fn upload(home: &Home, number: u64) -> Result<()> {
    let mut random = home.todays(&format!("upload {number}"));
    let name = format!("{}{}", random.identifier(), random.pick(&[".zip", ".tar.gz", ".jar"]));
    let length = home.options.scaled(random.between(1_000_000, 12_000_000));
    let bytes = random.bytes(length as usize);
    files::write(&home.data().join("file-storage").join(name), bytes, home.now())
}

fn uploads(home: &Home) -> Result<()> {
    let mut random = home.todays("uploads");
    (0..random.between(1, 3)).try_for_each(|number| upload(home, number))?;
    let kept = files::list(&home.data().join("file-storage"))?;
    match kept.len() > UPLOADS {
        true => files::remove(random.pick::<PathBuf>(&kept)),
        false => Ok(()),
    }
}

/// Logs of commands and scripts that ran.
fn executions(home: &Home) -> Result<()> {
    let mut random = home.todays("executions");
    for _ in 0..5 {
        let path = format!("command_log/{}/{}.log", random.identifier(), random.identifier());
        files::write(&home.data().join(path), text::log(&mut random, 60, home.now()), home.now())?;
    }
    for _ in 0..3 {
        let log = script_folder(home, random.below(6)).join(format!("log/{}.log", home.day));
        files::write(&log, text::log(&mut random, 40, home.now()), home.now())?;
    }
    Ok(())
}

/// A script is edited every ten days, a certificate comes every fourteen.
fn rare_changes(home: &Home) -> Result<()> {
    let mut random = home.todays("rare");
    if home.day.is_multiple_of(10) {
        let path = script_folder(home, random.below(6)).join("script.sh");
        files::write(&path, text::script(&mut random, 25), home.now())?;
    }
    match home.day.is_multiple_of(14) {
        true => certificate(home, &mut random),
        false => Ok(()),
    }
}

/// What a browser was sending when the day ended; Jpom clears the folder when it starts.
fn unfinished_upload(home: &Home) -> Result<()> {
    let temp = home.data().join("temp");
    files::remove_folder(&temp)?;
    let mut random = home.todays("temp");
    let path = temp.join(random.identifier()).join("upload.part");
    files::write(&path, random.bytes(home.options.scaled(3_000_000) as usize), home.now())
}

/// The checksums of the schema scripts that ran, and the trace of the database engine.
fn schema_log(home: &Home) -> Result<()> {
    let mut random = home.random("schema");
    let lines: String = (0..24).map(|_| format!("{}{:08x}\n", random.identifier(), random.below(1 << 32))).collect();
    let folder = home.database_folder();
    files::write(&folder.join("execute.init.sql.log"), lines, home.now())?;
    let trace = format!("{} jdbc[3]: exception\n", Date::of(home.now()));
    files::write(&folder.join("Server.trace.db"), trace, home.now())
}

fn database(home: &Home) -> Result<()> {
    if home.options.database == Database::None {
        return Ok(());
    }
    sql_backup(home)?;
    imitate_database(home)
}

fn sql_backup(home: &Home) -> Result<()> {
    let folder = home.database_folder().join("backup");
    let name = format!("{}.sql", Date::of(home.now()).compact());
    files::write(&folder.join(name), sql_text(home), home.now())?;
    let kept = files::list(&folder)?;
    kept.iter().rev().skip(BACKUPS).try_for_each(|backup| files::remove(backup))
}

/// A dump of a window of rows that moves on by 300 rows a day.
fn sql_text(home: &Home) -> String {
    let first = u64::from(home.day) * 300;
    let mut text = String::from("DROP TABLE IF EXISTS PUBLIC.BUILD_INFO CASCADE;\n");
    for row in first..first + home.options.scaled(40_000) + 500 {
        let id = home.random(format_args!("row {row}")).identifier();
        // Writing into a String cannot fail.
        let _ = writeln!(text, "INSERT INTO PUBLIC.USEROPERATELOGV1 VALUES('{id}',{row},'{}');", "x".repeat(40));
    }
    text
}

fn imitate_database(home: &Home) -> Result<()> {
    let path = home.database_folder().join("Server.mv.db");
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(false).open(&path).context("open", &path)?;
    let regions = home.options.scaled(60 * 16) + 8 + u64::from(home.day);
    for region in 0..regions {
        let mut random = home.todays(&format!("region {region}"));
        if home.day == 0 || region + 1 == regions || random.chance(REGION_CHANGES) {
            let bytes = text::class_file(&mut random, REGION_BYTES as usize);
            file.write_all_at(&bytes, HEADER_BYTES + region * REGION_BYTES).context("write", &path)?;
        }
    }
    let header = format!("H:2,block:2,blockSize:1000,chunk:{0:x},format:2,version:{0:x},fletcher:0\n", home.day + 1);
    let block = format!("{header:\0<4096}").repeat(2);
    file.write_all_at(block.as_bytes(), 0).context("write", &path)?;
    files::set_time(&file, &path, home.now())
}
