//! The fuzz targets of treering, by name.
//!
//! What each does is in `fuzzing.rs` of the crate whose decoder it is; here they are only gathered.

mod je;
mod parsers;

use treering_store::fuzzing::Target;

/// Every target.
pub fn targets() -> impl Iterator<Item = &'static Target> {
    [treering_store::fuzzing::TARGETS, treering_snapshot::fuzzing::TARGETS, parsers::TARGETS, je::TARGETS]
        .into_iter()
        .flatten()
}
