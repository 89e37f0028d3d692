//! `treering h2`: databases looked at without H2.
//!
//! Invariant: everything that was found is said, and makes the exit code; nothing that is looked at is changed.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use treering_h2::store::{Source, StoreError};
use treering_h2::{Report, verify};
use treering_snapshot::stream::StreamAt;
use treering_snapshot::{NodeKind, SnapshotError};

use crate::args::{H2Args, H2Command, H2Target};
use crate::context::{Context, Opened};
use crate::exit::{Failure, Kind, Outcome};
use crate::output::messages::{H2Finding, H2Map, H2Report, ItemError, Message};
use crate::output::table::{self, Content, Table};
use crate::selector::Selector;
use crate::settings::{Verbosity, snapshot_filter};
use crate::{choice, escape, size, time};

/// Looks at one database or several.
pub(crate) fn run(context: &Context, args: &H2Args) -> Outcome {
    let (target, is_info) = match &args.command {
        H2Command::Verify(target) => (target, false),
        H2Command::Info(target) => (target, true),
    };
    let path = Path::new(&target.target);
    if path.exists() {
        let file = File::open(path).map_err(|error| Failure::io("open", path, &error))?;
        return end(look(context, (None, path), &mut &file, is_info)?, 1);
    }
    context.with_repository(|opened| in_snapshot(context, opened, target, is_info))
}

fn in_snapshot(context: &Context, opened: &Opened, target: &H2Target, is_info: bool) -> Outcome {
    let selector = Selector::parse(&target.target).map_err(|error| {
        let text = target.target.to_string_lossy();
        Failure::usage(format!("{text} is neither a file nor a snapshot")).because(&error)
    })?;
    let filter = snapshot_filter(&target.filter, &context.environment);
    let all = choice::all(&opened.repository, context.printer)?;
    let named = choice::one(&all, &selector, &filter)?;
    let paths: Vec<PathBuf> = match &selector.sub_path {
        Some(_) => vec![choice::sub_path(&selector)],
        None => {
            let captured = named.1.applications.iter().filter(|app| app.kind == "h2");
            captured.map(|app| app.place().to_owned()).collect()
        }
    };
    if paths.is_empty() {
        return Err(Failure::usage("no H2 database was captured in this snapshot")
            .next("Name a file in it: SNAPSHOT:/path/to/file.mv.db"));
    }
    let mut damaged = 0;
    for path in &paths {
        let mut reader = opened.repository.reader()?;
        let node = choice::node(&mut reader, named, path)?;
        let NodeKind::File { content, .. } = node.kind else {
            return Err(SnapshotError::WrongKind { path: path.clone(), needed: "file" }.into());
        };
        let mut source = InSnapshot(StreamAt::new(&mut reader, content));
        damaged += look(context, (Some(named.0.to_string()), path), &mut source, is_info)?;
    }
    end(damaged, paths.len())
}

/// A database in a repository.
struct InSnapshot<'a, 'r>(StreamAt<'a, 'r>);

impl Source for InSnapshot<'_, '_> {
    fn bytes(&mut self) -> std::io::Result<u64> {
        Ok(self.0.bytes())
    }

    fn read_at(&mut self, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
        self.0.read_at(buffer, at).map_err(std::io::Error::other)
    }
}

fn end(damaged: usize, looked_at: usize) -> Outcome {
    if damaged == 0 {
        return Ok(());
    }
    let of = if looked_at == 1 {
        "the database is damaged".to_owned()
    } else {
        format!("{damaged} databases of {looked_at} are damaged")
    };
    Err(Failure::new(Kind::Damaged, of)
        .safe("Nothing was changed.")
        .next("Restore an older snapshot; `treering snapshots` shows how sure each capture was."))
}

