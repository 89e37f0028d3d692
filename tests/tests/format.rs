//! `docs/format.md` is normative: its worked example is what the program writes, byte for byte, and a second parser,
//! written from the document and sharing no code with the store, agrees on every byte of it and of a golden repository.
//!
//! When the format is changed on purpose: `TREERING_WRITE_EXAMPLE=1 cargo test -p treering-tests --test format`.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use treering_chunk::{ChunkKind, CutPolicy, CutSizes, Cutter};
use treering_snapshot::record::{AppEntry, NotCaptured, Owners, Statistics};
use treering_snapshot::stream::Extent;
use treering_snapshot::{Node, NodeKind, Snapshot, Stream, Time};
use treering_store::storage::{Area, Folder, Storage};
use treering_store::{
    Compression, DerivationCost, Encryption, Entropy, InitOptions, OsEntropy, RECORD_MOST_BYTES, Repository, Session,
    SessionMode, Unlock, codec,
};

const CREATED: i64 = 1_793_491_200;
const CONTENT: &[u8] = b"Hello, ring!\n";
const FENCE: &str = "```text example\n";

/// The call number n gives bytes 0x11 × n.
struct Fixed(AtomicU8);

impl Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) -> treering_store::Result<()> {
        buffer.fill(0x11 * (self.0.fetch_add(1, Ordering::Relaxed) + 1));
        Ok(())
    }
}

/// A path within the repository, and what lies there.
type Object = (String, Vec<u8>);

/// An unencrypted repository, and where it lies.
fn repository(entropy: Arc<dyn Entropy>) -> (tempfile::TempDir, PathBuf, Repository) {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("rings");
    let options = InitOptions {
        encryption: Encryption::None,
        unlocks: vec![],
        cost: DerivationCost::FLOOR,
        created: CREATED,
        cut_sizes: CutSizes::new(64 << 10, 8 << 10).unwrap(),
        frame_bytes: 1 << 20,
    };
    let cache = home.path().join("cache");
    let repository = Repository::init(Arc::new(Folder::new(&root)), &options, entropy, cache).unwrap();
    (home, root, repository)
}

/// The example as the program writes it: `hello.txt`, backed up into a new repository. Of its snapshot something may be
/// changed.
fn written(change: impl FnOnce(&mut Snapshot)) -> Vec<Object> {
    let (_home, _, repository) = repository(Arc::new(Fixed(AtomicU8::new(0))));
    let repository = Arc::new(repository);
    let session = Session::start(&repository, None, Compression::Off, SessionMode::Store).unwrap();
    let store = |kind, bytes: &[u8]| {
        let mut sink = session.sink().unwrap();
        let stored = sink.put(kind, bytes).unwrap();
        sink.flush().unwrap();
        session.flush().unwrap();
        Stream { level: 0, extents: vec![Extent::Chunk { id: *stored.id.as_bytes(), bytes: bytes.len() as u64 }] }
    };
    let file = node("hello.txt", 0o644, NodeKind::File { content: store(ChunkKind::Data, CONTENT), links: 0 });
    let tree = store(ChunkKind::Tree, &codec::encode(&file, 1000).unwrap());
    let mut snapshot = snapshot(node("root", 0o755, NodeKind::Folder { tree }));
    change(&mut snapshot);
    session.commit(codec::encode(&snapshot, RECORD_MOST_BYTES).unwrap()).unwrap();
    drop(session);
    objects(&repository)
}

fn node(name: &str, mode: u16, kind: NodeKind) -> Node {
    let modified = Time { seconds: CREATED, nanoseconds: 5 };
    Node { name: name.into(), kind, mode, uid: 0, gid: 0, modified, xattrs: vec![], extensions: vec![] }
}

