//! A writer of zip archives, for jars.
//!
//! Owns: laying out stored and deflated entries and the directory behind them.
//! Never: reads an archive, or writes one beyond the 4 GiB and 65,535 entries of plain zip.
//! Invariant: the bytes are a function of the entries and their date.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::calendar::Date;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// Version 2.0, the first that can deflate.
const VERSION: u16 = 20;
/// Compression level, that of most build tools.
const LEVEL: u32 = 6;

/// An archive on its way to `out`.
pub(crate) struct ZipWriter<W> {
    out: W,
    offset: usize,
    directory: Vec<u8>,
    entries: u16,
    date: (u16, u16),
}

impl<W: Write> ZipWriter<W> {
    /// An empty archive, all of whose entries carry one date.
    pub(crate) fn new(out: W, date: Date) -> Self {
        Self { out, offset: 0, directory: Vec::new(), entries: 0, date: date.dos() }
    }

    /// Adds the bytes as they are: what build tools do with jars inside a jar.
    pub(crate) fn store(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.add(name, STORED, bytes, bytes)
    }

    /// Adds the bytes compressed.
    pub(crate) fn deflate(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(LEVEL));
        encoder.write_all(bytes)?;
        self.add(name, DEFLATED, bytes, &encoder.finish()?)
    }

    /// Writes the directory and gives the output back.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        let mut end = Vec::new();
        put32(&mut end, 0x0605_4b50);
        put16(&mut end, &[0, 0, self.entries, self.entries]);
        put32(&mut end, self.directory.len());
        put32(&mut end, self.offset);
        put16(&mut end, &[0]);
        self.out.write_all(&self.directory)?;
        self.out.write_all(&end)?;
        Ok(self.out)
    }

    fn add(&mut self, name: &str, method: u16, raw: &[u8], stored: &[u8]) -> io::Result<()> {
        let common = self.common_fields(name, method, raw, stored.len());
        let mut local = Vec::new();
        put32(&mut local, 0x0403_4b50);
        local.extend(&common);
        local.extend(name.as_bytes());
        self.list(name, &common);
        self.out.write_all(&local)?;
        self.out.write_all(stored)?;
        self.offset += local.len() + stored.len();
        Ok(())
    }

    /// What the header of an entry and its line in the directory have in common.
    fn common_fields(&self, name: &str, method: u16, raw: &[u8], stored_len: usize) -> Vec<u8> {
        let mut fields = Vec::new();
        put16(&mut fields, &[VERSION, 0, method, self.date.1, self.date.0]);
        let mut checksum = flate2::Crc::new();
        checksum.update(raw);
        put32(&mut fields, checksum.sum() as usize);
        put32(&mut fields, stored_len);
        put32(&mut fields, raw.len());
        put16(&mut fields, &[name.len() as u16, 0]);
        fields
    }

    fn list(&mut self, name: &str, common: &[u8]) {
        put32(&mut self.directory, 0x0201_4b50);
        put16(&mut self.directory, &[VERSION]);
        self.directory.extend(common);
        // No comment, first disk, no attributes.
        put16(&mut self.directory, &[0, 0, 0, 0, 0]);
        put32(&mut self.directory, self.offset);
        self.directory.extend(name.as_bytes());
        self.entries += 1;
    }
}

fn put16(out: &mut Vec<u8>, values: &[u16]) {
    values.iter().for_each(|value| out.extend(value.to_le_bytes()));
}

fn put32(out: &mut Vec<u8>, value: usize) {
    out.extend((value as u32).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_where_the_directory_says() {
        let mut zip = ZipWriter::new(Vec::new(), Date::of(crate::calendar::FIRST_DAY));
        zip.store("lib/a.jar", b"as it is").unwrap();
        zip.deflate("A.class", &[7; 5000]).unwrap();
        let bytes = zip.finish().unwrap();
        let end = bytes.len() - 22;
        let read32 = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let directory = read32(end + 16);
        assert_eq!(read32(directory), 0x0201_4b50);
        assert_eq!(read32(read32(directory + 42)), 0x0403_4b50);
        assert_eq!(&bytes[39..47], b"as it is");
        assert!(bytes.len() < 1000);
    }
}
