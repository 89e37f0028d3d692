//! Frames: consecutive chunks compressed and sealed together.
//!
//! Small chunks alone compress badly: 40,000 source files took 94 MB file by file at zstd -3 and 53 MB in frames of
//! 1 MiB, for less CPU. The body is the chunks' bytes, then their table, then the table's length, so that chunks are
//! appended as they come and the whole is compressed in one call with reused contexts.
//!
//! Invariant: an [`EncodedFrame`] has been opened, decompressed and compared with what went in.

use std::cell::RefCell;

use treering_chunk::{ChunkId, ChunkKind};
use zstd::bulk::{Compressor, Decompressor};

use super::PackKind;
use super::format::{Codec, FrameHeader, TrailerChunk, frame_associated};
use crate::codec;
use crate::error::{Result, StoreError};
use crate::limits::{CHUNK_MOST_BYTES, FRAME_MOST_BYTES, FRAME_MOST_CHUNKS};
use crate::seal::{SealKey, TAG_BYTES};

/// How frames are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// zstd at this level, unless a sample says that it would not help.
    Zstd(i32),
    /// Not at all.
    Off,
}

impl Compression {
    /// What measurement chose for ordinary files; see `docs/benchmarks.md`.
    pub const DEFAULT: Self = Self::Zstd(3);
}

/// Chunks on their way into one frame.
#[derive(Debug, Default)]
pub(crate) struct RawFrame {
    body: Vec<u8>,
    chunks: Vec<TrailerChunk>,
}

impl RawFrame {
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(crate) fn is_full(&self, target_bytes: usize) -> bool {
        self.body.len() >= target_bytes || self.chunks.len() >= FRAME_MOST_CHUNKS
    }

    pub(crate) fn push(&mut self, id: ChunkId, kind: ChunkKind, bytes: &[u8]) -> Result<()> {
        if bytes.len() > CHUNK_MOST_BYTES {
            return Err(StoreError::Limit { what: "a chunk", limit: CHUNK_MOST_BYTES as u64 });
        }
        self.body.extend_from_slice(bytes);
        self.chunks.push(TrailerChunk::new(id, kind, bytes.len() as u32));
        Ok(())
    }

    /// Appends the table; nothing can be pushed after it.
    pub(crate) fn close(mut self) -> Result<ClosedFrame> {
        let table: Vec<(u8, u32)> =
            self.chunks.iter().map(|c| (c.kind().map_or(0, |kind| kind as u8), c.raw_len)).collect();
        let before = self.body.len();
        codec::encode_into(&table, &mut self.body, FRAME_MOST_BYTES)?;
        let table_len = (self.body.len() - before) as u32;
        self.body.extend(table_len.to_le_bytes());
        Ok(ClosedFrame { body: self.body, chunks: self.chunks })
    }
}

/// A whole body, ready to be compressed.
#[derive(Debug)]
pub(crate) struct ClosedFrame {
    body: Vec<u8>,
    pub(crate) chunks: Vec<TrailerChunk>,
}

/// A body as it will be sealed.
#[derive(Debug)]
pub(crate) struct CompressedFrame {
    codec: Codec,
    bytes: Vec<u8>,
    raw_len: u32,
    chunks: Vec<TrailerChunk>,
    original: Original,
}

/// What a sealed frame is opened and compared with.
#[derive(Debug)]
enum Original {
    /// The body that was compressed.
    Body(Vec<u8>),
    /// The same compressed bytes: they are copied from a pack for which they were decompressed and compared.
    Compressed(Vec<u8>),
}

/// A frame as it stands in a pack.
#[derive(Debug)]
pub(crate) struct EncodedFrame {
    pub(crate) header: [u8; FrameHeader::BYTES],
    pub(crate) sealed: Vec<u8>,
    pub(crate) chunks: Vec<TrailerChunk>,
}

/// Compression contexts of one thread; making new ones for every frame costs more than small frames do.
struct Contexts {
    compressor: Compressor<'static>,
    level: i32,
    decompressor: Decompressor<'static>,
    scratch: Vec<u8>,
}

thread_local! {
    static CONTEXTS: RefCell<Option<Contexts>> = const { RefCell::new(None) };
}

fn with_contexts<T>(work: impl FnOnce(&mut Contexts) -> Result<T>) -> Result<T> {
    CONTEXTS.with_borrow_mut(|slot| {
        if slot.is_none() {
            let failed = StoreError::io("prepare", "zstd");
            let level = zstd::DEFAULT_COMPRESSION_LEVEL;
            let made = Compressor::new(level).and_then(|compressor| Ok((compressor, Decompressor::new()?)));
            let (compressor, decompressor) = made.map_err(failed)?;
            *slot = Some(Contexts { compressor, level, decompressor, scratch: Vec::new() });
        }
        slot.as_mut().map_or_else(|| Err(StoreError::Verify { what: "zstd context" }), work)
    })
}

