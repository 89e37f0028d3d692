//! Whether the log of an environment is whole, and what it says.
//!
//! Owns the judgement: what is damage, what a crash leaves and JE mends, and what is only worth knowing. It looks at the
//! log alone: that files which were cleaned are referred to by nothing cannot be seen without the Btree.
//! Never: writes, or opens a file but through a [`Source`].
//!
//! Invariant: everything that makes the log other than what JE wrote is a finding; no finding is an error that JE's own
//! recovery is made for.

mod finding;
mod report;
mod source;
mod verifier;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use finding::{CheckpointPart, Finding, Problem, Severity};
pub use report::Report;
pub(crate) use source::kind_in;
pub use source::{FolderSource, Source};
pub use verifier::Verifier;

use crate::log::{Entry, Listing};

/// Reads all files of an environment once, in order, and judges. `visit` sees every entry, also those behind a break.
///
/// A file that cannot be read is a finding.
pub fn verify(listing: &Listing, source: &mut dyn Source, visit: &mut dyn FnMut(&Entry<'_>)) -> Report {
    let mut verifier = Verifier::new(listing);
    for (number, file) in &listing.files {
        let scanned = source.scan(*number, &mut |entry| {
            verifier.entry(entry);
            visit(entry);
        });
        verifier.file(*number, &file.path, scanned);
    }
    verifier.finish(source)
}
