//! `treering repair`.
//!
//! Invariant: what is lost is named, and makes the exit code; a dry run says the same as the repair.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use treering_snapshot::repair::{
    Hopeless, Losses, PackRepairOptions, PacksRepaired, Returned, ReturnedAs, Rewritten, SnapshotRepairOptions,
    SnapshotsRepaired, repair_packs, repair_snapshots,
};
use treering_store::storage::Area;
use treering_store::{CopyFinding, CopyRepair, RecordName};

use crate::args::{RepairArgs, RepairCommand, RepairPacksArgs, RepairSnapshotsArgs};
use crate::context::{Context, Opened};
use crate::exit::{Failure, Kind, Outcome};
use crate::output::listener::Listener;
use crate::output::messages::{
    Message, RepairConfigSummary, RepairIndexSummary, RepairPacksSummary, RepairSnapshotsSummary, RepairedCopy,
    RepairedPack, ReturnedSnapshot, RewrittenSnapshot,
};
use crate::output::progress::Task;
use crate::output::{objects, table};
use crate::settings::Verbosity;
use crate::{choice, escape, process, size, time};

/// How many paths are named for each snapshot, in text.
const PATHS_SHOWN: usize = 100;

/// Does what was asked for.
pub(crate) fn run(context: &Context, args: &RepairArgs) -> Outcome {
    process::catch_signals()?;
    context.with_repository(|opened| match &args.command {
        RepairCommand::Index(args) => index(context, opened, args.dry_run),
        RepairCommand::Packs(args) => packs(context, opened, args),
        RepairCommand::Snapshots(args) => snapshots(context, opened, args),
        RepairCommand::Config(args) => config(context, opened, args.dry_run),
    })
}

fn note(context: &Context, line: &str) -> Outcome {
    context.printer.note(Verbosity::Normal, line)
}

fn nothing_changed(context: &Context, dry_run: bool) -> Outcome {
    if dry_run { note(context, "nothing was changed (--dry-run)") } else { Ok(()) }
}

fn index(context: &Context, opened: &Opened, dry_run: bool) -> Outcome {
    let repository = &opened.repository;
    let made = if dry_run { repository.preview_index()? } else { repository.repair_index()? };
    if context.printer.json {
        let damaged_packs = made.damaged.iter().map(ToString::to_string).collect();
        let (packs, chunks) = (made.packs, made.chunks);
        let summary = RepairIndexSummary { packs, chunks, damaged_packs, dry_run };
        return context.printer.json(&Message::RepairIndexSummary(summary));
    }
    for name in &made.damaged {
        note(context, &format!("pack {name}: its trailer is damaged; what can be read of it is found one by one"))?;
    }
    let verb = if dry_run { "would be made" } else { "was made" };
    let packs = table::count(made.packs, "pack");
    note(context, &format!("the index {verb} anew from {packs} with {}", table::count(made.chunks, "chunk")))?;
    nothing_changed(context, dry_run)
}

fn packs(context: &Context, opened: &Opened, args: &RepairPacksArgs) -> Outcome {
    let dry_run = args.dry_run.dry_run;
    let options = PackRepairOptions {
        packs: args.packs.iter().map(|id| choice::pack(&opened.repository, id)).collect::<Result<_, _>>()?,
        read_data: args.read_data,
        compression: context.settings.compression.for_store(),
        dry_run,
    };
    let listener = Listener::start(Task::Check, &context.settings, context.printer);
    let repaired = repair_packs(&opened.repository, &options, &listener);
    listener.finish();
    let repaired = repaired?;
    match context.printer.json {
        true => tell_packs_json(context, &repaired, dry_run)?,
        false => tell_packs(context, &repaired, dry_run, options.read_data)?,
    }
    match repaired.lost.len() as u64 + repaired.unreadable {
        0 => Ok(()),
        lost => Err(Failure::new(Kind::Incomplete, format!("{} that snapshots need cannot be read", chunks(lost)))
            .safe("Everything else is whole, and what is damaged is kept in `replaced`.")
            .next(
                "Back up again what is still there: what was lost of it is stored anew. Then run \
                 `treering repair snapshots`.",
            )),
    }
}

fn chunks(number: u64) -> String {
    table::count(number, "chunk")
}