impl ClosedFrame {
    #[cfg(feature = "fuzzing")]
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn compress(self, compression: Compression) -> Result<CompressedFrame> {
        let Compression::Zstd(level) = compression else { return Ok(self.raw()) };
        if looks_incompressible(&self.body) {
            return Ok(self.raw());
        }
        let bytes = with_contexts(|contexts| {
            let failed = || StoreError::io("compress", "a frame");
            if contexts.level != level {
                contexts.compressor.set_compression_level(level).map_err(failed())?;
                contexts.level = level;
            }
            contexts.compressor.compress(&self.body).map_err(failed())
        })?;
        if bytes.len() >= self.body.len() {
            return Ok(self.raw());
        }
        Ok(self.stored_as(Codec::Zstd, bytes))
    }

    fn raw(self) -> CompressedFrame {
        let bytes = self.body.clone();
        self.stored_as(Codec::Raw, bytes)
    }

    fn stored_as(self, codec: Codec, bytes: Vec<u8>) -> CompressedFrame {
        let Self { body, chunks } = self;
        CompressedFrame { codec, bytes, raw_len: body.len() as u32, chunks, original: Original::Body(body) }
    }
}

impl CompressedFrame {
    /// Opens what follows a frame's header, for a copy that is sealed elsewhere; `chunks` is what its pack's trailer
    /// lists.
    pub(crate) fn open(
        pack_header: &[u8],
        key: &SealKey,
        header: &[u8; FrameHeader::BYTES],
        mut sealed: Vec<u8>,
        chunks: &[TrailerChunk],
    ) -> Result<Self> {
        let FrameHeader { codec, raw_len, .. } = FrameHeader::decode(header)?;
        let bytes = open_seal(pack_header, key, header, &mut sealed)?.to_vec();
        let original = Original::Compressed(bytes.clone());
        Ok(Self { codec, bytes, raw_len, chunks: chunks.to_vec(), original })
    }

    /// What it takes in a pack.
    pub(crate) fn stored_bytes(&self) -> u64 {
        (FrameHeader::BYTES + self.bytes.len() + TAG_BYTES) as u64
    }

    pub(crate) fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// Seals under a number that was never used in this pack, and proves that it opens again.
    pub(crate) fn seal(self, pack_header: &[u8], key: &SealKey, number: u32, kind: PackKind) -> Result<EncodedFrame> {
        let Self { codec, bytes: mut sealed, raw_len, chunks, original } = self;
        let stored_len = (sealed.len() + TAG_BYTES) as u32;
        let header = FrameHeader { seal_number: number, kind, codec, stored_len, raw_len }.encode();
        key.seal(number, &frame_associated(pack_header, &header), &mut sealed)?;
        verify(pack_header, key, &header, &sealed, &original)?;
        Ok(EncodedFrame { header, sealed, chunks })
    }
}

/// A frame is opened as a reader would and compared before anybody relies on it: encoders and memory have failed before
/// (restic 0.16.3 stored frames that a zstd encoder had broken).
fn verify(
    pack_header: &[u8],
    key: &SealKey,
    header: &[u8; FrameHeader::BYTES],
    sealed: &[u8],
    original: &Original,
) -> Result<()> {
    let decoded = FrameHeader::decode(header)?;
    with_contexts(|contexts| {
        let mut copy = sealed.to_vec();
        let opened = key.open(decoded.seal_number, &frame_associated(pack_header, header), &mut copy);
        let same = opened.is_some_and(|opened| match (decoded.codec, original) {
            (_, Original::Compressed(bytes)) | (Codec::Raw, Original::Body(bytes)) => opened == bytes,
            (Codec::Zstd, Original::Body(body)) => {
                contexts.scratch.clear();
                contexts.scratch.reserve(body.len());
                let Contexts { decompressor, scratch, .. } = contexts;
                decompressor.decompress_to_buffer(opened, scratch).is_ok() && scratch == body
            }
        });
        if same { Ok(()) } else { Err(StoreError::Verify { what: "frame" }) }
    })
}

/// A frame that was read, opened and decompressed.
#[derive(Debug)]
pub(crate) struct Frame {
    body: Vec<u8>,
    chunks: Vec<FrameChunk>,
}

/// A chunk's place within a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameChunk {
    pub(crate) kind: ChunkKind,
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

