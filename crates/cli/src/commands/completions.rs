//! `treering completions`.

use crate::args::{self, CompletionsArgs};
use crate::exit::Outcome;
use crate::output::Printer;

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs, printer: Printer) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), "treering", &mut script);
    printer.result(&String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use clap_complete::Shell;

    use super::*;

    #[test]
    fn every_shell_has_a_script_that_knows_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut args::command(), "treering", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("restore") && script.contains("exclude-larger-than"), "{shell}");
        }
    }
}
