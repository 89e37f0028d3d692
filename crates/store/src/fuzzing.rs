//! Entry points for fuzzing (feature `fuzzing`): each takes any bytes, must not panic, and asserts what a decoder
//! promises: what it accepts is encoded to the same bytes again.
//!
//! The fuzz targets in `fuzz/` and the test that replays `tests/corpus/` run the same [`TARGETS`]. Bytes behind a check
//! or a seal would never get past it, so where there is one, the entry point puts it right first, with keys that are
//! fixed: what is fuzzed is what somebody who has the key could write. Never part of the program.

#![allow(clippy::panic, clippy::expect_used, clippy::missing_panics_doc, reason = "assertions are what this is for")]

use treering_chunk::{ChunkId, ChunkKind};

use crate::codec;
use crate::config::{Config, Features, RepositoryId};
use crate::entropy::Entropy;
use crate::error::Result;
use crate::keys::slot::{Slot, SlotDraft};
use crate::keys::{DerivationCost, KeyFile, Keys, MasterKey, Unlock};
use crate::limits::{CHUNK_MOST_BYTES, FRAME_MOST_BYTES, TRAILER_MOST_BYTES};
use crate::pack::format::{
    Codec, Footer, FrameHeader, PackHeader, Trailer, TrailerChunk, TrailerFrame, frame_associated, frame_key,
};
use crate::pack::frame::{Compression, Frame, RawFrame};
use crate::pack::read::PackReader;
use crate::pack::{PackKind, PackName};
use crate::record::{CRITICAL, Record, RecordKind};
use crate::seal::{Encryption, TAG_BYTES};
use crate::session::LiveSession;
use crate::storage::ObjectReader;

/// A decoder under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: of its folder in the corpus too.
    pub name: &'static str,
    /// Runs it. Whether the bytes were accepted.
    pub run: fn(&[u8]) -> bool,
    /// Inputs that are accepted, as the program writes them.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of this crate.
pub const TARGETS: &[Target] = &[
    Target { name: "config", run: config, seeds: config_seeds },
    Target { name: "key_slot", run: key_slot, seeds: key_slot_seeds },
    Target { name: "key_file", run: key_file, seeds: key_file_seeds },
    Target { name: "record", run: record, seeds: record_seeds },
    Target { name: "record_sealed", run: record_sealed, seeds: record_sealed_seeds },
    Target { name: "pack_header", run: pack_header, seeds: || vec![header().encode()] },
    Target { name: "pack_footer", run: pack_footer, seeds: || vec![footer().encode()] },
    Target { name: "frame_header", run: frame_header, seeds: frame_header_seeds },
    Target { name: "trailer", run: trailer, seeds: trailer_seeds },
    Target { name: "frame_raw", run: frame_raw, seeds: frame_raw_seeds },
    Target { name: "frame_zstd", run: frame_zstd, seeds: frame_zstd_seeds },
    Target { name: "pack", run: pack, seeds: pack_seeds },
    Target { name: "lost", run: lost, seeds: lost_seeds },
    Target { name: "registration", run: registration, seeds: registration_seeds },
];

const ID: RepositoryId = RepositoryId::from_bytes([1; 16]);

/// Random bytes that are always the same.
struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        buffer.fill(7);
        Ok(())
    }
}

fn keys() -> Keys {
    Keys::new(&MasterKey::from_bytes([1; 32]), Encryption::None)
}

fn config(bytes: &[u8]) -> bool {
    // The tag of its end is put right: what is fuzzed lies before it.
    let tag = keys().config_tag(bytes);
    let signed = [bytes, &tag].concat();
    // Nobody has the key of these bytes: they may be decoded, not be believed.
    assert!(Config::decode(bytes).and_then(|config| config.verify(&keys())).is_err(), "a config without its tag");
    let Ok(config) = Config::decode(&signed).and_then(|config| config.verify(&keys())) else { return false };
    assert_eq!(config.encode(&keys()), signed);
    true
}

