//! Reading packs: the trailer alone, single frames, or everything.
//!
//! Invariant: nothing is returned whose seal was not checked. What cannot be read is an error that says which part.

use treering_chunk::{ChunkId, ChunkKind, Namer};

use super::format::{Footer, FrameHeader, PackHeader, Trailer, TrailerChunk, TrailerFrame, frame_key};
use super::frame::{CompressedFrame, Frame};
use super::{PackKind, PackName};
use crate::config::RepositoryId;
use crate::error::{Result, StoreError};
use crate::keys::Keys;
use crate::limits::{FRAME_MOST_BYTES, TRAILER_MOST_BYTES};
use crate::seal::{SealKey, TAG_BYTES};
use crate::storage::{Area, ObjectReader, Storage};

/// An open pack.
pub(crate) struct PackReader {
    name: PackName,
    object: Box<dyn ObjectReader>,
    header: PackHeader,
    header_bytes: Vec<u8>,
    /// `None` if it is damaged.
    footer: Option<Footer>,
    key: SealKey,
    is_header_damaged: bool,
}

impl PackReader {
    /// Opens a pack by its header at either end. The one in the footer has a check, so it is asked first.
    pub(crate) fn open(storage: &dyn Storage, name: PackName, id: RepositoryId, keys: &Keys) -> Result<Self> {
        Self::of(storage.open(Area::Packs, &name.to_string())?, name, id, keys)
    }

    /// The same, of bytes that lie anywhere.
    pub(crate) fn of(object: Box<dyn ObjectReader>, name: PackName, id: RepositoryId, keys: &Keys) -> Result<Self> {
        let mut front = vec![0; PackHeader::BYTES];
        let first = read_part(&*object, name, "header", 0, &mut front);
        let first = first.and_then(|()| PackHeader::decode(&front)).and_then(|header| fitting(header, id, keys));
        let footer = read_footer(&*object, name).ok();
        let second = footer.as_ref().and_then(|footer| fitting(footer.header.clone(), id, keys).ok());
        let header = second.map_or(first, Ok).map_err(|e| in_pack(name, e))?;
        let (header_bytes, key) = (header.encode(), frame_key(&header, keys)?);
        let is_header_damaged = front != header_bytes;
        Ok(Self { name, object, header, header_bytes, footer, key, is_header_damaged })
    }

    pub(crate) fn name(&self) -> PackName {
        self.name
    }

    pub(crate) fn kind(&self) -> PackKind {
        self.header.kind
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.object.bytes()
    }

    /// Whether the header at the front is not the one in the footer, by which the pack was opened.
    pub(crate) fn is_header_damaged(&self) -> bool {
        self.is_header_damaged
    }

    pub(crate) fn trailer(&self, keys: &Keys) -> Result<Trailer> {
        let footer = self.footer.clone().map_or_else(|| read_footer(&*self.object, self.name), Ok)?;
        let mut sealed = vec![0; footer.stored_len as usize];
        read_part(&*self.object, self.name, "trailer", footer.offset, &mut sealed)?;
        Trailer::open(sealed, &footer, keys).map_err(|e| in_pack(self.name, e))
    }

    pub(super) fn frame_header(&self, offset: u64) -> Result<([u8; FrameHeader::BYTES], FrameHeader)> {
        let mut bytes = [0; FrameHeader::BYTES];
        read_part(&*self.object, self.name, "frame header", offset, &mut bytes)?;
        let header = self.decode_header(&bytes)?;
        Ok((bytes, header))
    }

    fn decode_header(&self, bytes: &[u8; FrameHeader::BYTES]) -> Result<FrameHeader> {
        let header = FrameHeader::decode(bytes).map_err(|e| in_pack(self.name, e))?;
        if header.kind != self.header.kind {
            return Err(StoreError::damaged(format!("pack {}", self.name), "a frame of another kind is in it"));
        }
        Ok(header)
    }