fn snapshot(root: Node) -> Snapshot {
    let application = AppEntry {
        kind: "sqlite".into(),
        path: b"/hello.txt".to_vec(),
        scope: Some("part".into()),
        verdict: "torn".into(),
        version: None,
        consistency_point: Some("1".into()),
        detail: "no database".into(),
        bytes: 13,
        extensions: vec![(1, b"state".to_vec())],
    };
    let statistics = Statistics {
        files_new: 1,
        total_bytes: 13,
        total_files: 1,
        started_ms: CREATED * 1000,
        ended_ms: CREATED * 1000 + 250,
        ..Statistics::default()
    };
    Snapshot {
        time: Time { seconds: CREATED, nanoseconds: 0 },
        offset_seconds: -3600,
        root,
        paths: vec![b"/hello.txt".to_vec()],
        host: "host".into(),
        user: "root".into(),
        uid: 0,
        gid: 0,
        tags: vec!["tag".into()],
        excludes: vec![],
        parent: None,
        heads: vec![[0xee; 32]],
        stat: None,
        applications: vec![application],
        not_captured: vec![NotCaptured { kind: "h2".into(), path: b"/db".to_vec(), detail: "no".into() }],
        owners: Owners { users: vec![(0, "root".into())], groups: vec![] },
        statistics,
        program: "treering".into(),
        extensions: vec![],
    }
}

fn objects(repository: &Repository) -> Vec<Object> {
    let storage = repository.storage();
    let read = |area, name: &str| storage.read(area, name, 1 << 20).unwrap();
    assert_eq!(read(Area::Config, "config"), read(Area::ConfigCopy, "config"));
    let mut packs: Vec<_> = repository.list_packs().unwrap().into_iter().map(|(name, _)| name).collect();
    packs.sort_by_key(|name| repository.pack_contents(*name).unwrap().chunks[0].1);
    let mut objects = vec![("config".to_owned(), read(Area::Config, "config"))];
    for name in packs.iter().map(ToString::to_string) {
        objects.push((format!("packs/{}/{name}", &name[..2]), read(Area::Packs, &name)));
    }
    for name in repository.list_records(Area::Snapshots).unwrap() {
        objects.push((format!("snapshots/{name}"), read(Area::Snapshots, &name.to_string())));
    }
    objects
}

// ---- The example in the document.

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/format.md")
}

/// The text between the fences.
fn example(text: &str) -> &str {
    let (_, rest) = text.split_once(FENCE).expect("the document has the example");
    rest.split_once("```").expect("the example ends").0
}

/// `= PATH` starts an object; other lines are an offset, bytes, and behind a bar what they mean.
fn read_example(block: &str) -> Vec<Object> {
    let mut objects: Vec<Object> = Vec::new();
    for line in block.lines().filter(|line| !line.is_empty()) {
        if let Some(path) = line.strip_prefix("= ") {
            objects.push((path.to_owned(), Vec::new()));
            continue;
        }
        let bytes = &mut objects.last_mut().unwrap().1;
        let mut words = line.split('|').next().unwrap().split_whitespace();
        assert_eq!(usize::from_str_radix(words.next().unwrap(), 16).unwrap(), bytes.len(), "{line}");
        bytes.extend(words.map(|word| u8::from_str_radix(word, 16).unwrap()));
    }
    objects
}

fn render(objects: &[Object]) -> String {
    let id: [u8; 16] = objects[0].1[36..52].try_into().unwrap();
    let parser = Parser::new(id);
    let mut text = String::new();
    for (path, bytes) in objects {
        let mut at = Bytes::new(bytes);
        parser.object(path, &mut at);
        text.push_str(&format!("= {path}\n{}\n", at.rendered()));
    }
    text.trim_end().to_owned() + "\n"
}

#[test]
fn the_example_is_what_is_written_and_both_parsers_read_it() {
    let objects = written(|_| {});
    let rendered = render(&objects);
    let text = fs::read_to_string(document()).unwrap();
    if std::env::var_os("TREERING_WRITE_EXAMPLE").is_some() {
        let [old, new] = [example(&text), &rendered].map(|block| format!("{FENCE}{block}```"));
        fs::write(document(), text.replacen(&old, &new, 1)).unwrap();
        return;
    }
    assert_eq!(example(&text), rendered, "see the first lines of this test");
    assert_eq!(read_example(example(&text)), objects);
}

