//! The program of a home: which jar is run, which version it is, and which H2 is in it.
//!
//! As the start script chooses it: the jar that `lib/run.bin` names, otherwise the newest of `lib` by its modification
//! time (`Server.sh` of Jpom 2.11.12). The version is the manifest's; nothing is taken from a file name but H2's version,
//! which has no other place.
//!
//! Invariant: no more of a jar is unpacked than the limits below, whatever its directory says.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use zip::ZipArchive;
use zip::result::ZipError;

use super::{Home, ends_with, names, open_plain, read_text};
use crate::error::{Error, io_error};

const MANIFEST: &str = "META-INF/MANIFEST.MF";
const MANIFEST_MOST_BYTES: u64 = 1 << 20;
/// H2 2.4 has 2.6 MB.
const LIBRARY_MOST_BYTES: u64 = 64 << 20;

/// The jar that is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The jar; absolute if the home is.
    pub jar: PathBuf,
    /// `Implementation-Version`.
    pub version: Option<String>,
    /// `Jpom-Timestamp`: when it was built.
    pub built: Option<String>,
    /// The database engine in it.
    pub library: Option<H2Library>,
}

/// An H2 within a jar of Jpom's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct H2Library {
    /// The name of the entry.
    pub entry: String,
    /// As its name has it.
    pub version: String,
}

impl H2Library {
    /// The one format of files that this version reads and writes.
    pub fn format(&self) -> Option<u32> {
        let mut numbers = self.version.split('.').map_while(|number| number.parse::<u32>().ok());
        match (numbers.next()?, numbers.next()?) {
            (1, _) => Some(1),
            (2, 0 | 1) => Some(2),
            (2, _) => Some(3),
            _ => None,
        }
    }

    fn of(entry: &str) -> Option<H2Library> {
        let file = entry.strip_prefix("BOOT-INF/lib/h2-")?;
        let version = file.strip_suffix(".jar")?;
        let is_version = version.starts_with(|first: char| first.is_ascii_digit());
        is_version.then(|| H2Library { entry: entry.to_owned(), version: version.to_owned() })
    }
}

impl Program {
    pub(crate) fn of(home: &Home) -> Result<Option<Program>, Error> {
        let Some(jar) = jar(&home.root().join("lib")) else { return Ok(None) };
        let mut archive = open(&jar)?;
        let manifest = manifest(&mut archive, &jar)?;
        let field = |name: &str| value(&manifest, name);
        Ok(Some(Program {
            version: field("Implementation-Version"),
            built: field("Jpom-Timestamp"),
            library: archive.file_names().flatten().find_map(|name| H2Library::of(&name)),
            jar,
        }))
    }

    /// Writes the H2 library that is in the jar to a file.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be unpacked.
    pub fn unpack_library(&self, to: &mut impl Write) -> Result<(), Error> {
        let damaged = |reason: String| Error::Jar { path: self.jar.clone(), reason };
        let library = self.library.as_ref().ok_or_else(|| damaged("there is no H2 in it".to_owned()))?;
        let mut archive = open(&self.jar)?;
        let entry = archive.by_name(&library.entry).map_err(|error| damaged(error.to_string()))?;
        let copied = io::copy(&mut entry.take(LIBRARY_MOST_BYTES + 1), to).map_err(io_error("unpack", &self.jar))?;
        match copied <= LIBRARY_MOST_BYTES {
            true => Ok(()),
            false => Err(damaged(format!("{} is longer than {LIBRARY_MOST_BYTES} bytes", library.entry))),
        }
    }
}

/// Which jar the start script would run.
fn jar(lib: &Path) -> Option<PathBuf> {
    let named = read_text(&lib.join("run.bin")).ok().map(|name| name.trim().to_owned());
    let named = named.filter(|name| !name.is_empty() && !name.contains('/')).map(|name| lib.join(name));
    named.filter(|jar| is_file(jar)).or_else(|| newest(lib))
}

fn newest(lib: &Path) -> Option<PathBuf> {
    let jars = names(lib).into_iter().filter(|name| ends_with(name, ".jar")).map(|name| lib.join(name));
    let dated = jars.filter_map(|jar| Some((modified(&jar)?, jar)));
    dated.max().map(|(_, jar)| jar)
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?.modified().ok()
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
}

