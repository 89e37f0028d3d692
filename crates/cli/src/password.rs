//! Where a passphrase comes from.
//!
//! Owns: reading a passphrase from the environment, a file, a command or the terminal.
//! Never: keeps a passphrase in memory that is not wiped, prints one, or takes a key file for one.
//! Invariant: a passphrase is the first line of its source without its line end, it is not empty, and nothing else
//! (blanks, for instance) is cut off.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use crate::exit::{Failure, Kind};

/// A passphrase; wiped when it is dropped. Any bytes but line ends and NUL.
pub(crate) type Passphrase = Zeroizing<Vec<u8>>;

/// The longest first line that is taken for a passphrase.
const MAX_PASSPHRASE_BYTES: usize = 64 * 1024;

/// Where to get it.
#[derive(Clone)]
pub(crate) enum PassphraseSource {
    /// `TREERING_PASSWORD`.
    Value(Passphrase),
    /// `--password-file`.
    File(PathBuf),
    /// `--password-command`.
    Command(String),
    /// The terminal.
    Prompt,
}

impl std::fmt::Debug for PassphraseSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PassphraseSource::Value(_) => f.write_str("Value(…)"),
            PassphraseSource::File(path) => f.debug_tuple("File").field(path).finish(),
            PassphraseSource::Command(_) => f.write_str("Command(…)"),
            PassphraseSource::Prompt => f.write_str("Prompt"),
        }
    }
}

/// How a person is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// For a passphrase that exists: a mistake shows by itself.
    Once,
    /// For a new passphrase: a mistake would lock the owner out.
    Twice,
}

/// Gets the passphrase.
pub(crate) fn read(source: &PassphraseSource, ask: Ask) -> Result<Passphrase, Failure> {
    match source {
        PassphraseSource::Value(value) => checked(value.clone(), "TREERING_PASSWORD"),
        PassphraseSource::File(path) => from_file(path),
        PassphraseSource::Command(command) => from_command(command),
        PassphraseSource::Prompt => prompt(ask),
    }
}

fn from_file(path: &Path) -> Result<Passphrase, Failure> {
    let failed =
        |verb, error| Failure::io(verb, path, &error).next("Check --password-file and TREERING_PASSWORD_FILE.");
    let file = File::open(path).map_err(|error| failed("open the password file", error))?;
    let line = first_line(file).map_err(|error| failed("read the password file", error))?;
    checked(line, &format!("the password file {}", path.display()))
}

fn from_command(command: &str) -> Result<Passphrase, Failure> {
    let words = split_words(command).ok_or_else(|| Failure::usage("the password command has an open quote"))?;
    let Some((program, arguments)) = words.split_first() else {
        return Err(Failure::usage("the password command is empty"));
    };
    let run = |error: io::Error| Failure::io("run the password command", Path::new(program), &error);
    let mut child =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(run)?;
    let line = child.stdout.take().map_or_else(|| Ok(Passphrase::default()), first_line);
    let status = child.wait().map_err(run)?;
    if !status.success() {
        return Err(Failure::new(Kind::Failed, format!("the password command {program} failed with {status}"))
            .next("Run it by itself to see why: it must print the passphrase and end with 0."));
    }
    checked(line.map_err(run)?, &format!("the password command {program}"))
}

fn prompt(ask: Ask) -> Result<Passphrase, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("no passphrase was given, and there is no terminal to ask for one")
            .next("Use --key-file, --password-file, --password-command or TREERING_PASSWORD."));
    }
    let first = ask_for("enter the passphrase of the repository: ")?;
    if ask == Ask::Twice && *ask_for("enter it again: ")? != *first {
        return Err(Failure::usage("the two passphrases differ").next("Nothing was changed; try again."));
    }
    checked(first, "the passphrase that was entered")
}

fn ask_for(question: &str) -> Result<Passphrase, Failure> {
    match rpassword::prompt_password(question) {
        Ok(answer) => Ok(Zeroizing::new(answer.into_bytes())),
        Err(error) => Err(Failure::new(Kind::Failed, "cannot ask for the passphrase").because(&error)),
    }
}

