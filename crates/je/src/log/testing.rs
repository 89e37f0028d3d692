//! Logs made from the specification, in any version: what tests have of versions that no library here writes.

use simd_adler32::Adler32;

use super::{EntryType, Lsn};

/// A file of the log under construction.
#[derive(Debug, Clone)]
pub(crate) struct FileBuilder {
    pub(crate) bytes: Vec<u8>,
    pub(crate) number: u32,
    pub(crate) version: u32,
    previous: u32,
}

impl FileBuilder {
    pub(crate) fn new(number: u32, version: u32, last_in_previous: u64) -> Self {
        let mut file = FileBuilder { bytes: Vec::new(), number, version, previous: 0 };
        let mut item = (1_700_000_000_000 + i64::from(number)).to_le_bytes().to_vec();
        item.extend(number.to_le_bytes());
        item.extend(last_in_previous.to_le_bytes());
        item.extend(version.to_le_bytes());
        file.entry(EntryType::FILE_HEADER, &item);
        file
    }

    /// Appends an entry and returns its place.
    pub(crate) fn entry(&mut self, kind: EntryType, item: &[u8]) -> Lsn {
        self.entry_with(kind, 0, item)
    }

    /// With flags; a VLSN of zeros follows where they say so.
    pub(crate) fn entry_with(&mut self, kind: EntryType, flags: u8, item: &[u8]) -> Lsn {
        let offset = self.bytes.len() as u32;
        let is_long = flags & if self.version <= 6 { 0x20 } else { 0x28 } != 0;
        let flags = if self.version <= 6 { flags | self.version as u8 } else { flags };
        let mut summed = vec![kind.0, flags];
        summed.extend(self.previous.to_le_bytes());
        summed.extend((item.len() as u32).to_le_bytes());
        summed.extend(vec![0; if is_long { 8 } else { 0 }]);
        summed.extend(item);
        self.bytes.extend(sum(&summed).to_le_bytes());
        self.bytes.extend(&summed);
        self.previous = offset;
        Lsn::new(self.number, offset)
    }

    pub(crate) fn record(&mut self, bytes: usize) -> Lsn {
        let kind = if self.version >= 8 { EntryType(33) } else { EntryType(1) };
        self.entry(kind, &vec![0x5a; bytes])
    }

    pub(crate) fn commit(&mut self, transaction: i64, time_ms: i64, last: Lsn) -> Lsn {
        let item = transaction_end(self.version, transaction, time_ms, last);
        self.entry(EntryType::COMMIT, &item)
    }

    pub(crate) fn checkpoint_start(&mut self) -> Lsn {
        let item = [packed(1_700_000_000_000), packed(1), text("test")].concat();
        self.entry(EntryType::CHECKPOINT_START, &item)
    }

    pub(crate) fn checkpoint_end(&mut self, start: Lsn, root: Option<Lsn>, first_active: Lsn) -> Lsn {
        let mut item = [text("test"), packed(1_700_000_000_000), packed(start.to_stored())].concat();
        item.push(u8::from(root.is_some()) | if self.version >= 7 { 2 } else { 0 });
        item.extend(root.iter().flat_map(|root| packed(root.to_stored())));
        item.extend(packed(first_active.to_stored()));
        item.extend(vec![packed(1000); if self.version >= 17 { 8 } else { 6 }].concat());
        item.extend(packed(1));
        if (8..=10).contains(&self.version) {
            item.extend([packed(-1), packed(0), packed(0)].concat());
        }
        self.entry(EntryType::CHECKPOINT_END, &item)
    }

    pub(crate) fn last_entry(&self) -> u64 {
        u64::from(self.previous)
    }
}

pub(crate) fn transaction_end(version: u32, transaction: i64, time_ms: i64, last: Lsn) -> Vec<u8> {
    let (id, time, last) = (packed(transaction), packed(time_ms), packed(last.to_stored()));
    let (master, dtvlsn) = (packed(-1), packed(0));
    match version {
        ..=11 => [id, time, last, master].concat(),
        12 => [last, id, time, master].concat(),
        _ => [last, id, time, master, dtvlsn].concat(),
    }
}

pub(crate) fn packed(value: i64) -> Vec<u8> {
    if value.abs() <= 119 {
        return vec![value as i8 as u8];
    }
    let magnitude = (value.abs() - 119).to_le_bytes();
    let bytes = magnitude.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let first = (119 + bytes as i64) * value.signum();
    [vec![first as i8 as u8], magnitude[..bytes].to_vec()].concat()
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    [packed(text.len() as i64), text.as_bytes().to_vec()].concat()
}

pub(crate) fn sum(bytes: &[u8]) -> u32 {
    let mut sum = Adler32::new();
    sum.write(bytes);
    sum.finish()
}

/// Two files with three commits each and a checkpoint in the second, in that version.
pub(crate) fn small_log(version: u32) -> Vec<FileBuilder> {
    let mut first = FileBuilder::new(0, version, 0);
    let mut root = first.entry(EntryType::ROOT, &[7; 40]);
    commits(&mut first, 0);
    let mut second = FileBuilder::new(1, version, first.last_entry());
    let start = second.checkpoint_start();
    root = if version.is_multiple_of(2) { second.entry(EntryType::ROOT, &[8; 40]) } else { root };
    second.checkpoint_end(start, Some(root), start);
    commits(&mut second, 10);
    vec![first, second]
}

fn commits(file: &mut FileBuilder, from: i64) {
    for transaction in from..from + 3 {
        let last = file.record(50);
        file.commit(transaction, 1_700_000_000_000 + transaction * 1000, last);
    }
}
