//! `treering init`.
//!
//! Owns: what a new repository is made with; these choices are for ever.
//! Invariant: an encrypted repository that only a key file would open gets a recovery key as well.

use std::sync::Arc;

use treering_chunk::CutSizes;
use treering_store::{DerivationCost, Encryption, InitOptions, KeyFile, OsEntropy, Repository, Unlock};

use super::key::RECOVERY_USER;
use crate::args::{self, InitArgs};
use crate::clock;
use crate::context::Context;
use crate::escape;
use crate::exit::{Failure, Kind, Outcome};
use crate::output::messages::{Initialized, Message};
use crate::password::Ask;
use crate::settings::Verbosity;

/// The average chunk of ordinary files. What a smaller one saves, ids and trailers cost; see `docs/measurements.md`.
const GENERAL_CUT_BYTES: u32 = 32 << 10;
/// The average chunk of files that are rewritten in small pieces, as log-structured stores are.
const FINE_CUT_BYTES: u32 = 8 << 10;
/// How much is compressed and sealed together.
const FRAME_BYTES: u32 = 2 << 20;

/// Makes a repository.
pub(crate) fn run(context: &Context, args: &InitArgs) -> Outcome {
    let encryption = match args.encryption {
        args::Encryption::Aes256Gcm => Encryption::Aes256Gcm,
        args::Encryption::None => Encryption::None,
    };
    let storage = context.storage()?;
    // Before anybody is asked for a passphrase.
    storage.assert_unused()?;
    let unlocks = unlocks(context, encryption)?;
    let recovery = recovery_key(&unlocks)?;
    let unlocks = unlocks.into_iter().map(|unlock| (unlock, context.slot_label(None, None)));
    let recovered = recovery.clone().map(|key| (Unlock::KeyFile(key), context.slot_label(Some(RECOVERY_USER), None)));
    let cache = context.index_cache(&*storage)?;
    let options = options(encryption, unlocks.chain(recovered).collect())?;
    let repository = Repository::init(storage, &options, Arc::new(OsEntropy), cache)?;
    tell(context, &repository, recovery.as_ref())
}

/// What shall open it; asks for a passphrase if nothing was given.
fn unlocks(context: &Context, encryption: Encryption) -> Result<Vec<Unlock>, Failure> {
    match encryption {
        Encryption::Aes256Gcm => context.unlocks(Ask::Twice).collect(),
        Encryption::None if context.settings.credentials.is_given() => {
            Err(Failure::usage("a passphrase or key file was given for a repository without encryption")
                .next("Leave out either it (TREERING_* variables count) or --encryption none."))
        }
        Encryption::None => Ok(Vec::new()),
    }
}

fn recovery_key(unlocks: &[Unlock]) -> Result<Option<KeyFile>, Failure> {
    match unlocks {
        [Unlock::KeyFile(_)] => Ok(Some(KeyFile::generate(&OsEntropy)?)),
        _ => Ok(None),
    }
}

fn options(encryption: Encryption, unlocks: Vec<(Unlock, String)>) -> Result<InitOptions, Failure> {
    let cut_sizes = CutSizes::new(GENERAL_CUT_BYTES, FINE_CUT_BYTES)
        .map_err(|error| Failure::new(Kind::Failed, "the sizes of chunks are impossible").because(&error))?;
    Ok(InitOptions {
        encryption,
        unlocks,
        cost: DerivationCost::DEFAULT,
        created: clock::now().as_second(),
        cut_sizes,
        frame_bytes: FRAME_BYTES,
    })
}

fn tell(context: &Context, repository: &Repository, recovery: Option<&KeyFile>) -> Outcome {
    let recovery = recovery.map(|key| key.to_text().trim_end().to_owned());
    let config = repository.config();
    let place = repository.storage().place();
    if context.printer.json {
        return context.printer.json(&Message::Initialized(Initialized {
            id: config.repository.to_string(),
            repository: place,
            encryption: encryption_name(config.encryption),
            recovery_key: recovery,
        }));
    }
    let id = config.repository.to_string();
    let place = escape::text(&place).into_owned();
    context.printer.note(Verbosity::Normal, &format!("created treering repository {} at {place}", &id[..10]))?;
    if config.encryption == Encryption::None {
        context.printer.warn("it is not encrypted: whoever can read the repository can read what is backed up");
    }
    recovery.map_or(Ok(()), |key| context.printer.result(&recovery_text(&key)))
}

fn recovery_text(key: &str) -> String {
    format!(
        "\nRecovery key:\n\n    {key}\n\nIt opens the repository as the key file does. Write it down and keep it off \
         this machine:\nwithout it, a lost key file is a lost repository. It is not shown again.\n"
    )
}

/// As `--encryption` has it.
pub(crate) fn encryption_name(encryption: Encryption) -> &'static str {
    match encryption {
        Encryption::Aes256Gcm => "aes256gcm",
        Encryption::None => "none",
    }
}
