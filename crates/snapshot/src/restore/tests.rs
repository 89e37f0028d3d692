//! Restoring, and being given what no honest program wrote.

mod application;
mod build;
mod crafted;
mod exact;
mod hostile;
mod in_place;
mod own;
