//! `treering key`.
//!
//! Invariant: what opens the repository next is durable before what opened it until now is removed, and a key is
//! written to its file before the repository opens with it.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use treering_store::{DerivationCost, Encryption, KeyFile, OsEntropy, SlotInfo, SlotKind, Unlock};

use crate::args::{KeyArgs, KeyCommand, NewSlotArgs};
use crate::context::{Context, Opened, read_key_file, to_unlock};
use crate::exit::{Failure, Kind, Outcome};
use crate::output::messages::{KeyAdded, KeyFileCreated, KeyInfo, KeyRemoved, Message};
use crate::output::table::{Content, Table};
use crate::password::{self, Ask};
use crate::selector::{IdPrefix, SHORT_ID_LEN};
use crate::settings::{NewSlot, Verbosity};
use crate::{choice, clock, escape, time};

/// Readable only to its owner.
const PRIVATE_MODE: u32 = 0o600;
/// Who the slot of a recovery key is said to be of, in place of a user.
pub(super) const RECOVERY_USER: &str = "recovery";

/// Does what was asked for.
pub(crate) fn run(context: &Context, args: &KeyArgs) -> Outcome {
    match &args.command {
        KeyCommand::NewFile { path } => new_file(context, path),
        KeyCommand::List => context.with_repository(|opened| list(context, opened)),
        KeyCommand::Add(new) => change(context, |opened| add(context, opened, new).map(drop)),
        KeyCommand::Passwd(new) => change(context, |opened| passwd(context, opened, new)),
        KeyCommand::Remove { id } => change(context, |opened| remove(context, opened, id)),
        KeyCommand::Export { output } => change(context, |opened| export(context, opened, output.as_deref())),
    }
}

/// Where there are keys.
fn change(context: &Context, work: impl FnOnce(&Opened) -> Outcome) -> Outcome {
    context.with_repository(|opened| match opened.repository.config().encryption {
        Encryption::None => Err(Failure::new(Kind::Failed, "the repository is not encrypted, so it has no keys")),
        Encryption::Aes256Gcm => work(opened),
    })
}

fn new_file(context: &Context, path: &Path) -> Outcome {
    write_new(path, &KeyFile::generate(&OsEntropy)?)?;
    if context.printer.json {
        let path = escape::lossy(path.as_os_str().as_encoded_bytes());
        return context.printer.json(&Message::KeyFileCreated(KeyFileCreated { path }));
    }
    let said = format!("wrote a new key file, {}; keep a copy of it off this machine", escape::path(path));
    context.printer.note(Verbosity::Normal, &said)
}

fn add(context: &Context, opened: &Opened, new: &NewSlotArgs) -> Result<String, Failure> {
    let unlock = match NewSlot::resolve(new)? {
        NewSlot::KeyFile(path) => Unlock::KeyFile(read_key_file(&path)?),
        NewSlot::Passphrase(source) => to_unlock(password::read(&source, Ask::Twice)?)?,
    };
    let label = context.slot_label(new.user.as_deref(), new.host.as_deref());
    let name = add_slot(opened, &unlock, &label)?;
    tell_added(context, &name)?;
    Ok(name)
}

fn add_slot(opened: &Opened, unlock: &Unlock, label: &str) -> Result<String, Failure> {
    let now = clock::now().as_second();
    Ok(opened.repository.add_key(unlock, DerivationCost::DEFAULT, now, label)?)
}

fn passwd(context: &Context, opened: &Opened, new: &NewSlotArgs) -> Outcome {
    let old = opened.repository.find_key(&opened.unlock)?;
    add(context, opened, new)?;
    let removed = opened.repository.remove_key(&old);
    removed.map_err(|error| Failure::from(error).safe("The new key opens the repository, and so does the old one."))?;
    tell_removed(context, &old)
}

fn remove(context: &Context, opened: &Opened, id: &IdPrefix) -> Outcome {
    let name = one(opened.repository.list_key_names()?, id)?;
    if opened.repository.find_key(&opened.unlock).is_ok_and(|current| current == name) {
        return Err(Failure::new(Kind::Failed, "this key opened the repository now, and so it is not removed")
            .next("Open the repository with another key, or use `key passwd`."));
    }
    opened.repository.remove_key(&name)?;
    tell_removed(context, &name)?;
    let copies = "whoever has copied the repository before can still open that copy with it";
    context.printer.note(Verbosity::Normal, copies)
}