    /// The frame whose header starts at this offset.
    pub(crate) fn frame(&self, offset: u64) -> Result<Frame> {
        let (header_bytes, header) = self.frame_header(offset)?;
        let mut sealed = vec![0; header.stored_len as usize];
        read_part(&*self.object, self.name, "frame", offset + FrameHeader::BYTES as u64, &mut sealed)?;
        Frame::open(&self.header_bytes, &self.key, &header_bytes, sealed).map_err(|e| in_pack(self.name, e))
    }

    /// A frame that the trailer lists, as it stands in the pack: only what cannot be read is an error.
    pub(crate) fn sealed_frame(&self, listed: &TrailerFrame) -> Result<SealedFrame> {
        if listed.stored_len as usize > FRAME_MOST_BYTES + TAG_BYTES {
            return Err(StoreError::damaged(format!("pack {}", self.name), "its trailer lists an impossible frame"));
        }
        let (mut header, mut sealed) = ([0; FrameHeader::BYTES], vec![0; listed.stored_len as usize]);
        read_part(&*self.object, self.name, "frame header", listed.offset, &mut header)?;
        read_part(&*self.object, self.name, "frame", listed.offset + FrameHeader::BYTES as u64, &mut sealed)?;
        Ok(SealedFrame { header, sealed })
    }

    /// Opens what [`PackReader::sealed_frame`] has read.
    pub(crate) fn open_sealed(&self, SealedFrame { header, sealed }: SealedFrame) -> Result<Frame> {
        self.decode_header(&header)?;
        Frame::open(&self.header_bytes, &self.key, &header, sealed).map_err(|e| in_pack(self.name, e))
    }

    /// Everything before the frames.
    pub(crate) fn front(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; PackHeader::BYTES];
        read_part(&*self.object, self.name, "header", 0, &mut bytes)?;
        Ok(bytes)
    }

    /// Everything behind the frames that the trailer lists.
    pub(crate) fn end(&self, trailer: &Trailer) -> Result<Vec<u8>> {
        let at = trailer.frames.last().map_or(PackHeader::BYTES as u64, TrailerFrame::end);
        // A pack whose trailer was read ends with it and a footer.
        let length = self.bytes().saturating_sub(at).min((TRAILER_MOST_BYTES + TAG_BYTES + Footer::BYTES) as u64);
        let mut bytes = vec![0; length as usize];
        read_part(&*self.object, self.name, "trailer", at, &mut bytes)?;
        Ok(bytes)
    }

    /// Bytes of the pack, as they are.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        read_part(&*self.object, self.name, "content", offset, buffer)
    }
}

/// The bytes of a frame, unopened.
pub(crate) struct SealedFrame {
    header: [u8; FrameHeader::BYTES],
    sealed: Vec<u8>,
}

impl SealedFrame {
    pub(crate) fn hash_into(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&self.header).update(&self.sealed);
    }
}

/// A header that belongs to this repository.
fn fitting(header: PackHeader, id: RepositoryId, keys: &Keys) -> Result<PackHeader> {
    if header.repository != id || header.encryption != keys.encryption {
        return Err(StoreError::damaged("the header", "it belongs to another repository"));
    }
    Ok(header)
}

fn read_footer(object: &dyn ObjectReader, name: PackName) -> Result<Footer> {
    let bytes = object.bytes();
    let mut footer = [0; Footer::BYTES];
    let at = bytes.saturating_sub(Footer::BYTES as u64);
    read_part(object, name, "footer", at, &mut footer)?;
    Footer::decode(&footer, bytes).map_err(|e| in_pack(name, e))
}

fn in_pack(name: PackName, error: StoreError) -> StoreError {
    match error {
        StoreError::Damaged { what, detail } => StoreError::Damaged { what: format!("{what} of pack {name}"), detail },
        other => other,
    }
}

