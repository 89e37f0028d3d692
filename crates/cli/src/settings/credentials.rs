//! What opens a repository, and what shall open it from now on.

use std::path::PathBuf;

use crate::args::{GlobalArgs, NewSlotArgs};
use crate::environment::Environment;
use crate::exit::Failure;
use crate::password::{self, Ask, Passphrase, PassphraseSource};

/// What was given to open the repository, nothing of it read yet. `init` makes a key slot for each.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    /// A key file.
    pub(crate) key_file: Option<PathBuf>,
    /// A passphrase. `None`: nothing says where to get one, so ask, unless there is a key file.
    pub(crate) passphrase: Option<PassphraseSource>,
}

impl Credentials {
    /// If anything is typed, the environment is not looked at: `-p` then means that passphrase and nothing else.
    pub(crate) fn resolve(args: &GlobalArgs, environment: &Environment) -> Result<Credentials, Failure> {
        let typed = Credentials {
            key_file: args.key_file.clone(),
            passphrase: one_of(None, args.password_file.clone(), args.password_command.clone())?,
        };
        match typed.is_given() {
            true => Ok(typed),
            false => Credentials::of_environment(environment),
        }
    }

    fn of_environment(environment: &Environment) -> Result<Credentials, Failure> {
        let Environment { password, password_file, password_command, .. } = environment;
        let passphrase = one_of(password.clone(), password_file.clone(), password_command.clone())?;
        Ok(Credentials { key_file: environment.key_file.clone(), passphrase })
    }

    /// Whether anything was given. A repository that claims to be unencrypted is refused if so.
    pub(crate) fn is_given(&self) -> bool {
        self.key_file.is_some() || self.passphrase.is_some()
    }

    /// The passphrase that opens the repository, asked for if nothing else was given.
    pub(crate) fn read_passphrase(&self, ask: Ask) -> Result<Option<Passphrase>, Failure> {
        match (&self.passphrase, &self.key_file) {
            (Some(source), _) => password::read(source, ask).map(Some),
            (None, Some(_)) => Ok(None),
            (None, None) => password::read(&PassphraseSource::Prompt, ask).map(Some),
        }
    }
}

/// What a new key slot is made from.
#[derive(Debug, Clone)]
pub(crate) enum NewSlot {
    /// A key file, which exists.
    KeyFile(PathBuf),
    /// A passphrase, still to be read.
    Passphrase(PassphraseSource),
}

impl NewSlot {
    /// Only what is typed counts: the environment says what opens the repository now.
    pub(crate) fn resolve(args: &NewSlotArgs) -> Result<NewSlot, Failure> {
        if let Some(path) = &args.new_key_file {
            return Ok(NewSlot::KeyFile(path.clone()));
        }
        let source = one_of(None, args.new_password_file.clone(), args.new_password_command.clone())?;
        Ok(NewSlot::Passphrase(source.unwrap_or(PassphraseSource::Prompt)))
    }
}

fn one_of(
    value: Option<Passphrase>,
    file: Option<PathBuf>,
    command: Option<String>,
) -> Result<Option<PassphraseSource>, Failure> {
    let sources =
        [value.map(PassphraseSource::Value), file.map(PassphraseSource::File), command.map(PassphraseSource::Command)];
    let mut given = sources.into_iter().flatten();
    match (given.next(), given.next()) {
        (_, Some(_)) => Err(conflict()),
        (source, None) => Ok(source),
    }
}

fn conflict() -> Failure {
    Failure::usage("the passphrase is given in more than one way").next(
        "Use only one of TREERING_PASSWORD, TREERING_PASSWORD_FILE and TREERING_PASSWORD_COMMAND, or one of their options.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::tests::environment;

    fn resolve(args: &GlobalArgs, variables: &[(&str, &str)]) -> Result<Credentials, Failure> {
        Credentials::resolve(args, &environment(variables).unwrap())
    }

    #[test]
    fn what_is_typed_replaces_all_of_the_environment() {
        let typed = GlobalArgs { password_file: Some("/p".into()), ..Default::default() };
        let credentials = resolve(&typed, &[("TREERING_KEY_FILE", "/k"), ("TREERING_PASSWORD", "x")]).unwrap();
        assert!(matches!(credentials.passphrase, Some(PassphraseSource::File(path)) if path.as_os_str() == "/p"));
        assert_eq!(credentials.key_file, None);
    }

    #[test]
    fn a_key_file_and_a_passphrase_may_come_together() {
        let credentials =
            resolve(&GlobalArgs::default(), &[("TREERING_KEY_FILE", "/k"), ("TREERING_PASSWORD", "x")]).unwrap();
        assert!(credentials.key_file.is_some() && credentials.is_given());
        assert_eq!(credentials.read_passphrase(Ask::Once).unwrap().as_deref(), Some(&b"x".to_vec()));
    }

    #[test]
    fn a_key_file_alone_asks_for_nothing() {
        let credentials = resolve(&GlobalArgs::default(), &[("TREERING_KEY_FILE", "/k")]).unwrap();
        assert!(credentials.read_passphrase(Ask::Twice).unwrap().is_none());
        assert!(!resolve(&GlobalArgs::default(), &[]).unwrap().is_given());
    }

    #[test]
    fn two_passphrases_are_an_error() {
        let variables = [("TREERING_PASSWORD", "x"), ("TREERING_PASSWORD_FILE", "/p")];
        assert!(resolve(&GlobalArgs::default(), &variables).is_err());
    }

    #[test]
    fn a_new_slot_is_only_what_is_typed() {
        assert!(matches!(
            NewSlot::resolve(&NewSlotArgs::default()).unwrap(),
            NewSlot::Passphrase(PassphraseSource::Prompt)
        ));
        let args = NewSlotArgs { new_key_file: Some("/k".into()), ..Default::default() };
        assert!(matches!(NewSlot::resolve(&args).unwrap(), NewSlot::KeyFile(_)));
    }
}
