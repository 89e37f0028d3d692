//! Recognising databases in a folder.
//!
//! Invariant: what is claimed was a regular file whose name ends in `.mv.db` and that starts like an MVStore; anything
//! else of that name, and the `.trace.db` beside it, is left to the walk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use treering_snapshot::capture::{Application, Capture, Folder, open_plain};

use crate::capture::DatabaseCapture;
use crate::options::Options;
use crate::store::is_store;

const SUFFIX: &[u8] = b".mv.db";

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
        let stores = named.filter(|name| is_database(folder, name));
        let capture = |name: &OsStr| DatabaseCapture::new(folder.path, name.as_ref(), self.options.clone());
        stores.map(|name| Box::new(capture(name)) as Box<dyn Capture>).collect()
    }
}

/// A file that cannot be read is left to the walk, which reports it.
fn is_database(folder: &Folder<'_>, name: &OsStr) -> bool {
    let is_file = folder.look(name).is_some_and(|metadata| metadata.is_file());
    is_file && open_plain(&folder.path.join(name)).is_ok_and(|file| is_store(&mut &file).unwrap_or(false))
}
