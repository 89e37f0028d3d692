//! How far a long command is.
//!
//! Owns: the counters that worker threads add to, the thread that shows them, and its rhythm.
//! Never: slows the work down: counting is an atomic addition, showing happens on its own thread.
//! Invariant: nothing is shown after [`Progress::finish`] or drop. A bar goes to standard error if that is a
//! terminal; lines go there instead if it is not and TREERING_PROGRESS_FPS is set; JSON goes to standard output in whole lines.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::messages::{BackupStatus, CheckStatus, Message, Pace, RestoreCounts, RestoreStatus};
use super::{Printer, eprint_raw, json};
use crate::settings::Settings;
use crate::{escape, size, time};

/// As many files as restic names.
const MAX_CURRENT_FILES: usize = 8;
/// How often indicatif may redraw; the thread below keeps the rhythm.
const MAX_DRAWS_PER_SECOND: u8 = 60;

/// Which message a status becomes in JSON, and what its items are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Items are files.
    Backup,
    /// Items are files.
    Restore,
    /// Items are packs.
    Check,
    /// Items are packs.
    Prune,
}

impl Task {
    fn items(self) -> &'static str {
        match self {
            Task::Backup | Task::Restore => "files",
            Task::Check | Task::Prune => "packs",
        }
    }
}

/// What workers add to. All numbers only grow, but for the totals, which are estimates at first.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Items that are done.
    pub(crate) items_done: AtomicU64,
    /// Items in all, as far as it is known; 0 if it is not.
    pub(crate) items_total: AtomicU64,
    /// Bytes that are done.
    pub(crate) bytes_done: AtomicU64,
    /// Bytes in all, as far as it is known; 0 if it is not.
    pub(crate) bytes_total: AtomicU64,
    /// Items that were left as they are.
    pub(crate) items_skipped: AtomicU64,
    /// Items that failed.
    pub(crate) errors: AtomicU64,
    /// What is being worked on, oldest first.
    current: Mutex<VecDeque<Vec<u8>>>,
}

/// The counters at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
struct Reading {
    elapsed: Duration,
    items_done: u64,
    items_total: u64,
    bytes_done: u64,
    bytes_total: u64,
    items_skipped: u64,
    errors: u64,
    current: Vec<String>,
}

impl Counters {
    /// Adds finished items and bytes.
    pub(crate) fn done(&self, items: u64, bytes: u64) {
        self.items_done.fetch_add(items, Ordering::Relaxed);
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Sets how much there is, as far as it is known.
    pub(crate) fn set_total(&self, items: u64, bytes: u64) {
        self.items_total.store(items, Ordering::Relaxed);
        self.bytes_total.store(bytes, Ordering::Relaxed);
    }

    /// Names something that is being worked on now. Only for what takes long; it takes a lock.
    pub(crate) fn working_on(&self, path: &[u8]) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.len() == MAX_CURRENT_FILES {
            current.pop_front();
        }
        current.push_back(path.to_vec());
    }

    /// Takes the name back.
    pub(crate) fn done_with(&self, path: &[u8]) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).retain(|named| named != path);
    }

    fn read(&self, elapsed: Duration) -> Reading {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        Reading {
            elapsed,
            items_done: load(&self.items_done),
            items_total: load(&self.items_total),
            bytes_done: load(&self.bytes_done),
            bytes_total: load(&self.bytes_total),
            items_skipped: load(&self.items_skipped),
            errors: load(&self.errors),
            current: current.iter().map(|path| escape::lossy(path)).collect(),
        }
    }
}

impl Reading {
    /// From 0 to 1, by bytes if they are known, otherwise by items.
    fn fraction(&self) -> f64 {
        match (self.bytes_total, self.items_total) {
            (0, 0) => 0.0,
            (0, items) => (self.items_done as f64 / items as f64).min(1.0),
            (bytes, _) => (self.bytes_done as f64 / bytes as f64).min(1.0),
        }
    }

    fn seconds_remaining(&self) -> u64 {
        match self.fraction() {
            fraction if fraction > 0.0 => (self.elapsed.as_secs_f64() * (1.0 / fraction - 1.0)) as u64,
            _ => 0,
        }
    }