fn tell_packs_json(context: &Context, repaired: &PacksRepaired, dry_run: bool) -> Outcome {
    for pack in &repaired.packs {
        context.printer.json(&Message::RepairedPack(RepairedPack {
            id: pack.name.to_string(),
            chunks_kept: pack.salvage.chunks,
            bytes_kept: pack.salvage.bytes,
            chunks_unreadable: pack.salvage.has_trailer.then_some(pack.salvage.lost_chunks),
        }))?;
    }
    context.printer.json(&Message::RepairPacksSummary(RepairPacksSummary {
        packs: repaired.packs.len() as u64,
        copies_restored: repaired.copies,
        lost_chunks: repaired.lost.len() as u64,
        unreadable_chunks: repaired.unreadable,
        dry_run,
    }))
}

fn tell_packs(context: &Context, repaired: &PacksRepaired, dry_run: bool, read_data: bool) -> Outcome {
    let verb = if dry_run { "would be" } else { "were" };
    for pack in &repaired.packs {
        let (kept, bytes) = (chunks(pack.salvage.chunks), size::show(pack.salvage.bytes));
        let lost = match pack.salvage.has_trailer {
            true => format!("{} cannot be read", pack.salvage.lost_chunks),
            false => "its trailer is lost, so nobody knows what else was in it".to_owned(),
        };
        note(context, &format!("pack {}: {kept} ({bytes}) {verb} stored again; {lost}", pack.name))?;
    }
    if repaired.copies > 0 {
        note(context, &format!("second copies of snapshot records that {verb} stored again: {}", repaired.copies))?;
    }
    match repaired.packs.len() as u64 {
        0 if read_data => note(context, "no pack is damaged")?,
        0 => {
            note(context, "no pack is damaged as far as sizes, trailers and trees tell; --read-data looks at all data")?
        }
        packs => note(context, &format!("packs that {verb} moved aside, to `replaced`: {packs}"))?,
    }
    nothing_changed(context, dry_run)
}

fn snapshots(context: &Context, opened: &Opened, args: &RepairSnapshotsArgs) -> Outcome {
    let dry_run = args.dry_run.dry_run;
    let options = SnapshotRepairOptions {
        only: args.snapshots.iter().map(|id| id.as_str().to_owned()).collect(),
        compression: context.settings.compression.for_store(),
        dry_run,
    };
    let listener = Listener::start(Task::Check, &context.settings, context.printer);
    let repaired = repair_snapshots(&opened.repository, &options, &listener);
    listener.finish();
    let repaired = repaired?;
    repaired.returned.iter().try_for_each(|lost| tell_returned(context, lost, dry_run))?;
    repaired.rewritten.iter().try_for_each(|rewritten| tell_rewritten(context, rewritten))?;
    repaired.hopeless.iter().for_each(|hopeless| tell_hopeless(context, hopeless, dry_run));
    repaired.aside.iter().try_for_each(|aside| tell_aside(context, aside, dry_run))?;
    let not_returned = repaired.returned.iter().filter(|lost| lost.outcome != ReturnedAs::Back).count();
    let hopeless = repaired.hopeless.iter().filter(|hopeless| !hopeless.given_up).count();
    let not_repaired = (not_returned + hopeless) as u64;
    tell_snapshots(context, &repaired, not_repaired, dry_run)?;
    match not_repaired {
        0 => Ok(()),
        lost => {
            Err(Failure::new(Kind::Incomplete, format!("{} cannot be brought back", table::count(lost, "snapshot")))
                .safe("All other snapshots are whole.")
                .next(
                    "Bring their files, and the packs that they need, back from another copy of the repository. What \
                     counts as forgotten comes back with `treering undelete`. A damaged record without a second copy is \
                     moved aside if it is named: `treering repair snapshots ID`.",
                ))
        }
    }
}

fn tell_snapshots(context: &Context, repaired: &SnapshotsRepaired, not_repaired: u64, dry_run: bool) -> Outcome {
    let returned = repaired.returned.iter().filter(|lost| lost.outcome == ReturnedAs::Back).count() as u64;
    let (rewritten, copies_restored) = (repaired.rewritten.len() as u64, repaired.copies);
    let moved_aside = (repaired.aside.len() + repaired.hopeless.iter().filter(|lost| lost.given_up).count()) as u64;
    if context.printer.json {
        let summary =
            RepairSnapshotsSummary { returned, rewritten, copies_restored, moved_aside, not_repaired, dry_run };
        return context.printer.json(&Message::RepairSnapshotsSummary(summary));
    }
    if copies_restored > 0 {
        let verb = if dry_run { "would be" } else { "were" };
        note(context, &format!("second copies of snapshot records that {verb} stored again: {copies_restored}"))?;
    }
    if returned + rewritten + copies_restored + moved_aside + not_repaired == 0 {
        note(context, "no snapshot has damage")?;
    }
    nothing_changed(context, dry_run)
}