/// Looks at one. Says whether it is damaged.
fn look(
    context: &Context,
    (snapshot, path): (Option<String>, &Path),
    source: &mut dyn Source,
    is_info: bool,
) -> Result<usize, Failure> {
    let report = verify(source).map_err(|error| unreadable(path, &error))?;
    let message = message(context, (snapshot, path), &report);
    if context.printer.json {
        context.printer.json(&Message::H2Report(message.clone()))?;
    } else {
        context.printer.result(&if is_info { describe(&message) } else { sentence(&message) })?;
        for H2Finding { place, detail } in &message.findings {
            let place = format!("{}: {place}", path.display());
            context.printer.error(&ItemError::new("h2", place.as_bytes(), detail.clone()));
        }
        if message.more_findings > 0 {
            context
                .printer
                .note(Verbosity::Quiet, &format!("… and {}", table::count(message.more_findings, "more finding")))?;
        }
    }
    Ok(usize::from(!report.is_whole()))
}

fn unreadable(path: &Path, error: &StoreError) -> Failure {
    let kind = match error {
        StoreError::Encrypted | StoreError::Format { .. } => Kind::Unsupported,
        StoreError::Io(_) => Kind::Failed,
        _ => Kind::Damaged,
    };
    Failure::new(kind, format!("{} cannot be read as an H2 database", path.display()))
        .because(error)
        .safe("Nothing was changed.")
}

fn message(context: &Context, (snapshot_id, path): (Option<String>, &Path), report: &Report) -> H2Report {
    let (newest, version) = (&report.newest, &report.newest.version);
    let moment = |ms: u64| {
        let moment = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        moment.map_or_else(|| "unknown".to_owned(), |moment| time::rfc3339(moment, &context.zone))
    };
    let maps = report.maps.iter();
    let findings = report.findings.iter();
    H2Report {
        path: escape::lossy(path.as_os_str().as_bytes()),
        path_raw: escape::raw(path.as_os_str().as_bytes()),
        snapshot_id,
        format: newest.header.format.number(),
        releases: newest.header.format.releases(),
        is_clean: newest.header.is_clean,
        version: version.last.version,
        claimed_version: newest.claimed,
        time: moment(report.time_ms()),
        created: moment(newest.header.created_ms),
        is_quiet: version.is_quiet(),
        file_bytes: report.file_bytes,
        listed_bytes: report.listed_bytes,
        live_bytes: report.live_bytes,
        chunks: version.chunks.len() as u64,
        maps: maps
            .map(|map| H2Map { id: map.id, name: map.name.clone(), entries: map.entries, pages: map.pages })
            .collect(),
        findings: findings.map(|f| H2Finding { place: f.place.clone(), detail: f.detail.clone() }).collect(),
        more_findings: report.more_findings,
    }
}

/// `h2 verify`.
fn sentence(report: &H2Report) -> String {
    let (maps, pages) = (report.maps.len() as u64, report.maps.iter().map(|map| map.pages).sum());
    let how = if report.findings.is_empty() { "is whole" } else { "is damaged" };
    format!(
        "{} {how}: version {} of {}, {} in {}, {}\n",
        escape::text(&report.path),
        report.version,
        report.time,
        table::count(pages, "page"),
        table::count(maps, "map"),
        size::show(report.file_bytes),
    )
}

/// `h2 info`.
fn describe(report: &H2Report) -> String {
    let closed = if report.is_clean { "closed" } else { "not closed" };
    let quiet = if report.is_quiet { "none" } else { "some; they are rolled back when it is opened" };
    let dead = report.listed_bytes.saturating_sub(report.live_bytes);
    let mut text = format!("{}\n", escape::text(&report.path));
    for (name, value) in [
        ("format", format!("{} ({}), {closed}", report.format, report.releases)),
        ("created", report.created.clone()),
        ("version", format!("{} of {}", report.version, report.time)),
        ("open transactions", quiet.to_owned()),
        ("file", size::show(report.file_bytes)),
        ("used by maps", size::show(report.live_bytes)),
        ("dead in chunks", size::show(dead)),
    ] {
        text += &format!("  {name:<18} {value}\n");
    }
    let mut table = Table::new(&["Map", "Name", "Entries", "Pages"]);
    for map in &report.maps {
        let name = map.name.as_deref().unwrap_or_default();
        let numbers = (map.id.to_string(), map.entries.to_string(), map.pages.to_string());
        table.add([
            Content::Number(numbers.0),
            Content::Text(name),
            Content::Number(numbers.1),
            Content::Number(numbers.2),
        ]);
    }
    text + &table.render()
}
