//! Copying the files of a database without SQLite.
//!
//! Owns the proof that nothing changed meanwhile, and the judgement of such a copy. What is handed out are the bytes as
//! they lie there; recovery is tried on a second copy.
//!
//! Invariant: a [`RawCopy`] is called still only if size, inode, both times and the header of every file were the same
//! before and after, with a pause before that is longer than the grain of file times.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use treering_snapshot::capture::{Verdict, open_plain};

use crate::error::{Error, io_error};
use crate::name;
use crate::online::COPY;
use crate::source::{Look, Source};
use crate::temp::Room;
use crate::verify::{self, Check, Depth};
use crate::way::Why;

/// Longer than the grain of file times: the kernel stamps with the time of its last tick, at worst 10 ms ago.
const SETTLE: Duration = Duration::from_millis(20);

/// How often a copy is begun anew because something changed.
const MAX_ATTEMPTS: u32 = 3;

/// The last eight bytes of a journal that belongs to a transaction over several databases.
const SUPER_JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// The name of the copy on which recovery is tried.
const TRIAL: &str = "trial.db";

/// The copied files, by what was added to the name of the database.
#[derive(Debug)]
pub(crate) struct RawCopy {
    /// The main file has the empty suffix and comes first.
    pub(crate) parts: Vec<(&'static str, File)>,
    /// What was seen before.
    pub(crate) look: Look,
    /// Whether nothing changed while the files were copied.
    pub(crate) is_still: bool,
}

/// A verdict and its reason.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) detail: String,
}

/// Copies all files, anew if they change, at last as they are.
pub(crate) fn copy(source: &Source, room: &mut Room) -> Result<RawCopy, Error> {
    let mut attempt = 1;
    loop {
        let copy = copy_once(source, room)?;
        if copy.is_still || attempt == MAX_ATTEMPTS {
            return Ok(copy);
        }
        discard(&copy, room)?;
        attempt += 1;
    }
}

/// Copies all files once.
pub(crate) fn copy_once(source: &Source, room: &mut Room) -> Result<RawCopy, Error> {
    let first = source.look()?;
    thread::sleep(SETTLE);
    let look = source.look()?;
    room.reserve(source.path(), total_bytes(&look))?;
    let mut parts = vec![("", copy_main(source, room, look.main.size_bytes)?)];
    for (suffix, bytes) in filled(&look) {
        parts.extend(copy_sibling(source, room, suffix, bytes)?.map(|file| (suffix, file)));
    }
    source.assert_in_place()?;
    let is_still = first.is_same(&look) && look.is_same(&source.look()?);
    Ok(RawCopy { parts, look, is_still })
}

/// Judges a copy of an idle database in WAL mode that was made under the lock; `None` if it did not keep still.
pub(crate) fn judge_idle(copy: &RawCopy, room: &Room, depth: Depth) -> Option<Judgement> {
    copy.is_still.then(|| match verify::check(&room.path(COPY), depth) {
        Check::Passed(depth) => judgement(
            Verdict::Consistent,
            format!("a WAL database that nobody was writing, copied under a lock; {}", depth.sentence()),
        ),
        Check::Failed(message) => damaged(&message),
        Check::Impossible(reason) => judgement(Verdict::Unknown, format!("the copy could not be checked: {reason}")),
    })
}

/// Judges any other copy.
pub(crate) fn judge(copy: &RawCopy, why: &Why, room: &mut Room, source: &Source, depth: Depth) -> Judgement {
    let why_raw = why.sentence();
    if !copy.is_still {
        return judgement(Verdict::Torn, format!("{why_raw}, and its files changed while they were copied"));
    }
    if let Some(reason) = beyond_judgement(copy, why) {
        return judgement(Verdict::Unknown, format!("{why_raw}; {reason}"));
    }
    let check = try_recovery(copy, room, source, depth).unwrap_or_else(|error| Check::Impossible(error.in_full()));
    match check {
        Check::Passed(depth) => recovered(copy, &why_raw, depth),
        Check::Failed(message) => damaged(&message),
        Check::Impossible(reason) => {
            judgement(Verdict::Unknown, format!("{why_raw}; the copy could not be checked: {reason}"))
        }
    }
}

