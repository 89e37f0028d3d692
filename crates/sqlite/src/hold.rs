//! One holder at a time of the descriptors of a database, within this process.
//!
//! POSIX record locks belong to a process and an inode: closing any descriptor of the inode drops them all, whichever
//! part of the program opened it. Two names of one database (hard links) in two captures on two threads would do that
//! to each other.
//!
//! Owns the list of inodes that are held; never opens anything itself.
//!
//! Invariant: this crate opens and closes descriptors of a possible database only while it has the [`Hold`] of its
//! inode, and a connection to it lives shorter than that hold.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Device and inode.
type Key = (u64, u64);

static HELD: Mutex<BTreeSet<Key>> = Mutex::new(BTreeSet::new());
static FREED: Condvar = Condvar::new();

/// The right to open and close descriptors of one inode.
#[derive(Debug)]
pub(crate) struct Hold(Key);

impl Hold {
    /// Waits until nobody else in this process holds the inode. Never call it with a hold in hand.
    pub(crate) fn of(metadata: &Metadata) -> Hold {
        let key = (metadata.dev(), metadata.ino());
        let mut held = held();
        while !held.insert(key) {
            held = FREED.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        Hold(key)
    }

    /// Whether the hold is of that file.
    pub(crate) fn is_of(&self, metadata: &Metadata) -> bool {
        self.0 == (metadata.dev(), metadata.ino())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        held().remove(&self.0);
        FREED.notify_all();
    }
}

/// A panic elsewhere cannot leave a set of numbers half changed.
fn held() -> MutexGuard<'static, BTreeSet<Key>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}
