//! `treering cat`.
//!
//! Never: shows a secret; a key slot is shown without what it wraps.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};
use treering_chunk::{ChunkId, ChunkKind};
use treering_snapshot::SnapshotError;
use treering_snapshot::tree::TreeReader;
use treering_store::storage::Area;
use treering_store::{PackKind, Repository};

use super::init::encryption_name;
use super::key;
use crate::args::{CatArgs, CatKind};
use crate::choice;
use crate::context::{Context, Opened};
use crate::exit::{Failure, Kind, Outcome};
use crate::output::{json as document, nodes, objects};
use crate::selector::{FULL_ID_LEN, IdPrefix, Selector, SnapshotRef};
use crate::settings::snapshot_filter;
use crate::time;

/// Prints one object.
pub(crate) fn run(context: &Context, args: &CatArgs) -> Outcome {
    context.with_repository(|opened| match args.kind {
        CatKind::Chunk => chunk(&opened.repository, args),
        _ => context.printer.result(&document::pretty(&value(context, opened, args)?)),
    })
}

fn value(context: &Context, opened: &Opened, args: &CatArgs) -> Result<Value, Failure> {
    match args.kind {
        CatKind::Config => Ok(config(context, &opened.repository)),
        CatKind::Snapshot => snapshot(context, opened, args),
        CatKind::Pack => pack(&opened.repository, id(args)?),
        CatKind::Record => record(&opened.repository, id(args)?),
        CatKind::Key => slot(context, opened, id(args)?),
        CatKind::Tree => tree(context, opened, args),
        CatKind::Chunk => Err(Failure::usage("a chunk is not shown as JSON")),
    }
}

fn config(context: &Context, repository: &Repository) -> Value {
    let config = repository.config();
    let created = jiff::Timestamp::from_second(config.created).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    json!({
        "version": treering_store::FORMAT_VERSION,
        "id": config.repository.to_string(),
        "created": time::rfc3339(created, &context.zone),
        "encryption": encryption_name(config.encryption),
        "general_cut_bytes": config.cut_sizes.general_bytes(),
        "fine_cut_bytes": config.cut_sizes.fine_bytes(),
        "frame_bytes": config.frame_bytes,
        "features": {
            "compatible": config.features.compatible,
            "read_compatible": config.features.read_compatible,
            "incompatible": config.features.incompatible,
        },
    })
}

fn snapshot(context: &Context, opened: &Opened, args: &CatArgs) -> Result<Value, Failure> {
    let selector = selector(args)?;
    choice::refuse_path(selector)?;
    let filter = snapshot_filter(&args.filter, &context.environment);
    let all = choice::all(&opened.repository, context.printer)?;
    let (name, snapshot) = choice::one(&all, selector, &filter)?;
    Ok(serde_json::to_value(objects::snapshot(*name, snapshot, &context.zone)).unwrap_or_default())
}

/// The entries of one folder; a tree has no id of its own, so it is named by a snapshot and a path.
fn tree(context: &Context, opened: &Opened, args: &CatArgs) -> Result<Value, Failure> {
    let selector = selector(args)?;
    let filter = snapshot_filter(&args.filter, &context.environment);
    let all = choice::all(&opened.repository, context.printer)?;
    let named = choice::one(&all, selector, &filter)?;
    let (mut reader, path) = (opened.repository.reader()?, choice::sub_path(selector));
    let node = choice::node(&mut reader, named, &path)?;
    let stream = node.tree().ok_or(SnapshotError::WrongKind { path: path.clone(), needed: "folder" })?;
    let (mut tree, mut entries) = (TreeReader::new(stream), Vec::new());
    while let Some(node) = tree.read_next(&mut reader)? {
        let path = path.join(std::ffi::OsStr::from_bytes(&node.name));
        entries.push(nodes::message(&path, &node, &context.zone));
    }
    Ok(json!({ "nodes": entries }))
}

fn pack(repository: &Repository, id: &IdPrefix) -> Result<Value, Failure> {
    let contents = repository.pack_contents(choice::pack(repository, id)?)?;
    let chunks = contents.chunks.iter().map(|(id, kind, raw_len)| {
        json!({ "id": id.to_string(), "type": chunk_kind(*kind), "uncompressed_length": raw_len })
    });
    Ok(json!({
        "id": contents.name.to_string(),
        "type": if contents.kind == PackKind::Data { "data" } else { "tree" },
        "length": contents.bytes,
        "blobs": chunks.collect::<Vec<_>>(),
    }))
}

fn record(repository: &Repository, id: &IdPrefix) -> Result<Value, Failure> {
    let snapshots = repository.list_records(Area::Snapshots)?;
    let name =
        choice::only(repository.list_records(Area::Records)?.into_iter().chain(snapshots.clone()), id, "record")?;
    let area = if snapshots.contains(&name) { Area::Snapshots } else { Area::Records };
    let record = repository.read_record(area, name)?;
    let (kind, flags, length) = (record.kind.0, record.flags, record.body.len());
    Ok(json!({ "id": name.to_string(), "kind": kind, "flags": flags, "body_length": length }))
}

fn slot(context: &Context, opened: &Opened, id: &IdPrefix) -> Result<Value, Failure> {
    let name = key::find(opened, id)?;
    let current = opened.repository.find_key(&opened.unlock).is_ok_and(|current| current == name);
    let slots = opened.repository.list_keys()?;
    let slot = slots.iter().find(|slot| slot.name == name);
    let slot = slot.ok_or_else(|| Failure::new(Kind::Failed, format!("the key {id} was removed meanwhile")))?;
    Ok(serde_json::to_value(key::info(context, slot, current)).unwrap_or_default())
}

/// The bytes as they are: this is the one output that is not neutralised, as in restic.
fn chunk(repository: &Repository, args: &CatArgs) -> Outcome {
    let prefix = id(args)?;
    let id = ChunkId::from_hex(prefix.as_str()).map_err(|_| {
        Failure::usage(format!("{prefix} is not the whole id of a chunk")).next(format!("It has {FULL_ID_LEN} digits."))
    })?;
    let mut reader = repository.reader()?;
    if !reader.knows(&id)? {
        return Err(Failure::new(Kind::Failed, format!("there is no chunk {id}"))
            .next("If something refers to it, `treering check` says what is affected."));
    }
    // What kind of chunk it is, is a part of its id, so at most one of them fits.
    let bytes = ChunkKind::ALL.iter().find_map(|kind| reader.get(*kind, &id).ok());
    let bytes = match bytes {
        Some(bytes) => bytes,
        None => reader.get(ChunkKind::Data, &id)?,
    };
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&bytes).and_then(|()| stdout.flush()).map_err(|error| Failure::stdout(&error))
}

fn selector(args: &CatArgs) -> Result<&Selector, Failure> {
    args.id.as_ref().ok_or_else(|| Failure::usage("the id is missing"))
}

fn id(args: &CatArgs) -> Result<&IdPrefix, Failure> {
    match &selector(args)?.snapshot {
        SnapshotRef::Id(prefix) => Ok(prefix),
        SnapshotRef::Latest { .. } => Err(Failure::usage("only snapshots can be named by their age")),
    }
}

fn chunk_kind(kind: ChunkKind) -> &'static str {
    match kind {
        ChunkKind::Data => "data",
        ChunkKind::Tree => "tree",
        ChunkKind::List => "list",
        ChunkKind::Stat => "stat",
        ChunkKind::SnapshotCopy => "snapshot",
    }
}
