//! What every command that needs a repository starts from.
//!
//! Owns: the way from settings to an open repository, and what is said about its state.
//! Never: asks for a passphrase before it is known that one is needed.
//! Invariant: whatever the store noticed is told, also when the command fails after it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;
use treering_store::storage::{Folder, IndexHome, Storage};
use treering_store::{IndexNotice, KeyFile, Notice, OsEntropy, Repository, StoreError, Unlock};
use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::exit::{Failure, Outcome};
use crate::output::Printer;
use crate::password::{Ask, Passphrase};
use crate::selector::IdPrefix;
use crate::settings::{RepositoryLocation, Settings, Verbosity, machine_name};
use crate::{clock, escape, owners};

/// The longest file that is read as a key file.
const KEY_FILE_MOST_BYTES: u64 = 4096;

/// What is known before a repository is opened.
pub(crate) struct Context {
    /// What was typed, resolved.
    pub(crate) settings: Settings,
    /// What the environment says.
    pub(crate) environment: Environment,
    /// Where to print.
    pub(crate) printer: Printer,
    /// In which times are typed and shown.
    pub(crate) zone: TimeZone,
}

/// An open repository.
pub(crate) struct Opened {
    /// It.
    pub(crate) repository: Arc<Repository>,
    /// What opened it.
    pub(crate) unlock: Unlock,
}

impl Context {
    /// Puts everything together.
    pub(crate) fn new(settings: Settings, environment: Environment) -> Context {
        let printer = Printer { json: settings.json, verbosity: settings.verbosity };
        let (zone, unknown) = clock::zone();
        if let Some(unknown) = unknown {
            let unknown = escape::text(&unknown.to_string_lossy()).into_owned();
            printer.warn(&format!("TZ is `{unknown}`, which is no time zone here: times are taken as UTC"));
        }
        Context { settings, environment, printer, zone }
    }

    /// Opens the repository, does the work, and tells what the store noticed before and meanwhile.
    pub(crate) fn with_repository(&self, work: impl FnOnce(&Opened) -> Outcome) -> Outcome {
        let opened = self.open()?;
        self.tell_notices(&opened.repository)?;
        let outcome = work(&opened);
        self.tell_notices(&opened.repository)?;
        outcome
    }

    /// Where the repository is stored.
    pub(crate) fn storage(&self) -> Result<Arc<dyn Storage>, Failure> {
        match self.settings.repository()? {
            RepositoryLocation::Folder(path) => Ok(Arc::new(Folder::new(path))),
        }
    }

    /// Where an index goes that cannot lie in the repository.
    pub(crate) fn index_cache(&self, storage: &dyn Storage) -> Result<PathBuf, Failure> {
        match (&self.settings.cache_dir, storage.index_home()) {
            (Some(folder), _) => Ok(folder.clone()),
            (None, IndexHome::Inside(folder)) => Ok(folder),
            (None, IndexHome::Cache) => Err(Failure::usage("there is no place for the repository's index")
                .next("Use --cache-dir or TREERING_CACHE_DIR, or set HOME.")),
        }
    }

    /// Who runs this, as key slots and snapshots name them.
    pub(crate) fn user_name(&self) -> String {
        let uid = rustix::process::getuid().as_raw();
        owners::user_name(uid).or_else(|| self.environment.user_name.clone()).unwrap_or_else(|| uid.to_string())
    }

    /// What a new key slot is called.
    pub(crate) fn slot_label(&self, user: Option<&str>, host: Option<&str>) -> String {
        let user = user.map_or_else(|| self.user_name(), str::to_owned);
        format!("{user}@{}", host.map_or_else(machine_name, str::to_owned))
    }

    fn open(&self) -> Result<Opened, Failure> {
        let storage = self.storage()?;
        if !self.settings.credentials.is_given() {
            match self.open_with(&storage, Unlock::Nothing) {
                Err(Unopened::Refused(StoreError::KeyNeeded)) => {}
                other => return other.map_err(Failure::from),
            }
        }
        let mut refused = None;
        for unlock in self.unlocks(Ask::Once) {
            match self.open_with(&storage, unlock?) {
                Err(Unopened::Refused(error @ StoreError::WrongKey { .. })) => refused = Some(error),
                other => return other.map_err(Failure::from),
            }
        }
        Err(refused.unwrap_or(StoreError::KeyNeeded).into())
    }

