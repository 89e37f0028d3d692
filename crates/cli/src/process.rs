//! What the process asks of the system: room for open files, and to be told of SIGINT and SIGTERM.
//!
//! Owns: the one flag that a signal sets. A second signal of the same kind ends the process at once, as if this module
//! were not there: nothing needs tidying up that a crash would not leave behind as well.
//! Invariant: before [`catch_signals`] a signal has its default effect, which is right for everything short and for a
//! prompt that waits for a passphrase.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::exit::{Failure, Kind};

/// The number of the signal that came, or 0.
static CAUGHT: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Lets this process open as many files as it may: a capture holds many, and so does a reader of many packs.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // A refusal leaves the limit as it was, and most work fits into it.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// From now on the first SIGINT or SIGTERM only sets the flag.
pub(crate) fn catch_signals() -> Result<(), Failure> {
    let caught = CAUGHT.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        let armed = Arc::new(AtomicBool::new(false));
        let registered = flag::register_conditional_default(signal, Arc::clone(&armed))
            .and_then(|_| flag::register(signal, armed))
            .and_then(|_| flag::register_usize(signal, Arc::clone(caught), signal as usize));
        registered
            .map_err(|error: io::Error| Failure::new(Kind::Failed, "cannot watch for signals").because(&error))?;
    }
    Ok(())
}

/// Whether somebody asked to stop.
pub(crate) fn is_interrupted() -> bool {
    signal() != 0
}

/// The kind of end that the signal asks for.
pub(crate) fn interruption() -> Kind {
    if signal() == SIGTERM as usize { Kind::Terminated } else { Kind::Interrupted }
}

fn signal() -> usize {
    CAUGHT.get().map_or(0, |caught| caught.load(Ordering::Relaxed))
}
