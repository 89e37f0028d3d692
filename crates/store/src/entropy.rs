//! Where random bytes come from. Handed in, so that tests can repeat a run; the operating system is the only source in
//! the program.

use crate::error::{Result, StoreError};

/// A source of random bytes fit for keys.
pub trait Entropy: Send + Sync {
    /// Fills the buffer.
    ///
    /// # Errors
    ///
    /// If the source fails; nothing may be used then.
    fn fill(&self, buffer: &mut [u8]) -> Result<()>;
}

/// The operating system's generator (`getrandom`).
#[derive(Debug, Clone, Copy)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        getrandom::fill(buffer).map_err(StoreError::Entropy)
    }
}

pub(crate) fn random<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}
