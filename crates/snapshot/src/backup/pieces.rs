//! Where captures put what they read while they are started.
//!
//! Works on the thread of the walk, like the captures' `take`. Invariant: what ends the backup is kept here and told by
//! [`Pieces::check`], whatever a capture makes of the error that it was given.

use std::io::Read;
use std::sync::Arc;

use treering_chunk::CutPolicy;
use treering_store::{Repository, Session};

use super::BackupOptions;
use super::read::FileReader;
use crate::capture::{CaptureError, Piece, PieceStore};
use crate::error::{Result, SnapshotError};

pub(super) struct Pieces<'a> {
    reader: FileReader<'a>,
    failure: Option<SnapshotError>,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(
        repository: &'a Arc<Repository>,
        session: &'a Session,
        options: &'a BackupOptions<'a>,
    ) -> Result<Self> {
        let reader = FileReader::new(repository, session, options.compression, options.progress)?;
        Ok(Self { reader, failure: None })
    }

    /// What has ended the backup, if anything did.
    pub(super) fn check(&mut self) -> Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.reader.flush()
    }
}

impl PieceStore for Pieces<'_> {
    fn put(&mut self, from: &mut dyn Read, cut: CutPolicy) -> std::result::Result<Piece, CaptureError> {
        match self.reader.read_piece(from, cut) {
            Ok(extents) => Ok(Piece { extents }),
            Err(SnapshotError::Io { action, path, source }) => Err(CaptureError::Io { action, path, source }),
            Err(error) => {
                self.failure.get_or_insert(error);
                Err(CaptureError::NotStored)
            }
        }
    }
}
