//! What is printed: text for people, JSON for programs, tables, progress.
//!
//! Owns: standard output and standard error; the only modules that write to them.
//! Never: decides what is worth saying; the commands do.
//! Invariant: results go to standard output, everything else to standard error, except JSON messages, which restic
//! puts on standard output but for errors. A closed standard output ends the command without a word.

pub(crate) mod groups;
pub(crate) mod json;
pub(crate) mod listener;
pub(crate) mod messages;
pub(crate) mod nodes;
pub(crate) mod objects;
pub(crate) mod progress;
pub(crate) mod table;

use std::io::{self, Write};

use serde::Serialize;

use crate::escape;
use crate::exit::Failure;
use crate::settings::Verbosity;

/// Where a command prints, and how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    /// JSON instead of text.
    pub(crate) json: bool,
    /// How much is said.
    pub(crate) verbosity: Verbosity,
}

impl Printer {
    /// A result, in lines that the caller has neutralised; printed even if quiet.
    pub(crate) fn result(self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| Failure::stdout(&error))
    }

    /// Standard output for many lines, held until it is dropped; flush it to learn whether all of them arrived.
    pub(crate) fn stream(self) -> io::BufWriter<io::StdoutLock<'static>> {
        io::BufWriter::new(io::stdout().lock())
    }

    /// A JSON message or document on standard output.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        self.result(&json::line(value))
    }

    /// A line for people at this verbosity; nothing in JSON mode.
    pub(crate) fn note(self, least: Verbosity, line: &str) -> Result<(), Failure> {
        match !self.json && self.verbosity >= least {
            true => self.result(&format!("{line}\n")),
            false => Ok(()),
        }
    }

    /// Something that went wrong with one item and did not stop the command: on standard error, in both modes.
    pub(crate) fn error(self, error: &messages::ItemError) {
        let line = match self.json {
            true => json::line(&messages::Message::Error(error.clone())),
            false => format!("error: {}\n", escape::text(&error.text())),
        };
        eprint_raw(&line);
    }

    /// Something that should be known and is no failure: on standard error, in both modes.
    pub(crate) fn warn(self, warning: &str) {
        eprint_raw(&match self.json {
            true => json::line(&messages::Message::Warning(messages::Warning { message: warning.to_owned() })),
            false => format!("warning: {}\n", escape::text(warning)),
        });
    }
}

/// Writes to standard error; if even that fails there is nobody left to tell.
pub(crate) fn eprint_raw(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