fn open(jar: &Path) -> Result<ZipArchive<io::BufReader<File>>, Error> {
    let file = open_plain(jar).map_err(io_error("open", jar))?;
    ZipArchive::new(io::BufReader::new(file))
        .map_err(|error| Error::Jar { path: jar.to_path_buf(), reason: error.to_string() })
}

/// Whether there is an entry of this name in a jar.
pub(crate) fn has_entry(jar: &Path, name: &str) -> Result<bool, Error> {
    Ok(open(jar)?.index_for_name(name).is_some())
}

fn manifest(archive: &mut ZipArchive<io::BufReader<File>>, jar: &Path) -> Result<String, Error> {
    let entry = match archive.by_name(MANIFEST) {
        Ok(entry) => entry,
        Err(ZipError::FileNotFound) => return Ok(String::new()),
        Err(error) => return Err(Error::Jar { path: jar.to_path_buf(), reason: error.to_string() }),
    };
    let mut text = Vec::new();
    entry.take(MANIFEST_MOST_BYTES).read_to_end(&mut text).map_err(io_error("read the manifest of", jar))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A line of a manifest. Lines that are continued are joined: a continuation begins with a space.
fn value(manifest: &str, name: &str) -> Option<String> {
    let joined = manifest.replace("\r\n", "\n").replace("\n ", "");
    let found = joined.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;
    use crate::home::{Kind, Layout};
    use crate::testing::{Folder, INSTALL};

    fn jar_with(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, content) in entries {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn home(folder: &Folder) -> Home {
        folder.write("bin/Server.sh", "JPOM_SERVER_APPLICATION");
        folder.write("data/INSTALL.json", INSTALL);
        Home::at(&folder.path("")).unwrap()
    }

    #[test]
    fn the_jar_that_runs_tells_its_version_and_its_database() {
        let folder = Folder::new();
        let manifest = "Manifest-Version: 1.0\r\nImplementation-Version: 2.11.\r\n 12\r\nJpom-Timestamp: now\r\n";
        let jar = jar_with(&[(MANIFEST, manifest), ("BOOT-INF/lib/h2-2.1.214.jar", "the library")]);
        folder.write("lib/server-2.11.12.jar", jar);
        folder.write("lib/server-2.11.13.jar", jar_with(&[]));
        folder.write("lib/run.bin", "server-2.11.12.jar\n");
        let home = home(&folder);
        assert_eq!((home.kind, home.layout), (Kind::Server, Layout::Host));
        let program = home.program().unwrap().unwrap();
        assert_eq!((program.version.as_deref(), program.built.as_deref()), (Some("2.11.12"), Some("now")));
        assert_eq!(program.library.as_ref().and_then(H2Library::format), Some(2));
        let mut unpacked = Vec::new();
        program.unpack_library(&mut unpacked).unwrap();
        assert_eq!(unpacked, b"the library");
    }

    #[test]
    fn without_a_name_the_newest_jar_runs() {
        let folder = Folder::new();
        for (name, seconds) in [("a.jar", 2), ("b.jar", 3), ("c.jar", 1)] {
            folder.write(Path::new("lib").join(name), jar_with(&[]));
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            File::options().write(true).open(folder.path("lib").join(name)).unwrap().set_modified(time).unwrap();
        }
        folder.write("lib/run.bin", "gone.jar");
        assert_eq!(home(&folder).program().unwrap().unwrap().jar, folder.path("lib/b.jar"));
    }

    #[test]
    fn versions_tell_the_format() {
        let format = |version: &str| H2Library { entry: String::new(), version: version.to_owned() }.format();
        assert_eq!(
            ["1.4.200", "2.0.206", "2.1.214", "2.2.224", "2.4.240"].map(format),
            [Some(1), Some(2), Some(2), Some(3), Some(3)]
        );
        assert_eq!((format("3.0"), format("x")), (None, None));
    }

    #[test]
    fn a_damaged_jar_is_said() {
        let folder = Folder::new();
        folder.write("lib/a.jar", "no jar");
        assert!(matches!(home(&folder).program(), Err(Error::Jar { .. })));
    }
}