    fn open_with(&self, storage: &Arc<dyn Storage>, unlock: Unlock) -> Result<Opened, Unopened> {
        let cache = self.index_cache(&**storage).map_err(Unopened::Failed)?;
        let hint = self.settings.key_hint.as_ref().map_or("", IdPrefix::as_str);
        let opened = Repository::open_hinted(Arc::clone(storage), &unlock, hint, Arc::new(OsEntropy), cache);
        let repository = opened.map(Arc::new).map_err(Unopened::Refused)?;
        Ok(Opened { repository, unlock })
    }

    /// What was given to open the repository, the key file first, for it costs nothing to try. Read as it is needed.
    pub(crate) fn unlocks(&self, ask: Ask) -> impl Iterator<Item = Result<Unlock, Failure>> {
        let credentials = &self.settings.credentials;
        let key_file = credentials.key_file.iter().map(|path| read_key_file(path).map(Unlock::KeyFile));
        let has_passphrase = credentials.passphrase.is_some() || credentials.key_file.is_none();
        let passphrase = has_passphrase.then_some(credentials).into_iter();
        key_file.chain(passphrase.filter_map(move |given| match given.read_passphrase(ask) {
            Ok(passphrase) => passphrase.map(to_unlock),
            Err(failure) => Some(Err(failure)),
        }))
    }

    fn tell_notices(&self, repository: &Repository) -> Outcome {
        for notice in repository.take_notices() {
            match &notice {
                Notice::Index(IndexNotice::Learned { .. } | IndexNotice::Dropped { .. }) => {
                    self.printer.note(Verbosity::Verbose, &describe(&notice))?;
                }
                _ => self.printer.warn(&describe(&notice)),
            }
        }
        Ok(())
    }
}

/// Why a repository did not open.
enum Unopened {
    /// It refused.
    Refused(StoreError),
    /// It was not even asked.
    Failed(Failure),
}

impl From<Unopened> for Failure {
    fn from(unopened: Unopened) -> Self {
        match unopened {
            Unopened::Refused(error) => error.into(),
            Unopened::Failed(failure) => failure,
        }
    }
}

/// Reads a key file; a file that is none is refused as such.
pub(crate) fn read_key_file(path: &Path) -> Result<KeyFile, Failure> {
    use std::io::Read;
    let failed = |verb, error| Failure::io(verb, path, &error).next("Check --key-file and TREERING_KEY_FILE.");
    let file = std::fs::File::open(path).map_err(|error| failed("open the key file", error))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_FILE_MOST_BYTES as usize));
    let read = file.take(KEY_FILE_MOST_BYTES).read_to_end(&mut bytes);
    read.map_err(|error| failed("read the key file", error))?;
    let parsed = match std::str::from_utf8(&bytes) {
        Ok(text) => KeyFile::parse(text),
        Err(_) => Err("it is not text"),
    };
    parsed.map_err(|detail| StoreError::BadKeyFile { path: path.to_owned(), detail }.into())
}

/// A passphrase as the store wants it.
pub(crate) fn to_unlock(passphrase: Passphrase) -> Result<Unlock, Failure> {
    match std::str::from_utf8(&passphrase) {
        Ok(text) => Ok(Unlock::Passphrase(Zeroizing::new(text.to_owned()))),
        Err(_) => Err(Failure::usage("the passphrase is not UTF-8")),
    }
}

fn describe(notice: &Notice) -> String {
    match notice {
        Notice::ConfigCopy { detail } => {
            format!("one copy of the configuration is damaged, the other one is in use: {detail}")
        }
        Notice::KeySlot { detail } => format!("a key slot cannot be read: {detail}"),
        Notice::Index(index) => describe_index(index),
        other => format!("{other:?}"),
    }
}

fn describe_index(notice: &IndexNotice) -> String {
    match notice {
        IndexNotice::Built { packs } => format!("there was no index; it was made from {packs} packs"),
        IndexNotice::Rebuilt { reason, packs } => {
            format!("the index could not be used ({reason}); it was made anew from {packs} packs")
        }
        IndexNotice::Learned { packs } => format!("the index has learned {packs} packs"),
        IndexNotice::Dropped { packs } => {
            format!("the index has dropped {} that are gone", crate::output::table::count(*packs as u64, "pack"))
        }
        IndexNotice::TrailerLost { pack, detail } => format!(
            "the trailer of pack {pack} is damaged, its chunks were found one by one; run `treering check`: {detail}"
        ),
        other => format!("{other:?}"),
    }
}