/// The first line, without its line end. Reads on to the end, so that a command does not die of a closed pipe.
fn first_line(mut source: impl Read) -> io::Result<Passphrase> {
    // Allocated at once: a buffer that grows would leave unwiped copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE_BYTES + 1));
    source.by_ref().take(MAX_PASSPHRASE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    io::copy(&mut source, &mut io::sink())?;
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    Ok(Zeroizing::new(line.to_vec()))
}

fn checked(passphrase: Passphrase, source: &str) -> Result<Passphrase, Failure> {
    if passphrase.is_empty() {
        return Err(Failure::usage(format!("{source} is empty")));
    }
    if passphrase.len() > MAX_PASSPHRASE_BYTES {
        return Err(Failure::usage(format!("{source} is longer than {MAX_PASSPHRASE_BYTES} bytes")));
    }
    if passphrase.contains(&0) {
        return Err(Failure::usage(format!("{source} holds a NUL byte and is no passphrase"))
            .next("A key file is given by --key-file."));
    }
    Ok(passphrase)
}

/// Splits at blanks; quotes keep blanks, a backslash keeps the next character. `None` if a quote stays open.
fn split_words(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None | Some('"'), '\\') => word.get_or_insert_default().push(chars.next()?),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bytes: &[u8]) -> Vec<u8> {
        first_line(bytes).unwrap().to_vec()
    }

    #[test]
    fn a_passphrase_is_the_first_line_and_blanks_belong_to_it() {
        assert_eq!(line(b"secret\n"), b"secret");
        assert_eq!(line(b"secret"), b"secret");
        assert_eq!(line(b" two words \r\nsecond line\n"), b" two words ");
        assert_eq!(line(b"p\xe4ss\n"), b"p\xe4ss");
        assert_eq!(line(b""), b"");
    }

    #[test]
    fn what_is_no_passphrase_is_refused() {
        assert!(checked(Zeroizing::new(Vec::new()), "x").is_err());
        assert!(checked(Zeroizing::new(vec![b'a'; MAX_PASSPHRASE_BYTES + 1]), "x").is_err());
        let failure = checked(Zeroizing::new(b"magic\0key".to_vec()), "x").unwrap_err();
        assert!(failure.next.unwrap().contains("--key-file"));
    }

    #[test]
    fn words_of_a_command() {
        let split = |text| split_words(text).unwrap();
        assert_eq!(split("pass show backup"), ["pass", "show", "backup"]);
        assert_eq!(split("  a\t'b c'  \"d \\\" e\" f\\ g ''"), ["a", "b c", "d \" e", "f g", ""]);
        assert_eq!(split("a'b'\"c\""), ["abc"]);
        assert_eq!(split("'a\\b'"), ["a\\b"]);
        assert!(split("").is_empty());
        assert_eq!(split_words("a 'b"), None);
        assert_eq!(split_words("a \\"), None);
    }

    #[test]
    fn commands_are_run_without_a_shell() {
        let passphrase = from_command("printf '%s\\n' 'a b;c' second").unwrap();
        assert_eq!(*passphrase, b"a b;c");
        assert!(from_command("false").unwrap_err().message().contains("failed"));
        assert!(from_command("/nonexistent/program").is_err());
        assert!(from_command("true").unwrap_err().message().contains("empty"));
        assert_eq!(from_command(" ").unwrap_err().kind, Kind::Usage);
    }

    #[test]
    fn files_and_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "from a file\n").unwrap();
        let source = PassphraseSource::File(path.clone());
        assert_eq!(*read(&source, Ask::Twice).unwrap(), b"from a file");
        let source = PassphraseSource::Value(Zeroizing::new(b"v".to_vec()));
        assert_eq!(*read(&source, Ask::Once).unwrap(), b"v");
        let missing = read(&PassphraseSource::File(folder.path().join("none")), Ask::Once).unwrap_err();
        assert!(missing.message().contains("cannot open the password file"));
    }
}
