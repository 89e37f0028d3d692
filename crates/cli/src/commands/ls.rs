//! `treering ls`.

use std::cmp::{Ordering, Reverse};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use treering_snapshot::Node;
use treering_snapshot::list::{Flow, walk_tree};
use treering_snapshot::select::Named;

use super::damaged;
use crate::args::{LsArgs, LsSort};
use crate::choice;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Outcome};
use crate::output::messages::Message;
use crate::output::nodes::{self, Look};
use crate::output::{json, objects};
use crate::settings::{Verbosity, snapshot_filter};
use crate::{escape, paths, time};

/// Lists files.
pub(crate) fn run(context: &Context, args: &LsArgs) -> Outcome {
    context.with_repository(|opened| list(context, opened, args))
}

fn list(context: &Context, opened: &Opened, args: &LsArgs) -> Outcome {
    let filter = snapshot_filter(&args.filter, &context.environment);
    let all = choice::all(&opened.repository, context.printer)?;
    let named = choice::one(&all, &args.snapshot, &filter)?;
    let starts = starts(args);
    let mut shower = Shower::new(context, args);
    tell_snapshot(context, named)?;
    let mut reader = opened.repository.reader()?;
    let mut unread = Vec::new();
    for start in &starts {
        let node = choice::node(&mut reader, named, start)?;
        if start.as_path() != Path::new("/") {
            shower.entry(start, &node);
        }
        let deeper = if args.recursive || args.paths.is_empty() { Flow::Enter } else { Flow::Skip };
        let visit = |path: &Path, node: &Node| if shower.entry(path, node) { deeper } else { Flow::Stop };
        unread.extend(walk_tree(&mut reader, (&named.1, &node), start, visit)?.damaged);
    }
    shower.finish()?;
    damaged(context.printer, "ls", &unread)
}

/// Where to begin: what was asked for, below the selector's path.
fn starts(args: &LsArgs) -> Vec<PathBuf> {
    let base = choice::sub_path(&args.snapshot);
    if args.paths.is_empty() {
        return vec![base];
    }
    let below = |path: &std::ffi::OsString| {
        let path = path.as_bytes();
        let relative = path.iter().position(|byte| *byte != b'/').map_or(&b""[..], |at| &path[at..]);
        paths::clean(&base.join(OsStr::from_bytes(relative)))
    };
    args.paths.iter().map(below).collect()
}

fn tell_snapshot(context: &Context, (name, snapshot): &Named) -> Outcome {
    if context.printer.json {
        let object = objects::snapshot(*name, snapshot, &context.zone);
        return context.printer.json(&Message::Snapshot(Box::new(object)));
    }
    let paths: Vec<_> = snapshot.paths.iter().map(|path| escape::terminal(path)).collect();
    let time = time::show(objects::timestamp(snapshot.time), &context.zone);
    let by = format!("{}@{}", escape::text(&snapshot.user), escape::text(&snapshot.host));
    let said = format!("snapshot {} of [{}] at {time} by {by}:", name.short(), paths.join(", "));
    context.printer.note(Verbosity::Normal, &said)
}

/// Prints entries as they come, or keeps them to sort them.
struct Shower<'a> {
    context: &'a Context,
    look: Look<'a>,
    sort: LsSort,
    reverse: bool,
    out: std::io::BufWriter<std::io::StdoutLock<'static>>,
    kept: Vec<(PathBuf, Node)>,
    failure: Option<std::io::Error>,
}

impl<'a> Shower<'a> {
    fn new(context: &'a Context, args: &LsArgs) -> Self {
        let look = Look { long: args.long, human_readable: args.human_readable, zone: &context.zone };
        let (sort, reverse) = (args.sort, args.reverse);
        Shower { context, look, sort, reverse, out: context.printer.stream(), kept: Vec::new(), failure: None }
    }

    /// Whether it makes sense to go on.
    fn entry(&mut self, path: &Path, node: &Node) -> bool {
        if self.sort != LsSort::Name || self.reverse {
            self.kept.push((path.to_owned(), node.clone()));
            return true;
        }
        self.print(path, node);
        self.failure.is_none()
    }

    fn print(&mut self, path: &Path, node: &Node) {
        let line = match self.context.printer.json {
            true => json::line(&Message::Node(nodes::message(path, node, &self.context.zone))),
            false => nodes::line(path, node, self.look),
        };
        if let Err(error) = self.out.write_all(line.as_bytes()) {
            self.failure.get_or_insert(error);
        }
    }

    fn finish(mut self) -> Outcome {
        let mut kept = std::mem::take(&mut self.kept);
        let sort = self.sort;
        kept.sort_by(|one, other| compare(sort, one, other));
        if self.reverse {
            kept.reverse();
        }
        kept.iter().for_each(|(path, node)| self.print(path, node));
        let flushed = self.failure.take().map_or_else(|| self.out.flush(), Err);
        flushed.map_err(|error| Failure::stdout(&error))
    }
}

fn compare(sort: LsSort, one: &(PathBuf, Node), other: &(PathBuf, Node)) -> Ordering {
    let by_key = match sort {
        LsSort::Name => Ordering::Equal,
        LsSort::Size => Reverse(one.1.size()).cmp(&Reverse(other.1.size())),
        LsSort::Time => Reverse(one.1.modified).cmp(&Reverse(other.1.modified)),
        LsSort::Extension => one.0.extension().cmp(&other.0.extension()),
    };
    by_key.then_with(|| one.0.cmp(&other.0))
}
