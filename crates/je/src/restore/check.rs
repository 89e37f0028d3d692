//! The log of a stage, read once from its first file to its last.
//!
//! Owns what must be true of a log before it takes the place of an environment. Never repairs.

use treering_snapshot::restore::{Place, Proof, Refusal};

use crate::log::Listing;
use crate::verify::{Finding, FolderSource, Report, Severity, verify};

/// From this version on JE has `je.env.recoveryForceNewFile` (6.2).
const NEW_FILE_VERSION: u32 = 10;
const NEW_FILE: &str = "if the application backs up by file numbers (DbBackup), open it once with \
    je.env.recoveryForceNewFile=true, so that JE does not write on into the restored last file";
/// JE 3.3 and its like have no such setting.
const NEW_FILE_UNKNOWN: &str = "this version of JE writes on into the restored last file: if the application backs up by \
    file numbers (DbBackup), let the next backup be a whole one";

/// Reads the whole log. Says what it is, and its newest version; refuses damage, gaps, and an environment that JE would
/// not open.
pub(super) fn check(staged: &Place<'_>) -> Result<(Proof, Option<u32>), Refusal> {
    let listing = Listing::read(staged.path).map_err(Refusal::io("list", staged.shown))?;
    let report = verify(&listing, &mut FolderSource::new(staged.path, &listing), &mut |_| {});
    let errors: Vec<String> =
        report.findings.iter().filter(|finding| finding.severity == Severity::Error).map(show).collect();
    if listing.files.is_empty() {
        return Err(Refusal::Unsound { detail: "it has no file of a log".to_owned() });
    }
    match errors.first() {
        None => Ok((proof(&report, listing.files.len()), report.newest_version())),
        Some(first) => {
            let more = errors.len() - 1;
            let others = if more > 0 { format!(", and {more} more") } else { String::new() };
            Err(Refusal::Unsound { detail: format!("{first}{others}") })
        }
    }
}

fn show(finding: &Finding) -> String {
    let path = finding.path.iter().map(|path| format!("{}: ", path.display()));
    path.chain([finding.problem.to_string()]).collect()
}

fn proof(report: &Report, files: usize) -> Proof {
    let has_setting = report.newest_version().is_some_and(|version| version >= NEW_FILE_VERSION);
    Proof {
        point: report.last_commit.map(|commit| format!("commit {}", commit.lsn)),
        detail: format!("{files} files of the log read, every checksum right, nothing missing that recovery needs"),
        notes: vec![if has_setting { NEW_FILE } else { NEW_FILE_UNKNOWN }.to_owned()],
    }
}
