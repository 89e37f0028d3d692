//! The real binary, run as a user runs it.
//!
//! Every test has a home of its own: a repository, a key file, sources, and an environment without anything else.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test says what it expects by panicking")]

mod exit_codes;
mod interrupt;
mod keys;
mod kit;
mod output;
mod round_trip;
mod streams;
mod worst_day;
