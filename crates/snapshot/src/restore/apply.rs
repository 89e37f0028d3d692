//! Applying windows: folders made, every frame read and decoded once, its bytes put where they belong.
//!
//! Owns the workers. Never decides what is to be done with an entry; that is in the plan.
//!
//! Invariant: between windows no worker runs, so what a job still waits for can be counted anew.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, bounded};
use parking_lot::Mutex;
use rustix::fs::{AtFlags, CWD, FileType, SeekFrom, chmodat, copy_file_range, fstat, mkdirat, seek, unlinkat};
use rustix::io::Errno;
use treering_chunk::ChunkKind;
use treering_store::{ChunkReader, LoadedFrame};

use super::beneath::{Dirs, kind_of, look};
use super::job::{Action, Job, OpenFiles};
use super::meta::Meta;
use super::plan::{Afterwards, Mode, Planner, RestorePlan};
use super::resolve::{Fetch, Resolved, resolve};
use super::{Work, add, is_fatal, remove};
use crate::error::{Result, SnapshotError};
use crate::progress::Event;

/// More workers than this wait for the file system, and each holds frames.
const WORKERS_MOST: usize = 8;
/// Files without bytes that a worker takes at once.
const BATCH_FILES: usize = 64;
/// Ranges of an old file that are remembered from window to window, at 16 bytes; more count as one with what is between.
const CARRIED_RANGES_MOST: usize = if cfg!(test) { 500 } else { 256 << 10 };
/// Bytes that are copied at once where the kernel cannot.
const COPY_BYTES: usize = 256 << 10;

/// Plans and applies everything but what comes afterwards.
pub(super) fn run(work: &Work<'_>, mode: Mode) -> Result<Afterwards> {
    let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, WORKERS_MOST);
    let readers = (0..workers).map(|_| work.repository.reader()).collect::<Result<Vec<_>, _>>()?;
    // One window is planned while another one is applied; none waits in between.
    let (to_applier, plans) = bounded(0);
    let planner = Planner::new(work, mode, to_applier)?;
    std::thread::scope(|scope| {
        let planning = scope.spawn(move || planner.run());
        let dirs = Dirs::new(&work.beneath, &work.folders);
        let mut applier = Applier {
            work,
            mode,
            readers,
            dirs,
            open: OpenFiles::default(),
            carried: None,
            after: Afterwards::default(),
        };
        let applied = applier.run(&plans);
        drop(plans);
        let planned = planning.join().unwrap_or(Err(SnapshotError::WorkerLost));
        let result = applied.and(planned);
        if let (Err(_), Some((job, _))) = (&result, &applier.carried) {
            job.discard(&mut applier.dirs);
        }
        result.map(|()| applier.after)
    })
}

struct Applier<'w, 'a> {
    work: &'w Work<'a>,
    mode: Mode,
    readers: Vec<ChunkReader<'w>>,
    dirs: Dirs<'w>,
    open: OpenFiles,
    /// The job that goes on in the next window, and what of it is taken from the old file if it turns out to differ.
    carried: Option<(Arc<Job>, Vec<Range<u64>>)>,
    after: Afterwards,
}

/// What one worker does at a time.
enum Task {
    /// Files that wait for nothing, by number.
    Bare(Vec<u32>),
    /// Ranges that are taken from the old file.
    Copy(u32, Vec<Range<u64>>),
    /// What lies in one frame.
    Frame(Range<usize>),
}

/// A window, sorted for the workers.
struct Tasks {
    tasks: Vec<Task>,
    fetches: Vec<Fetch>,
    /// By job: how many pieces are the whole file; 0 if it does not come in pieces of this window alone.
    whole: Vec<u64>,
}

impl Applier<'_, '_> {
    fn run(&mut self, plans: &Receiver<RestorePlan>) -> Result<()> {
        while let Ok(mut plan) = plans.recv() {
            let applied = self.apply(&plan);
            if applied.is_err() {
                plan.jobs.iter().for_each(|job| job.discard(&mut self.dirs));
            }
            applied?;
            self.after.take(&mut plan.after);
        }
        Ok(())
    }

