//! The capture of one database.
//!
//! Owns the choice of the way: byte for byte where nobody holds the file and it was closed, live otherwise, and what the
//! user has chosen where that is not possible. All of it happens in `take`.
//!
//! Invariant: a verdict is never better than what was proven about the very bytes that are handed out. Whoever was
//! stopped for a capture goes on when `take` returns.

mod afterwards;
mod holder;
mod live;
mod pause;
mod settled;
mod state;

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use treering_chunk::CutPolicy;
use treering_snapshot::capture::{
    Capture, CaptureError, Conclusion, Content, Part, PieceStore, TakenFile, Verdict, foreign_file_system, open_plain,
};
use treering_snapshot::with_causes;

use crate::error::Error;
use crate::options::{Fallback, Options};
use crate::store::{Headers, Newest, Source, StoreError};
use crate::verify::{Report, time_ms, verify};

use holder::{Holder, holder};
use live::{Captured, Live};
use pause::{Hooks, Pause};

/// The database is replaced while it is captured (SHUTDOWN COMPACT) no more often than this.
const REPLACED_MOST: u32 = 3;
/// How long a database that is just being made may be empty.
const JUST_MADE: Duration = Duration::from_millis(200);

/// The capture of one database.
#[derive(Debug)]
pub struct DatabaseCapture {
    path: PathBuf,
    claimed: Vec<PathBuf>,
    options: Options,
    conclusion: Conclusion,
}

impl DatabaseCapture {
    /// Prepares the capture of a file of this name in a folder.
    pub fn new(folder: &Path, name: &Path, options: Options) -> Self {
        let conclusion = conclude(Verdict::Unknown, "nothing was taken".into());
        Self { path: folder.join(name), claimed: vec![name.to_owned()], options, conclusion }
    }
}

impl Capture for DatabaseCapture {
    fn name(&self) -> &Path {
        self.claimed.first().map_or(Path::new(""), PathBuf::as_path)
    }

    fn claimed(&self) -> &[PathBuf] {
        &self.claimed
    }

    fn take(&mut self, previous: Option<&[u8]>, pieces: &mut dyn PieceStore) -> Result<Vec<TakenFile>, CaptureError> {
        let mut taker = Taker { path: &self.path, options: &self.options, pieces };
        let (content, conclusion) = taker.take(previous).map_err(|error| error.told(&self.path))?;
        self.conclusion = conclusion;
        let name = self.name().to_owned();
        Ok(vec![TakenFile { attributes_of: Some(name.clone()), path: name, content, cut: Some(CutPolicy::Fine) }])
    }

    fn conclude(self: Box<Self>) -> Conclusion {
        self.conclusion
    }
}

type Taken = (Content, Conclusion);

struct Taker<'a> {
    path: &'a Path,
    options: &'a Options,
    pieces: &'a mut dyn PieceStore,
}

