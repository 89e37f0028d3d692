//! `treering stats`.

use treering_snapshot::usage::{Usage, UsageMode, usage};

use super::damaged;
use crate::args::{StatsArgs, StatsMode};
use crate::choice;
use crate::context::{Context, Opened};
use crate::exit::Outcome;
use crate::output::listener::Listener;
use crate::output::messages::{ItemError, Stats};
use crate::output::progress::Task;
use crate::process;
use crate::settings::snapshot_filter;
use crate::size;

/// Says how much there is.
pub(crate) fn run(context: &Context, args: &StatsArgs) -> Outcome {
    context.with_repository(|opened| count(context, opened, args))
}

fn count(context: &Context, opened: &Opened, args: &StatsArgs) -> Outcome {
    process::catch_signals()?;
    let filter = snapshot_filter(&args.filter, &context.environment);
    let all = choice::all(&opened.repository, context.printer)?;
    let chosen = choice::several(&all, &args.snapshots, &filter)?;
    let mode = match args.mode {
        StatsMode::RestoreSize => UsageMode::RestoreSize,
        StatsMode::FilesByContents => UsageMode::FilesByContents,
        StatsMode::RawData => UsageMode::RawData,
    };
    let listener = Listener::silent(Task::Check, context.printer);
    let usage = usage(&opened.repository, chosen, mode, &listener)?;
    match context.printer.json {
        true => context.printer.json(&document(mode, &usage))?,
        false => context.printer.result(&text(mode, &usage))?,
    }
    for finding in &usage.findings {
        context.printer.error(&ItemError::new("stats", b"", finding.detail.clone()));
    }
    damaged(context.printer, "stats", &usage.damaged)
}

fn document(mode: UsageMode, usage: &Usage) -> Stats {
    let is_raw = mode == UsageMode::RawData;
    Stats {
        total_size: usage.total_bytes,
        total_uncompressed_size: if is_raw { usage.raw_bytes } else { 0 },
        compression_ratio: is_raw.then(|| usage.compression_ratio()),
        compression_space_saving: is_raw.then(|| usage.compression_space_saving()),
        total_file_count: usage.files,
        total_blob_count: usage.chunks,
        snapshots_count: usage.snapshots,
    }
}

fn text(mode: UsageMode, usage: &Usage) -> String {
    let row = |what: &str, value: String| format!("{what:>24}  {value}\n");
    let mut text = format!("Stats in {} mode:\n", mode.as_str());
    text += &row("Snapshots processed:", usage.snapshots.to_string());
    if mode == UsageMode::RawData {
        text += &row("Total Chunk Count:", usage.chunks.to_string());
        text += &row("Total Uncompressed Size:", size::show(usage.raw_bytes));
        text += &row("Compression Ratio:", format!("{:.2}x", usage.compression_ratio()));
        text += &row("Space Saving:", format!("{:.2}%", usage.compression_space_saving()));
    } else {
        text += &row("Total File Count:", usage.files.to_string());
    }
    text + &row("Total Size:", size::show(usage.total_bytes))
}
