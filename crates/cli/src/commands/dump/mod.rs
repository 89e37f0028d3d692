//! `treering dump`.
//!
//! Invariant: a dump that fails says so by its exit code; what it has written until then is the beginning of what was
//! asked for, every byte of it verified.

mod tar;

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use treering_snapshot::restore::write_file;
use treering_snapshot::{NodeKind, SnapshotError};

use crate::args::{Archive, DumpArgs};
use crate::choice;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Outcome, kind_of_io};
use crate::paths;
use crate::settings::snapshot_filter;

/// Readable only to its owner: what it holds may have been more private than the folder it goes to.
const PRIVATE_MODE: u32 = 0o600;

/// Writes a file or a folder to standard output or into a file.
pub(crate) fn run(context: &Context, args: &DumpArgs) -> Outcome {
    context.with_repository(|opened| match &args.target {
        None => dump(context, opened, args, &mut io::stdout().lock()),
        Some(path) => {
            let file = OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE_MODE).open(path);
            let mut file = file.map_err(|error| Failure::io("create", path, &error))?;
            dump(context, opened, args, &mut file)?;
            file.sync_all().map_err(|error| Failure::io("write", path, &error))
        }
    })
}

fn dump(context: &Context, opened: &Opened, args: &DumpArgs, out: &mut dyn Write) -> Outcome {
    let filter = snapshot_filter(&args.filter, &context.environment);
    let all = choice::all(&opened.repository, context.printer)?;
    let named = choice::one(&all, &args.snapshot, &filter)?;
    let (base, path) = (choice::sub_path(&args.snapshot), path(args));
    let mut reader = opened.repository.reader()?;
    let node = choice::node(&mut reader, named, &path)?;
    let mut out = BufWriter::new(out);
    match (&node.kind, args.archive) {
        (NodeKind::File { .. }, _) => {
            write_file(&mut reader, &node, &mut out).map_err(explained)?;
        }
        (NodeKind::Folder { .. }, Archive::Tar) => {
            let archive = tar::Archive { repository: &opened.repository, snapshot: &named.1, base: &base };
            for skipped in archive.write(&mut reader, (&path, &node), &mut out)? {
                context.printer.warn(&skipped);
            }
        }
        _ => return Err(SnapshotError::WrongKind { path, needed: "file or folder" }.into()),
    }
    out.flush().map_err(|error| Failure::stdout(&error))
}

/// Where it is in the snapshot.
fn path(args: &DumpArgs) -> PathBuf {
    let typed = args.file.as_bytes();
    let relative = typed.iter().position(|byte| *byte != b'/').map_or(&b""[..], |at| &typed[at..]);
    paths::clean(&choice::sub_path(&args.snapshot).join(OsStr::from_bytes(relative)))
}

/// A reader that left is no failure to talk about.
fn explained(error: SnapshotError) -> Failure {
    match &error {
        SnapshotError::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => Failure::stdout(source),
        SnapshotError::Io { source, .. } => Failure::new(kind_of_io(source), error.to_string()).because(source),
        _ => error.into(),
    }
}
