//! Every limit of the format and of the memory that work takes, each with its reason.
//!
//! Decoders refuse what exceeds these before they allocate for it; encoders never produce it. The unit is the last
//! word of each name.

/// The longest chunk. Larger than four times the largest average cut, smaller than a frame.
pub const CHUNK_MOST_BYTES: usize = 8 << 20;
/// The most plaintext that one frame holds, its table included: what a reader must be able to hold at once.
pub(crate) const FRAME_MOST_BYTES: usize = 16 << 20;
/// The most chunks in one frame: 1 MiB of the smallest pages, with room.
pub(crate) const FRAME_MOST_CHUNKS: usize = 16_384;
/// A pack is closed once it holds so many bytes …
pub(crate) const PACK_TARGET_BYTES: u64 = 64 << 20;
/// … or so many chunks, so that a trailer stays near 5 MB …
pub(crate) const PACK_TARGET_CHUNKS: u32 = 128 << 10;
/// … or so many frames.
pub(crate) const PACK_TARGET_FRAMES: u32 = 32 << 10;
/// The largest pack that is read. Frames that were under way when the target was reached still go into it.
pub(crate) const PACK_MOST_BYTES: u64 = 1 << 30;
/// The longest trailer that is read.
pub(crate) const TRAILER_MOST_BYTES: usize = 32 << 20;
/// The longest key section of a pack header.
pub(crate) const KEY_SECTION_MOST_BYTES: usize = 4096;
/// The longest record that is read, as it is stored …
pub const RECORD_MOST_BYTES: usize = 16 << 20;
/// … and what it holds, decompressed: the lists of a snapshot with some hundred thousand databases in it.
pub const RECORD_BODY_MOST_BYTES: usize = 64 << 20;
/// The longest config and key slot that are read.
pub(crate) const CONFIG_MOST_BYTES: usize = 64 << 10;
/// The most key slots that are tried.
pub(crate) const KEY_SLOTS_MOST: usize = 256;
/// New index rows are written in batches of so many: sorted batches this large hold 400,000 rows a second.
pub(crate) const INDEX_BATCH_ROWS: usize = 64 << 10;
/// Frames that wait for the one writer: with its own buffer, what bounds a backup's memory.
pub(crate) const WRITER_QUEUE_FRAMES: usize = 4;
/// Frames that are encoded at once besides those that sinks encode themselves: on machines with many cores, memory is
/// what runs out first.
pub(crate) const ENCODING_MOST_FRAMES: usize = 8;
/// Open pack files that readers share.
pub(crate) const OPEN_PACKS_MOST: usize = 64;
/// Decoded frames that one reader keeps.
pub(crate) const READER_FRAMES_MOST: usize = 4;
/// Space that a repository keeps for forgetting and pruning on a full disk: at least enough for records and sessions …
pub(crate) const BALLAST_LEAST_BYTES: u64 = 1 << 20;
/// … and at most a pack.
pub(crate) const BALLAST_MOST_BYTES: u64 = PACK_TARGET_BYTES;
