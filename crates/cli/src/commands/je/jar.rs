//! The application's own `je.jar`, asked: which release it is, and whether it can open what was restored.
//!
//! Invariant: JE never gets to see the files that are put into place, only a copy of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use treering_je::log::{Listing, Name, data_folder_name};
use treering_je::restore::{Check, newest_log_version};
use treering_snapshot::restore::Place;

use crate::exit::{Failure, Kind};

/// JE's own verifier; every release has it.
const VERIFIER: &str = "com.sleepycat.je.util.DbVerify";

/// What to do about a jar that is none of JE's.
const NAME_IT: &str = "Name the je.jar of the application that will open the environment.";

/// The newest log version that it reads, and what it calls itself.
pub(crate) fn version(jar: &Path) -> Result<(u32, String), Failure> {
    let told = |failure: Failure, next: &str| failure.safe("Nothing was restored.").next(next);
    fs::File::open(jar).map_err(|error| told(Failure::io("open", jar, &error), NAME_IT))?;
    let output = java(jar, &["-V"]).map_err(|error| {
        let failure = Failure::new(Kind::Failed, "cannot run `java`").because(&error);
        told(failure, "Install a Java runtime, or leave the jar out: treering verifies the log itself in any case.")
    })?;
    let failed = |why: &str| {
        let happened = format!("cannot ask {} for its version: {why}", jar.display());
        told(Failure::new(Kind::Failed, happened), NAME_IT)
    };
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let newest = newest_log_version(&said).ok_or_else(|| failed(&ending(&output)))?;
    Ok((newest, format!("JE {said}")))
}

/// Opens a copy with it and has it verify all databases.
pub(crate) fn check(jar: PathBuf, temp_folder: PathBuf) -> Check {
    Box::new(move |staged| {
        let name = format!("treering-je-check-{}", std::process::id());
        let copy = Removed(temp_folder.join(name));
        copy_log(staged, &copy.0).map_err(|error| format!("cannot copy it to {}: {error}", copy.0.display()))?;
        let folder = copy.0.to_string_lossy();
        let output = java(&jar, &["-h", &folder]).map_err(|error| format!("cannot run java: {error}"))?;
        match output.status.success() {
            true => Ok(format!("opened and verified with {}", jar.display())),
            false => Err(format!("{} cannot read it: {}", jar.display(), ending(&output))),
        }
    })
}

fn java(jar: &Path, arguments: &[&str]) -> io::Result<Output> {
    Command::new("java").arg("-cp").arg(jar).arg(VERIFIER).args(arguments).output()
}

/// The last line of what it said, or how it ended.
fn ending(output: &Output) -> String {
    let said = [&output.stderr, &output.stdout].map(|said| String::from_utf8_lossy(said).into_owned());
    let line = said.iter().flat_map(|text| text.lines()).find(|line| !line.trim().is_empty());
    line.map_or_else(|| output.status.to_string(), str::to_owned)
}

/// The files of the log and JE's settings.
fn copy_log(staged: &Place<'_>, to: &Path) -> io::Result<()> {
    let listing = Listing::read(staged.path)?;
    fs::create_dir(to)?;
    for number in &listing.data_folders {
        fs::create_dir(to.join(data_folder_name(*number)))?;
    }
    for file in listing.files.values() {
        fs::copy(staged.path.join(&file.path), to.join(&file.path))?;
    }
    let names = fs::read_dir(staged.path)?.filter_map(Result::ok).map(|entry| entry.file_name());
    for name in names.filter(|name| Name::of(name) == Name::Properties) {
        fs::copy(staged.path.join(&name), to.join(&name))?;
    }
    Ok(())
}

/// A folder that goes with this value.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // It is in the folder for temporary files, where others tidy up if this fails.
        let _left = fs::remove_dir_all(&self.0);
    }
}