impl Taker<'_> {
    fn take(&mut self, previous: Option<&[u8]>) -> Result<Taken, Error> {
        let mut last = None;
        for _ in 0..REPLACED_MOST {
            let file = open_plain(self.path).map_err(Error::io("open", self.path))?;
            let taken = self.take_file(&file, previous)?;
            if self.is_still(&file)? {
                return Ok(taken);
            }
            last = Some(taken);
        }
        last.ok_or_else(|| self.not_live("it was replaced again and again"))
    }

    /// Whether the name still leads to the file that was read.
    fn is_still(&self, file: &File) -> Result<bool, Error> {
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let read = file.metadata().map(identity).map_err(Error::io("look at", self.path))?;
        Ok(self.path.symlink_metadata().map(identity).is_ok_and(|now| now == read))
    }

    fn not_live(&self, reason: &str) -> Error {
        Error::NotLive { path: self.path.to_owned(), reason: reason.to_owned() }
    }

    fn holder(&self, file: &File) -> Result<Option<Holder>, Error> {
        holder(file).map_err(Error::io("look for locks on", self.path))
    }

    fn take_file(&mut self, file: &File, previous: Option<&[u8]>) -> Result<Taken, Error> {
        let headers = match headers(file) {
            Ok(headers) => headers,
            Err(StoreError::Io(source)) => return Err(Error::io("read", self.path)(source)),
            Err(StoreError::NoHeader) => {
                let reason = no_database(file).map_err(Error::io("read", self.path))?;
                // Who holds it may write them again; else nothing is to be waited for or stopped.
                return match self.holder(file)? {
                    Some(_) => self.fall_back(file, reason),
                    None => self.take_raw(file, reason),
                };
            }
            Err(error) => return self.fall_back(file, &with_causes(&error)),
        };
        let is_closed = self.holder(file)?.is_none() && headers.best.is_clean && headers.agree;
        if is_closed && let Some(taken) = self.take_closed(file, &headers, previous)? {
            return Ok(taken);
        }
        match foreign_file_system(file).map_err(Error::io("look at the file system of", self.path))? {
            Some(name) => self.fall_back(file, &format!("it lies on a network file system ({name})")),
            None => self.take_live(file),
        }
    }

    /// Byte for byte; `None` if somebody opened it meanwhile.
    fn take_closed(&mut self, file: &File, headers: &Headers, previous: Option<&[u8]>) -> Result<Option<Taken>, Error> {
        let before = file.metadata().map_err(Error::io("look at", self.path))?;
        let state = state::encode(&before, &headers.best);
        if previous == Some(state.as_slice()) {
            let detail = "it was closed, and is unchanged since the parent snapshot, whose copy was verified";
            let mut conclusion = match crate::verify::look(&mut &*file) {
                Ok(newest) => known(Verdict::Consistent, &newest, detail.to_owned()),
                Err(_) => return Ok(None),
            };
            conclusion.state = state;
            return Ok(Some((Content::Unchanged, conclusion)));
        }
        let report = verify(&mut &*file);
        let mut from = file;
        io::Seek::rewind(&mut from).map_err(Error::io("read", self.path))?;
        let piece = self.pieces.put(&mut from, CutPolicy::Fine)?;
        let after = file.metadata().map_err(Error::io("look at", self.path))?;
        let is_same = Headers::read(&mut &*file).is_ok_and(|now| state::encode(&after, &now.best) == state);
        if !is_same || self.holder(file)?.is_some() {
            return Ok(None);
        }
        let mut conclusion = judge(report, "it was closed and nobody held it; taken byte for byte");
        if conclusion.verdict == Verdict::Consistent {
            conclusion.state = state;
        }
        Ok(Some((Content::Pieces(vec![Part::Stored(piece)]), conclusion)))
    }

    fn take_live(&mut self, file: &File) -> Result<Taken, Error> {
        let how = match self.holder(file)? {
            Some(holder) => format!("captured while {holder} held it"),
            None => "captured as it was left, not closed".to_owned(),
        };
        match Live::new(file, self.path, self.pieces, self.options).capture() {
            Ok(captured) => Ok(handed_out(captured, &how)),
            Err(Error::NotLive { reason, .. }) => self.fall_back(file, &reason),
            Err(error) => Err(error),
        }
    }

    /// What the user has chosen.
    fn fall_back(&mut self, file: &File, reason: &str) -> Result<Taken, Error> {
        match &self.options.fallback {
            Fallback::Fail => Err(self.not_live(reason)),
            Fallback::Raw => self.take_raw(file, reason),
            // Nobody who could write is there to be frozen.
            Fallback::Freeze if self.holder(file)?.is_none() => self.take_raw(file, reason),
            Fallback::Freeze => {
                let pause = Pause::freeze(file, self.path, &self.options.down)?;
                self.take_paused(file, pause, &format!("{reason}; captured while its holder was frozen"))
            }
            Fallback::StopHook { stop, start, wait } => {
                let hooks = Hooks { stop, start, wait: *wait };
                let pause = Pause::stop(file, self.path, &hooks, &self.options.down)?;
                // Closing may have replaced the file.
                let file = open_plain(self.path).map_err(Error::io("open", self.path))?;
                self.take_paused(&file, pause, &format!("{reason}; captured while its program was stopped"))
            }
        }
    }

    fn take_paused(&mut self, file: &File, pause: Pause, how: &str) -> Result<Taken, Error> {
        // While nobody writes nothing becomes quiet.
        let options = Options { quiet_wait: Duration::ZERO, ..self.options.clone() };
        let taken = match Live::new(file, self.path, self.pieces, &options).capture() {
            Ok(captured) => Ok(handed_out(captured, how)),
            // What cannot be read, such as an encrypted store, is at least an image of one moment.
            Err(Error::NotLive { reason, .. }) => {
                let has_headers = !matches!(Headers::read(&mut &*file), Err(StoreError::NoHeader));
                let verdict = if has_headers { Verdict::CrashConsistent } else { Verdict::Torn };
                let detail = format!("{how}; it could not be verified: {reason}");
                self.copy(file).map(|content| (content, conclude(verdict, detail)))
            }
            Err(error) => Err(error),
        };
        drop(pause);
        taken
    }

    fn take_raw(&mut self, file: &File, reason: &str) -> Result<Taken, Error> {
        let held = self.holder(file)?;
        let content = self.copy(file)?;
        let how = format!("copied as it is, for it could not be captured live: {reason}");
        if held.or(self.holder(file)?).is_some()
            || foreign_file_system(file).map_err(Error::io("look at the file system of", self.path))?.is_some()
        {
            let detail = format!("{how}; it may not open, or hold older data than it should");
            return Ok((content, conclude(Verdict::Unknown, detail)));
        }
        Ok((content, judge(verify(&mut &*file), &how)))
    }

    fn copy(&mut self, file: &File) -> Result<Content, Error> {
        let mut from = file;
        io::Seek::rewind(&mut from).map_err(Error::io("read", self.path))?;
        Ok(Content::Pieces(vec![Part::Stored(self.pieces.put(&mut from, CutPolicy::Fine)?)]))
    }
}

