//! What of which snapshot goes where.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use treering_jpom::restore::Parts;
use treering_snapshot::SnapshotError;
use treering_snapshot::record::AllSnapshots;
use treering_snapshot::restore::{self as library, Choice, RestoreOptions, Restorer, Root, layout};
use treering_snapshot::select::{self, Filter, Named};
use treering_sqlite::SqliteRestorer;

use super::jpom;
use super::missing::{self, Missing};
use crate::args::{Overwrite, RestoreArgs};
use crate::commands::je::moment::Moment;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Kind, Outcome};
use crate::output::objects;
use crate::patterns::Patterns;
use crate::selector::Selector;
use crate::settings::{apps, snapshot_filter};
use crate::{applications, choice, escape, paths, time};

/// Says of a path, and whether it is a folder, what is done with it.
type Selection = Box<dyn Fn(&Path, bool) -> Choice + Sync>;

/// Everything that the library's options borrow or hold.
pub(super) struct Plan<'a> {
    args: &'a RestoreArgs,
    /// The snapshot.
    pub(super) named: Named,
    /// Where to, absolute.
    pub(super) target: PathBuf,
    roots: Vec<Root>,
    full_paths: bool,
    selection: Selection,
    applications: Vec<Box<dyn Restorer>>,
    moment: Option<Moment>,
    /// Applications that the snapshot should hold.
    pub(super) missing: Vec<Missing>,
}

impl<'a> Plan<'a> {
    pub(super) fn make(context: &Context, opened: &Opened, args: &'a RestoreArgs) -> Result<Self, Failure> {
        let mut filter = snapshot_filter(&args.filter, &context.environment);
        let wanted = std::mem::take(&mut filter.paths);
        let mut all = choice::all(&opened.repository, context.printer)?;
        all.snapshots.retain(|(_, snapshot)| wanted.iter().all(|path| holds(&snapshot.paths, path)));
        let selector = args.positional.as_ref().or(args.snapshot.as_ref());
        let named = snapshot(context, args, selector, &all, &filter)?;
        let goal = args.je.goal(&context.zone)?;
        let sub_paths = sub_paths(selector, wanted)?;
        let choose = |goal| Moment::choose(context, opened, &all, &filter, named, &sub_paths, goal);
        let moment = goal.map(choose).transpose()?;
        let named = named.or(moment.as_ref().map(Moment::base)).cloned();
        let named = named.ok_or_else(|| Failure::usage("no snapshot was named"))?;
        let full_paths = args.full_paths || args.original || sub_paths.len() > 1;
        let roots = roots(opened, &named, &sub_paths, full_paths)?;
        let target = match &args.target {
            Some(target) => paths::absolute(target)?,
            None => PathBuf::from("/"),
        };
        let parts = jpom::parts(&args.jpom, &named)?;
        jpom::refuse_running(args, &named, &target)?;
        let mut restorers = jpom::restorers(context, &args.jpom, parts.as_ref())?;
        let selection = selection(Patterns::of_includes(&args.include)?, Patterns::of_excludes(&args.exclude)?, parts);
        let full_paths = full_paths || roots.len() > 1;
        let je = applications::je_restorer(&args.je, &context.environment, moment.as_ref(), &named, &roots)?;
        restorers.push(je);
        restorers.push(Box::new(SqliteRestorer::new()));
        let applications = applications::restorers(&apps(&args.app)?, &context.environment, restorers)?;
        let missing = missing::find(&all, &named, &roots, &*selection, &applications);
        Ok(Plan { args, named, target, roots, full_paths, selection, applications, moment, missing })
    }

    /// The library's options.
    pub(super) fn options(&self) -> RestoreOptions<'_> {
        RestoreOptions {
            selection: &*self.selection,
            overwrite: overwrite(self.args.overwrite),
            delete: self.args.delete,
            sparse: self.args.sparse,
            verify: self.args.verify,
            privileged: self.args.privileged,
            dry_run: self.args.dry_run,
            applications: &self.applications,
            ..RestoreOptions::new(&self.target, self.roots.clone())
        }
    }

    /// Says at which moment an application is cut.
    pub(super) fn tell_moment(&self, context: &Context) -> Outcome {
        self.moment.as_ref().map_or(Ok(()), |moment| moment.tell(context))
    }

    /// Says which applications the snapshot should hold. What is in their place is not deleted for that.
    pub(super) fn tell_missing(&self, context: &Context) -> Outcome {
        match self.missing.first().filter(|_| self.args.delete) {
            Some(missing) => Err(Failure::new(Kind::Failed, missing.says())
                .safe("Nothing was restored: --delete would remove what is in its place.")
                .next("Restore a snapshot that has it, or without --delete. --app none deletes it all the same.")),
            None => {
                self.missing.iter().for_each(|missing| context.printer.warn(&missing.says()));
                Ok(())
            }
        }
    }

    /// Whether a database of this path in the snapshot is that of a home of Jpom.
    pub(super) fn is_of_jpom(&self, path: &Path) -> bool {
        let mut homes = self.named.1.applications.iter().filter(|app| app.kind == "jpom");
        homes.any(|home| path.starts_with(home.place()))
    }

    /// Whether nothing is written.
    pub(super) fn is_dry_run(&self) -> bool {
        self.args.dry_run
    }

    /// The first line: what goes where.
    pub(super) fn says_where(&self) -> String {
        let verb = if self.args.dry_run { "would restore" } else { "restoring" };
        let (id, target) = (self.named.0.short(), escape::path(&self.target));
        let what: Vec<_> = self.roots.iter().map(|root| escape::path(&root.path)).collect();
        let what = what.join(", ");
        match self.roots.as_slice() {
            _ if self.args.original => format!("{verb} {what} of snapshot {id} to where it came from"),
            [root] if !self.full_paths && root.node.tree().is_some() => {
                format!("{verb} the content of {what} of snapshot {id} into {target}")
            }
            [_] if !self.full_paths => format!("{verb} {what} of snapshot {id} into {target}"),
            _ => format!("{verb} {what} of snapshot {id} into {target}, under its full path"),
        }
    }
}