fn tell_hopeless(context: &Context, hopeless: &Hopeless, dry_run: bool) {
    let Hopeless { name, detail, given_up } = hopeless;
    let became = match (given_up, dry_run) {
        (false, _) => "",
        (true, true) => "; its file would be moved aside, to `replaced`",
        (true, false) => "; its file was moved aside, to `replaced`",
    };
    let what = format!("snapshot {name} cannot be brought back, it has no second copy: {detail}{became}");
    context.printer.warn(&what);
}

fn tell_aside(context: &Context, (area, name, detail): &(Area, RecordName, String), dry_run: bool) -> Outcome {
    if context.printer.json {
        return Ok(());
    }
    let verb = if dry_run { "would be" } else { "was" };
    note(context, &format!("{area} {name} {verb} moved aside, to `replaced`: {detail}"))
}

fn tell_returned(context: &Context, lost: &Returned, dry_run: bool) -> Outcome {
    let (snapshot, name) = (&lost.snapshot, lost.name);
    if context.printer.json {
        let action = match lost.outcome {
            ReturnedAs::Back => "returned",
            ReturnedAs::Incomplete(_) => "incomplete",
            ReturnedAs::PerhapsForgotten => "perhaps_forgotten",
        };
        return context.printer.json(&Message::ReturnedSnapshot(ReturnedSnapshot {
            snapshot_id: name.to_string(),
            time: time::rfc3339(objects::timestamp(snapshot.time), &context.zone),
            hostname: snapshot.host.clone(),
            action,
            was_committed: lost.was_committed,
        }));
    }
    let time = time::show(objects::timestamp(snapshot.time), &context.zone);
    let what = format!("lost snapshot {} of {}, {time}", name.short(), escape::text(&snapshot.host));
    let became = match &lost.outcome {
        ReturnedAs::Back if dry_run => "would be brought back from its second copy".to_owned(),
        ReturnedAs::Back => "was brought back from its second copy".to_owned(),
        ReturnedAs::Incomplete(losses) => {
            format!(
                "is not whole and stays lost: {} of it are missing",
                table::count(losses.lost_paths() as u64, "path")
            )
        }
        ReturnedAs::PerhapsForgotten => format!(
            "may have been forgotten on purpose, records about that are damaged; it counts as forgotten {}, and `treering \
             undelete {}` brings it back until the next prune",
            if dry_run { "then" } else { "now" },
            name.short()
        ),
    };
    let doubt = match lost.was_committed {
        true => "",
        false => "; no record of it is left, so it may be of a backup that never finished",
    };
    note(context, &format!("{what}: {became}{doubt}"))
}

fn tell_rewritten(context: &Context, rewritten: &Rewritten) -> Outcome {
    let Rewritten { original, name, losses, .. } = rewritten;
    if context.printer.json {
        let lossy = |paths: &BTreeSet<PathBuf>| bytes(paths).map(escape::lossy).collect();
        return context.printer.json(&Message::RewrittenSnapshot(RewrittenSnapshot {
            original: original.to_string(),
            snapshot_id: name.map(|name| name.to_string()),
            lost_files: lossy(&losses.files),
            lost_files_raw: escape::raw_list(bytes(&losses.files)),
            torn_folders: lossy(&losses.folders),
            torn_folders_raw: escape::raw_list(bytes(&losses.folders)),
        }));
    }
    let lost = match losses.lost_paths() as u64 {
        0 => "nothing of its files is lost".to_owned(),
        lost => format!("{} affected", table::count(lost, "path")),
    };
    match name {
        Some(name) => {
            let again = format!("snapshot {} was written again as {}", original.short(), name.short());
            note(context, &format!("{again}, {lost}; the original is forgotten and can be brought back"))?;
        }
        None => note(context, &format!("snapshot {} would be written again, {lost}", original.short()))?,
    }
    tell_losses(context, losses)
}

fn bytes(paths: &BTreeSet<PathBuf>) -> impl Iterator<Item = &[u8]> + Clone {
    paths.iter().map(|path| path.as_os_str().as_bytes())
}

