//! Reading and writing fixed layouts: little-endian numbers and byte strings of known length.
//!
//! Never allocates on reading; every read is checked against what is left.

use crate::error::{Result, StoreError};

/// Takes fields from the front of a byte slice.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub(crate) fn damaged(&self, detail: impl Into<String>) -> StoreError {
        StoreError::damaged(self.what, detail)
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        let (field, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.damaged("it is cut short"))?;
        self.rest = rest;
        Ok(field)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.damaged("it is cut short"))?;
        self.rest = rest;
        Ok(*field)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn magic<const N: usize>(&mut self, magic: &[u8; N]) -> Result<()> {
        if &self.array::<N>()? != magic {
            return Err(self.damaged("it does not start with its magic bytes"));
        }
        Ok(())
    }

    pub(crate) fn zeros(&mut self, length: usize) -> Result<()> {
        if self.bytes(length)?.iter().any(|byte| *byte != 0) {
            return Err(self.damaged("a reserved field is not zero"));
        }
        Ok(())
    }

    pub(crate) fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.damaged("it is longer than it should be")) }
    }
}

/// A sorted list of (tag, bytes) that ends extensible structures; unknown tags are kept.
pub type Extensions = Vec<(u16, Vec<u8>)>;

pub(crate) fn put_extensions(out: &mut Vec<u8>, extensions: &Extensions) {
    out.extend((extensions.len() as u16).to_le_bytes());
    for (tag, bytes) in extensions {
        out.extend(tag.to_le_bytes());
        out.extend((bytes.len() as u32).to_le_bytes());
        out.extend(bytes);
    }
}

pub(crate) fn take_extensions(fields: &mut Fields<'_>) -> Result<Extensions> {
    let count = fields.u16()?;
    let mut extensions = Extensions::new();
    for _ in 0..count {
        let (tag, length) = (fields.u16()?, fields.u32()?);
        if extensions.last().is_some_and(|(before, _)| *before >= tag) {
            return Err(fields.damaged("its extensions are not in order"));
        }
        extensions.push((tag, fields.bytes(length as usize)?.to_vec()));
    }
    Ok(extensions)
}
