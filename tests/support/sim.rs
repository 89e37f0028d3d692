//! A disk in memory that loses its power.
//!
//! Owns: what is durable and what is only written, apart; the count of operations, at any of which the power can fail;
//! and the states that a power cut may leave.
//! Never: knows what is stored, or decides what is right.
//! Invariant: bytes survive a cut only after [`Staged::sync`], names and removals only after [`Storage::sync`] or
//! [`Storage::sync_area`] of their folder. Everything else may have happened or not, in any combination. Locks and
//! sessions die with the power.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use treering_store::StoreError;
use treering_store::storage::{Area, Held, IndexHome, Listed, LockMode, ObjectReader, Registered, Staged, Storage};
use treering_workloads::Random;

type Result<T> = treering_store::Result<T>;

/// Disks lose what was not durable in such pieces.
const SECTOR_BYTES: usize = 512;

/// How far the disk can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Honesty {
    /// What it says is durable is durable.
    #[default]
    Honest,
    /// It says that names are durable and does nothing.
    ForgetsNames,
    /// It says that bytes are durable and does nothing.
    ForgetsBytes,
}

/// What became of operations that were not durable when the power failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// None of them happened.
    Nothing,
    /// All of them happened.
    Everything,
    /// Each happened or not; bytes may be lost in part.
    Anything,
}

/// An object's bytes, and how many of them are durable.
#[derive(Debug, Clone)]
struct Content {
    bytes: Arc<Vec<u8>>,
    durable_bytes: usize,
}

#[derive(Debug, Clone)]
enum Change {
    Publish(String, Content),
    Remove(String),
}

/// The names in one folder.
#[derive(Debug, Clone, Default)]
struct Names {
    now: BTreeMap<String, Content>,
    durable: BTreeMap<String, Content>,
    /// What happened since the folder was last made durable.
    pending: Vec<Change>,
}

impl Names {
    fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        self.durable = self.now.clone();
        self.pending.clear();
    }

    fn after_cut(&self, outcome: Outcome, random: &mut Random) -> Self {
        let mut left = self.durable.clone();
        for change in &self.pending {
            let happened = match outcome {
                Outcome::Nothing => false,
                Outcome::Everything => true,
                Outcome::Anything => random.chance(0.5),
            };
            if happened {
                apply(&mut left, change);
            }
        }
        left.values_mut().for_each(|content| *content = content.after_cut(outcome, random));
        Self { now: left.clone(), durable: left, pending: Vec::new() }
    }
}

fn apply(names: &mut BTreeMap<String, Content>, change: &Change) {
    match change {
        Change::Publish(name, content) => drop(names.insert(name.clone(), content.clone())),
        Change::Remove(name) => drop(names.remove(name)),
    }
}

impl Content {
    /// The bytes that are not durable are there, lost, cut short, or zero in places.
    fn after_cut(&self, outcome: Outcome, random: &mut Random) -> Self {
        let (mut bytes, durable) = (self.bytes.as_ref().clone(), self.durable_bytes);
        match outcome {
            _ if durable == bytes.len() => {}
            Outcome::Everything => {}
            Outcome::Nothing => bytes.truncate(durable),
            Outcome::Anything if random.chance(0.5) => {
                bytes.truncate(random.between(durable as u64, bytes.len() as u64 + 1) as usize);
            }
            Outcome::Anything => {
                for sector in bytes[durable..].chunks_mut(SECTOR_BYTES) {
                    if random.chance(0.5) {
                        sector.fill(0);
                    }
                }
            }
        }
        let durable_bytes = bytes.len();
        Self { bytes: Arc::new(bytes), durable_bytes }
    }
}

/// A folder of the storage: an area by its place in [`Area::ALL`], and the first byte of a pack's name.
type FolderKey = (usize, u8);

fn folder_of(area: Area, name: &str) -> FolderKey {
    let shard = name.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or(0);
    (number(area), if area == Area::Packs { shard } else { 0 })
}

fn number(area: Area) -> usize {
    Area::ALL.iter().position(|other| *other == area).expect("every area is in the list")
}

#[derive(Debug, Clone, Default)]
struct State {
    is_made: bool,
    folders: BTreeMap<FolderKey, Names>,
    operations: u64,
    cut_at: Option<u64>,
    is_dead: bool,
    shared: usize,
    is_alone: bool,
    sessions: HashMap<u64, Vec<u8>>,
    next_session: u64,
}