    fn apply(&mut self, plan: &RestorePlan) -> Result<()> {
        self.work.check_interrupted()?;
        let writes = self.mode == Mode::Restore && !self.work.options.dry_run;
        if writes {
            for id in &plan.folders {
                let made = self.make_folder(*id);
                self.work.settle(|| self.work.folders.shown(*id, b""), made)?;
            }
        }
        let compares = plan.jobs.iter().any(|job| job.compares());
        let resolved =
            if writes || compares { resolve(self.work, plan, &mut self.readers, writes)? } else { Resolved::default() };
        if !writes {
            self.conclude(plan);
            return Ok(());
        }
        let tasks = self.sort(plan, resolved);
        self.work_off(plan, &tasks)
    }

    fn make_folder(&mut self, id: u32) -> Result<()> {
        let Some(folder) = self.work.folders.get(id) else { return Ok(()) };
        let placed = |action| SnapshotError::io(action, self.work.folders.placed(id, b""));
        if !folder.is_fresh {
            if folder.is_locked {
                let path = format!("/proc/self/fd/{}", self.dirs.open(id)?.as_raw_fd());
                chmodat(CWD, path, 0o700.into(), AtFlags::empty()).map_err(|e| placed("set the mode of")(e.into()))?;
            }
            return Ok(());
        }
        let parent = self.dirs.open(folder.parent)?;
        if folder.replaces {
            // If it is gone already, the better.
            let _gone = unlinkat(&parent, &*folder.name, AtFlags::empty());
        }
        match mkdirat(&parent, &*folder.name, 0o700.into()) {
            // Somebody made it meanwhile. It must be a real folder, or nothing is put into it.
            Err(Errno::EXIST) => self.dirs.open(id).map(|_| ()),
            made => made.map_err(|e| placed("make")(e.into())),
        }
    }

    /// Says what else would go, in a dry run.
    fn clear(&mut self, job: &Job) -> Result<()> {
        if job.action != Action::Replace {
            return Ok(());
        }
        let fd = self.dirs.open(job.folder)?;
        let placed = || self.work.folders.placed(job.folder, &job.name);
        let there = look(&fd, &job.name).map_err(|e| SnapshotError::io("look at", placed())(e))?;
        match there.is_some_and(|stat| kind_of(&stat) == FileType::Directory) {
            true => remove::clear_folder(self.work, &fd, job.folder, &job.name),
            false => Ok(()),
        }
    }

    /// Ends the jobs of a dry run or of a verification.
    fn conclude(&mut self, plan: &RestorePlan) {
        let ended = plan.jobs.len() - usize::from(plan.continues);
        for job in plan.jobs.iter().take(ended).filter(|job| !job.failed()) {
            if self.mode == Mode::Restore {
                match self.clear(job) {
                    Ok(()) => job.tell_done(self.work, &self.meta_of(job)),
                    Err(e) => job.fail(self.work, &e),
                }
            } else if job.is_changed.load(Ordering::Relaxed) {
                let path = self.work.folders.placed(job.folder, &job.name);
                job.fail(self.work, &SnapshotError::Differs { path });
            } else {
                add(&self.work.tally.files_verified, 1);
            }
        }
    }

    /// What a dry run would put on a file.
    fn meta_of(&mut self, job: &Job) -> Meta {
        let needs_look = job.is_there() && job.meta.withholds();
        let old = if needs_look { job.open_old(&mut self.dirs).ok().flatten() } else { None };
        let stat = old.as_ref().and_then(|old| fstat(old).ok());
        match (&old, &stat) {
            (Some(old), Some(stat)) => job.meta.of_existing(old.as_fd(), stat),
            _ => job.meta.clone(),
        }
    }

