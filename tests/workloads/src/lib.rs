//! Generated data that treering is tested and measured on.
//!
//! Owns: making folders that look like what people back up, changing them the way a day changes them, and
//! reading a folder back as something two folders can be compared by.
//! Never: uses a crate of treering, so that a fault there cannot hide here.
//! Invariant: what a generator writes is a function of its options. The same seed, scale and day give the
//! same names and bytes on every machine. Databases that other programs write (Berkeley DB JE, H2,
//! PostgreSQL) have the same records, though not the same bytes.
//!
//! | module | what it makes |
//! |---|---|
//! | [`jpom_home`] | the home of a Jpom server or agent, day by day |
//! | [`je`], [`h2`] | real databases, written by the Java programs in `java/` |
//! | [`je_load`] | a JE environment under load, to be captured while it is written |
//! | [`postgres`] | a PostgreSQL data folder and its nights |
//! | [`small_files`] | hundreds of thousands of small files |
//! | [`incompressible`] | large files that nothing can shrink |
//! | [`tricky_tree`] | everything a file system allows, in one folder |
//! | [`fingerprint`](mod@fingerprint) | a description of a folder, for exact comparison |
//! | [`mirror`] | makes one folder equal to another and leaves equal files alone |

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod calendar;
mod error;
mod files;
pub mod fingerprint;
pub mod h2;
pub mod h2_load;
pub mod incompressible;
mod java;
pub mod je;
pub mod je_load;
pub mod jpom_home;
pub mod mirror;
pub mod postgres;
mod program;
mod random;
pub mod small_files;
pub mod tricky_tree;
mod zip;

pub use error::{Error, Result};
pub use fingerprint::fingerprint;
pub use java::{Access, Contents, LiveWriter};
pub use random::Random;