impl State {
    fn names(&mut self, area: Area, name: &str) -> &mut Names {
        self.folders.entry(folder_of(area, name)).or_default()
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    honesty: Honesty,
}

/// A disk. Its clones are the same disk, as other processes see it.
#[derive(Debug, Clone, Default)]
pub struct SimStorage(Arc<Shared>);

impl SimStorage {
    /// An empty disk.
    pub fn new(honesty: Honesty) -> Self {
        Self(Arc::new(Shared { honesty, ..Shared::default() }))
    }

    /// Another disk with the same content, all of it durable, and nobody at work on it.
    pub fn copy(&self) -> Self {
        self.after_cut(Outcome::Everything, &mut Random::named(0, "nothing is random here"))
    }

    /// What a power cut may leave.
    pub fn after_cut(&self, outcome: Outcome, random: &mut Random) -> Self {
        let state = self.state();
        let folders = state.folders.iter().map(|(key, names)| (*key, names.after_cut(outcome, random))).collect();
        let left = State { is_made: state.is_made, folders, ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(left), changed: Condvar::new(), honesty: self.0.honesty }))
    }

    /// Changes the bytes of an object, as a failing disk does.
    ///
    /// # Panics
    ///
    /// If there is no such object.
    pub fn harm(&self, area: Area, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.content(area, name).expect("there is one").bytes.as_ref().clone();
        change(&mut bytes);
        let content = Content { durable_bytes: bytes.len(), bytes: Arc::new(bytes) };
        let mut state = self.state();
        let names = state.names(area, name);
        for names in [&mut names.now, &mut names.durable] {
            names.insert(name.into(), content.clone());
        }
    }

    /// How many operations there were that change what is stored or durable.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Cuts the power at the operation of this number, counted from now: it fails, and so does everything later.
    pub fn cut_in(&self, operations: u64) {
        let mut state = self.state();
        state.cut_at = Some(state.operations + operations);
    }

    /// Whether the power has failed.
    pub fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// Whether somebody holds the lock alone, or commits: whoever asks for it now may have to wait.
    pub fn is_locked(&self) -> bool {
        let state = self.state();
        state.is_alone || state.shared > 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn look(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.is_dead { Err(no_power()) } else { Ok(state) }
    }

    /// Counts an operation. If the power fails at it, `begun` is what it may have done by then.
    fn operate(&self, begun: impl FnOnce(&mut State)) -> Result<MutexGuard<'_, State>> {
        let mut state = self.look()?;
        state.operations += 1;
        if state.cut_at != Some(state.operations) {
            return Ok(state);
        }
        begun(&mut state);
        state.is_dead = true;
        self.0.changed.notify_all();
        Err(no_power())
    }

    fn content(&self, area: Area, name: &str) -> Result<Content> {
        let found = self.look()?.names(area, name).now.get(name).cloned();
        found.ok_or_else(|| StoreError::Missing { area, name: name.into() })
    }
}

fn no_power() -> StoreError {
    failed("use", io::Error::other("the power has failed"))
}

fn failed(action: &'static str, source: io::Error) -> StoreError {
    StoreError::Io { action, path: PathBuf::from("(in memory)"), source }
}

impl Storage for SimStorage {
    fn place(&self) -> String {
        "a disk in memory".into()
    }

    fn create(&self) -> Result<()> {
        let mut state = self.operate(|_| {})?;
        if state.is_made {
            return Err(StoreError::NotEmpty { place: self.place(), found: "a repository".into() });
        }
        state.is_made = true;
        Ok(())
    }

    fn list(&self, area: Area) -> Result<Vec<Listed>> {
        let state = self.look()?;
        let folders = state.folders.iter().filter(|((of, _), _)| *of == number(area));
        let names = folders.flat_map(|(_, names)| &names.now);
        Ok(names.map(|(name, content)| Listed { name: name.clone(), bytes: content.bytes.len() as u64 }).collect())
    }

    fn length(&self, area: Area, name: &str) -> Result<Option<u64>> {
        Ok(self.look()?.names(area, name).now.get(name).map(|content| content.bytes.len() as u64))
    }

    fn read(&self, area: Area, name: &str, limit_bytes: usize) -> Result<Vec<u8>> {
        let bytes = self.content(area, name)?.bytes;
        if bytes.len() > limit_bytes {
            let detail = format!("it is longer than {limit_bytes} bytes");
            return Err(StoreError::Damaged { what: format!("{area} {name}"), detail });
        }
        Ok(bytes.as_ref().clone())
    }

