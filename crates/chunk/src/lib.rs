//! Cutting a stream into chunks and naming the chunks.
//!
//! Owns where a stream is cut ([`Cutter`]) and what a chunk is called ([`Namer`]). Never touches files, clocks,
//! randomness, compression or storage: everything here is a pure function of its arguments.
//!
//! Invariant: the same bytes under the same [`CutSizes`], seed and policy are cut at the same places and get the same
//! names, on every machine and in every version that can open the repository. Golden tests in this crate hold that.

mod cut;
mod name;

pub use cut::{CutPolicy, CutSizeError, CutSizes, Cutter};
pub use name::{ChunkId, ChunkKind, Namer, ParseIdError};