    /// Counts what every job waits for, and sorts the work.
    fn sort(&mut self, plan: &RestorePlan, resolved: Resolved) -> Tasks {
        let mut whole = vec![0; plan.jobs.len()];
        for fetch in &resolved.fetches {
            if let Some(count) = whole.get_mut(fetch.job as usize) {
                *count += 1;
            }
        }
        let (mut tasks, mut bare, mut same) = (Vec::new(), Vec::new(), resolved.same.into_iter().peekable());
        let mut carried = self.carried.take();
        for (number, job) in plan.jobs.iter().enumerate() {
            let continues = plan.continues && number + 1 == plan.jobs.len();
            let mut ranges = Vec::new();
            while let Some((_, range)) = same.next_if(|(of, _)| *of as usize == number) {
                ranges.push(range);
            }
            let before = carried.take_if(|(carried, _)| Arc::ptr_eq(carried, job));
            let ranges = joined(before.map_or(Vec::new(), |(_, ranges)| ranges), ranges);
            let (copies, later) = match job.is_changed.load(Ordering::Relaxed) {
                true => (ranges, Vec::new()),
                false => (Vec::new(), remembered(ranges)),
            };
            if continues {
                self.carried = Some((Arc::clone(job), later));
            }
            let Some(count) = whole.get_mut(number) else { continue };
            let left = *count + u64::from(!copies.is_empty()) + u64::from(continues);
            job.left.store(left, Ordering::Release);
            if left != *count || job.is_begun() {
                *count = 0;
            }
            if !copies.is_empty() {
                tasks.push(Task::Copy(number as u32, copies));
            }
            if left == 0 {
                bare.push(number as u32);
            }
        }
        tasks.extend(bare.chunks(BATCH_FILES).map(|batch| Task::Bare(batch.to_vec())));
        add_frames(&mut tasks, &resolved.fetches);
        Tasks { tasks, fetches: resolved.fetches, whole }
    }

    fn work_off(&mut self, plan: &RestorePlan, tasks: &Tasks) -> Result<()> {
        let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
        let (work, open) = (self.work, &self.open);
        std::thread::scope(|scope| {
            for reader in &mut self.readers {
                let dirs = Dirs::new(&work.beneath, &work.folders);
                let mut worker = Worker { work, plan, tasks, reader, dirs, open };
                let (next, failure) = (&next, &failure);
                scope.spawn(move || {
                    if let Err(e) = worker.run(next) {
                        next.store(usize::MAX / 2, Ordering::Relaxed);
                        failure.lock().get_or_insert(e);
                    }
                });
            }
        });
        failure.into_inner().map_or(Ok(()), Err)
    }
}

impl Afterwards {
    fn take(&mut self, more: &mut Self) {
        self.folders.append(&mut more.folders);
        self.links.append(&mut more.links);
        self.others.append(&mut more.others);
        self.deletions.append(&mut more.deletions);
    }
}

/// Ranges and those that follow them, in order.
fn joined(mut ranges: Vec<Range<u64>>, more: Vec<Range<u64>>) -> Vec<Range<u64>> {
    for range in more {
        match ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    ranges
}

/// The same ranges of a file that is the same so far, holes and all; as one if there are too many to be remembered.
fn remembered(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    match (ranges.first(), ranges.last()) {
        (Some(first), Some(last)) if ranges.len() > CARRIED_RANGES_MOST => {
            std::iter::once(first.start..last.end).collect()
        }
        _ => ranges,
    }
}

fn add_frames(tasks: &mut Vec<Task>, fetches: &[Fetch]) {
    let mut start = 0;
    for group in fetches.chunk_by(|a, b| a.place.frame() == b.place.frame()) {
        tasks.push(Task::Frame(start..start + group.len()));
        start += group.len();
    }
}

struct Worker<'w, 'a, 'r> {
    work: &'w Work<'a>,
    plan: &'w RestorePlan,
    tasks: &'w Tasks,
    reader: &'w mut ChunkReader<'r>,
    dirs: Dirs<'w>,
    open: &'w OpenFiles,
}