    fn open(&self, area: Area, name: &str) -> Result<Box<dyn ObjectReader>> {
        Ok(Box::new(Opened(self.content(area, name)?.bytes)))
    }

    fn stage(&self) -> Result<Box<dyn Staged>> {
        drop(self.operate(|_| {})?);
        Ok(Box::new(Object { disk: self.clone(), bytes: Vec::new(), durable_bytes: 0 }))
    }

    fn sync(&self, area: Area, names: &[&str]) -> Result<()> {
        let mut state = self.operate(|_| {})?;
        if self.0.honesty != Honesty::ForgetsNames {
            names.iter().for_each(|name| state.names(area, name).sync());
        }
        Ok(())
    }

    fn sync_area(&self, area: Area) -> Result<()> {
        let mut state = self.operate(|_| {})?;
        if self.0.honesty != Honesty::ForgetsNames {
            let folders = state.folders.iter_mut().filter(|((of, _), _)| *of == number(area));
            folders.for_each(|(_, names)| names.sync());
        }
        Ok(())
    }

    fn remove(&self, area: Area, name: &str) -> Result<()> {
        let remove = |state: &mut State| {
            let names = state.names(area, name);
            let is_there = names.now.contains_key(name);
            if is_there {
                names.change(Change::Remove(name.into()));
            }
            is_there
        };
        let mut state = self.operate(|state| _ = remove(state))?;
        if remove(&mut state) { Ok(()) } else { Err(StoreError::Missing { area, name: name.into() }) }
    }

    fn list_strangers(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn set_aside(&self, area: Area, name: &str) -> Result<String> {
        let content = self.content(area, name)?;
        let taken = |name: &str| self.content(Area::Replaced, name).is_ok();
        let numbered = (2..).map(|number| format!("{name}.{number}"));
        let kept = std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken(name)).expect("a free name");
        let publish = |state: &mut State| {
            state.names(Area::Replaced, &kept).change(Change::Publish(kept.clone(), content.clone()));
        };
        publish(&mut *self.operate(publish)?);
        self.sync(Area::Replaced, &[&kept])?;
        Ok(kept)
    }

    fn lock(&self, mode: LockMode) -> Result<Box<dyn Held>> {
        let mut state = self.look()?;
        while state.is_alone || (mode == LockMode::Exclusive && state.shared > 0) {
            state = self.0.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
            if state.is_dead {
                return Err(no_power());
            }
        }
        match mode {
            LockMode::Shared => state.shared += 1,
            LockMode::Exclusive => state.is_alone = true,
        }
        drop(state);
        Ok(Box::new(Lock { disk: self.clone(), mode }))
    }

    fn register(&self, _name: &str, bytes: &[u8]) -> Result<Box<dyn Registered>> {
        let mut state = self.operate(|_| {})?;
        state.next_session += 1;
        let number = state.next_session;
        state.sessions.insert(number, bytes.to_vec());
        drop(state);
        Ok(Box::new(Registration { disk: self.clone(), number }))
    }

    fn live_sessions(&self) -> Result<Vec<Vec<u8>>> {
        Ok(self.look()?.sessions.values().cloned().collect())
    }

    fn index_home(&self) -> IndexHome {
        IndexHome::Cache
    }

    fn local_folders(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

struct Opened(Arc<Vec<u8>>);

impl ObjectReader for Opened {
    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let read = start.checked_add(buffer.len()).and_then(|end| self.0.get(start..end));
        let read = read.ok_or_else(|| failed("read", io::ErrorKind::UnexpectedEof.into()))?;
        buffer.copy_from_slice(read);
        Ok(())
    }
}

/// An object that has no name yet: a power cut leaves nothing of it.
struct Object {
    disk: SimStorage,
    bytes: Vec<u8>,
    durable_bytes: usize,
}

impl Object {
    fn content(self) -> (SimStorage, Content) {
        let Self { disk, bytes, durable_bytes } = self;
        (disk, Content { bytes: Arc::new(bytes), durable_bytes })
    }
}

impl Staged for Object {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        drop(self.disk.operate(|_| {})?);
        self.bytes.extend(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        drop(self.disk.operate(|_| {})?);
        if self.disk.0.honesty != Honesty::ForgetsBytes {
            self.durable_bytes = self.bytes.len();
        }
        Ok(())
    }

