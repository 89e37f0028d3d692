//! `treering find`.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use jiff::Timestamp;
use treering_snapshot::Node;
use treering_snapshot::filter::{Case, PatternSet};
use treering_snapshot::list::{Flow, walk_tree};
use treering_snapshot::select::Named;

use super::damaged;
use crate::args::FindArgs;
use crate::choice;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Outcome};
use crate::output::messages::FindResult;
use crate::output::nodes::{self, Look};
use crate::output::{Printer, objects};
use crate::settings::{Verbosity, snapshot_filter};
use crate::time;

/// Finds files, snapshot by snapshot.
pub(crate) fn run(context: &Context, args: &FindArgs) -> Outcome {
    let wanted = Wanted::new(context, args)?;
    context.with_repository(|opened| find(context, opened, args, &wanted))
}

fn find(context: &Context, opened: &Opened, args: &FindArgs, wanted: &Wanted) -> Outcome {
    let filter = snapshot_filter(&args.filter, &context.environment);
    let all = choice::all(&opened.repository, context.printer)?;
    let mut chosen = choice::several(&all, &args.snapshot, &filter)?;
    chosen.sort_by_key(|(name, snapshot)| (snapshot.time, *name));
    if !args.reverse {
        chosen.reverse();
    }
    let (mut results, mut unread) = (Vec::new(), Vec::new());
    let mut reader = opened.repository.reader()?;
    for named in chosen {
        let mut shower = Shower::new(context, args, named);
        let walked = walk_tree(&mut reader, (&named.1, &named.1.root), Path::new("/"), |path, node| {
            if wanted.fits(path, node) { shower.found(path, node) } else { Flow::Enter }
        })?;
        unread.extend(walked.damaged);
        results.extend(shower.finish()?);
    }
    if context.printer.json {
        context.printer.json(&results)?;
    }
    damaged(context.printer, "find", &unread)
}

/// What is looked for.
struct Wanted {
    names: PatternSet,
    paths: PatternSet,
    oldest: Option<Timestamp>,
    newest: Option<Timestamp>,
}

impl Wanted {
    fn new(context: &Context, args: &FindArgs) -> Result<Wanted, Failure> {
        let case = if args.ignore_case { Case::Insensitive } else { Case::Sensitive };
        let (paths, names): (Vec<&[u8]>, Vec<&[u8]>) =
            args.patterns.iter().map(|pattern| pattern.as_bytes()).partition(|pattern| pattern.contains(&b'/'));
        let parse = |patterns: Vec<&[u8]>| {
            PatternSet::parse(patterns, case).map_err(|error| Failure::usage("a pattern is malformed").because(&error))
        };
        let moment = |typed: &Option<String>| typed.as_ref().map(|text| time::parse(text, &context.zone)).transpose();
        let wrong = |error: time::TimeError| Failure::usage("a time is wrong").because(&error);
        let (oldest, newest) = (moment(&args.oldest).map_err(wrong)?, moment(&args.newest).map_err(wrong)?);
        Ok(Wanted { names: parse(names)?, paths: parse(paths)?, oldest, newest })
    }

    /// A pattern matches whatever lies in what it matches; only that itself is found.
    fn fits(&self, path: &Path, node: &Node) -> bool {
        let in_time = |moment: Timestamp| {
            self.oldest.is_none_or(|oldest| moment >= oldest) && self.newest.is_none_or(|newest| moment <= newest)
        };
        let by_path = |path: &Path| self.paths.matches(path.as_os_str().as_bytes());
        let named = self.names.matches(&node.name) || (by_path(path) && !path.parent().is_some_and(by_path));
        named && in_time(objects::timestamp(node.modified))
    }
}

/// What was found in one snapshot.
struct Shower<'a> {
    printer: Printer,
    look: Look<'a>,
    named: &'a Named,
    result: FindResult,
    outcome: Outcome,
}

impl<'a> Shower<'a> {
    fn new(context: &'a Context, args: &FindArgs, named: &'a Named) -> Self {
        let look = Look { long: args.long, human_readable: args.human_readable, zone: &context.zone };
        let result = FindResult { snapshot: named.0.to_string(), ..Default::default() };
        Shower { printer: context.printer, look, named, result, outcome: Ok(()) }
    }

    fn found(&mut self, path: &Path, node: &Node) -> Flow {
        self.result.hits += 1;
        match self.printer.json {
            true => self.result.matches.push(nodes::found(path, node, self.look.zone)),
            false => self.outcome = self.head().and_then(|()| self.printer.result(&nodes::line(path, node, self.look))),
        }
        if self.outcome.is_ok() { Flow::Enter } else { Flow::Stop }
    }

    /// Before the first of them.
    fn head(&self) -> Outcome {
        if self.result.hits != 1 {
            return Ok(());
        }
        let time = time::show(objects::timestamp(self.named.1.time), self.look.zone);
        let said = format!("Found matching entries in snapshot {} from {time}", self.named.0.short());
        self.printer.note(Verbosity::Normal, &said)
    }

    fn finish(self) -> Result<Option<FindResult>, Failure> {
        self.outcome?;
        Ok(Some(self.result).filter(|result| result.hits > 0))
    }
}
