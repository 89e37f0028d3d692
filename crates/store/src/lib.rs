//! Durable, verified, deduplicated storage of chunks and records.
//!
//! Owns storage back ends, packs and frames, encryption, the index, the order in which things become durable, and the
//! locks. Knows nothing of files, folders, snapshots' content or terminals: a snapshot is a record with a body here.
//!
//! A [`Repository`] is opened once and shared. Writing goes through a [`Session`] and its [`Sink`]s, reading through a
//! [`ChunkReader`].
//!
//! Invariant: no visible snapshot record refers to a chunk that is not in an existing, durable pack.

pub mod codec;
mod config;
mod deletion;
mod entropy;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod keys;
mod limits;
mod lost;
mod pack;
mod reader;
mod record;
mod repair;
mod repository;
mod scrub;
mod seal;
mod session;
pub mod storage;
mod wire;

pub use config::{Config, FORMAT_VERSION, Features, RepositoryId};
pub use deletion::{Deletion, Forgotten, Listing};
pub use entropy::{Entropy, OsEntropy};
pub use error::{Result, StoreError};
pub use index::{IndexNotice, PackRows, Place};
pub use keys::{DerivationCost, KeyFile, SlotInfo, SlotKind, Unlock};
pub use limits::{CHUNK_MOST_BYTES, RECORD_BODY_MOST_BYTES, RECORD_MOST_BYTES};
pub use lost::{Healed, LostChunks, decode_lost};
pub use pack::frame::Compression;
pub use pack::{PackContents, PackKind, PackName, PackedFrame, PackedFrames};
pub use reader::{ChunkReader, LoadedFrame};
pub use record::{CRITICAL, Record, RecordKind, RecordName};
pub use repair::{CopyFinding, CopyRepair, IndexRepair, Salvage};
pub use repository::{InitOptions, Notice, Repository};
pub use scrub::names::{NamedObject, check_copies, check_named, list_named};
pub use scrub::pack::PackCheck;
pub use scrub::{Finding, FindingPlace};
pub use seal::Encryption;
pub use session::{LiveSession, Session, SessionMode, Sink, Stored};
pub use wire::Extensions;