impl Frame {
    /// Opens what follows a frame's header.
    pub(crate) fn open(
        pack_header: &[u8],
        key: &SealKey,
        header: &[u8; FrameHeader::BYTES],
        mut sealed: Vec<u8>,
    ) -> Result<Self> {
        let decoded = FrameHeader::decode(header)?;
        let opened = open_seal(pack_header, key, header, &mut sealed)?;
        let raw_len = decoded.raw_len as usize;
        let body = match decoded.codec {
            Codec::Raw => opened.to_vec(),
            Codec::Zstd => with_contexts(|contexts| {
                let failed = |e: std::io::Error| StoreError::damaged("a frame", format!("it does not decompress: {e}"));
                contexts.decompressor.decompress(opened, raw_len).map_err(failed)
            })?,
        };
        if body.len() != raw_len {
            return Err(StoreError::damaged("a frame", "its content is not as long as its header says"));
        }
        let chunks = read_table(&body)?;
        Ok(Self { body, chunks })
    }

    pub(crate) fn chunks(&self) -> &[FrameChunk] {
        &self.chunks
    }

    pub(crate) fn bytes(&self, chunk: FrameChunk) -> &[u8] {
        // The table was checked against the body when the frame was opened.
        self.body.get(chunk.offset..chunk.offset + chunk.length).unwrap_or_default()
    }

    #[cfg(feature = "fuzzing")]
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn raw_bytes(&self) -> usize {
        self.body.len()
    }
}

fn open_seal<'s>(
    pack_header: &[u8],
    key: &SealKey,
    header: &[u8; FrameHeader::BYTES],
    sealed: &'s mut [u8],
) -> Result<&'s [u8]> {
    let number = FrameHeader::decode(header)?.seal_number;
    let opened = key.open(number, &frame_associated(pack_header, header), sealed);
    opened.ok_or_else(|| StoreError::damaged("a frame", "its seal is broken"))
}

fn read_table(body: &[u8]) -> Result<Vec<FrameChunk>> {
    let damaged = |detail: &str| StoreError::damaged("a frame", detail);
    let (front, length) = body.split_last_chunk::<4>().ok_or_else(|| damaged("it has no table"))?;
    let table_at = front.len().checked_sub(u32::from_le_bytes(*length) as usize);
    let (bytes, table) =
        table_at.and_then(|at| front.split_at_checked(at)).ok_or_else(|| damaged("its table is too long"))?;
    let table: Vec<(u8, u32)> = codec::decode(table, FRAME_MOST_BYTES, "a frame's table")?;
    let (mut offset, mut chunks) = (0usize, Vec::with_capacity(table.len()));
    for (kind, length) in table {
        let kind = ChunkKind::from_byte(kind).ok_or_else(|| damaged("it holds an unknown kind of chunk"))?;
        let length = length as usize;
        if length > CHUNK_MOST_BYTES {
            return Err(damaged("a chunk in it is too long"));
        }
        chunks.push(FrameChunk { kind, offset, length });
        offset = offset.saturating_add(length);
    }
    if offset != bytes.len() {
        return Err(damaged("its chunks do not fill it"));
    }
    Ok(chunks)
}

