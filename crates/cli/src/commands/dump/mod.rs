//! `treering dump`.
//!
//! Invariant: a dump that fails says so by its exit code; what it has written until then is the beginning of what was
//! asked for, every byte of it verified. A file is not touched before it is known what goes into it.

mod acl;
mod tar;

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use treering_snapshot::restore::write_file;
use treering_snapshot::select::Named;
use treering_snapshot::{Node, NodeKind, SnapshotError};

use crate::args::{Archive, DumpArgs};
use crate::choice;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Outcome};
use crate::paths;
use crate::settings::snapshot_filter;

/// Readable only to its owner: what it holds may have been more private than the folder it goes to.
const PRIVATE_MODE: u32 = 0o600;

/// Writes a file or a folder to standard output or into a file.
pub(crate) fn run(context: &Context, args: &DumpArgs) -> Outcome {
    context.with_repository(|opened| {
        let filter = snapshot_filter(&args.filter, &context.environment);
        let all = choice::all(&opened.repository, context.printer)?;
        let named = choice::one(&all, &args.snapshot, &filter)?;
        let path = path(args);
        let node = choice::node(&mut opened.repository.reader()?, named, &path)?;
        if !matches!(node.kind, NodeKind::File { .. } | NodeKind::Folder { .. }) {
            return Err(SnapshotError::WrongKind { path, needed: "file or folder" }.into());
        }
        let what = (named, path.as_path(), &node);
        match &args.target {
            None => dump(context, opened, args, what, &mut io::stdout().lock()),
            Some(target) => {
                let mut file = create(target).map_err(|error| Failure::io("create", target, &error))?;
                dump(context, opened, args, what, &mut file).map_err(|failure| failure.into_file(target))?;
                make_durable(&file).map_err(|error| Failure::io("write", target, &error))
            }
        }
    })
}

fn create(target: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE_MODE).open(target)
}

/// What is no file, `/dev/null` for instance, cannot be made durable.
fn make_durable(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

fn dump(
    context: &Context,
    opened: &Opened,
    args: &DumpArgs,
    (named, path, node): (&Named, &Path, &Node),
    out: &mut dyn Write,
) -> Outcome {
    let (base, mut reader) = (choice::sub_path(&args.snapshot), opened.repository.reader()?);
    let mut out = BufWriter::new(out);
    match (&node.kind, args.archive) {
        (NodeKind::Folder { .. }, Archive::Tar) => {
            let archive = tar::Archive { repository: &opened.repository, snapshot: &named.1, base: &base };
            for skipped in archive.write(&mut reader, (path, node), &mut out)? {
                context.printer.warn(&skipped);
            }
        }
        _ => write_file(&mut reader, node, &mut out).map_err(explained)?,
    }
    out.flush().map_err(|error| Failure::stdout(&error))
}

/// Where it is in the snapshot.
fn path(args: &DumpArgs) -> PathBuf {
    let typed = args.file.as_bytes();
    let relative = typed.iter().position(|byte| *byte != b'/').map_or(&b""[..], |at| &typed[at..]);
    paths::clean(&choice::sub_path(&args.snapshot).join(OsStr::from_bytes(relative)))
}

/// Only writing the output is input or output to the library here.
fn explained(error: SnapshotError) -> Failure {
    match &error {
        SnapshotError::Io { source, .. } => Failure::stdout(source),
        _ => error.into(),
    }
}
