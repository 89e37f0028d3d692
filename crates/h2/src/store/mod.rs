//! Reading an MVStore file: headers, chunks, the layout of a version, pages.
//!
//! Knows the formats 1 (H2 1.4.200), 2 (2.0 and 2.1) and 3 (2.2 to 2.4), and nothing of snapshots. Reads only, from
//! anything that is a [`Source`]. The rules come from H2's own source, `org/h2/mvstore/` (`MVStore.java`, `Chunk.java`,
//! `Page.java`, `DataUtils.java`; for format 3 also `FileStore.java`, `RandomAccessStore.java`, `SFChunk.java`).
//!
//! ```text
//! file   = header, header (4 KiB each, alike), chunks
//! chunk  = header text, pages, table of contents (formats 2 and 3), padding, footer text (last 128 bytes)
//! page   = length, check, [number], map, keys, kind, [children, counts], [expanded length], keys and values
//! ```
//!
//! Only header and footer texts have checksums. What pages hold between their own headers is covered by nothing.
//!
//! Invariant: whatever the bytes are, reading ends, holds no more than a chunk and some bytes a page, and panics never.

mod bytes;
mod chunk;
mod compress;
mod header;
mod layout;
mod newest;
mod page;
mod pages;
mod source;
mod text;

pub use chunk::{BLOCK_BYTES, Chunk};
pub use header::{Format, HEADER_BYTES, StoreHeader};
pub use layout::Version;
pub use newest::{Newest, newest, newest_of_live};
pub use pages::{Pages, Place};
pub use source::Source;

pub(crate) use chunk::{FOOTER_BYTES, Footer};
pub(crate) use header::Headers;
pub(crate) use layout::layout_of;
pub(crate) use newest::header_and_footer;
pub(crate) use page::Position;
pub(crate) use pages::{Fact, dead_ranges};
pub(crate) use source::read_exact;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use text::fletcher32;

use std::io;

/// Why a file, or a version in it, cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Reading failed.
    #[error("the file cannot be read")]
    Io(#[from] io::Error),
    /// Neither of its two headers is one of an MVStore.
    #[error("neither of the two store headers is whole")]
    NoHeader,
    /// It is encrypted; without its password nothing can be said about it.
    #[error("the store is encrypted")]
    Encrypted,
    /// A format, or a block size, that is not known.
    #[error("the format of the store is not known: {what}")]
    Format {
        /// What it says.
        what: String,
    },
    /// Something in it is impossible.
    #[error("{place}: {detail}")]
    Damaged {
        /// Where.
        place: String,
        /// What is wrong.
        detail: String,
    },
    /// No chunk in it is the last one of a complete version.
    #[error("there is no complete version in the file")]
    NoVersion,
}

impl StoreError {
    pub(crate) fn damaged(place: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Damaged { place: place.into(), detail: detail.into() }
    }
}

/// What reading a store gives.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
