//! A small store of any format, made by what is known of them: two chunks, three maps, pages that have died.
//!
//! For tests and for the fuzz target. Format 1 is known from its source only; no file of it was at hand.

use crate::store::{BLOCK_BYTES, Format};

/// What a page holds.
enum Body<'a> {
    /// Entries of strings.
    Leaf(Vec<(&'a str, String)>),
    /// Children with their counts.
    Node(Vec<(u64, u64)>),
}

/// A chunk that is being written.
struct Chunk {
    id: u32,
    block: u64,
    bytes: Vec<u8>,
    toc: Vec<u64>,
    format: Format,
}

/// Where the pages of a chunk start.
const HEADER_TEXT: usize = 256;
/// The time of chunks.
const CREATED: &str = "18bcfe56800";
/// The map of data.
const DATA: u32 = 5;

/// The store: version 1 in chunk 1, version 2 in chunk 2.
pub(crate) fn store(format: Format) -> Vec<u8> {
    let meta_map = u32::from(format != Format::One);
    let entry = |key: &'static str| (key, format!("value of {key}"));
    let mut first = Chunk::new(1, 2, format);
    let a = first.page(DATA, &Body::Leaf(vec![entry("a"), entry("b")]));
    let b = first.page(DATA, &Body::Leaf(vec![entry("c")]));
    let node = first.page(DATA, &Body::Node(vec![(a, 2), (b, 1)]));
    let names = || vec![("map.5", "name:table.5,createVersion:1".to_owned()), ("name.table.5", "5".to_owned())];
    let meta = (meta_map > 0).then(|| first.page(meta_map, &Body::Leaf(names())));
    let layout = |chunk: &mut Chunk, more: Option<(&'static str, String)>, node: u64| {
        let mut entries: Vec<_> = more.into_iter().collect();
        match meta {
            Some(meta) => entries.extend([("meta.id", "1".to_owned()), ("root.1", format!("{meta:x}"))]),
            None => entries.extend(names()),
        }
        entries.push(("root.5", format!("{node:x}")));
        chunk.page(0, &Body::Leaf(entries))
    };
    let root = layout(&mut first, None, node);
    let (first_bytes, described) = first.finish(root, 1, 3);
    let mut second = Chunk::new(2, 3, format);
    let b = second.page(DATA, &Body::Leaf(vec![entry("c"), entry("d")]));
    let node = second.page(DATA, &Body::Node(vec![(a, 2), (b, 2)]));
    let (live, dead) = if meta.is_some() { (2, "16") } else { (1, "0e") };
    let occupancy = if format == Format::One { String::new() } else { format!(",occupancy:{dead}") };
    let listed = format!("{described},livePages:{live}{occupancy}");
    let listed = if format == Format::Three { format!("block:2,{listed}") } else { listed };
    let root = layout(&mut second, Some(("chunk.1", listed)), node);
    let (second_bytes, _) = second.finish(root, 2, 0);
    let header =
        format!("H:2,block:3,blockSize:1000,chunk:2,clean:1,created:{CREATED},format:{},version:2", format.number());
    let mut file = checked(&header, BLOCK_BYTES as usize, 0).repeat(2);
    file.extend(first_bytes);
    file.extend(second_bytes);
    file
}

/// A text with its checksum, filled up to a length.
fn checked(text: &str, length: usize, fill: u8) -> Vec<u8> {
    let sum = crate::store::fletcher32(text.as_bytes());
    let mut bytes = format!("{text},fletcher:{sum:x}").into_bytes();
    if fill == 0 {
        bytes.push(b'\n');
    }
    bytes.resize(length, fill);
    bytes
}

impl Chunk {
    fn new(id: u32, block: u64, format: Format) -> Self {
        Self { id, block, bytes: vec![b' '; HEADER_TEXT], toc: Vec::new(), format }
    }

    /// Writes a page; gives its position.
    fn page(&mut self, map: u32, body: &Body<'_>) -> u64 {
        let mut bytes = Vec::new();
        if self.format != Format::One {
            bytes.push(self.toc.len() as u8);
        }
        bytes.push(map as u8);
        let is_node = u8::from(matches!(body, Body::Node(_)));
        match body {
            Body::Leaf(entries) => {
                bytes.extend([entries.len() as u8, is_node]);
                entries.iter().for_each(|(key, _)| string(&mut bytes, key));
                entries.iter().for_each(|(_, value)| string(&mut bytes, value));
            }
            Body::Node(children) => {
                bytes.extend([children.len() as u8 - 1, is_node]);
                children.iter().for_each(|(position, _)| bytes.extend(position.to_be_bytes()));
                bytes.extend(children.iter().map(|(_, count)| *count as u8));
                string(&mut bytes, "c");
            }
        }
        let (offset, length) = (self.bytes.len() as u32, bytes.len() as u32 + 6);
        let check = |number: u32| (number >> 16) as u16 ^ number as u16;
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend((check(self.id) ^ check(offset) ^ check(length)).to_be_bytes());
        self.bytes.extend(bytes);
        let code = (0..31_u64).find(|code| u64::from(length) <= (2 + (code & 1)) << ((code >> 1) + 4)).unwrap_or(31);
        let place = u64::from(offset) << 6 | code << 1 | u64::from(is_node);
        self.toc.push(u64::from(map) << 38 | place);
        u64::from(self.id) << 38 | place
    }

    /// The chunk in one block, and how the layout of the next version describes it.
    fn finish(mut self, root: u64, version: u64, next: u64) -> (Vec<u8>, String) {
        let toc = self.bytes.len();
        let (id, pages, block) = (self.id, self.toc.len(), self.block);
        let mut text = format!("chunk:{id:x},len:1,max:400,map:5,pages:{pages:x},root:{root:x},time:{id:x}00");
        text += &format!(",version:{version:x},next:{next:x}");
        if self.format != Format::One {
            text += &format!(",toc:{toc:x}");
            self.bytes.extend(self.toc.iter().flat_map(|entry| entry.to_be_bytes()));
        }
        if self.format != Format::Three {
            text += &format!(",block:{block:x}");
        }
        self.bytes.splice(..text.len(), text.bytes());
        self.bytes.splice(HEADER_TEXT - 1..HEADER_TEXT, [b'\n']);
        let footer = match self.format {
            Format::Three => format!("chunk:{id:x},len:1,version:{version:x}"),
            _ => format!("chunk:{id:x},block:{block:x},version:{version:x}"),
        };
        self.bytes.resize(BLOCK_BYTES as usize - 128, 0);
        let mut footer = checked(&footer, 127, b' ');
        footer.push(b'\n');
        self.bytes.extend(footer);
        (self.bytes, text)
    }
}

fn string(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(text.len() as u8);
    bytes.extend(text.bytes());
}
