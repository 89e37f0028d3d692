//! Where a store is read from.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes with random access: a file, or a stream in a repository.
pub trait Source {
    /// How many there are, now.
    ///
    /// # Errors
    ///
    /// If that cannot be found out.
    fn bytes(&mut self) -> io::Result<u64>;

    /// Reads from this offset until the buffer is full or the bytes end; says how many it read.
    ///
    /// # Errors
    ///
    /// If reading fails.
    fn read_at(&mut self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
}

impl Source for &File {
    fn bytes(&mut self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&mut self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match FileExt::read_at(*self, rest, at.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl Source for &[u8] {
    fn bytes(&mut self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&mut self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let from = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let length = from.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), from.get(..length)) {
            to.copy_from_slice(from);
        }
        Ok(length)
    }
}

/// Exactly so many bytes from this offset; `None` if the source ends before.
pub(crate) fn read_exact(source: &mut dyn Source, at: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; length];
    let got = source.read_at(&mut buffer, at)?;
    Ok((got == length).then_some(buffer))
}
