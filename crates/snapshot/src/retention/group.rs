//! What snapshots have in common that a policy is applied to together.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::record::Snapshot;
use crate::select::{Filter, GroupBy, Named};

/// What all snapshots of a group have in common; `None` is what the grouping leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey<'a> {
    /// The host.
    pub host: Option<&'a str>,
    /// All paths, sorted.
    pub paths: Option<&'a [Vec<u8>]>,
    /// All tags, sorted.
    pub tags: Option<&'a [String]>,
}

impl<'a> GroupKey<'a> {
    fn of(snapshot: &'a Snapshot, by: GroupBy) -> Self {
        Self {
            host: by.host.then_some(&snapshot.host),
            paths: by.paths.then_some(&snapshot.paths),
            tags: by.tags.then_some(&snapshot.tags),
        }
    }
}

impl fmt::Display for GroupKey<'_> {
    /// `host web, paths /etc /srv`; bytes that are not UTF-8 become U+FFFD.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.host.map(|host| format!("host {host}")));
        parts.extend(self.paths.map(|paths| {
            let shown = paths.iter().map(|path| Path::new(OsStr::from_bytes(path)).display().to_string());
            format!("paths {}", shown.collect::<Vec<_>>().join(" "))
        }));
        parts.extend(self.tags.map(|tags| match tags {
            [] => "no tags".to_owned(),
            tags => format!("tags {}", tags.join(",")),
        }));
        if parts.is_empty() { f.write_str("all snapshots") } else { f.write_str(&parts.join(", ")) }
    }
}

/// The groups of what the filter selects. Of snapshots of the same moment, the one with the greater name is newer.
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
        members.sort_by_key(|(name, snapshot)| std::cmp::Reverse((snapshot.time, *name)));
    }
    groups
}
