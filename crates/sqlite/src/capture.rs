//! The capture of one database.
//!
//! Owns the order of things: look, choose a way, copy, check, unlink the copies, hand them out. All of it happens in
//! `take`; the readers hold nothing but files that no longer have a name.
//!
//! Invariant: when `take` returns, no lock, no connection and no temporary name of it is left.

use std::fs::File;
use std::path::{Path, PathBuf};

use treering_snapshot::capture::{Capture, CaptureError, Conclusion, Content, PieceStore, TakenFile, Verdict};

use crate::error::{Error, io_error};
use crate::header::Header;
use crate::online::{self, Attempt, COPY, Copied};
use crate::raw::{self, Judgement, RawCopy};
use crate::source::{Locking, Look, Source};
use crate::temp::Room;
use crate::verify::{self, Check, Depth};
use crate::way::{Way, Why, decide};
use crate::{Options, name, state};

/// How often an idle database may wake up while it is copied, before its files are copied as they are.
const MAX_WAKE_UPS: u32 = 3;

/// The capture of one database.
pub(crate) struct DatabaseCapture {
    folder: PathBuf,
    /// The database first.
    claimed: Vec<PathBuf>,
    options: Options,
    conclusion: Conclusion,
}

/// What `take` achieved.
struct Outcome {
    files: Vec<TakenFile>,
    conclusion: Conclusion,
}

impl DatabaseCapture {
    /// Prepares the capture of `claimed`, whose first path is the database.
    pub(crate) fn new(folder: &Path, claimed: Vec<PathBuf>, options: Options) -> Self {
        let conclusion = conclusion(Verdict::Unknown, None, None, "nothing was taken".to_owned());
        DatabaseCapture { folder: folder.to_path_buf(), claimed, options, conclusion }
    }
}

impl Capture for DatabaseCapture {
    fn name(&self) -> &Path {
        self.claimed.first().map_or(Path::new(""), PathBuf::as_path)
    }

    fn claimed(&self) -> &[PathBuf] {
        &self.claimed
    }

    fn take(&mut self, previous: Option<&[u8]>, _: &mut dyn PieceStore) -> Result<Vec<TakenFile>, CaptureError> {
        let source = Source::open(&self.folder, self.name().as_os_str())?;
        let outcome = take(&source, &self.options, previous)?;
        self.conclusion = outcome.conclusion;
        Ok(outcome.files)
    }

    fn conclude(self: Box<Self>) -> Conclusion {
        self.conclusion
    }
}

fn take(source: &Source, options: &Options, previous: Option<&[u8]>) -> Result<Outcome, Error> {
    let look = source.look()?;
    if state::is_unchanged(&look, previous) {
        return Ok(unchanged(source, &look));
    }
    for _ in 0..MAX_WAKE_UPS {
        let taken = match choose(source, options)? {
            Way::Online | Way::OnlineInWal => Some(take_online(source, options)?),
            Way::IdleWal => take_idle(source, options)?,
            Way::Raw(why) => Some(take_raw(source, options, &why)?),
        };
        if let Some(outcome) = taken {
            return Ok(outcome);
        }
    }
    take_raw(source, options, &Why::Restless)
}

/// Chooses the way, with the lock that it needs.
pub(crate) fn choose(source: &Source, options: &Options) -> Result<Way, Error> {
    let way = decide(&source.look()?);
    if !way.needs_lock() {
        return Ok(way);
    }
    match source.lock(options.lock_wait) {
        Ok(Locking::Done) => choose_locked(source),
        Ok(Locking::Busy) => Ok(Way::Raw(Why::Locked)),
        Err(error) => Ok(Way::Raw(Why::Refused(format!("no lock: {error}")))),
    }
}

/// Looks again, now that nobody can close the database down.
fn choose_locked(source: &Source) -> Result<Way, Error> {
    let way = decide(&source.look()?);
    if !way.needs_lock() {
        source.unlock()?;
    }
    Ok(way)
}

fn unchanged(source: &Source, look: &Look) -> Outcome {
    let content = Content::Unchanged;
    let detail = "unchanged since the parent snapshot, whose copy was verified".to_owned();
    let mut conclusion = conclusion(Verdict::Consistent, look.header.library(), Some(point(&look.header)), detail);
    conclusion.state = state::encode(look);
    Outcome { files: vec![taken(source, "", content, &look.header)], conclusion }
}