#[test]
fn the_example_opens() {
    let text = fs::read_to_string(document()).unwrap();
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("rings");
    let storage = Arc::new(Folder::new(&root));
    storage.create().unwrap();
    for (path, bytes) in read_example(example(&text)) {
        fs::write(root.join(path), bytes).unwrap();
    }
    let cache = home.path().join("cache");
    let repository = Repository::open(storage, &Unlock::Nothing, Arc::new(OsEntropy), cache).unwrap();
    let all = Snapshot::read_all(&repository).unwrap();
    let [(_, read)] = &all.snapshots[..] else { panic!("{all:?}") };
    assert_eq!(*read, snapshot(read.root.clone()));
    let mut reader = repository.reader().unwrap();
    let file = treering_snapshot::tree::find(&mut reader, read.root.tree().unwrap(), b"hello.txt").unwrap().unwrap();
    let NodeKind::File { content, .. } = &file.kind else { panic!("{file:?}") };
    let id = content.extents[0].chunk().unwrap();
    assert_eq!(reader.get(ChunkKind::Data, &id).unwrap(), CONTENT);
}

/// What the example is too small for: compressed frames, lists, stat streams, holes, forgotten records.
#[test]
fn the_second_parser_reads_a_golden() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1/unencrypted/repository");
    let config = fs::read(root.join("config")).unwrap();
    let parser = Parser::new(config[36..52].try_into().unwrap());
    let mut read = 0;
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            parser.object(path.strip_prefix(&root).unwrap().to_str().unwrap(), &mut Bytes::new(&bytes));
            read += 1;
        }
    }
    assert!(read > 5);
}

#[test]
fn the_second_parser_reads_lost_chunks() {
    let (_home, root, repository) = repository(Arc::new(OsEntropy));
    let lost = (0..300u32).map(|i| (repository.namer().id(ChunkKind::Data, &i.to_le_bytes()), ChunkKind::Data));
    repository.record_lost(&repository.lost_chunks().unwrap(), &lost.collect()).unwrap();
    let [name] = repository.list_records(Area::Records).unwrap()[..] else { panic!() };
    let (path, config) = (format!("records/{name}"), fs::read(root.join("config")).unwrap());
    let bytes = fs::read(root.join(&path)).unwrap();
    let mut at = Bytes::new(&bytes);
    Parser::new(config[36..52].try_into().unwrap()).object(&path, &mut at);
    assert_eq!(at.rows.iter().filter(|(_, _, meaning)| meaning == "id").count(), 300);
}

#[test]
fn the_second_parser_reads_a_compressed_record() {
    let objects = written(|snapshot| snapshot.applications = vec![snapshot.applications[0].clone(); 1000]);
    let (path, bytes) = objects.last().unwrap();
    assert!(path.starts_with("snapshots/") && bytes.len() < 4000, "{}", bytes.len());
    let parser = Parser::new(objects[0].1[36..52].try_into().unwrap());
    objects.iter().for_each(|(path, bytes)| parser.object(path, &mut Bytes::new(bytes)));
    assert_eq!(bytes[11], 1);
}

// ---- The second parser: everything below is written from the document alone.

/// Takes bytes from the front and keeps what they mean.
struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
    rows: Vec<(usize, usize, String)>,
}