fn read_part(object: &dyn ObjectReader, name: PackName, part: &str, offset: u64, buffer: &mut [u8]) -> Result<()> {
    let end = offset.saturating_add(buffer.len() as u64);
    if end > object.bytes() {
        return Err(StoreError::damaged(format!("the {part} of pack {name}"), "the pack ends before it does"));
    }
    object.read_at(offset, buffer)
}

/// A pack that is about to be emptied: its frames, to be copied or taken apart.
pub struct PackedFrames {
    pack: PackReader,
    trailer: Trailer,
}

impl std::fmt::Debug for PackedFrames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackedFrames({})", self.pack.name)
    }
}

impl PackedFrames {
    pub(crate) fn new(pack: PackReader, keys: &Keys) -> Result<Self> {
        let trailer = pack.trailer(keys)?;
        Ok(Self { pack, trailer })
    }

    /// The frames in their order.
    pub fn iter(&self) -> impl Iterator<Item = PackedFrame<'_>> {
        self.trailer.frames.iter().map(|listed| PackedFrame { pack: &self.pack, listed })
    }
}

/// A frame in a pack.
pub struct PackedFrame<'p> {
    pack: &'p PackReader,
    listed: &'p TrailerFrame,
}

impl std::fmt::Debug for PackedFrame<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackedFrame({} at {})", self.pack.name, self.listed.offset)
    }
}

impl PackedFrame<'_> {
    /// Its chunks, as the trailer lists them.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkId> {
        self.listed.chunks.iter().map(TrailerChunk::id)
    }

    /// Its length in the pack.
    pub fn stored_bytes(&self) -> u64 {
        self.listed.end().saturating_sub(self.listed.offset)
    }

    /// Opens it and shows every chunk, each compared with its id.
    ///
    /// # Errors
    ///
    /// Damage, or what `each` said.
    pub fn read(&self, namer: &Namer, mut each: impl FnMut(ChunkId, ChunkKind, &[u8]) -> Result<()>) -> Result<()> {
        let frame = self.pack.frame(self.listed.offset)?;
        let differs = || in_pack(self.pack.name, StoreError::damaged("a frame", "other chunks are in it than listed"));
        if frame.chunks().len() != self.listed.chunks.len() {
            return Err(differs());
        }
        for (chunk, listed) in frame.chunks().iter().zip(&self.listed.chunks) {
            let bytes = frame.bytes(*chunk);
            if namer.id(chunk.kind, bytes) != listed.id() {
                return Err(differs());
            }
            each(listed.id(), chunk.kind, bytes)?;
        }
        Ok(())
    }

    pub(crate) fn open(&self) -> Result<(PackKind, CompressedFrame)> {
        let SealedFrame { header, sealed } = self.pack.sealed_frame(self.listed)?;
        self.pack.decode_header(&header)?;
        let (pack_header, key) = (&self.pack.header_bytes, &self.pack.key);
        let opened = CompressedFrame::open(pack_header, key, &header, sealed, &self.listed.chunks);
        Ok((self.pack.kind(), opened.map_err(|e| in_pack(self.pack.name, e))?))
    }
}

/// What is in a pack, for those who examine packs: checks, repairs, statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackContents {
    /// Its name.
    pub name: PackName,
    /// What it holds.
    pub kind: PackKind,
    /// Its length.
    pub bytes: u64,
    /// Whether its header can only be read from the copy at its end.
    pub is_header_damaged: bool,
    /// Name, kind and length of every chunk, in the order of their bytes.
    pub chunks: Vec<(ChunkId, ChunkKind, u32)>,
}

impl PackContents {
    pub(crate) fn new(pack: &PackReader, trailer: &Trailer) -> Self {
        let chunks = trailer.frames.iter().flat_map(|frame| &frame.chunks);
        let chunks = chunks.filter_map(|chunk| Some((chunk.id(), chunk.kind()?, chunk.raw_len))).collect();
        let is_header_damaged = pack.is_header_damaged;
        Self { name: pack.name, kind: pack.kind(), bytes: pack.bytes(), is_header_damaged, chunks }
    }
}