fn config_seeds() -> Vec<Vec<u8>> {
    let sizes = treering_chunk::CutSizes::new(64 << 10, 8 << 10).expect("sizes");
    let mut config = Config {
        features: Features { incompatible: Features::DRAFT, ..Features::default() },
        encryption: Encryption::None,
        repository: ID,
        created: 5,
        cut_sizes: sizes,
        frame_bytes: 1 << 20,
        extensions: Vec::new(),
    };
    let unsigned = |config: &Config| config.encode(&keys()).split_last_chunk::<32>().expect("a tag").0.to_vec();
    let plain = unsigned(&config);
    config.extensions = vec![(1, b"one".to_vec()), (9, Vec::new())];
    vec![plain, unsigned(&config)]
}

fn slot_unlock() -> Unlock {
    let key = KeyFile::generate(&Fixed).expect("a key");
    Unlock::KeyFile(key)
}

fn key_slot(bytes: &[u8]) -> bool {
    let Ok(slot) = Slot::decode(bytes) else { return false };
    assert_eq!(slot.encode(), bytes);
    // A passphrase would cost what the slot says; a key file costs nothing.
    if let Ok(Some(master)) = slot.open(&slot_unlock()) {
        assert_eq!(master.bytes(), &[1; 32], "a slot gives another key");
    }
    true
}

fn key_slot_seeds() -> Vec<Vec<u8>> {
    let draft = SlotDraft { repository: ID, cost: DerivationCost::FLOOR, created: 5, label: "root@host" };
    let passphrase = Unlock::Passphrase(zeroize::Zeroizing::new("passphrase".into()));
    let slot = |unlock: &Unlock| Slot::new(&draft, unlock, &MasterKey::from_bytes([1; 32]), &Fixed).expect("a slot");
    vec![slot(&slot_unlock()).encode(), slot(&passphrase).encode()]
}

fn key_file(bytes: &[u8]) -> bool {
    let Ok(Ok(key)) = std::str::from_utf8(bytes).map(KeyFile::parse) else { return false };
    let (text, again) = (key.to_text(), KeyFile::parse(&key.to_text()));
    assert_eq!(again.map(|again| again.to_text()), Ok(text));
    true
}

fn key_file_seeds() -> Vec<Vec<u8>> {
    vec![KeyFile::generate(&Fixed).expect("a key").to_text().as_bytes().to_vec()]
}

fn record(bytes: &[u8]) -> bool {
    let Ok((record, rest)) = Record::open_front(bytes, ID, &keys()) else { return false };
    // Nobody makes a seal by chance: it is one of the seeds.
    let whole = bytes.get(..bytes.len() - rest.len()).unwrap_or_default();
    assert!(record_seeds().iter().any(|seed| seed == whole), "a seal was forged");
    assert!(Record::open(whole, ID, &keys()).is_ok_and(|again| again == record));
    true
}

fn record_seeds() -> Vec<Vec<u8>> {
    let record = |kind, flags, body: &[u8]| Record { kind, flags, body: body.to_vec() };
    let records = [record(RecordKind::SNAPSHOT, 0, b"body"), record(RecordKind(900), CRITICAL, b"")];
    records.map(|record| record.seal(ID, &keys(), &Fixed).expect("a record").1).to_vec()
}

/// A header of 72 bytes and a body, sealed with the key that belongs to them.
fn record_sealed(bytes: &[u8]) -> bool {
    let Some((header, body)) = bytes.split_at_checked(72) else { return false };
    let salt = header.get(32..).and_then(<[u8]>::first_chunk).expect("32 bytes");
    let mut sealed = body.to_vec();
    keys().record(salt).and_then(|key| key.seal(0, header, &mut sealed)).expect("a seal");
    let whole = [header, &sealed].concat();
    let Ok(record) = Record::open(&whole, ID, &keys()) else { return false };
    assert_eq!(record.body, body);
    assert!(Record::open_front(&[&whole[..], b"more"].concat(), ID, &keys()).is_ok_and(|(_, rest)| rest == b"more"));
    true
}

