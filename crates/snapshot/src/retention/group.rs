//! What snapshots have in common that a policy is applied to together.
//!
//! A snapshot of a part of an application lies under the same path as one of all of it, and must not take its place.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::record::Snapshot;
use crate::select::{Filter, GroupBy, Named};

/// What all snapshots of a group have in common; `None` is what the grouping leaves out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey<'a> {
    /// The host.
    pub host: Option<&'a str>,
    /// All paths, sorted.
    pub paths: Option<&'a [Vec<u8>]>,
    /// With the paths: each application of which only a part was asked for, by its path, and that part. Sorted.
    pub scopes: Vec<(&'a Path, &'a str)>,
    /// All tags, sorted.
    pub tags: Option<&'a [String]>,
}

impl<'a> GroupKey<'a> {
    fn of(snapshot: &'a Snapshot, by: GroupBy) -> Self {
        Self {
            host: by.host.then_some(&snapshot.host),
            paths: by.paths.then_some(&snapshot.paths),
            scopes: if by.paths { scopes(snapshot) } else { Vec::new() },
            tags: by.tags.then_some(&snapshot.tags),
        }
    }
}

fn scopes(snapshot: &Snapshot) -> Vec<(&Path, &str)> {
    let scoped = snapshot.applications.iter().filter_map(|app| Some((app.place(), app.scope.as_deref()?)));
    let mut scopes: Vec<_> = scoped.collect();
    scopes.sort_unstable();
    scopes
}

impl fmt::Display for GroupKey<'_> {
    /// `host web, paths /etc /srv, essential of /srv/jpom`; bytes that are not UTF-8 become U+FFFD.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.host.map(|host| format!("host {host}")));
        parts.extend(self.paths.map(|paths| {
            let shown = paths.iter().map(|path| Path::new(OsStr::from_bytes(path)).display().to_string());
            format!("paths {}", shown.collect::<Vec<_>>().join(" "))
        }));
        parts.extend(self.scopes.iter().map(|(path, scope)| format!("{scope} of {}", path.display())));
        parts.extend(self.tags.map(|tags| match tags {
            [] => "no tags".to_owned(),
            tags => format!("tags {}", tags.join(",")),
        }));
        if parts.is_empty() { f.write_str("all snapshots") } else { f.write_str(&parts.join(", ")) }
    }
}

/// The groups of what the filter selects. Of snapshots of the same moment, what a repair has made is the older one; then the
/// one with the greater name is newer.
pub(super) fn newest_first<'a>(
    all: &'a [Named],
    filter: &Filter,
    by: GroupBy,
) -> BTreeMap<GroupKey<'a>, Vec<&'a Named>> {
    let mut groups: BTreeMap<_, Vec<&Named>> = BTreeMap::new();
    for named in all.iter().filter(|(_, snapshot)| filter.matches(snapshot)) {
        groups.entry(GroupKey::of(&named.1, by)).or_default().push(named);
    }
    for members in groups.values_mut() {
        members.sort_by_key(|(name, snapshot)| std::cmp::Reverse(snapshot.age(*name)));
    }
    groups
}
