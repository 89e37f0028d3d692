//! What `jpom` says.

use serde::Serialize;

/// A home.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct JpomHome {
    /// Its folder.
    pub(crate) home: String,
    /// `server` or `agent`.
    pub(crate) kind: &'static str,
    /// `host`, `container`, `data only` or `program only`.
    pub(crate) layout: &'static str,
    /// The version of its program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// When that was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) built: Option<String>,
    /// The version of H2 in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) h2_version: Option<String>,
    /// The number of its process on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<i32>,
    /// Its identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) install_id: Option<String>,
    /// `H2`, `MySQL`, `MariaDB`, `PostgreSQL`; left out if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) database: Option<&'static str>,
    /// Its file or address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) database_place: Option<String>,
    /// The scope that `in_scope` is about.
    pub(crate) scope: &'static str,
    /// Everything in it.
    pub(crate) paths: Vec<JpomPath>,
    /// What belongs to it and lies elsewhere.
    pub(crate) outside: Vec<JpomOutside>,
}

/// Files of a home that the same is true of.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct JpomPath {
    /// The path or pattern, relative to the home.
    pub(crate) path: String,
    /// `critical`, `wanted`, `derivable`, `temporary` or `unknown`.
    pub(crate) role: &'static str,
    /// Whether passwords, keys or tokens can be read in them.
    pub(crate) secret: bool,
    /// How many.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Whether a backup takes them.
    pub(crate) in_scope: bool,
    /// Why.
    pub(crate) reason: &'static str,
    /// What they are.
    pub(crate) what: &'static str,
}

/// Something that lies elsewhere.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct JpomOutside {
    /// A path or an address.
    pub(crate) place: String,
    /// What it is.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) advice: String,
}
