//! The storage seam: named immutable objects in a few areas, made durable and published in steps that the protocol
//! orders.
//!
//! A back end promises: [`Storage::list`] is complete or fails; a published object is whole or absent, and nothing takes
//! its place but by [`Staged::replace`], in one step; after [`Staged::sync`] its bytes, and after [`Storage::sync`] its
//! name, survive a power cut; locks die with their process. It knows nothing of packs, keys or snapshots.

mod folder;
mod foreign;

use std::fmt;
use std::path::PathBuf;

pub use folder::Folder;
pub use foreign::foreign_file_system;

use crate::error::Result;

/// Where an object lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Area {
    /// The configuration; one object, `config`.
    Config,
    /// Its second copy.
    ConfigCopy,
    /// Key slots.
    Keys,
    /// Their second copies.
    KeysCopy,
    /// Packs.
    Packs,
    /// Snapshot records.
    Snapshots,
    /// All other records.
    Records,
    /// Damaged objects that a repair has put others in place of, until a check finds nothing wrong.
    Replaced,
}

impl Area {
    /// Every area.
    pub const ALL: [Self; 8] = [
        Self::Config,
        Self::ConfigCopy,
        Self::Keys,
        Self::KeysCopy,
        Self::Packs,
        Self::Snapshots,
        Self::Records,
        Self::Replaced,
    ];
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config | Self::ConfigCopy => "config",
            Self::Keys | Self::KeysCopy => "key",
            Self::Packs => "pack",
            Self::Snapshots => "snapshot",
            Self::Records => "record",
            Self::Replaced => "replaced object",
        })
    }
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name within its area.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// How the repository's lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Beside others: commits.
    Shared,
    /// Alone: deletions.
    Exclusive,
}

/// Where a repository's index can live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexHome {
    /// In this folder inside the repository.
    Inside(PathBuf),
    /// Not inside: SQLite's locks cannot be trusted there. It belongs into the user's cache.
    Cache,
}

/// What a repository is stored on.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Where it is, for messages.
    fn place(&self) -> String;

    /// Whether a repository can be made here: nothing is there, or only the empty areas that an earlier
    /// [`Storage::create`] has made.
    ///
    /// # Errors
    ///
    /// [`crate::StoreError::NotEmpty`] if anything else is there.
    fn assert_unused(&self) -> Result<()> {
        Ok(())
    }

    /// Makes the areas, if [`Storage::assert_unused`] allows it.
    ///
    /// # Errors
    ///
    /// [`crate::StoreError::NotEmpty`].
    fn create(&self) -> Result<()>;

    /// All objects of an area, in no order.
    ///
    /// # Errors
    ///
    /// If the listing may be incomplete. An empty list means that there is nothing; whoever deletes because of it asks
    /// [`Storage::missing_folders`] first.
    fn list(&self, area: Area) -> Result<Vec<Listed>>;

    /// What lies in the areas and is no object, by its path for messages: nothing of the repository, in no order.
    ///
    /// # Errors
    ///
    /// If the listing may be incomplete.
    fn list_strangers(&self) -> Result<Vec<String>>;

    /// Folders of the storage that should be there and are not, by their paths for messages. What was in them is gone with
    /// them, if anything was.
    ///
    /// # Errors
    ///
    /// If that cannot be known.
    fn missing_folders(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Makes them again, empty and durably.
    ///
    /// # Errors
    ///
    /// If one cannot be made.
    fn make_folders(&self) -> Result<()> {
        Ok(())
    }

    /// The length of an object; `None` if there is none of that name. Asks the storage, no cache.
    ///
    /// # Errors
    ///
    /// If that cannot be known.
    fn length(&self, area: Area, name: &str) -> Result<Option<u64>>;

    /// A whole small object.
    ///
    /// # Errors
    ///
    /// [`crate::StoreError::Missing`], or damage if it is longer than `limit_bytes`.
    fn read(&self, area: Area, name: &str, limit_bytes: usize) -> Result<Vec<u8>>;

    /// Opens an object for reading at any offset.
    ///
    /// # Errors
    ///
    /// [`crate::StoreError::Missing`] if there is none.
    fn open(&self, area: Area, name: &str) -> Result<Box<dyn ObjectReader>>;

    /// Starts a new object that has no name yet; dropped without being published it leaves nothing.
    ///
    /// # Errors
    ///
    /// If the storage cannot take one.
    fn stage(&self) -> Result<Box<dyn Staged>>;

    /// Makes the names of published objects durable. Names that are gone do not matter.
    ///
    /// # Errors
    ///
    /// If they may not be durable.
    fn sync(&self, area: Area, names: &[&str]) -> Result<()>;

    /// Makes everything durable that has happened to the names of an area, removals included.
    ///
    /// # Errors
    ///
    /// As for [`Storage::sync`].
    fn sync_area(&self, area: Area) -> Result<()>;

    /// Removes an object; not durable before [`Storage::sync`].
    ///
    /// # Errors
    ///
    /// [`crate::StoreError::Missing`] if there is none.
    fn remove(&self, area: Area, name: &str) -> Result<()>;

    /// Gives a damaged object a second name in [`Area::Replaced`], durably: the same, with a number behind it if that is
    /// taken.
    ///
    /// # Errors
    ///
    /// [`crate::StoreError::Missing`] if there is none.
    fn set_aside(&self, area: Area, name: &str) -> Result<String>;

    /// Moves a damaged object into [`Area::Replaced`], durably, and gives its name there. It is never in neither place.
    ///
    /// # Errors
    ///
    /// [`crate::StoreError::Missing`] if there is none.
    fn retire(&self, area: Area, name: &str) -> Result<String> {
        let kept = self.set_aside(area, name)?;
        self.remove(area, name)?;
        self.sync(area, &[name])?;
        Ok(kept)
    }

    /// Takes the repository's lock, waiting for it. It is released when the guard is dropped or the process dies.
    ///
    /// # Errors
    ///
    /// [`crate::StoreError::LockMissing`]; if the storage has no working locks.
    fn lock(&self, mode: LockMode) -> Result<Box<dyn Held>>;

    /// Whether the lock is there to be taken.
    ///
    /// # Errors
    ///
    /// If that cannot be known.
    fn has_lock(&self) -> Result<bool> {
        Ok(true)
    }

    /// Makes the lock again, durably, if it is missing. Only for somebody who says that nobody else is at work: whoever
    /// holds the one that is gone would not be noticed.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    fn make_lock(&self) -> Result<()> {
        Ok(())
    }

    /// Registers a live session: others see `bytes` until the guard is dropped or the process dies.
    ///
    /// # Errors
    ///
    /// If it cannot be written or held.
    fn register(&self, name: &str, bytes: &[u8]) -> Result<Box<dyn Registered>>;

    /// What live sessions have registered, and clears away what dead ones left. Only for who holds the lock alone:
    /// otherwise a session that is just registering looks dead.
    ///
    /// # Errors
    ///
    /// If one of them may have been missed.
    fn live_sessions(&self) -> Result<Vec<Vec<u8>>>;

    /// Gives up the space that is kept for work on a full disk. Returns whether there was any.
    ///
    /// # Errors
    ///
    /// If it cannot be given up.
    fn release_ballast(&self) -> Result<bool> {
        Ok(false)
    }

    /// Sets space aside for work on a full disk, at least this much; storage that has no use for that does nothing.
    ///
    /// # Errors
    ///
    /// If there is no room for all of it. As much as there was room for is set aside then.
    fn keep_ballast(&self, bytes: u64) -> Result<()> {
        let _ = bytes;
        Ok(())
    }

    /// Where the index can live.
    fn index_home(&self) -> IndexHome;

    /// Folders on the local file system that belong to the repository: a walk never enters them.
    fn local_folders(&self) -> Vec<PathBuf>;
}