    /// For a log.
    fn line(&self, task: Task) -> String {
        format!(
            "[{}] {:.2}%  {} of {} {}, {} of {}, ETA {}\n",
            time::show_duration(self.elapsed),
            100.0 * self.fraction(),
            self.items_done,
            self.items_total.max(self.items_done),
            task.items(),
            size::show(self.bytes_done),
            size::show(self.bytes_total.max(self.bytes_done)),
            time::show_duration(Duration::from_secs(self.seconds_remaining())),
        )
    }

    fn message(self, task: Task) -> Message {
        match task {
            Task::Backup => Message::BackupStatus(self.backup_status()),
            Task::Restore => Message::RestoreStatus(self.restore_status()),
            Task::Check | Task::Prune => Message::CheckStatus(self.check_status()),
        }
    }

    fn pace(&self) -> Pace {
        Pace {
            seconds_elapsed: self.elapsed.as_secs(),
            seconds_remaining: self.seconds_remaining(),
            percent_done: self.fraction(),
        }
    }

    fn backup_status(self) -> BackupStatus {
        BackupStatus {
            pace: self.pace(),
            total_files: self.items_total,
            files_done: self.items_done,
            total_bytes: self.bytes_total,
            bytes_done: self.bytes_done,
            error_count: self.errors,
            current_files: self.current,
        }
    }

    fn restore_status(self) -> RestoreStatus {
        let counts = RestoreCounts {
            total_files: self.items_total,
            files_restored: self.items_done,
            files_skipped: self.items_skipped,
            total_bytes: self.bytes_total,
            bytes_restored: self.bytes_done,
            ..RestoreCounts::default()
        };
        RestoreStatus { pace: self.pace(), counts }
    }

    fn check_status(self) -> CheckStatus {
        CheckStatus {
            pace: self.pace(),
            total_packs: self.items_total,
            packs_done: self.items_done,
            total_bytes: self.bytes_total,
            bytes_done: self.bytes_done,
            error_count: self.errors,
        }
    }
}

/// Shows the counters until it is finished or dropped.
pub(crate) struct Progress {
    counters: Arc<Counters>,
    bar: Option<ProgressBar>,
    stop: Arc<AtomicBool>,
    shower: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts to show, if the settings want it.
    pub(crate) fn start(task: Task, settings: &Settings) -> Progress {
        let (counters, stop) = (Arc::new(Counters::default()), Arc::new(AtomicBool::new(false)));
        let view = settings.progress_interval.map(|interval| (interval, View::new(task, settings)));
        let bar = view.as_ref().and_then(|(_, view)| view.bar().cloned());
        let shower = view.and_then(|(interval, view)| {
            let (counters, stop) = (Arc::clone(&counters), Arc::clone(&stop));
            let show = move || show_until(&stop, interval, |elapsed| view.show(&counters.read(elapsed)));
            // Without a thread there is no progress to see, and the work goes on.
            std::thread::Builder::new().name("progress".to_owned()).spawn(show).ok()
        });
        Progress { counters, bar, stop, shower }
    }

    /// Counts and shows nothing.
    pub(crate) fn hidden() -> Progress {
        Progress { counters: Arc::default(), bar: None, stop: Arc::default(), shower: None }
    }

    /// Whether anybody sees how far it is.
    pub(crate) fn is_shown(&self) -> bool {
        self.shower.is_some()
    }

    /// Prints something while the bar is out of the way.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// What workers add to.
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Takes the bar away. The summary comes next.
    pub(crate) fn finish(self) {
        drop(self);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(shower) = self.shower.take() {
            shower.thread().unpark();
            // A panic in there has been reported by its thread; the command's own result counts.
            let _ = shower.join();
        }
    }
}

fn show_until(stop: &AtomicBool, interval: Duration, mut show: impl FnMut(Duration)) {
    let start = Instant::now();
    let mut next = start + interval;
    while !stop.load(Ordering::Acquire) {
        let now = Instant::now();
        if now < next {
            std::thread::park_timeout(next - now);
            continue;
        }
        show(start.elapsed());
        next = now + interval;
    }
}

