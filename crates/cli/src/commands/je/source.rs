//! An environment to look at: in a folder, or in a snapshot without a temporary copy.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use treering_je::failover::InSnapshot;
use treering_je::log::{Entry, FileSummary, Listing, Name, Scanner};
use treering_je::verify::{FolderSource, Source};
use treering_snapshot::list::{Flow, walk_tree};
use treering_snapshot::restore::write_file;
use treering_snapshot::select::{self, Named};
use treering_snapshot::{Node, NodeKind, with_causes};
use treering_store::ChunkReader;

use super::history::environments;
use crate::args::JeLookArgs;
use crate::choice;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Kind, Outcome};
use crate::selector::Selector;
use crate::settings::snapshot_filter;

/// An environment that is looked at.
pub(super) struct Environment<'a> {
    /// Its folder, or its path in the snapshot.
    pub(super) path: PathBuf,
    /// The files that are there.
    pub(super) listing: Listing,
    /// Their bytes.
    pub(super) source: Box<dyn Source + 'a>,
}

/// Finds the environment and works on it.
pub(super) fn with_environment(
    context: &Context,
    args: &JeLookArgs,
    work: impl FnOnce(Environment<'_>) -> Outcome,
) -> Outcome {
    let folder = Path::new(&args.what);
    if folder.is_dir() {
        return work(in_folder(folder)?);
    }
    let selector = Selector::from_typed(args.what.clone()).map_err(|error| {
        Failure::usage(format!("`{}` is neither a folder nor a snapshot", args.what.to_string_lossy())).because(&error)
    })?;
    context.with_repository(|opened| {
        let filter = snapshot_filter(&args.filter, &context.environment);
        let all = choice::all(&opened.repository, context.printer)?;
        let named = choice::one(&all, &selector, &filter)?;
        let path = if selector.sub_path.is_some() { choice::sub_path(&selector) } else { only_one(named)? };
        work(in_snapshot(opened, named, path)?)
    })
}

fn in_folder(folder: &Path) -> Result<Environment<'static>, Failure> {
    let listing = Listing::read(folder).map_err(|error| Failure::io("list", folder, &error))?;
    if !listing.is_environment() {
        let none = format!("{} is no JE environment: nothing in it is JE's", folder.display());
        return Err(Failure::new(Kind::Failed, none).next("Name the folder in which the files `*.jdb` are."));
    }
    let source = Box::new(FolderSource::new(folder, &listing));
    Ok(Environment { path: folder.to_path_buf(), listing, source })
}

/// The environment of a snapshot that has only one.
fn only_one(named: &Named) -> Result<PathBuf, Failure> {
    match &environments(named)[..] {
        [path] => Ok(path.clone()),
        [] => Err(Failure::usage(format!("snapshot {} has no JE environment", named.0.short()))
            .next("Name the folder behind its id if it was taken as ordinary files: ID:/path.")),
        several => {
            let paths: Vec<_> = several.iter().map(|path| path.display().to_string()).collect();
            Err(Failure::usage(format!("snapshot {} has several JE environments", named.0.short()))
                .next(format!("Name one of them behind its id, as in ID:/path: {}.", paths.join(", "))))
        }
    }
}

fn in_snapshot<'r>(opened: &'r Opened, named: &Named, path: PathBuf) -> Result<Environment<'r>, Failure> {
    let mut reader = opened.repository.reader()?;
    let InSnapshot { path, listing, files, .. } = environment_of(&mut reader, named, path)?;
    Ok(Environment { path, listing, source: Box::new(SnapshotSource { reader, files }) })
}

/// The environment at this path of a snapshot.
pub(super) fn environment_of(
    reader: &mut ChunkReader<'_>,
    named: &Named,
    path: PathBuf,
) -> Result<InSnapshot, Failure> {
    let root = select::resolve_path(reader, named, &path)?;
    let (mut top, mut inside, mut nodes) = (Vec::new(), BTreeMap::<u32, Vec<OsString>>::new(), BTreeMap::new());
    let mut settings = None;
    let walked = walk_tree(reader, (&named.1, &root), &path, |at, node| {
        let Some(name) = at.file_name().map(OsString::from) else { return Flow::Skip };
        let folder = at.parent().filter(|parent| *parent != path).and_then(Path::file_name).map(Name::of);
        let (kind, is_folder) = (Name::of(&name), node.tree().is_some());
        match folder {
            Some(Name::DataFolder(number)) => inside.entry(number).or_default().push(name),
            _ => top.push(name),
        }
        match kind {
            Name::Log(number) if !is_folder => {
                let place = at.strip_prefix(&path).unwrap_or(at).to_path_buf();
                nodes.entry((number, place)).or_insert_with(|| node.clone());
            }
            Name::Properties if !is_folder && folder.is_none() => settings = Some(node.clone()),
            _ => {}
        }
        if is_folder && matches!(kind, Name::DataFolder(_)) && folder.is_none() { Flow::Enter } else { Flow::Skip }
    })?;
    if let Some((_, error)) = walked.damaged.into_iter().next() {
        return Err(error.into());
    }
    let mut listing = Listing::of_names(top.iter().map(OsString::as_os_str));
    for (number, names) in &inside {
        listing.add_data_folder(*number, names.iter().map(OsString::as_os_str));
    }
    let listing = listing.checked();
    let taken = |(number, file): (&u32, &treering_je::log::Listed)| {
        nodes.remove(&(*number, file.path.clone())).map(|node| (*number, node))
    };
    let files = listing.files.iter().filter_map(taken).collect();
    Ok(InSnapshot { path, folder: root, listing, files, settings })
}

/// Files out of the repository.
struct SnapshotSource<'r> {
    reader: ChunkReader<'r>,
    files: BTreeMap<u32, Node>,
}

impl Source for SnapshotSource<'_> {
    fn scan(&mut self, number: u32, visit: &mut dyn FnMut(&Entry<'_>)) -> io::Result<FileSummary> {
        let node = self.files.get(&number).filter(|node| matches!(node.kind, NodeKind::File { .. }));
        let node = node.ok_or(io::ErrorKind::NotFound)?;
        let mut scan = Scan { scanner: Scanner::new(number, Some(node.size())), visit };
        write_file(&mut self.reader, node, &mut scan).map_err(|error| io::Error::other(with_causes(&error)))?;
        let Scan { scanner, visit } = scan;
        Ok(scanner.finish(visit))
    }
}

/// A scanner that is written to.
struct Scan<'v> {
    scanner: Scanner,
    visit: &'v mut dyn FnMut(&Entry<'_>),
}

impl Write for Scan<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.scanner.push(bytes, self.visit);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