/// An object open for reading.
pub trait ObjectReader: Send + Sync {
    /// Its length when it was opened.
    fn bytes(&self) -> u64;

    /// Fills the buffer from this offset.
    ///
    /// # Errors
    ///
    /// If there is less.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;
}

/// An object under way.
pub trait Staged: Send {
    /// Adds bytes at the end.
    ///
    /// # Errors
    ///
    /// After an error the object must be dropped: what is in it is not known.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes what was appended durable. A failure is final: the kernel may have dropped the pages.
    ///
    /// # Errors
    ///
    /// As for [`Staged::append`].
    fn sync(&mut self) -> Result<()>;

    /// Gives it its name, replacing nothing. Durable after [`Storage::sync`].
    ///
    /// # Errors
    ///
    /// [`crate::StoreError::Exists`] if the name is taken.
    fn publish(self: Box<Self>, area: Area, name: &str) -> Result<()>;

    /// Gives it its name in place of a damaged object, in one step: there is always one or the other. Durable after
    /// [`Storage::sync`].
    ///
    /// # Errors
    ///
    /// If it cannot have the name.
    fn replace(self: Box<Self>, area: Area, name: &str) -> Result<()>;
}

/// A lock that is held until it is dropped.
#[must_use = "the lock is released when this is dropped"]
pub trait Held: Send {}

/// A registration that others see until it is dropped.
#[must_use = "the registration ends when this is dropped"]
pub trait Registered: Send {
    /// Adds to what others see. Not made durable: it says what is live, and a power cut ends that.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;
}

/// Publishes a small object durably: staged, synced, named, and the name synced.
pub(crate) fn put(storage: &dyn Storage, area: Area, name: &str, bytes: &[u8]) -> Result<()> {
    stage(storage, bytes)?.publish(area, name)?;
    storage.sync(area, &[name])
}

/// Puts a small object durably in the place of a damaged one, which is set aside. At no time is there none: that one was
/// there is more than its bytes can say.
pub(crate) fn replace(storage: &dyn Storage, area: Area, name: &str, bytes: &[u8]) -> Result<()> {
    let staged = stage(storage, bytes)?;
    storage.set_aside(area, name)?;
    staged.replace(area, name)?;
    storage.sync(area, &[name])
}

fn stage(storage: &dyn Storage, bytes: &[u8]) -> Result<Box<dyn Staged>> {
    let mut staged = storage.stage()?;
    staged.append(bytes)?;
    staged.sync()?;
    Ok(staged)
}
