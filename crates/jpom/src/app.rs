//! Recognising homes along the walk of a backup, and deciding what of them is taken.
//!
//! Owns what has been found in one run: the walk shows each folder to [`Jpom`] before it looks at anything in it, parents
//! first, so whoever asks [`Homes`] about a path learns of the home that it lies in.
//!
//! Invariants: of a home in a home only the outer one counts: `data` of a container's home looks like a home of its own. What
//! is in `db/recover_backup` of a home is taken as files, never as databases: most of it was put there because it is
//! damaged, and would make every later snapshot doubtful.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use treering_snapshot::capture::{Application, Capture, Folder};

use crate::capture::captures;
use crate::home::Home;
use crate::scope::Scoping;

/// Something that the user should know of a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The home.
    pub home: PathBuf,
    /// One sentence.
    pub text: String,
}

/// The homes that a run has met.
#[derive(Debug, Default)]
pub struct Homes {
    scoping: Scoping,
    /// Of each pattern of the scoping, whether something fits it.
    fitted: Vec<AtomicBool>,
    found: RwLock<Found>,
}

#[derive(Debug, Default)]
struct Found {
    homes: Vec<Home>,
    notes: Vec<Note>,
}

impl Homes {
    /// None yet; of those that come this is taken.
    pub fn new(scoping: Scoping) -> Homes {
        let patterns = scoping.include.len() + scoping.exclude.len();
        let fitted = (0..patterns).map(|_| AtomicBool::new(false)).collect();
        Homes { scoping, fitted, found: RwLock::default() }
    }

    /// Whether a path of a home is, or lies in, where databases are put aside.
    fn is_put_aside(&self, path: &Path) -> bool {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        found.homes.iter().any(|home| path.starts_with(home.root().join(home.put_aside())))
    }

    /// Whether the scope leaves out this path, which is absolute. What is in no home is never left out.
    pub fn leaves_out(&self, path: &Path) -> bool {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        let inside = found.homes.iter().find_map(|home| Some((home, path.strip_prefix(home.root()).ok()?)));
        let Some((home, path)) = inside else { return false };
        let fitted = self.scoping.fits(path).filter_map(|number| self.fitted.get(number));
        fitted.for_each(|fitted| fitted.store(true, Ordering::Relaxed));
        !self.scoping.decide(home, path).taken
    }

    /// The word for what is taken of a home, unless it is all of it.
    pub(crate) fn scope_of(&self, home: &Home) -> Option<&'static str> {
        self.scoping.scope_for(home).asked_for()
    }

    /// What the user includes and excludes that nothing in a home fits, each with its option.
    pub fn unfitted(&self) -> Vec<String> {
        let Scoping { include, exclude, .. } = &self.scoping;
        let options = include.iter().map(|pattern| format!("--jpom-include {pattern}"));
        let options = options.chain(exclude.iter().map(|pattern| format!("--jpom-exclude {pattern}")));
        let fitted = options.zip(&self.fitted).filter(|(_, fitted)| !fitted.load(Ordering::Relaxed));
        fitted.map(|(option, _)| option).collect()
    }

    /// What is to be told, in the order in which it was found. Each is given once.
    pub fn take_notes(&self) -> Vec<Note> {
        std::mem::take(&mut self.found.write().unwrap_or_else(PoisonError::into_inner).notes)
    }

    pub(crate) fn note(&self, home: &Home, text: String) {
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        let note = Note { home: home.root().to_path_buf(), text };
        if !found.notes.contains(&note) {
            found.notes.push(note);
        }
    }

    /// Remembers a home, unless it lies in one that is known. A walk that begins anew meets them again.
    fn meet(&self, home: &Home) -> bool {
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        if found.homes.iter().any(|known| home.root() != known.root() && home.root().starts_with(known.root())) {
            return false;
        }
        if !found.homes.contains(home) {
            found.homes.push(home.clone());
        }
        true
    }
}

/// The application: homes of Jpom.
pub struct Jpom {
    homes: Arc<Homes>,
    database: Arc<dyn Application>,
}

impl Jpom {
    /// Tells these homes what it finds, and leaves what is in their `db` to `database`, which knows the format.
    pub fn new(homes: Arc<Homes>, database: Arc<dyn Application>) -> Jpom {
        Jpom { homes, database }
    }
}

impl Application for Jpom {
    fn kind(&self) -> &'static str {
        "jpom"
    }

    fn claim(&self, folder: &Folder<'_>) -> Vec<Box<dyn Capture>> {
        let has = |name: &str| folder.names.has(name.as_ref());
        match Home::find(folder.path, &has) {
            Some(home) if self.homes.meet(&home) => captures(home, folder, &self.homes, &*self.database),
            _ => Vec::new(),
        }
    }
}

/// The databases that are not a home's: those of any folder but where a home has put old ones aside.
pub struct OtherDatabases {
    homes: Arc<Homes>,
    database: Arc<dyn Application>,
}

impl OtherDatabases {
    /// What `database` claims, in folders that these homes do not know as put aside. Comes behind [`Jpom`].
    pub fn new(homes: Arc<Homes>, database: Arc<dyn Application>) -> OtherDatabases {
        OtherDatabases { homes, database }
    }
}

impl Application for OtherDatabases {
    fn kind(&self) -> &'static str {
        self.database.kind()
    }

    fn claim(&self, folder: &Folder<'_>) -> Vec<Box<dyn Capture>> {
        match self.homes.is_put_aside(folder.path) {
            true => Vec::new(),
            false => self.database.claim(folder),
        }
    }
}