/// Where the counters are shown.
enum View {
    Json(Task, Printer),
    Bar(ProgressBar),
    /// For a log: TREERING_PROGRESS_FPS asks for it where there is no terminal.
    Lines(Task),
}

impl View {
    fn new(task: Task, settings: &Settings) -> View {
        match settings.json {
            true => View::Json(task, Printer { json: true, verbosity: settings.verbosity }),
            false if std::io::stderr().is_terminal() => View::Bar(bar(task)),
            false => View::Lines(task),
        }
    }

    fn bar(&self) -> Option<&ProgressBar> {
        match self {
            View::Bar(bar) => Some(bar),
            View::Json(..) | View::Lines(_) => None,
        }
    }

    fn show(&self, reading: &Reading) {
        match self {
            // If nobody reads any more, the command notices when it prints its result.
            View::Json(task, printer) => {
                let _ = printer.result(&json::line(&reading.clone().message(*task)));
            }
            View::Bar(bar) => show_bar(bar, reading),
            View::Lines(task) => eprint_raw(&reading.line(*task)),
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let View::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn bar(task: Task) -> ProgressBar {
    let items = task.items();
    let template = format!(
        "[{{elapsed_precise}}] {{percent:>3}}%  {{bytes}} of {{total_bytes}}  {{prefix}} {items}  {{bytes_per_sec}}  \
         ETA {{eta}}  {{wide_msg}}"
    );
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let target = ProgressDrawTarget::stderr_with_hz(MAX_DRAWS_PER_SECOND);
    ProgressBar::with_draw_target(Some(0), target).with_style(style)
}

fn show_bar(bar: &ProgressBar, reading: &Reading) {
    bar.set_length(reading.bytes_total.max(reading.bytes_done));
    bar.set_prefix(format!("{} of {}", reading.items_done, reading.items_total.max(reading.items_done)));
    bar.set_message(reading.current.last().map(|path| escape::text(path).into_owned()).unwrap_or_default());
    bar.set_position(reading.bytes_done);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_become_a_status() {
        let counters = Counters::default();
        counters.set_total(4, 1000);
        counters.done(1, 250);
        counters.working_on(b"/a");
        counters.working_on(b"/b");
        counters.done_with(b"/a");
        let status = counters.read(Duration::from_secs(10)).backup_status();
        assert_eq!((status.pace.percent_done, status.pace.seconds_remaining), (0.25, 30));
        assert_eq!((status.total_files, status.files_done, status.total_bytes, status.bytes_done), (4, 1, 1000, 250));
        assert_eq!(status.current_files, ["/b"]);
        let line = counters.read(Duration::from_secs(10)).line(Task::Backup);
        assert_eq!(line, "[0:10] 25.00%  1 of 4 files, 250 B of 1000 B, ETA 0:30\n");
    }

    #[test]
    fn fractions_without_bytes_or_totals() {
        let reading = |items_done, items_total, bytes_done, bytes_total| Reading {
            items_done,
            items_total,
            bytes_done,
            bytes_total,
            ..Reading::default()
        };
        assert_eq!(reading(5, 0, 9, 0).fraction(), 0.0);
        assert_eq!(reading(5, 10, 9, 0).fraction(), 0.5);
        assert_eq!(reading(5, 10, 90, 30).fraction(), 1.0);
        assert_eq!(reading(0, 0, 0, 0).seconds_remaining(), 0);
    }

    #[test]
    fn the_list_of_current_files_is_bounded() {
        let counters = Counters::default();
        (0..100_u8).for_each(|n| counters.working_on(&[b'a', n]));
        assert_eq!(counters.read(Duration::ZERO).current.len(), MAX_CURRENT_FILES);
    }

    #[test]
    fn showing_stops_at_once() {
        let stop = AtomicBool::new(false);
        let mut shown = 0;
        show_until(&stop, Duration::from_millis(1), |_| {
            shown += 1;
            stop.store(shown == 3, Ordering::Release);
        });
        assert_eq!(shown, 3);
    }
}
