//! What the next capture wants to know of a database that was closed, and the proof that nothing changed.
//!
//! The argument: whoever opens a store and stores anything takes `clean` out of its headers and, when it closes it, names
//! a newer version in them. Inode, size and both times guard against what did not go through H2.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use crate::store::StoreHeader;

/// Changes with the layout below. A state of another version never equals one of ours, which only costs a copy.
const STATE_VERSION: u8 = 1;

/// The state of a closed database.
pub(crate) fn encode(metadata: &Metadata, header: &StoreHeader) -> Vec<u8> {
    let mut state = vec![STATE_VERSION];
    state.extend([metadata.dev(), metadata.ino(), metadata.size()].map(u64::to_le_bytes).concat());
    let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
    state.extend(times.map(i64::to_le_bytes).concat());
    state.extend([header.version, header.chunk.into(), header.block, header.created_ms].map(u64::to_le_bytes).concat());
    state
}
