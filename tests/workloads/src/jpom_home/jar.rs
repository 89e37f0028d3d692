//! Jars as builds make them.
//!
//! Owns: a fat jar whose revisions differ as real builds do.
//! Never: writes a jar that runs.
//! Invariant: a nested library has the same stored bytes in every revision that does not replace it, and every
//! entry carries the time of the build, so revisions are almost equal yet differ in many small places.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use super::text;
use crate::calendar::Date;
use crate::error::{Context, Result};
use crate::files;
use crate::random::Random;
use crate::zip::ZipWriter;

/// How many classes of its own a program has.
const CLASSES: u32 = 60;
/// The size of a nested library, about the median of those in a Spring Boot jar.
const LIBRARY_BYTES: u64 = 700_000;
/// The version that Jpom ships, which is Debian's.
const LIBRARY_NAME: &str = "BOOT-INF/lib/h2-2.1.214.jar";
/// How likely a build changes a class, and a dependency.
const CLASS_CHANGES: f64 = 0.08;
const LIBRARY_CHANGES: f64 = 0.01;

/// One jar to be made.
pub(super) struct Jar<'a> {
    pub(super) seed: u64,
    /// Names the program; its revisions share libraries and most classes.
    pub(super) program: &'a str,
    pub(super) revision: u32,
    pub(super) bytes: u64,
    /// Seconds after 1970.
    pub(super) built: i64,
    /// An H2 library to be in it.
    pub(super) library: Option<PathBuf>,
}

impl Jar<'_> {
    /// Writes the jar and dates it.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        if let Some(parent) = path.parent() {
            files::create_folder(parent)?;
        }
        let file = File::create(path).context("create", path)?;
        let buffered = self.write_entries(BufWriter::new(file)).context("write", path)?;
        let file = buffered.into_inner().map_err(io::IntoInnerError::into_error).context("write", path)?;
        files::set_time(&file, path, self.built)
    }

    fn write_entries<W: io::Write>(&self, out: W) -> io::Result<W> {
        let mut zip = ZipWriter::new(out, Date::of(self.built));
        zip.deflate("META-INF/MANIFEST.MF", self.manifest().as_bytes())?;
        for class in 0..CLASSES {
            zip.deflate(&format!("BOOT-INF/classes/com/acme/C{class}.class"), &self.class(class))?;
        }
        let libraries = (self.bytes / LIBRARY_BYTES).max(3);
        for library in 0..libraries {
            let (name, bytes) = self.library(library, self.bytes / libraries);
            zip.store(&name, &bytes)?;
        }
        if let Some(library) = &self.library {
            zip.store(LIBRARY_NAME, &std::fs::read(library)?)?;
        }
        zip.finish()
    }

    fn manifest(&self) -> String {
        format!(
            "Manifest-Version: 1.0\r\nBuilt: {}\r\nImplementation-Version: 1.0.{}\r\n\
             Main-Class: org.springframework.boot.loader.JarLauncher\r\n",
            self.built, self.revision
        )
    }

    fn class(&self, class: u32) -> Vec<u8> {
        let changed = self.last_change(&format!("class {class}"), CLASS_CHANGES);
        let length = 3000 + 400 * (class as usize % 9);
        text::class_file(&mut self.random(format_args!("class {class} of {changed}")), length)
    }

    fn library(&self, library: u64, length: u64) -> (String, Vec<u8>) {
        let changed = self.last_change(&format!("library {library}"), LIBRARY_CHANGES);
        let bytes = self.random(format_args!("library {library} of {changed}")).bytes(length as usize);
        (format!("BOOT-INF/lib/lib-{library}-1.{changed}.jar"), bytes)
    }

    /// The newest revision, up to this one, that changed the part.
    fn last_change(&self, part: &str, probability: f64) -> u32 {
        (1..=self.revision)
            .rev()
            .find(|revision| self.random(format_args!("{part} in {revision}")).chance(probability))
            .unwrap_or(0)
    }

    fn random(&self, label: std::fmt::Arguments<'_>) -> Random {
        Random::named(self.seed, format_args!("{} {label}", self.program))
    }
}