/// Whether a path is one of a snapshot's, or lies in one of them.
fn holds(stored: &[Vec<u8>], path: &Path) -> bool {
    stored.iter().any(|stored| path.starts_with(Path::new(OsStr::from_bytes(stored))))
}

fn snapshot<'s>(
    context: &Context,
    args: &RestoreArgs,
    selector: Option<&Selector>,
    all: &'s AllSnapshots,
    filter: &Filter,
) -> Result<Option<&'s Named>, Failure> {
    match (selector, &args.at) {
        (Some(selector), _) => choice::one(all, selector, filter).map(Some),
        (None, Some(typed)) => {
            let moment = time::parse(typed, &context.zone);
            let moment = moment.map_err(|error| Failure::usage("--at is wrong").because(&error))?;
            Ok(Some(select::at(all, objects::stored_time(moment), filter)?))
        }
        (None, None) => Ok(None),
    }
}

/// The parts that were asked for; none for the whole snapshot.
fn sub_paths(selector: Option<&Selector>, wanted: Vec<PathBuf>) -> Result<Vec<PathBuf>, Failure> {
    match selector.filter(|selector| selector.sub_path.is_some()) {
        Some(_) if !wanted.is_empty() => {
            Err(Failure::usage("a part of the snapshot is named twice").next("Use `:/sub/path` or --path, not both."))
        }
        Some(selector) => Ok(vec![choice::sub_path(selector)]),
        None => Ok(wanted),
    }
}

fn roots(opened: &Opened, (name, snapshot): &Named, sub_paths: &[PathBuf], full: bool) -> Result<Vec<Root>, Failure> {
    let mut reader = opened.repository.reader()?;
    let mut lay = |path| {
        layout(snapshot, &mut reader, path, full).map_err(|error| match error {
            SnapshotError::NoPath { path, .. } => SnapshotError::NoPath { path, snapshot: name.short() },
            other => other,
        })
    };
    if sub_paths.is_empty() {
        return Ok(lay(None)?);
    }
    let mut roots = Vec::new();
    for path in outermost(sub_paths) {
        roots.extend(lay(Some(path))?);
    }
    Ok(roots)
}

/// Without what lies in another one, and each once.
fn outermost(paths: &[PathBuf]) -> Vec<&Path> {
    let is_inner = |at: usize, path: &Path| {
        let mut others = paths.iter().enumerate().filter(|(other, _)| *other != at);
        others.any(|(other, outer)| path.starts_with(outer) && (path != outer || other < at))
    };
    let kept = paths.iter().enumerate().filter(|(at, path)| !is_inner(*at, path));
    kept.map(|(_, path)| path.as_path()).collect()
}

fn selection(includes: Patterns, excludes: Patterns, parts: Option<Parts>) -> Selection {
    Box::new(move |path, is_folder| {
        let of_parts = parts.as_ref().map_or(Choice::Take, |parts| parts.choose(path, is_folder));
        if of_parts != Choice::Take {
            return of_parts;
        }
        let path = path.as_os_str().as_bytes();
        if excludes.matches(path) {
            return Choice::Skip;
        }
        if includes.is_empty() {
            return Choice::Take;
        }
        let verdict = includes.verdict(path);
        match (verdict.matched, verdict.child_may_match && is_folder) {
            (true, _) => Choice::Take,
            (false, true) => Choice::Descend,
            (false, false) => Choice::Skip,
        }
    })
}

fn overwrite(typed: Overwrite) -> library::Overwrite {
    match typed {
        Overwrite::Always => library::Overwrite::Always,
        Overwrite::IfChanged => library::Overwrite::IfChanged,
        Overwrite::IfNewer => library::Overwrite::IfNewer,
        Overwrite::Never => library::Overwrite::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_restored_twice() {
        let paths: Vec<PathBuf> = ["/a/b", "/a", "/a", "/ab"].iter().map(PathBuf::from).collect();
        assert_eq!(outermost(&paths), [Path::new("/a"), Path::new("/ab")]);
    }
}