fn record_sealed_seeds() -> Vec<Vec<u8>> {
    let without_tag = |bytes: Vec<u8>| bytes.get(..bytes.len() - TAG_BYTES).expect("a tag").to_vec();
    record_seeds().into_iter().map(without_tag).collect()
}

fn header() -> PackHeader {
    PackHeader { kind: PackKind::Meta, repository: ID, salt: [7; 32], encryption: Encryption::None }
}

fn footer() -> Footer {
    Footer { header: header(), offset: 70, stored_len: 17 }
}

fn pack_header(bytes: &[u8]) -> bool {
    let Ok(header) = PackHeader::decode(bytes) else { return false };
    assert_eq!(Some(&header.encode()[..]), bytes.get(..PackHeader::BYTES));
    true
}

/// Puts the check behind the first bytes right, where it stands.
fn with_check(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some((checked, behind)) = bytes.split_at_mut_checked(at) {
        let hash = blake3::hash(checked);
        behind.iter_mut().zip(hash.as_bytes().iter().take(8)).for_each(|(to, from)| *to = *from);
    }
    bytes
}

fn pack_footer(bytes: &[u8]) -> bool {
    let fixed = with_check(bytes, Footer::BYTES - 8);
    let number = |at: usize| fixed.get(at..).and_then(<[u8]>::first_chunk).copied().map_or(0, u64::from_le_bytes);
    let end = number(78).saturating_add(number(86) & 0xffff_ffff).saturating_add(Footer::BYTES as u64);
    let _any_length = Footer::decode(&fixed, bytes.len() as u64);
    let Ok(footer) = Footer::decode(&fixed, end) else { return false };
    assert_eq!(footer.encode(), fixed);
    assert!(footer.stored_len as usize <= TRAILER_MOST_BYTES + TAG_BYTES);
    true
}

fn frame_header(bytes: &[u8]) -> bool {
    let _without = FrameHeader::decode(bytes);
    let fixed = with_check(bytes, FrameHeader::BYTES - 8);
    let Ok(header) = FrameHeader::decode(&fixed) else { return false };
    assert_eq!(header.encode()[..], fixed);
    assert!(header.raw_len as usize <= FRAME_MOST_BYTES && header.stored_len as usize <= FRAME_MOST_BYTES + TAG_BYTES);
    true
}

fn frame_header_seeds() -> Vec<Vec<u8>> {
    let header = |kind, codec| FrameHeader { seal_number: 3, kind, codec, stored_len: 100, raw_len: 1000 }.encode();
    vec![header(PackKind::Data, Codec::Zstd).to_vec(), header(PackKind::Meta, Codec::Raw).to_vec()]
}

/// The plaintext of a trailer, sealed where its frames end.
fn trailer(bytes: &[u8]) -> bool {
    let frames: Result<Trailer> = codec::decode(bytes, TRAILER_MOST_BYTES, "a trailer");
    let last = frames.ok().and_then(|trailer| trailer.frames.last().cloned());
    let end = |frame: TrailerFrame| frame.offset.saturating_add(28).saturating_add(frame.stored_len.into());
    let offset = last.map_or(PackHeader::BYTES as u64, end);
    let footer = Footer { header: header(), offset, stored_len: (bytes.len() + TAG_BYTES) as u32 };
    let mut sealed = bytes.to_vec();
    keys().trailer(&footer.header.salt).and_then(|key| key.seal(0, &footer.encode(), &mut sealed)).expect("a seal");
    let Ok(trailer) = Trailer::open(sealed.clone(), &footer, &keys()) else { return false };
    sealed.extend(footer.encode());
    assert_eq!(trailer.seal(&footer.header, &keys(), offset).ok(), Some(sealed));
    let chunks = trailer.frames.iter().flat_map(|frame| &frame.chunks);
    chunks.for_each(|chunk| assert!(chunk.kind().is_some() && chunk.raw_len as usize <= CHUNK_MOST_BYTES));
    true
}