/// Whether compressing would be in vain, found from 16 samples of 4 KiB by their order-0 entropy. zstd spends 0.6 s on
/// a GB of such data only to give up on it.
fn looks_incompressible(body: &[u8]) -> bool {
    const SAMPLES: usize = 16;
    const SAMPLE_BYTES: usize = 4096;
    /// Random bytes in a sample of 64 KiB reach 7.997; a deflated stream 7.9 to 7.99; text 4 to 6.
    const BITS_A_BYTE: f64 = 7.94;
    if body.len() < 2 * SAMPLES * SAMPLE_BYTES {
        return false;
    }
    let mut counts = [0u32; 256];
    for sample in body.chunks(body.len() / SAMPLES).take(SAMPLES) {
        for byte in sample.iter().take(SAMPLE_BYTES) {
            if let Some(count) = counts.get_mut(usize::from(*byte)) {
                *count += 1;
            }
        }
    }
    let total = (SAMPLES * SAMPLE_BYTES) as f64;
    let shares = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / total);
    shares.map(|share| -share * share.log2()).sum::<f64>() > BITS_A_BYTE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Encryption;
    use zeroize::Zeroizing;

    fn key() -> SealKey {
        SealKey::new(Encryption::Aes256Gcm, Zeroizing::new([1; 32])).unwrap()
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn raw(chunks: &[&[u8]]) -> RawFrame {
        let mut frame = RawFrame::default();
        for (i, bytes) in chunks.iter().enumerate() {
            frame.push(ChunkId::from_bytes([i as u8; 32]), ChunkKind::Data, bytes).unwrap();
        }
        frame
    }

    fn encode(chunks: &[&[u8]], compression: Compression) -> EncodedFrame {
        let compressed = raw(chunks).close().unwrap().compress(compression).unwrap();
        compressed.seal(b"pack header", &key(), 7, PackKind::Data).unwrap()
    }

    #[test]
    fn round_trip_in_every_codec() {
        let text = b"ring around the tree ".repeat(1000);
        let noise = noise(300_000);
        for (chunks, compression, codec) in [
            (vec![&text[..], b"", b"x"], Compression::Zstd(3), Codec::Zstd),
            (vec![&text[..]], Compression::Off, Codec::Raw),
            (vec![&noise[..]], Compression::Zstd(3), Codec::Raw),
            (vec![b"" as &[u8]], Compression::Zstd(3), Codec::Raw),
        ] {
            let encoded = encode(&chunks, compression);
            assert_eq!(FrameHeader::decode(&encoded.header).unwrap().codec, codec);
            let frame = Frame::open(b"pack header", &key(), &encoded.header, encoded.sealed).unwrap();
            let read: Vec<&[u8]> = frame.chunks().iter().map(|chunk| frame.bytes(*chunk)).collect();
            assert_eq!(read, chunks);
        }
    }

    #[test]
    fn every_bit_matters() {
        let encoded = encode(&[b"some bytes", b"more"], Compression::Zstd(3));
        for bit in 0..FrameHeader::BYTES * 8 {
            let mut header = encoded.header;
            header[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::open(b"pack header", &key(), &header, encoded.sealed.clone()).is_err(), "header bit {bit}");
        }
        for bit in 0..encoded.sealed.len() * 8 {
            let mut sealed = encoded.sealed.clone();
            sealed[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::open(b"pack header", &key(), &encoded.header, sealed).is_err(), "sealed bit {bit}");
        }
        assert!(Frame::open(b"other header", &key(), &encoded.header, encoded.sealed).is_err());
    }

    #[test]
    fn a_broken_encoder_is_caught() {
        let mut compressed = raw(&[&b"abc".repeat(1000)]).close().unwrap().compress(Compression::Zstd(3)).unwrap();
        let middle = compressed.bytes.len() / 2;
        compressed.bytes[middle] ^= 1;
        let sealed = compressed.seal(b"pack header", &key(), 7, PackKind::Data);
        assert!(matches!(sealed, Err(StoreError::Verify { what: "frame" })));
    }

    #[test]
    fn a_copy_is_sealed_under_another_key_and_a_broken_one_is_caught() {
        let (old, new) = (key(), SealKey::new(Encryption::Aes256Gcm, Zeroizing::new([2; 32])).unwrap());
        let encoded = encode(&[&b"abc".repeat(1000)], Compression::Zstd(3));
        let open = |sealed| CompressedFrame::open(b"pack header", &old, &encoded.header, sealed, &encoded.chunks);
        let copied = open(encoded.sealed.clone()).unwrap().seal(b"new header", &new, 3, PackKind::Data).unwrap();
        assert_eq!(copied.chunks, encoded.chunks);
        let frame = Frame::open(b"new header", &new, &copied.header, copied.sealed).unwrap();
        assert_eq!(frame.bytes(frame.chunks()[0]), b"abc".repeat(1000));
        let mut damaged = encoded.sealed.clone();
        damaged[5] ^= 1;
        assert!(open(damaged).is_err());
        let mut broken = open(encoded.sealed.clone()).unwrap();
        broken.bytes[5] ^= 1;
        let sealed = broken.seal(b"new header", &new, 3, PackKind::Data);
        assert!(matches!(sealed, Err(StoreError::Verify { what: "frame" })));
    }

    /// Somebody with the key can seal anything. A body of 1 GiB of zeros that calls itself short, or as long as a frame can
    /// be, is refused before more than that was made of it.
    #[test]
    fn a_bomb_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 1 << 30], 3).unwrap();
        assert!(bomb.len() < 100_000);
        for raw_len in [100, FRAME_MOST_BYTES as u32] {
            let (mut sealed, key) = (bomb.clone(), key());
            let stored_len = (sealed.len() + TAG_BYTES) as u32;
            let (kind, codec) = (PackKind::Data, Codec::Zstd);
            let header = FrameHeader { seal_number: 1, kind, codec, stored_len, raw_len }.encode();
            key.seal(1, &frame_associated(b"pack header", &header), &mut sealed).unwrap();
            let opened = Frame::open(b"pack header", &key, &header, sealed);
            assert!(opened.unwrap_err().to_string().contains("does not decompress"));
        }
    }

    #[test]
    fn a_hostile_table_is_refused() {
        for body in [&[][..], &[1, 2, 3], &[0, 9, 0, 0, 0], &[1, 1, 5, 3, 0, 0, 0], &[1, 9, 0, 3, 0, 0, 0]] {
            assert!(read_table(body).is_err(), "{body:?}");
        }
        assert_eq!(read_table(&[0, 1, 0, 0, 0]).unwrap(), []);
    }

    #[test]
    fn only_noise_looks_incompressible() {
        assert!(looks_incompressible(&noise(1 << 20)));
        assert!(!looks_incompressible(&noise(1000)));
        assert!(!looks_incompressible(&b"hello world ".repeat(100_000)));
    }
}