impl<'a> Bytes<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, rows: Vec::new() }
    }

    fn take(&mut self, length: usize, meaning: impl Into<String>) -> &'a [u8] {
        let taken = &self.bytes[self.at..self.at + length];
        self.rows.push((self.at, length, meaning.into()));
        self.at += length;
        taken
    }

    fn expect(&mut self, expected: &[u8], meaning: &str) {
        let at = self.at;
        assert_eq!(self.take(expected.len(), meaning), expected, "{meaning} at {at:#x}");
    }

    /// A little-endian number of this many bytes.
    fn number(&mut self, length: usize, meaning: &str) -> u64 {
        let value = little_endian(self.take(length, ""));
        self.mean(format!("{meaning}: {value}"));
        value
    }

    /// Says what the last row means.
    fn mean(&mut self, meaning: String) {
        self.rows.last_mut().unwrap().2 = meaning;
    }

    fn varint(&mut self, meaning: &str) -> u64 {
        let (start, first) = (self.at, self.bytes[self.at]);
        let value = match first {
            0..=250 => u64::from(self.take(1, "")[0]),
            251..=253 => {
                let length = 1 << (first - 250);
                let value = little_endian(&self.take(1 + length, "")[1..]);
                let least = [251, 1 << 16, 1 << 32][usize::from(first - 251)];
                assert!(value >= least, "{meaning} at {start:#x} is longer than need be");
                value
            }
            _ => panic!("{meaning} at {start:#x} is no number"),
        };
        self.mean(format!("{meaning}: {value}"));
        value
    }

    fn signed(&mut self, meaning: &str) -> i64 {
        let zigzag = self.varint("");
        let value = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        self.mean(format!("{meaning}: {value}"));
        value
    }

    fn string(&mut self, meaning: &str) -> &'a [u8] {
        let length = self.varint(&format!("length of {meaning}"));
        if length == 0 {
            return &[];
        }
        let bytes = self.take(length as usize, "");
        let shown: String = bytes.escape_ascii().to_string();
        let shown = if shown.len() > 40 { String::new() } else { format!(" \"{shown}\"") };
        self.mean(format!("{meaning}{shown}"));
        bytes
    }

    fn count(&mut self, meaning: &str) -> std::ops::Range<u64> {
        0..self.varint(&format!("count of {meaning}"))
    }

    fn flag(&mut self, meaning: &str) -> bool {
        let byte = self.take(1, meaning)[0];
        assert!(byte < 2);
        byte == 1
    }

    fn rendered(&self) -> String {
        let mut text = String::new();
        for (start, length, meaning) in &self.rows {
            for (line, bytes) in self.bytes[*start..start + length].chunks(16).enumerate() {
                let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                let meaning = if line == 0 { meaning } else { "" };
                let row = format!("{:04x}  {:<47}  | {meaning}", start + 16 * line, hex.join(" "));
                text.push_str(row.trim_end());
                text.push('\n');
            }
        }
        text
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Id, kind and length of each.
type Chunks = Vec<([u8; 32], u8, u64)>;

fn check(bytes: &[u8]) -> [u8; 8] {
    blake3::hash(bytes).as_bytes()[..8].try_into().unwrap()
}

struct Parser {
    id: [u8; 16],
    names: [u8; 32],
    frames: [u8; 32],
    trailers: [u8; 32],
    records: [u8; 32],
    config: [u8; 32],
}

impl Parser {
    fn new(id: [u8; 16]) -> Self {
        let master = blake3::derive_key("treering 2026-11 unencrypted repository v1", &id);
        let derive = |purpose: &str| blake3::derive_key(&format!("treering 2026-11 {purpose} v1"), &master);
        Self {
            id,
            names: derive("chunk names"),
            frames: derive("pack frames"),
            trailers: derive("pack trailers"),
            records: derive("records"),
            config: derive("config"),
        }
    }

    /// The tag of an unencrypted repository.
    fn tag(&self, root: &[u8; 32], salt: &[u8], number: u32, associated: &[u8], message: &[u8]) -> Vec<u8> {
        let key = blake3::keyed_hash(root, salt);
        let bound = [&number.to_le_bytes()[..], &(associated.len() as u64).to_le_bytes(), associated, message];
        blake3::keyed_hash(key.as_bytes(), &bound.concat()).as_bytes()[..16].to_vec()
    }

    fn chunk_id(&self, kind: u8, bytes: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.names, &[&[kind], bytes].concat()).as_bytes()
    }

    fn object(&self, path: &str, at: &mut Bytes<'_>) {
        let (folder, name) = path.rsplit_once('/').unwrap_or_default();
        match folder {
            "" | "copy" => self.config(at),
            "snapshots" => self.record(at, 1),
            "records" => self.record(at, u16::from(at.bytes[6])),
            _ => self.pack(at),
        }
        assert_eq!(at.at, at.bytes.len(), "{path} ends");
        if !matches!(folder, "" | "copy") {
            assert_eq!(name, blake3::hash(at.bytes).to_hex().as_str());
        }
    }

    fn config(&self, at: &mut Bytes<'_>) {
        at.expect(b"TREERING", "magic \"TREERING\"");
        at.expect(&[1, 0], "format version 1");
        at.expect(&[0], "encryption: 0, none");
        at.expect(&[0], "reserved");
        at.expect(&[0; 8], "compatible features");
        at.expect(&[0; 8], "read-compatible features");
        at.expect(&[1, 0, 0, 0, 0, 0, 0, 0], "incompatible features: DRAFT");
        at.expect(&self.id, "repository id");
        at.number(8, "created");
        at.number(4, "general average");
        at.number(4, "fine average");
        at.number(4, "frame target");
        at.expect(&[0; 4], "reserved");
        at.expect(&[0, 0], "count of extensions: 0");
        let tag = *blake3::keyed_hash(&self.config, &at.bytes[..at.at]).as_bytes();
        at.expect(&tag, "tag over everything before");
    }

    fn pack(&self, at: &mut Bytes<'_>) {
        let (kind, salt) = self.pack_header(at);
        let header = &at.bytes[..at.at];
        let footer = &at.bytes[at.bytes.len() - 102..];
        let trailer_at = little_endian(&footer[78..86]) as usize;
        let mut frames = Vec::new();
        while at.at < trailer_at {
            frames.push((at.at as u64, self.frame(at, kind, header, salt)));
        }
        self.trailer(at, &frames);
        let tag = self.tag(&self.trailers, salt, 0, footer, &at.bytes[trailer_at..at.at]);
        at.expect(&tag, "tag of the trailer");
        let stored_len = at.at - trailer_at;
        assert_eq!(self.pack_header(at), (kind, salt));
        at.expect(b"TRFOOTER", "magic \"TRFOOTER\"");
        assert_eq!(at.number(8, "offset of the trailer"), trailer_at as u64);
        assert_eq!(at.number(4, "stored length of the trailer"), stored_len as u64);
        at.expect(&[0; 4], "reserved");
        at.expect(&check(&footer[..94]), "check");
    }

    /// Returns the kind and the salt.
    fn pack_header<'a>(&self, at: &mut Bytes<'a>) -> (u8, &'a [u8]) {
        at.expect(b"TREEPACK", "magic \"TREEPACK\"");
        at.expect(&[1, 0], "pack version 1");
        let kind = at.take(1, "")[0];
        at.mean(format!("kind: {kind}, {}", if kind == 1 { "data" } else { "meta" }));
        at.expect(&[0], "reserved");
        at.expect(&self.id, "repository id");
        let salt = at.take(32, "salt");
        at.expect(&[8, 0], "length of the key section: 8");
        at.expect(&[0], "algorithm: 0, none");
        at.expect(&[0], "key: derived");
        at.expect(&[0; 2], "reserved");
        at.expect(&[0; 4], "key epoch: 0");
        (kind, salt)
    }

    /// Returns its stored length and, for each chunk, its name, kind and length.
    fn frame(&self, at: &mut Bytes<'_>, kind: u8, pack: &[u8], salt: &[u8]) -> (u64, Chunks) {
        let start = at.at;
        at.expect(b"TRF1", "magic \"TRF1\"");
        let number = at.number(4, "seal number") as u32;
        at.expect(&[kind], "kind of the pack");
        let codec = self.codec(at);
        at.expect(&[0; 2], "reserved");
        let stored_len = at.number(4, "stored length");
        let raw_len = at.number(4, "raw length") as usize;
        at.expect(&check(&at.bytes[start..start + 20]), "check");
        let header = &at.bytes[start..at.at];
        let sealed = &at.bytes[at.at..at.at + stored_len as usize - 16];
        let chunks = if codec == 0 {
            assert_eq!(sealed.len(), raw_len);
            self.body(at, raw_len)
        } else {
            at.take(sealed.len(), "compressed body");
            let body = zstd::bulk::decompress(sealed, raw_len).unwrap();
            assert_eq!(body.len(), raw_len);
            self.body(&mut Bytes::new(&body), raw_len)
        };
        let tag = self.tag(&self.frames, salt, number, &[pack, header].concat(), sealed);
        at.expect(&tag, "tag of the frame");
        (stored_len, chunks)
    }

    fn body(&self, at: &mut Bytes<'_>, raw_len: usize) -> Chunks {
        let end = at.at + raw_len;
        let table_len = little_endian(&at.bytes[end - 4..end]) as usize;
        let mut table = Bytes::new(&at.bytes[..end - 4]);
        table.at = end - 4 - table_len;
        let table_at = table.at;
        let mut chunks = Vec::new();
        for _ in table.count("chunks") {
            let (kind, length) = (table.take(1, "")[0], table.varint(""));
            let chunk = &at.bytes[at.at..at.at + length as usize];
            self.chunk(at, kind, length as usize);
            chunks.push((self.chunk_id(kind, chunk), kind, length));
        }
        assert_eq!((at.at, table.at), (table_at, end - 4));
        for _ in at.count("chunks") {
            at.number(1, "kind");
            at.varint("length");
        }
        assert_eq!(at.number(4, "length of the table"), table_len as u64);
        chunks
    }

    fn chunk(&self, at: &mut Bytes<'_>, kind: u8, length: usize) {
        let end = at.at + length;
        let mut last: Option<&[u8]> = None;
        match kind {
            1 => drop(at.take(length, "chunk of data")),
            2 => {
                while at.at < end {
                    let name = self.node(at);
                    assert!(last.is_none_or(|last| last < name));
                    last = Some(name);
                }
            }
            3 => self.extents(at),
            4 => {
                while at.at < end {
                    self.segment(at);
                }
            }
            5 => {
                self.record(&mut Bytes::new(&at.bytes[at.at..end]), 1);
                at.take(length, "second copy of the snapshot record");
            }
            other => panic!("chunk of kind {other}"),
        }
        assert_eq!(at.at, end);
    }

    fn trailer(&self, at: &mut Bytes<'_>, frames: &[(u64, (u64, Chunks))]) {
        assert_eq!(at.count("frames").end, frames.len() as u64);
        for (offset, (stored_len, chunks)) in frames {
            assert_eq!(at.varint("offset"), *offset);
            assert_eq!(at.varint("stored length"), *stored_len);
            assert_eq!(at.count("chunks").end, chunks.len() as u64);
            for (id, kind, length) in chunks {
                at.expect(id, "id");
                assert_eq!(at.number(1, "kind"), u64::from(*kind));
                assert_eq!(at.varint("length"), *length);
            }
        }
    }

    fn record(&self, at: &mut Bytes<'_>, kind: u16) {
        at.expect(b"TRRC", "magic \"TRRC\"");
        at.expect(&[1, 0], "record version 1");
        at.expect(&kind.to_le_bytes(), &format!("kind: {kind}"));
        at.expect(&[0; 2], "flags");
        at.expect(&[0], "algorithm: 0, none");
        let codec = self.codec(at);
        at.expect(&[0; 4], "key epoch: 0");
        at.expect(&self.id, "repository id");
        let salt = at.take(32, "salt");
        let stored_len = at.number(4, "stored length") as usize;
        let raw_len = at.number(4, "raw length") as usize;
        let (header, end) = (&at.bytes[..at.at], at.at + stored_len);
        if codec == 0 {
            assert_eq!(stored_len, raw_len);
            self.record_body(at, kind, raw_len);
        } else {
            let body = zstd::bulk::decompress(at.take(stored_len, "compressed body"), raw_len).unwrap();
            assert_eq!(body.len(), raw_len);
            self.record_body(&mut Bytes::new(&body), kind, raw_len);
        }
        assert_eq!(at.at, end);
        let tag = self.tag(&self.records, salt, 0, header, &at.bytes[header.len()..end]);
        at.expect(&tag, "tag of the record");
    }

    fn record_body(&self, at: &mut Bytes<'_>, kind: u16, length: usize) {
        let end = at.at + length;
        match kind {
            1 => self.snapshot(at),
            4 => self.lost_chunks(at),
            other => {
                assert_eq!(other, 2);
                let record = at.take(length, "the record that was dropped");
                self.record(&mut Bytes::new(record), 1);
            }
        }
        assert_eq!(at.at, end);
    }

    fn codec(&self, at: &mut Bytes<'_>) -> u8 {
        let codec = at.take(1, "")[0];
        assert!(codec < 2);
        at.mean(format!("codec: {codec}, {}", if codec == 0 { "raw" } else { "zstd" }));
        codec
    }

    fn lost_chunks(&self, at: &mut Bytes<'_>) {
        let mut last: Option<&[u8]> = None;
        for _ in at.count("lost chunks") {
            let id = at.take(32, "id");
            assert!(last.is_none_or(|last| last < id));
            assert!((1..=5).contains(&at.number(1, "kind")));
            last = Some(id);
        }
    }

    fn snapshot(&self, at: &mut Bytes<'_>) {
        self.time(at, "time");
        at.signed("offset from UTC");
        self.node(at);
        for _ in at.count("paths") {
            at.string("path");
        }
        at.string("host");
        at.string("user");
        at.varint("uid");
        at.varint("gid");
        for _ in at.count("tags") {
            at.string("tag");
        }
        for _ in at.count("excludes") {
            at.string("exclude");
        }
        if at.flag("parent: 0 none, 1 some") {
            at.take(32, "parent");
        }
        for _ in at.count("heads") {
            at.take(32, "head");
        }
        if at.flag("stat stream: 0 none, 1 some") {
            self.stream(at);
        }
        for _ in at.count("applications") {
            self.application(at);
        }
        for _ in at.count("not captured") {
            for what in ["kind", "path", "detail"] {
                at.string(what);
            }
        }
        for what in ["users", "groups"] {
            for _ in at.count(what) {
                at.varint("number");
                at.string("name");
            }
        }
        self.statistics(at);
        at.string("program");
        self.extensions(at);
    }

    fn application(&self, at: &mut Bytes<'_>) {
        at.string("kind");
        at.string("path");
        if at.flag("scope: 0 none, 1 some") {
            at.string("scope");
        }
        at.string("verdict");
        for what in ["version", "consistency point"] {
            if at.flag(&format!("{what}: 0 none, 1 some")) {
                at.string(what);
            }
        }
        at.string("detail");
        at.varint("bytes");
        self.extensions(at);
    }

    fn statistics(&self, at: &mut Bytes<'_>) {
        for what in [
            "files_new",
            "files_changed",
            "files_unmodified",
            "dirs_new",
            "dirs_changed",
            "dirs_unmodified",
            "errors",
            "total_bytes",
            "total_files",
            "chunks_new",
            "added_bytes",
            "stored_bytes",
        ] {
            at.varint(what);
        }
        at.signed("started_ms");
        at.signed("ended_ms");
    }

    fn time(&self, at: &mut Bytes<'_>, what: &str) {
        at.signed(&format!("{what}, seconds"));
        assert!(at.varint(&format!("{what}, nanoseconds")) < 1_000_000_000);
    }

    fn extensions(&self, at: &mut Bytes<'_>) {
        let mut last = None;
        for _ in at.count("extensions") {
            let tag = at.varint("tag");
            assert!(last.is_none_or(|last| last < tag));
            last = Some(tag);
            at.string("extension");
        }
    }

    fn node<'a>(&self, at: &mut Bytes<'a>) -> &'a [u8] {
        let name = at.string("name");
        match at.varint("kind of node") {
            0 => self.stream(at),
            1 => {
                self.stream(at);
                at.varint("hard link group");
            }
            2 => drop(at.string("target")),
            3 | 4 => {}
            5 | 6 => drop(at.varint("device")),
            other => panic!("node of kind {other}"),
        }
        at.varint("mode");
        at.varint("uid");
        at.varint("gid");
        self.time(at, "modified");
        let mut last: Option<&[u8]> = None;
        for _ in at.count("extended attributes") {
            let name = at.string("attribute");
            assert!(last.is_none_or(|last| last < name));
            last = Some(name);
            at.string("value");
        }
        self.extensions(at);
        name
    }

    fn stream(&self, at: &mut Bytes<'_>) {
        at.number(1, "level");
        self.extents(at);
    }

    fn extents(&self, at: &mut Bytes<'_>) {
        for _ in at.count("extents") {
            match at.varint("kind of extent") {
                0 => drop(at.take(32, "id")),
                1 => {}
                other => panic!("extent of kind {other}"),
            }
            at.varint("bytes");
        }
    }

    fn segment(&self, at: &mut Bytes<'_>) {
        at.varint("depth");
        at.flag("is first");
        at.varint("device");
        for _ in at.count("entries") {
            at.take(1, "tag");
            at.signed("inode step");
            at.signed("ctime - mtime");
        }
    }
}