fn trailer_seeds() -> Vec<Vec<u8>> {
    let chunk = |number, kind| TrailerChunk::new(ChunkId::from_bytes([number; 32]), kind, 1000);
    let frames = vec![
        TrailerFrame {
            offset: 70,
            stored_len: 300,
            chunks: vec![chunk(1, ChunkKind::Tree), chunk(2, ChunkKind::List)],
        },
        TrailerFrame { offset: 398, stored_len: 16, chunks: vec![chunk(3, ChunkKind::Stat)] },
    ];
    [Trailer::default(), Trailer { frames }]
        .map(|trailer| codec::encode(&trailer, TRAILER_MOST_BYTES).expect("a trailer"))
        .to_vec()
}

/// A frame with this body, sealed; the raw length is as told.
fn open_frame(codec: Codec, raw_len: u32, body: &[u8]) -> Option<Frame> {
    let (pack, key) = (header().encode(), frame_key(&header(), &keys()).expect("a key"));
    let stored_len = (body.len() + TAG_BYTES) as u32;
    let header = FrameHeader { seal_number: 5, kind: PackKind::Meta, codec, stored_len, raw_len }.encode();
    let mut sealed = body.to_vec();
    key.seal(5, &frame_associated(&pack, &header), &mut sealed).expect("a seal");
    Frame::open(&pack, &key, &header, sealed).ok()
}

/// The chunks lie one behind the other, and the frame is what they and their table make.
fn assert_frame(frame: &Frame) {
    let mut again = RawFrame::default();
    let mut at = 0;
    for chunk in frame.chunks() {
        assert_eq!((chunk.offset, frame.bytes(*chunk).len()), (at, chunk.length));
        at += chunk.length;
        again.push(ChunkId::from_bytes([0; 32]), chunk.kind, frame.bytes(*chunk)).expect("a chunk of its length");
    }
    assert_eq!(again.close().expect("a frame").body(), frame.body());
}

fn frame_raw(bytes: &[u8]) -> bool {
    let frame = open_frame(Codec::Raw, bytes.len() as u32, bytes);
    frame.iter().for_each(assert_frame);
    frame.is_some()
}

fn raw_frame() -> RawFrame {
    let mut frame = RawFrame::default();
    for (number, kind, length) in [(1, ChunkKind::Tree, 300), (2, ChunkKind::List, 1), (3, ChunkKind::Stat, 0)] {
        frame.push(ChunkId::from_bytes([number; 32]), kind, &vec![number; length]).expect("a chunk");
    }
    frame
}

fn frame_raw_seeds() -> Vec<Vec<u8>> {
    vec![RawFrame::default(), raw_frame()].into_iter().map(|f| f.close().expect("a frame").body().to_vec()).collect()
}

/// Four bytes of raw length, then what zstd shall decompress.
fn frame_zstd(bytes: &[u8]) -> bool {
    let Some((length, body)) = bytes.split_first_chunk::<4>() else { return false };
    let frame = open_frame(Codec::Zstd, u32::from_le_bytes(*length), body);
    frame.iter().for_each(assert_frame);
    frame.is_some()
}

fn frame_zstd_seeds() -> Vec<Vec<u8>> {
    let body = raw_frame().close().expect("a frame").body().to_vec();
    let compressed = zstd::bulk::compress(&body, 3).expect("zstd");
    vec![[&(body.len() as u32).to_le_bytes()[..], &compressed].concat()]
}

/// A pack in memory.
struct Bytes(Vec<u8>);

impl ObjectReader for Bytes {
    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let from = self.0.get(offset as usize..).and_then(|from| from.get(..buffer.len()));
        let missing = || crate::error::StoreError::damaged("a pack", "it ends too soon");
        buffer.copy_from_slice(from.ok_or_else(missing)?);
        Ok(())
    }
}