/// The one slot that can be read and whose name begins so.
pub(crate) fn find(opened: &Opened, id: &IdPrefix) -> Result<String, Failure> {
    one(opened.repository.list_keys()?.into_iter().map(|slot| slot.name).collect(), id)
}

fn one(names: Vec<String>, id: &IdPrefix) -> Result<String, Failure> {
    choice::only(names.into_iter(), id, "key").map_err(|failure| failure.or_next("See `treering key list`."))
}

/// To standard output a key goes last, for nobody can be asked whether it arrived; into a file it goes first.
fn export(context: &Context, opened: &Opened, output: Option<&Path>) -> Outcome {
    let key = KeyFile::generate(&OsEntropy)?;
    if let Some(path) = output {
        write_new(path, &key)?;
    }
    let label = context.slot_label(Some(RECOVERY_USER), None);
    let id = add_slot(opened, &Unlock::KeyFile(key.clone()), &label)?;
    let text = key.to_text();
    if context.printer.json {
        let recovery_key = output.is_none().then(|| text.trim_end().to_owned());
        return context.printer.json(&Message::KeyAdded(KeyAdded { id, recovery_key }));
    }
    match output {
        Some(path) => context.printer.note(Verbosity::Normal, &format!("wrote {}", escape::path(path))),
        None => context.printer.result(&text),
    }
}

fn tell_added(context: &Context, name: &str) -> Outcome {
    match context.printer.json {
        true => context.printer.json(&Message::KeyAdded(KeyAdded { id: name.to_owned(), recovery_key: None })),
        false => context.printer.note(Verbosity::Normal, &format!("added key {}", short(name))),
    }
}

fn tell_removed(context: &Context, name: &str) -> Outcome {
    match context.printer.json {
        true => context.printer.json(&Message::KeyRemoved(KeyRemoved { id: name.to_owned() })),
        false => context.printer.note(Verbosity::Normal, &format!("removed key {}", short(name))),
    }
}

/// A new file that only its owner can read, durable.
fn write_new(path: &Path, key: &KeyFile) -> Outcome {
    let file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_MODE).open(path);
    let mut file = file.map_err(|error| Failure::io("create", path, &error))?;
    let written = file.write_all(key.to_text().as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| Failure::io("write", path, &error))
}

fn list(context: &Context, opened: &Opened) -> Outcome {
    let current = opened.repository.find_key(&opened.unlock).ok();
    let slots = opened.repository.list_keys()?;
    let infos = slots.iter().map(|slot| info(context, slot, current.as_ref() == Some(&slot.name)));
    let infos: Vec<KeyInfo> = infos.collect();
    match context.printer.json {
        true => context.printer.json(&infos),
        false => context.printer.result(&table(&slots, &infos, context)),
    }
}

/// A slot without its secrets.
pub(crate) fn info(context: &Context, slot: &SlotInfo, current: bool) -> KeyInfo {
    let (user, host) = slot.label.rsplit_once('@').unwrap_or((&slot.label, ""));
    KeyInfo {
        current,
        id: slot.name.clone(),
        user_name: user.to_owned(),
        host_name: host.to_owned(),
        created: time::rfc3339(created(slot), &context.zone),
        kind: kind_name(slot.kind),
    }
}

fn table(slots: &[SlotInfo], infos: &[KeyInfo], context: &Context) -> String {
    let mut table = Table::new(&["ID", "Kind", "User", "Host", "Created"]);
    for (slot, info) in slots.iter().zip(infos) {
        let id = format!("{}{}", if info.current { "*" } else { " " }, short(&info.id));
        table.add([
            Content::Own(id),
            Content::Text(info.kind),
            Content::Text(&info.user_name),
            Content::Text(&info.host_name),
            Content::Own(time::show(created(slot), &context.zone)),
        ]);
    }
    table.render()
}

fn created(slot: &SlotInfo) -> Timestamp {
    Timestamp::from_second(slot.created).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn kind_name(kind: SlotKind) -> &'static str {
    match kind {
        SlotKind::Passphrase => "passphrase",
        SlotKind::KeyFile => "key-file",
    }
}

fn short(name: &str) -> &str {
    name.get(..SHORT_ID_LEN).unwrap_or(name)
}