fn tell_losses(context: &Context, losses: &Losses) -> Outcome {
    let files = losses.files.iter().map(|path| format!("  left out: {}", escape::path(path)));
    let folders = losses.folders.iter().map(|path| format!("  entries are lost of: {}", escape::path(path)));
    files.chain(folders).take(PATHS_SHOWN).try_for_each(|line| note(context, &line))?;
    match losses.lost_paths().saturating_sub(PATHS_SHOWN) {
        0 => Ok(()),
        more => note(context, &format!("  and {more} more; --json names all")),
    }
}

fn config(context: &Context, opened: &Opened, dry_run: bool) -> Outcome {
    let lock_was_missing = opened.repository.repair_lock(dry_run)?;
    if lock_was_missing {
        tell_lock(context, dry_run)?;
    }
    let folders = opened.repository.repair_folders(dry_run)?;
    folders.iter().try_for_each(|folder| tell_folder(context, folder, dry_run))?;
    let found = opened.repository.repair_config(dry_run)?;
    found.iter().try_for_each(|finding| tell_copy(context, finding, dry_run))?;
    let is_left = |finding: &&CopyFinding| matches!(finding.repair, CopyRepair::Lost | CopyRepair::Differs);
    let not_repaired = found.iter().filter(is_left).count() as u64;
    let repaired = (found.len() + folders.len()) as u64 - not_repaired + u64::from(lock_was_missing);
    if context.printer.json {
        let summary = RepairConfigSummary { repaired, not_repaired, dry_run };
        context.printer.json(&Message::RepairConfigSummary(summary))?;
    } else if repaired + not_repaired == 0 {
        note(context, "both copies of the configuration and of every key are whole")?;
    }
    nothing_changed(context, dry_run)?;
    match not_repaired {
        0 => Ok(()),
        left => Err(Failure::new(Kind::Incomplete, format!("{} cannot be mended", table::count(left, "file")))
            .safe("The repository opens with what opened it now.")
            .next("Remove a key that is lost with `treering key remove`, and add a new one with `treering key add`.")),
    }
}

fn tell_lock(context: &Context, dry_run: bool) -> Outcome {
    let (path, action) = ("lock".to_owned(), "restored");
    match (context.printer.json, dry_run) {
        (true, _) => context.printer.json(&Message::RepairedCopy(RepairedCopy { path, action })),
        (false, true) => note(context, "lock would be made again"),
        (false, false) => note(context, "lock was missing and is there again"),
    }
}

fn tell_folder(context: &Context, folder: &str, dry_run: bool) -> Outcome {
    match (context.printer.json, dry_run) {
        (true, _) => {
            context.printer.json(&Message::RepairedCopy(RepairedCopy { path: folder.to_owned(), action: "restored" }))
        }
        (false, true) => note(context, &format!("the folder {folder} would be made again, empty")),
        (false, false) => note(context, &format!("the folder {folder} was missing and is there again, empty")),
    }
}

fn tell_copy(context: &Context, finding: &CopyFinding, dry_run: bool) -> Outcome {
    let path = match finding.area {
        Area::Config => "config".to_owned(),
        Area::ConfigCopy => "copy/config".to_owned(),
        Area::KeysCopy => format!("copy/keys/{}", finding.name),
        _ => format!("keys/{}", finding.name),
    };
    let (action, became) = match finding.repair {
        CopyRepair::Restored => ("restored", "was missing and is there again"),
        CopyRepair::Replaced => ("replaced", "was damaged, is whole again; the damaged file is in `replaced`"),
        CopyRepair::Lost => ("lost", "is damaged or missing, and there is no sound copy of it"),
        CopyRepair::Misplaced => ("misplaced", "is another key's slot under a wrong name; it was moved aside"),
        CopyRepair::Differs => ("differs", "is sound, but another one than is in use; it is left alone"),
    };
    if context.printer.json {
        return context.printer.json(&Message::RepairedCopy(RepairedCopy { path, action }));
    }
    match (dry_run, finding.repair) {
        (true, CopyRepair::Misplaced) => {
            note(context, &format!("{path} would be moved aside: it is another key's slot"))
        }
        (true, CopyRepair::Restored | CopyRepair::Replaced) => note(context, &format!("{path} would be made whole")),
        _ => note(context, &format!("{path} {became}")),
    }
}
