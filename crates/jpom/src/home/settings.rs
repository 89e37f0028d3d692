//! What a home is configured to be: `conf/application.yml`, and the command line and environment of its process.
//!
//! The order is Spring's: an argument beats a system property, which beats the environment, which beats the file. In the
//! environment a key is written as it is (as Jpom's images do with `jpom.path`) or in capitals with underscores.
//!
//! Invariant: a value whose placeholders cannot be filled is unknown, not empty.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Home, read_text};
use crate::error::{Error, io_error};
use crate::process::Running;

/// Placeholders within placeholders are followed this far.
const PLACEHOLDERS_MOST: usize = 8;

/// What is configured.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    file: Value,
    running: Option<Running>,
}

impl Settings {
    pub(crate) fn read(home: &Home, running: Option<&Running>) -> Result<Settings, Error> {
        let path = home.root().join("conf/application.yml");
        let file = match read_text(&path) {
            Ok(text) => parse(&text).map_err(|reason| Error::Settings { path, reason })?,
            // A volume has none, and an agent may run with its defaults.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Value::Null,
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        Ok(Settings { file, running: running.cloned() })
    }

    /// The value of a key such as `jpom.db.mode`; `None` if it is empty, not there, or not known.
    pub fn get(&self, key: &str) -> Option<String> {
        self.of_process(key).or_else(|| self.of_file(key)).filter(|value| !value.is_empty())
    }

    /// A path that is configured.
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        self.get(key).map(PathBuf::from)
    }

    fn of_process(&self, key: &str) -> Option<String> {
        let running = self.running.as_ref()?;
        let of_argument = running.value_of(&format!("--{key}="));
        let of_property = || running.value_of(&format!("-D{key}="));
        let of_environment = || running.variable(key).or_else(|| running.variable(&in_capitals(key)));
        of_argument.or_else(of_property).or_else(of_environment)
    }

    fn of_file(&self, key: &str) -> Option<String> {
        let text = match find(&self.file, key)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        self.fill(&text, PLACEHOLDERS_MOST)
    }

    /// Fills `${NAME}` and `${NAME:default}`.
    fn fill(&self, text: &str, depth: usize) -> Option<String> {
        let Some((before, rest)) = text.split_once("${") else { return Some(text.to_owned()) };
        let (inner, after) = rest.split_once('}')?;
        let (name, default) = inner.split_once(':').map_or((inner, None), |(name, text)| (name, Some(text)));
        let depth = depth.checked_sub(1)?;
        let value = self.of_process(name).or_else(|| default.map(str::to_owned))?;
        self.fill(&format!("{before}{value}{after}"), depth)
    }
}

/// `jpom.db.mode` as `JPOM_DB_MODE`.
fn in_capitals(key: &str) -> String {
    key.replace('.', "_").replace('-', "").to_ascii_uppercase()
}

fn parse(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

/// A key may be nested, dotted, or both.
fn find<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    let folder = value.as_object()?;
    if let Some(found) = folder.get(key) {
        return Some(found);
    }
    let dots = key.match_indices('.').map(|(at, _)| key.split_at(at));
    dots.filter_map(|(head, tail)| find(folder.get(head)?, tail.strip_prefix('.')?)).next()
}

/// A folder that Jpom keeps things in, which may lie anywhere; its default is within `jpom.path`.
pub(crate) fn file_storage(home: &Home, settings: &Settings) -> PathBuf {
    // Jpom spells it so.
    let configured =
        settings.path("jpom.file-storage.save-pah").or_else(|| settings.path("jpom.file-storage.save-path"));
    configured.unwrap_or_else(|| home.root().join(home.base()).join("data/file-storage"))
}

/// `jpom.path`, if it is configured to be a folder outside of this home.
pub(crate) fn data_elsewhere(home: &Home, settings: &Settings) -> Option<PathBuf> {
    let path = settings.path("jpom.path")?;
    let is_elsewhere = path.is_absolute() && path != home.root().join(home.base()) && !path.starts_with(home.root());
    (is_elsewhere && path != Path::new("/")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
jpom:
  # nested, dotted and with placeholders
  path: ${JPOM_DATA_PATH:/srv/jpom}
  db.mode: MYSQL
  db:
    url:
    user-name: ${UNKNOWN}
  file-storage:
    save-pah: /srv/${KIND:files}/store
server:
  port: 2122
";

    fn settings(running: Option<Running>) -> Settings {
        Settings { file: parse(FILE).unwrap(), running }
    }

    #[test]
    fn keys_are_found_however_they_are_nested() {
        let settings = settings(None);
        let get = |key| settings.get(key);
        assert_eq!(get("jpom.path").as_deref(), Some("/srv/jpom"));
        assert_eq!(get("jpom.db.mode").as_deref(), Some("MYSQL"));
        assert_eq!(get("server.port").as_deref(), Some("2122"));
        assert_eq!(get("jpom.file-storage.save-pah").as_deref(), Some("/srv/files/store"));
        assert_eq!((get("jpom.db.url"), get("jpom.db.user-name"), get("jpom.none")), (None, None, None));
    }

    #[test]
    fn the_process_beats_the_file() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned().into()).collect::<Vec<_>>();
        let variables = words(&["jpom.path=/a", "JPOM_DB_MODE=H2", "KIND=big"]);
        let running = Running::imagined(words(&["java", "-Djpom.db.mode=POSTGRESQL", "--jpom.path=/b"]), variables);
        let settings = settings(Some(running));
        assert_eq!(settings.get("jpom.path").as_deref(), Some("/b"));
        assert_eq!(settings.get("jpom.db.mode").as_deref(), Some("POSTGRESQL"));
        assert_eq!(settings.get("jpom.file-storage.save-pah").as_deref(), Some("/srv/big/store"));
    }

    #[test]
    fn what_refers_to_itself_is_unknown_and_what_is_no_yaml_is_said() {
        let settings = Settings { file: parse("a: ${b:${a}}\nc: ${d").unwrap(), running: None };
        assert_eq!(settings.get("c"), None);
        assert!(settings.get("a").is_none_or(|value| value.len() < 100));
        assert!(parse("a: [1,").is_err());
        assert!(parse("").is_ok());
    }
}