// ---- Cutting, as the document describes it.

/// RFC 1321, for the table of the gear hash.
fn md5(message: &[u8]) -> [u8; 16] {
    let shifts = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut padded = [message, &[0x80]].concat();
    padded.resize(padded.len().next_multiple_of(64) + if padded.len() % 64 > 56 { 64 } else { 0 }, 0);
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&(8 * message.len() as u64).to_le_bytes());
    let mut state = [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        let [mut a, mut b, mut c, mut d] = state;
        for i in 0..64 {
            let (f, g) = match i / 16 {
                0 => ((b & c) | (!b & d), i),
                1 => ((d & b) | (!d & c), (5 * i + 1) % 16),
                2 => (b ^ c ^ d, (3 * i + 5) % 16),
                _ => (c ^ (b | !d), 7 * i % 16),
            };
            let word = little_endian(&block[4 * g..4 * g + 4]) as u32;
            let constant = (((i + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(f).wrapping_add(constant).wrapping_add(word);
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(shifts[i / 16][i % 4]));
        }
        for (state, add) in state.iter_mut().zip([a, b, c, d]) {
            *state = state.wrapping_add(add);
        }
    }
    state.map(u32::to_le_bytes).concat().try_into().unwrap()
}

const MASKS: [u64; 11] = [
    0x0000_d900_0353_0000,
    0x0000_d901_0353_0000,
    0x0000_d903_0353_0000,
    0x0000_d903_1353_0000,
    0x0000_d90f_0353_0000,
    0x0000_d903_0353_7000,
    0x0000_d907_0353_7000,
    0x0000_d907_0753_7000,
    0x0000_d917_0753_7000,
    0x0000_d917_4753_7000,
    0x0000_d917_6753_7000,
];

fn described_cut(gear: &[u64; 256], average: usize, bytes: &[u8]) -> usize {
    let bits = average.trailing_zeros() as usize;
    let (small, large) = (MASKS[bits + 1 - 11], MASKS[bits - 1 - 11]);
    let longest = bytes.len().min(4 * average);
    let mut hash = 0u64;
    for (i, byte) in bytes.iter().enumerate().take(longest / 2 * 2).skip(average / 4) {
        hash = (hash << 1).wrapping_add(gear[usize::from(*byte)]);
        let mask = if i < average.min(longest) / 2 * 2 { small } else { large };
        if hash & mask == 0 {
            return i;
        }
    }
    longest
}

#[test]
fn streams_are_cut_as_described() {
    let seed = 0x0123_4567_89ab_cdef;
    let gear: [u64; 256] =
        std::array::from_fn(|byte| u64::from_be_bytes(md5(&[byte as u8; 64])[..8].try_into().unwrap()) ^ seed);
    let mut noise = vec![0; 6 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    for average in (12..=20).map(|bits| 1u32 << bits) {
        let cutter = Cutter::new(CutSizes::new(average, average).unwrap(), seed);
        for length in [noise.len(), noise.len() - 1, 4 * average as usize + 1, average as usize + 1, 1] {
            let (mut rest, mut cuts) = (&noise[..length], 0);
            while let Some(length) = cutter.cut(CutPolicy::General, rest, true) {
                assert_eq!(length, described_cut(&gear, average as usize, rest), "cut {cuts} at {average}");
                (rest, cuts) = (&rest[length..], cuts + 1);
            }
        }
    }
}