fn take_online(source: &Source, options: &Options) -> Result<Outcome, Error> {
    let mut room = Room::new(&options.temp_folder, options.temp_max_bytes)?;
    match online::copy(source, &mut room, options, &mut || {})? {
        Attempt::Copied(copied) => conclude_online(source, options, &room, &copied),
        Attempt::Refused(why) => {
            drop(room);
            take_raw(source, options, &why)
        }
    }
}

fn conclude_online(source: &Source, options: &Options, room: &Room, copied: &Copied) -> Result<Outcome, Error> {
    let header = &copied.look.header;
    let judgement = judge_online(
        verify::check(&room.path(COPY), Depth::of(copied.size_bytes, options.full_check_max_bytes)),
        header.is_wal(),
    );
    let point = match header.is_wal() {
        true => format!("change {} and WAL, schema {}", header.change_counter(), copied.schema_cookie),
        false => point(header),
    };
    let is_proof = judgement.verdict == Verdict::Consistent && !header.is_wal();
    let mut conclusion = conclusion(judgement.verdict, header.library(), Some(point), judgement.detail);
    if is_proof {
        conclusion.state = state::encode(&copied.look);
    }
    let copy = File::open(room.path(COPY)).map_err(io_error("open", &room.path(COPY)))?;
    Ok(Outcome { files: vec![taken(source, "", bytes(copy), header)], conclusion })
}

fn judge_online(check: Check, in_wal: bool) -> Judgement {
    let how = if in_wal { "one read transaction beside its writers" } else { "one read transaction" };
    let (verdict, detail) = match check {
        Check::Passed(depth) => (Verdict::Consistent, format!("copied in {how}; {}", depth.sentence())),
        Check::Failed(message) => (Verdict::Torn, format!("copied in {how}, but the copy is damaged: {message}")),
        Check::Impossible(reason) => (Verdict::Unknown, format!("copied in {how}, but not checked: {reason}")),
    };
    Judgement { verdict, detail }
}

/// Copies an idle WAL database under the lock that [`choose`] took; `None`, and no lock, if it did not stay idle.
fn take_idle(source: &Source, options: &Options) -> Result<Option<Outcome>, Error> {
    let mut room = Room::new(&options.temp_folder, options.temp_max_bytes)?;
    let copy = raw::copy_once(source, &mut room)?;
    source.unlock()?;
    let judgement = raw::judge_idle(&copy, &room, Depth::of(copy.look.main.size_bytes, options.full_check_max_bytes));
    judgement.map(|judgement| conclude_raw(source, copy, judgement)).transpose()
}

fn take_raw(source: &Source, options: &Options, why: &Why) -> Result<Outcome, Error> {
    let mut room = Room::new(&options.temp_folder, options.temp_max_bytes)?;
    let copy = raw::copy(source, &mut room)?;
    let depth = Depth::of(copy.look.main.size_bytes, options.full_check_max_bytes);
    let judgement = raw::judge(&copy, why, &mut room, source, depth);
    conclude_raw(source, copy, judgement)
}

fn conclude_raw(source: &Source, copy: RawCopy, judgement: Judgement) -> Result<Outcome, Error> {
    let header = copy.look.header;
    let conclusion = conclusion(judgement.verdict, header.library(), Some(point(&header)), judgement.detail);
    let mut files = Vec::with_capacity(copy.parts.len());
    for (suffix, file) in copy.parts {
        raw::rewound(&file).map_err(io_error("read the copy of", source.path()))?;
        files.push(taken(source, suffix, bytes(file), &header));
    }
    Ok(Outcome { files, conclusion })
}

fn point(header: &Header) -> String {
    format!("change {}, schema {}", header.change_counter(), header.schema_cookie())
}

fn bytes(file: File) -> Content {
    Content::Bytes(Box::new(file))
}

/// The logs are frames of pages behind headers of their own, so that page boundaries mean nothing in them.
fn taken(source: &Source, suffix: &str, content: Content, header: &Header) -> TakenFile {
    let path = source.relative(suffix);
    let cut = match suffix {
        name::WAL | name::JOURNAL => treering_chunk::CutPolicy::Fine,
        _ => header.cut(),
    };
    TakenFile { attributes_of: Some(path.clone()), path, content, cut: Some(cut) }
}

fn conclusion(verdict: Verdict, version: Option<String>, point: Option<String>, detail: String) -> Conclusion {
    Conclusion { verdict, version, consistency_point: point, detail, state: Vec::new() }
}
