//! How the command ends: the kinds of failure, their exit codes, and what is said about them.
//!
//! Owns: the only table from a kind of failure to an exit code, and the shape of the last message.
//! Never: exits by itself; only `main` turns a [`Kind`] into the end of the process.
//! Invariant: a message says what happened, what is safe, and what to do next, and shows nothing that a terminal obeys.

mod library;

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::escape;
use crate::output::messages::ExitError;

/// What messages call it.
const STDOUT: &str = "standard output";

/// What kind of end it is. The codes are restic's where the meaning is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It did not work, and nothing was committed.
    Failed,
    /// The command line, a `TREERING_*` variable or a list of patterns is wrong; nothing was tried.
    Usage,
    /// It was done, but not for everything: a source could not be read, a file changed, an entry was not restored.
    Incomplete,
    /// Something in the repository is damaged: a check found it, or it was in the way.
    Damaged,
    /// The snapshot is saved, but an application in it is not known to be consistent.
    AppNotConsistent,
    /// There is no repository at this place.
    NoRepository,
    /// The passphrase or the key file opens no slot.
    WrongKey,
    /// The repository has a version or a critical feature that this program does not know.
    Unsupported,
    /// The repository's disk, or the restore's, is full. The repository is intact.
    OutOfSpace,
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// Whoever read standard output has left, as `head` does. Not an error to talk about.
    ReaderLeft,
}

impl Kind {
    /// The exit code. Reserved: 4 for "damage met and healed", 11 for restic's "locked", which nothing here can be: who
    /// needs a lock waits for it, and it dies with its process.
    pub(crate) fn code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Incomplete => 3,
            Kind::Damaged => 5,
            Kind::AppNotConsistent => 6,
            Kind::NoRepository => 10,
            Kind::WrongKey => 12,
            Kind::Unsupported => 13,
            Kind::OutOfSpace => 14,
            Kind::Interrupted => 130,
            Kind::ReaderLeft => 141,
            Kind::Terminated => 143,
        }
    }
}

impl From<Kind> for ExitCode {
    fn from(kind: Kind) -> Self {
        ExitCode::from(kind.code())
    }
}

/// Why a command ends otherwise than well.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Chooses the exit code.
    pub(crate) kind: Kind,
    /// What happened, one clause without a full stop: `cannot open /backup/rings`.
    pub(crate) happened: String,
    /// The causes, outermost first.
    pub(crate) causes: Vec<String>,
    /// What is safe in spite of it: `The repository is intact; no snapshot was written.`
    pub(crate) safe: Option<String>,
    /// What to do next: `Free some space and run the backup again.`
    pub(crate) next: Option<String>,
}

/// What every command returns.
pub(crate) type Outcome = Result<(), Failure>;

impl Failure {
    /// A failure with nothing but what happened.
    pub(crate) fn new(kind: Kind, happened: impl Into<String>) -> Self {
        Failure { kind, happened: happened.into(), causes: Vec::new(), safe: None, next: None }
    }

    /// What happened is the error itself; the causes are what lies below it.
    pub(crate) fn of(kind: Kind, error: &dyn Error) -> Self {
        let failure = Failure::new(kind, error.to_string());
        match error.source() {
            Some(cause) => failure.because(cause),
            None => failure,
        }
    }

    /// Something typed or configured is wrong.
    pub(crate) fn usage(happened: impl Into<String>) -> Self {
        Failure::new(Kind::Usage, happened)
    }

    /// A system call failed: `Failure::io("read", path, &error)`. A full disk gets its own kind.
    pub(crate) fn io(verb: &str, path: &Path, error: &io::Error) -> Self {
        Failure::new(kind_of_io(error), format!("cannot {verb} {}", path.display())).because(error)
    }

    /// Writing to standard output failed.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::BrokenPipe => Kind::ReaderLeft,
            _ => kind_of_io(error),
        };
        Failure::new(kind, format!("cannot write to {STDOUT}")).because(error)
    }

    /// The same failure, of a file that was written in its stead.
    pub(crate) fn into_file(self, path: &Path) -> Self {
        Failure { happened: self.happened.replace(STDOUT, &path.display().to_string()), ..self }
    }

    /// Adds an error and everything below it as the causes.
    pub(crate) fn because(mut self, error: &dyn Error) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            self.causes.push(error.to_string());
            cause = error.source();
        }
        self
    }

    /// Says what is safe in spite of the failure.
    pub(crate) fn safe(mut self, safe: impl Into<String>) -> Self {
        self.safe = Some(safe.into());
        self
    }

    /// Says what to do next.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Says what to do next, if nothing better is known.
    pub(crate) fn or_next(mut self, next: &str) -> Self {
        self.next.get_or_insert_with(|| next.to_owned());
        self
    }

    /// The last message of the process, for standard error: a line for each part, or one JSON object.
    pub(crate) fn render(&self, json: bool) -> Option<String> {
        match self.kind {
            Kind::ReaderLeft => None,
            _ if json => Some(crate::output::json::line(&ExitError::from(self))),
            _ => Some(self.render_text()),
        }
    }

    /// What happened and why, on one line.
    pub(crate) fn message(&self) -> String {
        let mut message = self.happened.clone();
        for cause in &self.causes {
            message.push_str(": ");
            message.push_str(cause);
        }
        message
    }

    fn render_text(&self) -> String {
        let mut text = format!("treering: {}\n", escape::text(&self.message()));
        for line in [&self.safe, &self.next].into_iter().flatten() {
            text.push_str(&escape::text(line));
            text.push('\n');
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl Error for Failure {}

/// The kind of a bare I/O error.
pub(crate) fn kind_of_io(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::OutOfSpace,
        _ => Kind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_documentation() {
        let kinds = [
            (Kind::Failed, 1),
            (Kind::Usage, 2),
            (Kind::Incomplete, 3),
            (Kind::Damaged, 5),
            (Kind::AppNotConsistent, 6),
            (Kind::NoRepository, 10),
            (Kind::WrongKey, 12),
            (Kind::Unsupported, 13),
            (Kind::OutOfSpace, 14),
            (Kind::Interrupted, 130),
            (Kind::ReaderLeft, 141),
            (Kind::Terminated, 143),
        ];
        for (kind, code) in kinds {
            assert_eq!(kind.code(), code, "{kind:?}");
        }
    }

    #[test]
    fn a_message_has_its_causes_then_what_is_safe_then_what_to_do() {
        let error = io::Error::from_raw_os_error(28);
        let failure = Failure::io("write", Path::new("/r\x1b/pack"), &error).safe("All is well.").next("Free space.");
        assert_eq!(failure.kind, Kind::OutOfSpace);
        let text = failure.render(false).unwrap();
        assert_eq!(
            text,
            "treering: cannot write /r\\x1b/pack: No space left on device (os error 28)\nAll is well.\nFree space.\n"
        );
    }

    #[test]
    fn json_has_restics_fields() {
        let line = Failure::new(Kind::NoRepository, "no repository at /r").next("Run init.").render(true).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message_type"], "exit_error");
        assert_eq!(value["code"], 10);
        assert_eq!(value["message"], "no repository at /r");
        assert_eq!(value["next"], "Run init.");
        assert!(value.get("safe").is_none());
    }

    #[test]
    fn a_reader_that_left_is_not_talked_to() {
        let failure = Failure::stdout(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.kind, Kind::ReaderLeft);
        assert_eq!(failure.render(false), None);
    }
}
