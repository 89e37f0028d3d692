//! `backup --je-env`: the files that an application hands over, and the talk with it.
//!
//! Invariant: what is printed about a file is printed when it has been read to its end; nothing is committed unless the
//! application, if it had promised to, has confirmed the end of its backup.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use treering_je::handover::{Handover, Partner};

use super::stream::Patient;
use crate::args::JeHandoverArgs;
use crate::escape;
use crate::exit::Failure;
use crate::output::Printer;
use crate::output::messages::{JeAllStored, JeStored, Message};
use crate::paths;

/// What the application says at last.
const END: &str = "end";

/// Reads the list and prepares the capture.
pub(super) fn read(args: &JeHandoverArgs, printer: Printer) -> Result<Option<Handover>, Failure> {
    let (Some(environment), Some(list)) = (&args.je_env, &args.je_files_from) else { return Ok(None) };
    let mut input = open(list)?;
    let (files, will_confirm) = read_list(&mut input).map_err(|error| Failure::io("read", list, &error))?;
    let partner = Talk { printer, confirmation: will_confirm.then(|| Mutex::new(input)) };
    let environment = paths::absolute(environment)?;
    let handover = Handover { environment, files, after: args.je_after, partner: Arc::new(partner) };
    handover.numbers().map_err(|error| {
        Failure::usage("--je-files-from is wrong").because(&error).next("Hand over what getLogFilesInBackupSet gives.")
    })?;
    Ok(Some(handover))
}

type Input = Box<dyn BufRead + Send>;

fn open(list: &Path) -> Result<Input, Failure> {
    let failed = |error: std::io::Error| Failure::io("open", list, &error);
    let from: Box<dyn Read + Send> = match list.as_os_str() == "-" {
        // A descriptor of its own: what the library buffers of standard input could not be waited for.
        true => Box::new(Patient(File::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(failed)?))),
        false => Box::new(File::open(list).map_err(failed)?),
    };
    Ok(Box::new(BufReader::new(from)))
}

/// The names, and whether an empty line has ended them.
fn read_list(input: &mut Input) -> std::io::Result<(Vec<PathBuf>, bool)> {
    let mut names = Vec::new();
    loop {
        let mut line = String::new();
        let is_end = input.read_line(&mut line)? == 0;
        match line.trim() {
            "" => return Ok((names, !is_end)),
            name => names.push(PathBuf::from(name)),
        }
    }
}

/// The application at the other end.
struct Talk {
    printer: Printer,
    /// Where it confirms the end of its backup, if it will.
    confirmation: Option<Mutex<Input>>,
}

impl Talk {
    /// If nobody reads any more, the confirmation will not come either.
    fn say(&self, text: &str, message: &Message) {
        let _unread = match self.printer.json {
            true => self.printer.json(message),
            false => self.printer.result(text),
        };
    }
}

impl Partner for Talk {
    fn stored(&self, file: &Path) {
        let bytes = file.as_os_str().as_bytes();
        let text = format!("stored {}\n", escape::terminal(bytes));
        self.say(&text, &Message::JeStored(JeStored { file: escape::lossy(bytes) }));
    }

    fn all_stored(&self, last: u32) -> bool {
        self.say(&format!("all-stored {last}\n"), &Message::JeAllStored(JeAllStored { last_file: last }));
        let Some(input) = &self.confirmation else { return true };
        let mut line = String::new();
        let read = input.lock().unwrap_or_else(PoisonError::into_inner).read_line(&mut line);
        read.is_ok() && line.trim() == END
    }
}
