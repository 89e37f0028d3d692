//! Which snapshots, and which other objects, a command is about: names and filters, compared with what is in the
//! repository.
//!
//! Never: reads trees, but for the one path that a selector names.
//! Invariant: an id that fits nothing, or more than one thing, is an error; a filter that fits no snapshot is not.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use treering_snapshot::record::AllSnapshots;
use treering_snapshot::select::{self, Filter, Named};
use treering_snapshot::{Node, Snapshot};
use treering_store::{ChunkReader, PackName, Repository};

use crate::exit::{Failure, Kind};
use crate::output::Printer;
use crate::selector::{IdPrefix, Selector};

/// All snapshots; tells of those that cannot be read.
pub(crate) fn all(repository: &Repository, printer: Printer) -> Result<AllSnapshots, Failure> {
    let all = Snapshot::read_all(repository)?;
    for (name, error) in &all.damaged {
        printer.warn(&format!("snapshot {} cannot be read: {error}", name.short()));
    }
    Ok(all)
}

/// The snapshot that a selector names. `latest` is the newest that the filter leaves.
pub(crate) fn one<'a>(all: &'a AllSnapshots, selector: &Selector, filter: &Filter) -> Result<&'a Named, Failure> {
    Ok(select::resolve(all, &selector.snapshot.to_string(), filter)?)
}

/// Those that are named, each once, in the order of their names; all that fit the filter, oldest first, if none is.
pub(crate) fn several<'a>(
    all: &'a AllSnapshots,
    selectors: &[Selector],
    filter: &Filter,
) -> Result<Vec<&'a Named>, Failure> {
    if selectors.is_empty() {
        return Ok(all.snapshots.iter().filter(|(_, snapshot)| filter.matches(snapshot)).collect());
    }
    let mut chosen: Vec<&Named> = Vec::new();
    for selector in selectors {
        refuse_path(selector)?;
        let found = one(all, selector, filter)?;
        if chosen.iter().all(|(name, _)| *name != found.0) {
            chosen.push(found);
        }
    }
    Ok(chosen)
}

/// What lies at the path that a selector names, `/` if it names none.
pub(crate) fn node(reader: &mut ChunkReader<'_>, named: &Named, path: &Path) -> Result<Node, Failure> {
    Ok(select::resolve_path(reader, named, path)?)
}

/// The path that a selector names, `/` if it names none.
pub(crate) fn sub_path(selector: &Selector) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(selector.sub_path.as_deref().unwrap_or(b"/")))
}

/// A path in a snapshot means nothing to commands about whole snapshots.
pub(crate) fn refuse_path(selector: &Selector) -> Result<(), Failure> {
    match &selector.sub_path {
        None => Ok(()),
        Some(path) => Err(Failure::usage("this command is about whole snapshots")
            .next(format!("Leave out `:{}`.", String::from_utf8_lossy(path)))),
    }
}

/// The one of these whose id begins so; `what` is what it is called.
pub(crate) fn only<T: ToString>(all: impl Iterator<Item = T>, id: &IdPrefix, what: &str) -> Result<T, Failure> {
    let mut matching = all.filter(|one| id.matches(&one.to_string()));
    match (matching.next(), matching.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Failure::new(Kind::Failed, format!("there is no {what} {id}"))),
        (Some(_), Some(_)) => {
            Err(Failure::usage(format!("more than one {what} begins with {id}")).next("Give more digits."))
        }
    }
}

/// The one pack whose id begins so.
pub(crate) fn pack(repository: &Repository, id: &IdPrefix) -> Result<PackName, Failure> {
    let found = only(repository.list_packs()?.into_iter().map(|(name, _)| name), id, "pack");
    found.map_err(|failure| failure.or_next("`treering check` names the packs that are damaged."))
}