impl Worker<'_, '_, '_> {
    fn run(&mut self, next: &AtomicUsize) -> Result<()> {
        let tasks = self.tasks;
        while let Some(task) = tasks.tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            self.work.check_interrupted()?;
            match task {
                Task::Bare(jobs) => jobs.iter().try_for_each(|job| self.bare(*job))?,
                Task::Copy(job, ranges) => self.copy(*job, ranges)?,
                Task::Frame(range) => self.frame(tasks.fetches.get(range.clone()).unwrap_or_default())?,
            }
        }
        Ok(())
    }

    fn job(&self, number: u32) -> Result<Arc<Job>> {
        self.plan.jobs.get(number as usize).map(Arc::clone).ok_or(SnapshotError::WorkerLost)
    }

    fn settle(&self, job: &Job, result: Result<()>) -> Result<()> {
        match result {
            Err(e) if is_fatal(&e) => Err(e),
            Err(e) => {
                job.fail(self.work, &e);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// A file that needs no bytes: it has none, or is there already, or failed before it came here.
    fn bare(&mut self, number: u32) -> Result<()> {
        let job = self.job(number)?;
        if job.failed() || !job.is_there() {
            return job.finish(self.work, &mut self.dirs, self.open);
        }
        let settled = self.touch_up(&job);
        self.settle(&job, settled)
    }

    /// Corrects the metadata of a file whose content is right.
    fn touch_up(&mut self, job: &Arc<Job>) -> Result<()> {
        let placed = || self.work.folders.placed(job.folder, &job.name);
        let Some(old) = job.open_old(&mut self.dirs)? else { return Err(SnapshotError::Differs { path: placed() }) };
        let stat = fstat(&old).map_err(io::Error::from).map_err(SnapshotError::io("look at", placed()))?;
        let meta = job.meta.of_existing(old.as_fd(), &stat);
        if meta.differs(old.as_fd(), &stat) {
            // Its other names may lie outside the target: those files are not ours.
            if stat.st_nlink > 1 {
                return self.rebuild(job, &old);
            }
            meta.take_off(old.as_fd());
            job.put_meta(self.work, &old, &meta);
        }
        job.tell_done(self.work, &meta);
        Ok(())
    }

    fn rebuild(&mut self, job: &Arc<Job>, old: &File) -> Result<()> {
        let file = job.file(self.work, &mut self.dirs, self.open, true)?;
        let whole = 0..job.bytes;
        let copied = copy_range(old, &file, whole)
            .map_err(SnapshotError::io("copy", self.work.folders.placed(job.folder, &job.name)));
        drop(file);
        self.settle(job, copied)?;
        job.finish(self.work, &mut self.dirs, self.open)
    }

    fn copy(&mut self, number: u32, ranges: &[Range<u64>]) -> Result<()> {
        let job = self.job(number)?;
        let copied = if job.failed() { Ok(()) } else { self.copy_ranges(&job, ranges) };
        self.settle(&job, copied)?;
        job.done(self.work, &mut self.dirs, self.open, 1)
    }

    fn copy_ranges(&mut self, job: &Arc<Job>, ranges: &[Range<u64>]) -> Result<()> {
        let placed = || self.work.folders.placed(job.folder, &job.name);
        let Some(old) = job.open_old(&mut self.dirs)? else { return Err(SnapshotError::Differs { path: placed() }) };
        let file = job.file(self.work, &mut self.dirs, self.open, false)?;
        for range in ranges {
            copy_range(&old, &file, range.clone()).map_err(SnapshotError::io("copy", placed()))?;
        }
        Ok(())
    }

    /// Everything that lies in one frame.
    fn frame(&mut self, fetches: &[Fetch]) -> Result<()> {
        let Some(first) = fetches.first() else { return Ok(()) };
        let frame = self.reader.frame(&first.place);
        for run in fetches.chunk_by(|a, b| a.job == b.job) {
            let Some(Fetch { job, .. }) = run.first() else { continue };
            let job = self.job(*job)?;
            if !job.failed() {
                let written = match &frame {
                    Ok(frame) => self.write(&job, run, frame),
                    Err(_) => self.write_singly(&job, run),
                };
                self.settle(&job, written)?;
            }
            job.done(self.work, &mut self.dirs, self.open, run.len() as u64)?;
        }
        Ok(())
    }

    fn write(&mut self, job: &Arc<Job>, run: &[Fetch], frame: &LoadedFrame) -> Result<()> {
        let number = run.first().map_or(0, |fetch| fetch.job as usize);
        let at_once = self.tasks.whole.get(number).is_some_and(|whole| *whole == run.len() as u64);
        // The first chunk is verified before the file is made, so that most damaged files are never made at all.
        let mut file = None;
        for (at, fetch) in run.iter().enumerate() {
            let Ok(bytes) = frame.chunk(self.work.repository, &fetch.place, ChunkKind::Data, &fetch.id) else {
                return self.write_singly(job, run.get(at..).unwrap_or_default());
            };
            let file = match &mut file {
                Some(file) => file,
                slot => slot.insert(self.file(job, at_once)?),
            };
            job.write(self.work, file, bytes, fetch.offset)?;
        }
        Ok(())
    }

    fn file(&mut self, job: &Arc<Job>, at_once: bool) -> Result<Arc<File>> {
        if !at_once && !job.is_begun() {
            let path = self.work.folders.shown(job.folder, &job.name);
            self.work.progress.event(Event::Started { path: &path });
        }
        job.file(self.work, &mut self.dirs, self.open, at_once)
    }

    /// Something else lies in these places: a pack is damaged, or was deleted after its chunks had been stored anew, or
    /// the index was made anew, for one chunk's sake, since all were looked up. So each is looked up again, in the index
    /// as it is now.
    fn write_singly(&mut self, job: &Arc<Job>, run: &[Fetch]) -> Result<()> {
        let mut reader = self.work.repository.reader()?;
        for fetch in run {
            let bytes = reader.get(ChunkKind::Data, &fetch.id)?;
            let file = self.file(job, false)?;
            job.write(self.work, &file, &bytes, fetch.offset)?;
        }
        Ok(())
    }
}

/// Copies what is no hole of a range to the same place of another file, which is one hole there.
fn copy_range(from: &File, to: &File, range: Range<u64>) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let data = match seek(from, SeekFrom::Data(at)) {
            Ok(data) => data.max(at),
            Err(Errno::NXIO) => break,
            // File systems that know no holes.
            Err(_) => at,
        };
        let end = seek(from, SeekFrom::Hole(data)).ok().filter(|hole| *hole > data);
        at = end.map_or(range.end, |hole| hole.min(range.end));
        copy_data(from, to, data..at)?;
    }
    // What somebody has cut off meanwhile is no hole.
    if from.metadata()?.len() < range.end { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Copies all of a range, sharing its blocks where the file system can.
fn copy_data(from: &File, to: &File, range: Range<u64>) -> io::Result<()> {
    let (mut source, mut sink) = (range.start, range.start);
    while source < range.end {
        let bytes = usize::try_from(range.end - source).unwrap_or(usize::MAX).min(1 << 30);
        match copy_file_range(from, Some(&mut source), to, Some(&mut sink), bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {
                return copy_bytes(from, to, source..range.end);
            }
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}

fn copy_bytes(from: &File, to: &File, range: Range<u64>) -> io::Result<()> {
    let (mut buffer, mut at) = (vec![0; COPY_BYTES], range.start);
    while at < range.end {
        let bytes = (range.end - at).min(COPY_BYTES as u64);
        let part = buffer.get_mut(..bytes as usize).unwrap_or_default();
        from.read_exact_at(part, at)?;
        to.write_all_at(part, at)?;
        at += bytes;
    }
    Ok(())
}
