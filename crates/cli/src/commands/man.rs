//! `treering man`.

use std::fs;
use std::path::Path;

use clap::Command;

use crate::args::{self, ManArgs};
use crate::exit::{Failure, Outcome};
use crate::output::Printer;

/// Prints one page, or writes all of them.
pub(crate) fn run(args: &ManArgs, printer: Printer) -> Outcome {
    let mut root = args::command().disable_help_subcommand(true);
    root.build();
    match &args.output {
        Some(folder) => write_all(&root, folder),
        None => printer.result(&page(find(&root, &args.command)?)?),
    }
}

fn find<'a>(root: &'a Command, names: &[String]) -> Result<&'a Command, Failure> {
    names.iter().flat_map(|name| name.split(' ')).try_fold(root, |command, name| {
        let unknown =
            || Failure::usage(format!("there is no command `{}`", names.join(" "))).next("`treering help` lists them.");
        command.find_subcommand(name).ok_or_else(unknown)
    })
}

fn page(command: &Command) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let rendered = man(command).render(&mut bytes);
    rendered.map_err(|error| Failure::stdout(&error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn man(command: &Command) -> clap_mangen::Man {
    let source = concat!("treering ", env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command.clone()).manual("treering manual").source(source)
}

fn write_all(command: &Command, folder: &Path) -> Outcome {
    let path = folder.join(man(command).get_filename());
    fs::write(&path, page(command)?).map_err(|error| Failure::io("write", &path, &error))?;
    command.get_subcommands().try_for_each(|command| write_all(command, folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built() -> Command {
        let mut root = args::command().disable_help_subcommand(true);
        root.build();
        root
    }

    #[test]
    fn pages_are_found_by_name() {
        let root = built();
        let text = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            page(find(&root, &names).unwrap()).unwrap()
        };
        assert!(text(&[]).contains("Exit codes"));
        assert!(text(&["backup"]).contains("treering\\-backup"));
        assert!(text(&["key new-file"]).contains("readable only to you"));
        assert!(text(&["key", "add"]).contains("new\\-key\\-file"));
        assert!(text(&["key", "add"]).contains("\"treering 0."), "a page says of which version it is");
        assert!(find(&root, &["kee".to_owned()]).is_err());
    }

    #[test]
    fn all_pages_are_written() {
        let folder = tempfile::tempdir().unwrap();
        write_all(&built(), folder.path()).unwrap();
        for name in ["treering.1", "treering-restore.1", "treering-key-new-file.1"] {
            assert!(folder.path().join(name).exists(), "{name}");
        }
    }
}
