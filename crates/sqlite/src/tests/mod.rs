//! The whole crate against real databases, with writers in other processes.
//!
//! The tests may run as root, whom permissions do not stop. What SQLite cannot read without writing is therefore made by
//! the state of the files (a `-wal` without `-shm`, a hot journal), not by read-only folders.

mod child;
mod damage;
mod detect;
mod incremental;
mod kit;
mod live;
mod logs;
mod room;
