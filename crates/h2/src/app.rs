//! Recognising databases in a folder.
//!
//! The name alone counts: a database whose headers were wiped out, or that was cut to nothing, is told as damaged, where
//! by its content it would be a file like any other.
//!
//! Invariant: what is claimed was a regular file whose name ends in `.mv.db`; the `.trace.db` beside it is left to the
//! walk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use treering_snapshot::capture::{Application, Capture, Folder};

use crate::capture::DatabaseCapture;
use crate::options::Options;

pub(crate) const SUFFIX: &[u8] = b".mv.db";

/// The application: H2 databases.
#[derive(Debug, Clone, Default)]
pub struct H2 {
    options: Options,
}

impl H2 {
    /// Captures with these options.
    pub fn new(options: Options) -> Self {
        Self { options }
    }
}

impl Application for H2 {
    fn kind(&self) -> &'static str {
        "h2"
    }

    fn claim(&self, folder: &Folder<'_>) -> Vec<Box<dyn Capture>> {
        let named = folder.names.iter().filter(|name| name.as_bytes().ends_with(SUFFIX));
        let files = named.filter(|name| folder.look(name).is_some_and(|metadata| metadata.is_file()));
        let capture = |name: &OsStr| DatabaseCapture::new(folder.path, name.as_ref(), self.options.clone());
        files.map(|name| Box::new(capture(name)) as Box<dyn Capture>).collect()
    }
}