    fn publish(self: Box<Self>, area: Area, name: &str) -> Result<()> {
        let (disk, content) = self.content();
        let publish = |state: &mut State| {
            let names = state.names(area, name);
            let is_free = !names.now.contains_key(name);
            if is_free {
                names.change(Change::Publish(name.into(), content.clone()));
            }
            is_free
        };
        let mut state = disk.operate(|state| _ = publish(state))?;
        if publish(&mut state) { Ok(()) } else { Err(StoreError::Exists { area, name: name.into() }) }
    }

    fn replace(self: Box<Self>, area: Area, name: &str) -> Result<()> {
        let (disk, content) = self.content();
        let replace = |state: &mut State| {
            state.names(area, name).change(Change::Publish(name.into(), content.clone()));
        };
        replace(&mut *disk.operate(replace)?);
        Ok(())
    }
}

struct Lock {
    disk: SimStorage,
    mode: LockMode,
}

impl Held for Lock {}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        match self.mode {
            LockMode::Shared => state.shared -= 1,
            LockMode::Exclusive => state.is_alone = false,
        }
        self.disk.0.changed.notify_all();
    }
}

struct Registration {
    disk: SimStorage,
    number: u64,
}

impl Registered for Registration {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let mut state = self.disk.operate(|_| {})?;
        state.sessions.entry(self.number).or_default().extend(bytes);
        Ok(())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.disk.state().sessions.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random() -> Random {
        Random::named(1, "sim")
    }

    fn put(disk: &SimStorage, digit: char, syncs: (bool, bool)) -> String {
        let name = digit.to_string().repeat(64);
        let mut staged = disk.stage().unwrap();
        staged.append(&[1; 2000]).unwrap();
        if syncs.0 {
            staged.sync().unwrap();
        }
        staged.publish(Area::Packs, &name).unwrap();
        if syncs.1 {
            disk.sync(Area::Packs, &[&name]).unwrap();
        }
        name
    }

    #[test]
    fn only_what_was_made_durable_is_sure_to_survive() {
        let disk = SimStorage::default();
        let [whole, torn, nameless] = [('a', (true, true)), ('b', (false, true)), ('c', (true, false))]
            .map(|(digit, syncs)| put(&disk, digit, syncs));
        let read = |disk: &SimStorage, name: &str| disk.read(Area::Packs, name, 1 << 20).ok();
        let nothing = disk.after_cut(Outcome::Nothing, &mut random());
        assert_eq!(read(&nothing, &whole), Some(vec![1; 2000]));
        assert_eq!((read(&nothing, &torn), read(&nothing, &nameless)), (Some(vec![]), None));
        let everything = disk.after_cut(Outcome::Everything, &mut random());
        assert!([whole, torn, nameless].iter().all(|name| read(&everything, name) == Some(vec![1; 2000])));
        let mut random = random();
        let lengths = (0..40).map(|_| disk.after_cut(Outcome::Anything, &mut random)).map(|disk| {
            let torn = disk.read(Area::Packs, &"b".repeat(64), 1 << 20).unwrap();
            (torn.len(), torn.iter().filter(|byte| **byte == 0).count(), disk.list(Area::Packs).unwrap().len())
        });
        let lengths: Vec<_> = lengths.collect();
        assert!(lengths.iter().any(|(length, ..)| *length < 2000) && lengths.iter().any(|(_, zeros, _)| *zeros > 0));
        assert!(lengths.iter().any(|(.., names)| *names == 2) && lengths.iter().any(|(.., names)| *names == 3));
    }

    #[test]
    fn a_removal_that_is_not_durable_may_be_undone() {
        let disk = SimStorage::default();
        let name = put(&disk, 'a', (true, true));
        disk.remove(Area::Packs, &name).unwrap();
        assert_eq!(disk.list(Area::Packs).unwrap(), []);
        assert_eq!(disk.after_cut(Outcome::Nothing, &mut random()).list(Area::Packs).unwrap().len(), 1);
        disk.sync_area(Area::Packs).unwrap();
        assert_eq!(disk.after_cut(Outcome::Nothing, &mut random()).list(Area::Packs).unwrap(), []);
    }

    #[test]
    fn nothing_works_after_the_cut() {
        let disk = SimStorage::default();
        disk.cut_in(2);
        let mut staged = disk.stage().unwrap();
        assert!(!disk.is_dead());
        assert!(staged.append(b"x").is_err());
        assert!(disk.is_dead() && disk.list(Area::Packs).is_err() && disk.stage().is_err());
    }
}