/// A whole pack, read by its trailer and without it.
fn pack(bytes: &[u8]) -> bool {
    let name = PackName::from_bytes(*blake3::hash(bytes).as_bytes());
    let (keys, object) = (keys(), Box::new(Bytes(bytes.to_vec())));
    let Ok(pack) = PackReader::of(object, name, ID, &keys) else { return false };
    let listed = pack.trailer(&keys).unwrap_or_default();
    let mut opened = 0;
    for frame in &listed.frames {
        let sealed = pack.sealed_frame(frame);
        opened += usize::from(sealed.and_then(|sealed| pack.open_sealed(sealed)).is_ok_and(|frame| {
            assert_frame(&frame);
            true
        }));
    }
    let rebuilt = pack.rebuild_trailer(&keys.namer);
    let mut at = PackHeader::BYTES as u64;
    for frame in &rebuilt.frames {
        assert!(frame.offset >= at && frame.end() <= bytes.len() as u64, "frames do not overlap");
        at = frame.end();
    }
    assert!(opened <= rebuilt.frames.len(), "what the trailer finds, the walk finds too");
    true
}

fn pack_seeds() -> Vec<Vec<u8>> {
    let (header, keys) = (header(), keys());
    let (front, key) = (header.encode(), frame_key(&header, &keys).expect("a key"));
    let (mut pack, mut trailer) = (front.clone(), Trailer::default());
    for (number, compression) in [(0, Compression::Off), (1, Compression::DEFAULT)] {
        let closed = raw_frame().close().and_then(|frame| frame.compress(compression)).expect("a frame");
        let frame = closed.seal(&front, &key, number, PackKind::Meta).expect("a frame");
        let (offset, stored_len) = (pack.len() as u64, frame.sealed.len() as u32);
        trailer.frames.push(TrailerFrame { offset, stored_len, chunks: frame.chunks });
        pack.extend(frame.header);
        pack.extend(frame.sealed);
    }
    let end = trailer.seal(&header, &keys, pack.len() as u64).expect("a trailer");
    pack.extend(end);
    vec![pack]
}

fn lost(bytes: &[u8]) -> bool {
    let Ok(chunks) = crate::lost::decode_lost(bytes) else { return false };
    let again: Vec<_> = chunks.iter().map(|(id, kind)| (*id.as_bytes(), *kind as u8)).collect();
    assert_eq!(codec::encode(&again, bytes.len()).ok().as_deref(), Some(bytes));
    true
}

fn lost_seeds() -> Vec<Vec<u8>> {
    let lists: [&[([u8; 32], u8)]; 2] = [&[], &[([1; 32], 1), ([2; 32], 5)]];
    lists.map(|list| codec::encode(&list, 1 << 20).expect("a list")).to_vec()
}

/// The body of a registration; the names of packs behind it are a part of `record`.
fn registration(bytes: &[u8]) -> bool {
    let Ok((_, sealed)) = Record::new(RecordKind::SESSION, bytes.to_vec()).seal(ID, &keys(), &Fixed) else {
        return false;
    };
    let names = [[3; 32], [4; 32]].concat();
    // The last name is half written.
    let whole = [&sealed[..], &names, &[5; 31]].concat();
    let Ok(session) = LiveSession::open(&whole, ID, &keys()) else { return false };
    assert_eq!(session.packs, [PackName::from_bytes([3; 32]), PackName::from_bytes([4; 32])]);
    let parent = session.parent.map(|name| *name.as_bytes());
    assert_eq!(codec::encode(&parent, 64).ok().as_deref(), Some(bytes));
    true
}

fn registration_seeds() -> Vec<Vec<u8>> {
    [None, Some([9u8; 32])].map(|parent| codec::encode(&parent, 64).expect("a registration")).to_vec()
}
