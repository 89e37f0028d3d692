//! Turns what a library tells while it works into counters, lines and errors.
//!
//! Invariant: an event of a file costs a few atomic additions unless every file shall be named.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use treering_snapshot::progress::{Event, Outcome, Progress as Listen};
use treering_snapshot::with_causes;

use super::Printer;
use super::messages::{BackupVerbose, ItemError, Message, RestoreVerbose};
use super::progress::{Progress, Task};
use crate::settings::{Settings, Verbosity};
use crate::{escape, process};

/// Listens to a library.
pub(crate) struct Listener {
    task: Task,
    printer: Printer,
    progress: Progress,
}

impl Listener {
    /// Starts to show progress, if the settings want it.
    pub(crate) fn start(task: Task, settings: &Settings, printer: Printer) -> Listener {
        Listener { task, printer, progress: Progress::start(task, settings) }
    }

    /// Only notices signals.
    pub(crate) fn silent(task: Task, printer: Printer) -> Listener {
        Listener { task, printer, progress: Progress::hidden() }
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        self.progress.finish();
    }

    fn done(&self, path: &Path, is_folder: bool, outcome: Outcome, bytes: u64) {
        let counters = self.progress.counters();
        counters.done_with(path.as_os_str().as_bytes());
        if !is_folder {
            // What was read or written has been counted as it went; a backup does not read what has not changed.
            let is_unread = self.task == Task::Backup && outcome == Outcome::Unmodified;
            counters.done(1, if is_unread { bytes } else { 0 });
        }
        if self.printer.verbosity >= Verbosity::Files {
            self.progress.aside(|| self.name(path, outcome, bytes));
        }
    }

    /// If nobody reads any more, the command notices when it prints its result.
    fn name(&self, path: &Path, outcome: Outcome, bytes: u64) {
        let action = action(self.task, outcome);
        let _ = match self.printer.json {
            true => self.printer.json(&verbose_message(self.task, action, path, bytes)),
            false => self.printer.result(&format!("{action:<9} {}\n", escape::path(path))),
        };
    }

    fn failed(&self, path: &Path, during: &'static str, error: &dyn std::error::Error) {
        self.progress.counters().errors.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let error = ItemError::new(during, path.as_os_str().as_bytes(), with_causes(error));
        self.progress.aside(|| self.printer.error(&error));
    }
}

impl Listen for Listener {
    fn event(&self, event: Event<'_>) {
        let counters = self.progress.counters();
        match event {
            Event::Total { files, bytes } => counters.set_total(files, bytes),
            Event::Started { path } if self.progress.is_shown() => counters.working_on(path.as_os_str().as_bytes()),
            // A check tells of each pack when it is done with it.
            Event::Bytes { bytes } => counters.done(u64::from(self.task == Task::Check), bytes),
            Event::Done { path, is_folder, outcome, bytes } => self.done(path, is_folder, outcome, bytes),
            Event::Failed { path, during, error } => self.failed(path, during, error),
            _ => {}
        }
    }

    fn is_interrupted(&self) -> bool {
        process::is_interrupted()
    }
}

fn action(task: Task, outcome: Outcome) -> &'static str {
    match (task, outcome) {
        (Task::Restore, Outcome::New) => "restored",
        (Task::Restore, Outcome::Changed) => "updated",
        (_, Outcome::New) => "new",
        (_, Outcome::Changed) => "modified",
        (_, Outcome::Unmodified) => "unchanged",
        (_, Outcome::Deleted) => "deleted",
    }
}

fn verbose_message(task: Task, action: &'static str, path: &Path, size: u64) -> Message {
    let path = path.as_os_str().as_bytes();
    let (item, item_raw) = (escape::lossy(path), escape::raw(path));
    match task {
        Task::Restore => Message::RestoreVerbose(RestoreVerbose { action, item, item_raw, size }),
        _ => Message::BackupVerbose(BackupVerbose { action, item, item_raw, data_size: size, ..Default::default() }),
    }
}
