//! `treering je`: one short file for each of its commands.

pub(crate) mod ended;
mod failover;
pub(crate) mod history;
pub(crate) mod jar;
mod last_file;
mod log;
mod look;
pub(crate) mod moment;
mod range;
mod source;
mod watch;

use crate::args::{JeArgs, JeCommand};
use crate::context::Context;
use crate::exit::Outcome;

/// Runs one of them.
pub(crate) fn run(context: &Context, args: &JeArgs) -> Outcome {
    match &args.command {
        JeCommand::Verify(args) => look::verify_command(context, args),
        JeCommand::Info(args) => look::info(context, args),
        JeCommand::Log(args) => log::run(context, args),
        JeCommand::Range(args) => range::run(context, args),
        JeCommand::LastFile(args) => last_file::run(context, args),
        JeCommand::Watch(args) => watch::run(context, args),
        JeCommand::Failover(args) => failover::run(context, args),
    }
}
