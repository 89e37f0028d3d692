//! One file to a writer, in order.
//!
//! Owns nothing. Never seeks, never holds more than a few frames.
//!
//! Invariant: every byte that is written was verified against its chunk's name.

use std::io::{self, Write};

use treering_chunk::ChunkKind;
use treering_store::ChunkReader;

use crate::error::{Result, SnapshotError};
use crate::node::{Node, NodeKind};
use crate::stream::{Extent, Extents};

/// Zeros are written in pieces of this size.
const ZEROS_BYTES: usize = 64 << 10;

/// Writes a file's bytes in order, holes as zeros. Memory is bounded, however long the file is.
///
/// # Errors
///
/// [`SnapshotError::WrongKind`] unless it is a file; damage and failures of the writer, after part of the bytes have
/// been written.
pub fn write_file(reader: &mut ChunkReader<'_>, node: &Node, out: &mut dyn Write) -> Result<()> {
    let NodeKind::File { content, .. } = &node.kind else {
        let path = String::from_utf8_lossy(&node.name).into_owned().into();
        return Err(SnapshotError::WrongKind { path, needed: "file" });
    };
    let mut extents = Extents::of(content);
    while let Some(extent) = extents.read_next(reader)? {
        match extent.chunk() {
            None => write_zeros(out, extent.bytes())?,
            Some(_) => write_chunk(reader, &extent, out)?,
        }
    }
    out.flush().map_err(failed)
}

fn failed(source: io::Error) -> SnapshotError {
    SnapshotError::Io { action: "write to", path: "the output".into(), source }
}

fn write_zeros(out: &mut dyn Write, mut bytes: u64) -> Result<()> {
    let zeros = [0; ZEROS_BYTES];
    while bytes > 0 {
        let part = bytes.min(ZEROS_BYTES as u64);
        out.write_all(zeros.get(..part as usize).unwrap_or_default()).map_err(failed)?;
        bytes -= part;
    }
    Ok(())
}

fn write_chunk(reader: &mut ChunkReader<'_>, extent: &Extent, out: &mut dyn Write) -> Result<()> {
    let Some(id) = extent.chunk() else { return Ok(()) };
    let bytes = reader.get(ChunkKind::Data, &id)?;
    if bytes.len() as u64 != extent.bytes() {
        return Err(SnapshotError::damaged(format!("chunk {id}"), "it is not as long as its stream says"));
    }
    out.write_all(&bytes).map_err(failed)
}