/// The headers; of a file that is empty a moment later, for H2 makes it before it writes them.
fn headers(file: &File) -> Result<Headers, StoreError> {
    match Headers::read(&mut &*file) {
        Err(StoreError::NoHeader) if file.metadata()?.len() == 0 => {
            std::thread::sleep(JUST_MADE);
            Headers::read(&mut &*file)
        }
        read => read,
    }
}

/// What a file without headers is.
fn no_database(file: &File) -> io::Result<&'static str> {
    let mut start = [0; 16];
    let got = Source::read_at(&mut &*file, &mut start, 0)?;
    Ok(match start.get(..got).unwrap_or_default() {
        [] => "it is no H2 database: it is empty",
        start if start.iter().all(|byte| *byte == 0) => "it is no H2 database: it begins with zeros",
        _ => "it is no H2 database: it begins otherwise",
    })
}

fn handed_out(captured: Captured, how: &str) -> Taken {
    let Captured { parts, report, rounds, is_settled } = captured;
    let rounds = if rounds == 1 { String::new() } else { format!(" in {rounds} rounds") };
    let open = match (is_settled, report.newest.version.is_quiet()) {
        (true, _) => "no transaction was open",
        (false, true) => "transactions may have ended while H2 stored it",
        (false, false) => "open transactions are rolled back when it is opened",
    };
    let how = format!("{how}{rounds}; {open}");
    (Content::Pieces(parts), judge(Ok(report), &how))
}

/// The verdict that a verification allows.
fn judge(report: Result<Report, StoreError>, how: &str) -> Conclusion {
    match report {
        Ok(report) if report.is_whole() => {
            let detail = format!("{how}; every page of its {} maps was walked", report.maps.len());
            known(Verdict::Consistent, &report.newest, detail)
        }
        Ok(report) => {
            let first = report.findings.first().map(|f| format!("{}: {}", f.place, f.detail)).unwrap_or_default();
            known(Verdict::Torn, &report.newest, format!("{how}; it is damaged: {first}"))
        }
        Err(error @ (StoreError::Encrypted | StoreError::Format { .. })) => {
            conclude(Verdict::Unknown, format!("{how}; it cannot be verified: {}", with_causes(&error)))
        }
        Err(error) => conclude(Verdict::Torn, format!("{how}; {}", with_causes(&error))),
    }
}

fn known(verdict: Verdict, newest: &Newest, detail: String) -> Conclusion {
    let time = jiff::Timestamp::from_millisecond(i64::try_from(time_ms(newest)).unwrap_or(i64::MAX));
    let time = time.map_or_else(|_| "an impossible time".to_owned(), |time| format!("{time:.3}"));
    Conclusion {
        version: Some(format!("MVStore {}", newest.header.format.number())),
        consistency_point: Some(format!("version {} of {time}", newest.version.last.version)),
        ..conclude(verdict, detail)
    }
}

fn conclude(verdict: Verdict, detail: String) -> Conclusion {
    Conclusion { verdict, version: None, consistency_point: None, detail, state: Vec::new() }
}