/// A copy that recovers is what a power cut would have left, if the changes of an unfinished transaction can be told
/// by a log on disk. A writer that keeps its journal in memory, or none, leaves no such trace.
fn recovered(copy: &RawCopy, why_raw: &str, depth: Depth) -> Judgement {
    if copy.look.wal.is_filled() || copy.look.journal_is_loaded {
        let detail = format!("{why_raw}; its files kept still, and recovered: {}", depth.sentence());
        return judgement(Verdict::CrashConsistent, detail);
    }
    let doubt = "whether a transaction was half written cannot be seen";
    judgement(Verdict::Unknown, format!("{why_raw}, and no journal lies on disk: {doubt}, though {}", depth.sentence()))
}

fn beyond_judgement(copy: &RawCopy, why: &Why) -> Option<&'static str> {
    match why {
        Why::NewerFormat => Some("its files were copied as they are"),
        Why::StrangeSibling => Some("only the regular files were copied"),
        _ if names_super_journal(copy) => Some("its transaction spans several databases and is not tried alone"),
        _ => None,
    }
}

/// Recovery would follow the name of the super-journal back into the source folder, and might delete it there.
fn names_super_journal(copy: &RawCopy) -> bool {
    let ends_with_magic = |file: &File| -> io::Result<bool> {
        let mut end = [0; 8];
        let Some(offset) = file.metadata()?.len().checked_sub(8) else { return Ok(false) };
        file.read_exact_at(&mut end, offset)?;
        Ok(end == SUPER_JOURNAL_MAGIC)
    };
    let mut journals = copy.parts.iter().filter(|(suffix, _)| *suffix == name::JOURNAL);
    journals.any(|(_, file)| ends_with_magic(file).unwrap_or(true))
}

/// Recovers a second copy, so that the first stays as it is.
fn try_recovery(copy: &RawCopy, room: &mut Room, source: &Source, depth: Depth) -> Result<Check, Error> {
    if copy.parts.len() == 1 {
        return Ok(verify::check(&room.path(COPY), depth));
    }
    room.reserve(source.path(), total_bytes(&copy.look))?;
    for (suffix, file) in &copy.parts {
        let mut target = room.create(&format!("{TRIAL}{suffix}"))?;
        rewound(file).and_then(|mut file| io::copy(&mut file, &mut target)).map_err(io_error("copy", source.path()))?;
    }
    Ok(verify::recover_and_check(&room.path(TRIAL), depth))
}

fn copy_main(source: &Source, room: &Room, bytes: u64) -> Result<File, Error> {
    let main = rewound(source.file()).map_err(io_error("copy", source.path()))?;
    copy_part(main, bytes, room, COPY, source.path())
}

/// Copies a `-wal` or `-journal`; `None` if it has vanished meanwhile, which the next look sees.
fn copy_sibling(source: &Source, room: &Room, suffix: &str, bytes: u64) -> Result<Option<File>, Error> {
    let path = source.sibling_path(suffix);
    let file = match open_plain(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", &path)(error)),
    };
    copy_part(file, bytes, room, &format!("{COPY}{suffix}"), &path).map(Some)
}

/// Copies as much as there was room set aside for. What is appended meanwhile the next look sees.
pub(crate) fn copy_part(from: impl Read, bytes: u64, room: &Room, name: &str, path: &Path) -> Result<File, Error> {
    let mut copy = room.create(name)?;
    io::copy(&mut from.take(bytes), &mut copy).map_err(io_error("copy", path))?;
    Ok(copy)
}

/// Makes room for another attempt.
fn discard(copy: &RawCopy, room: &mut Room) -> Result<(), Error> {
    for (suffix, _) in &copy.parts {
        room.remove(&format!("{COPY}{suffix}"))?;
    }
    room.release(total_bytes(&copy.look));
    Ok(())
}

/// The siblings that hold data, and their lengths. A cold journal holds none, and SQLite builds the `-shm` anew.
fn filled(look: &Look) -> impl Iterator<Item = (&'static str, u64)> {
    let wal = look.wal.is_filled().then_some((name::WAL, look.wal.size_bytes()));
    let journal = look.journal_is_loaded.then_some((name::JOURNAL, look.journal.size_bytes()));
    wal.into_iter().chain(journal)
}

fn total_bytes(look: &Look) -> u64 {
    filled(look).fold(look.main.size_bytes, |sum, (_, bytes)| sum.saturating_add(bytes))
}

/// The same file, read from its start. The copies share one position and are not read at the same time.
pub(crate) fn rewound(mut file: &File) -> io::Result<&File> {
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn damaged(message: &str) -> Judgement {
    judgement(Verdict::Torn, format!("the copy is damaged: {message}"))
}

fn judgement(verdict: Verdict, detail: String) -> Judgement {
    Judgement { verdict, detail }
}
