//! `treering version`.

use crate::exit::Outcome;
use crate::output::Printer;
use crate::output::messages::{Message, Version};

/// Prints the version.
pub(crate) fn run(printer: Printer) -> Outcome {
    let version =
        Version { version: env!("CARGO_PKG_VERSION"), os: std::env::consts::OS, arch: std::env::consts::ARCH };
    match printer.json {
        true => printer.json(&Message::Version(version)),
        false => printer.result(&format!("treering {} on {}/{}\n", version.version, version.os, version.arch)),
    }
}
