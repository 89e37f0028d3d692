//! Choosing snapshots: by name, by age, by time, by what they say; and finding a path in one.
//!
//! Invariant: what is chosen is one snapshot or an error that says why not; the beginning of a name is never guessed, and
//! nothing is chosen by age or time as long as a snapshot cannot be read: it may be the one that is meant.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use treering_store::{ChunkReader, StoreError};

use crate::allowance::Allowance;
use crate::error::{Result, SnapshotError};
use crate::node::{Node, Time};
use crate::record::{AllSnapshots, Snapshot, SnapshotName};
use crate::tree;

/// The fewest digits of a name that are taken for one.
pub const PREFIX_LEAST: usize = 4;

/// A snapshot and its name.
pub type Named = (SnapshotName, Snapshot);

/// Which snapshots are meant, as restic has it. Empty: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Made on one of these hosts.
    pub hosts: Vec<String>,
    /// With all tags of one of these lists; an empty list stands for snapshots without tags.
    pub tags: Vec<Vec<String>>,
    /// Of all these paths, perhaps of others too.
    pub paths: Vec<PathBuf>,
}

impl Filter {
    /// A list of tags as it is typed: with commas between them.
    pub fn tag_list(text: &str) -> Vec<String> {
        text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
    }

    /// Whether a snapshot is meant.
    pub fn matches(&self, snapshot: &Snapshot) -> bool {
        let host = self.hosts.is_empty() || self.hosts.contains(&snapshot.host);
        let tags = self.tags.is_empty() || self.tags.iter().any(|list| has_tags(snapshot, list));
        host && tags && self.paths.iter().all(|path| has_path(snapshot, path))
    }
}

/// Whether a snapshot has all tags of a list; an empty list stands for snapshots without tags.
pub(crate) fn has_tags(snapshot: &Snapshot, list: &[String]) -> bool {
    match list {
        [] => snapshot.tags.is_empty(),
        list => list.iter().all(|tag| snapshot.tags.contains(tag)),
    }
}

fn has_path(snapshot: &Snapshot, path: &Path) -> bool {
    snapshot.paths.iter().any(|stored| Path::new(OsStr::from_bytes(stored)) == path)
}

/// Separates `ID:/sub/path`.
pub fn split_path(text: &str) -> (&str, Option<&Path>) {
    match text.split_once(':') {
        Some((name, path)) => (name, Some(Path::new(path))),
        None => (text, None),
    }
}

/// The snapshot that `latest`, `latest~N`, a name or its beginning means. Only the first two look at the filter.
///
/// # Errors
///
/// [`SnapshotError::NoSnapshot`], [`SnapshotError::Ambiguous`], [`SnapshotError::Unreadable`], or what is wrong with the
/// one that is meant.
pub fn resolve<'a>(all: &'a AllSnapshots, text: &str, filter: &Filter) -> Result<&'a Named> {
    let missing = || SnapshotError::NoSnapshot { selector: text.to_owned() };
    let Some(back) = text.strip_prefix("latest") else { return by_name(all, text) };
    let back = match back {
        "" => 0,
        back => back.strip_prefix('~').and_then(|number| number.parse().ok()).ok_or_else(missing)?,
    };
    refuse_unreadable(all, text)?;
    latest(all, back, filter).ok_or_else(missing)
}

/// For whoever chooses by more than names, called `what`: a snapshot that cannot be read may be what is meant.
///
/// # Errors
///
/// [`SnapshotError::Unreadable`] if there is one.
pub fn refuse_unreadable(all: &AllSnapshots, what: &str) -> Result<()> {
    if all.damaged.is_empty() {
        return Ok(());
    }
    let snapshots = all.damaged.iter().map(|(name, _)| format!("snapshot {}", name.short())).collect();
    Err(SnapshotError::Unreadable { selector: what.to_owned(), snapshots })
}

fn latest<'a>(all: &'a AllSnapshots, back: usize, filter: &Filter) -> Option<&'a Named> {
    all.snapshots.iter().rev().filter(|(_, snapshot)| filter.matches(snapshot)).nth(back)
}

fn by_name<'a>(all: &'a AllSnapshots, text: &str) -> Result<&'a Named> {
    let prefix = text.to_ascii_lowercase();
    let is_prefix = prefix.len() >= PREFIX_LEAST && prefix.bytes().all(|b| b.is_ascii_hexdigit());
    let names = all.snapshots.iter().map(|(name, _)| name).chain(all.damaged.iter().map(|(name, _)| name));
    let matches: Vec<_> = names.filter(|name| is_prefix && name.to_string().starts_with(&prefix)).collect();
    match matches[..] {
        [] => Err(SnapshotError::NoSnapshot { selector: text.to_owned() }),
        [name] => readable(all, *name),
        _ => Err(SnapshotError::Ambiguous { prefix, matches: matches.iter().map(ToString::to_string).collect() }),
    }
}

fn readable(all: &AllSnapshots, name: SnapshotName) -> Result<&Named> {
    let why = all.damaged.iter().find(|(damaged, _)| *damaged == name).map(|(_, e)| match e {
        SnapshotError::Damaged { detail, .. } | SnapshotError::Store(StoreError::Damaged { detail, .. }) => {
            detail.clone()
        }
        other => other.to_string(),
    });
    let found = all.snapshots.iter().find(|(known, _)| *known == name);
    found.ok_or_else(|| SnapshotError::damaged(format!("snapshot {name}"), why.unwrap_or_default()))
}

/// The newest snapshot that is not after a time.
///
/// # Errors
///
/// [`SnapshotError::NoSnapshot`], [`SnapshotError::Unreadable`].
pub fn at<'a>(all: &'a AllSnapshots, time: Time, filter: &Filter) -> Result<&'a Named> {
    refuse_unreadable(all, "--at")?;
    let mut newest_first = all.snapshots.iter().rev();
    let found = newest_first.find(|(_, snapshot)| snapshot.time <= time && filter.matches(snapshot));
    found.ok_or_else(|| {
        let shown = jiff::Timestamp::new(time.seconds, 0).map_or_else(|_| time.seconds.to_string(), |t| t.to_string());
        SnapshotError::NoSnapshot { selector: format!("at or before {shown}") }
    })
}

/// What snapshots have in common that are taken for the same thing at different times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupBy {
    /// The host.
    pub host: bool,
    /// All paths.
    pub paths: bool,
    /// All tags.
    pub tags: bool,
}

impl Default for GroupBy {
    fn default() -> Self {
        Self { host: true, paths: true, tags: false }
    }
}

/// What is about to be backed up.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'p> {
    /// The host.
    pub host: &'p str,
    /// Absolute paths, in any order.
    pub paths: &'p [Vec<u8>],
    /// The tags, in any order.
    pub tags: &'p [String],
    /// The part of applications that is asked for; `None` is all of them.
    pub scope: Option<&'p str>,
    /// The moment that it will stand for: nothing later is its parent.
    pub time: Time,
}

/// The newest snapshot of the same group: what a backup is compared with. Those that lack a part of what is asked for come
/// last.
pub fn find_parent<'a>(all: &'a AllSnapshots, planned: &Planned<'_>, group_by: GroupBy) -> Option<&'a Named> {
    let (paths, tags) = (sorted(planned.paths), sorted(planned.tags));
    let is_of_group = |(_, snapshot): &&Named| {
        snapshot.time <= planned.time
            && (!group_by.host || snapshot.host == planned.host)
            && (!group_by.paths || sorted(&snapshot.paths) == paths)
            && (!group_by.tags || sorted(&snapshot.tags) == tags)
    };
    let lacks_nothing = |(_, snapshot): &&Named| {
        let mut scopes = snapshot.applications.iter().filter_map(|app| app.scope.as_deref());
        scopes.all(|scope| Some(scope) == planned.scope)
    };
    let newest_first = || all.snapshots.iter().rev().filter(is_of_group);
    newest_first().find(lacks_nothing).or_else(|| newest_first().next())
}

fn sorted<T: Ord>(list: &[T]) -> Vec<&T> {
    let mut sorted: Vec<_> = list.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

/// What lies at a path in a snapshot, whose root is `/`.
///
/// # Errors
///
/// [`SnapshotError::NoPath`], [`SnapshotError::MoreThanSaid`] of a file that is longer than the snapshot says that all are
/// together, or damage on the way.
pub fn resolve_path(reader: &mut ChunkReader<'_>, (name, snapshot): &Named, path: &Path) -> Result<Node> {
    let missing = || SnapshotError::NoPath { path: path.to_owned(), snapshot: name.short() };
    let mut node = snapshot.root.clone();
    for component in path.components() {
        let wanted = match component {
            Component::RootDir | Component::CurDir => continue,
            Component::Normal(wanted) => wanted.as_bytes(),
            Component::ParentDir | Component::Prefix(_) => return Err(missing()),
        };
        let tree = node.tree().ok_or_else(missing)?;
        node = tree::find(reader, tree, wanted)?.ok_or_else(missing)?;
    }
    Allowance::of(snapshot).meet(&node)?;
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Home, application, dir, file, snapshot};

    /// Third byte of its name, time, host, tags, paths.
    type Said<'a> = (u8, i64, &'a str, &'a [&'a str], &'a [&'a str]);

    fn all(list: &[Said<'_>]) -> AllSnapshots {
        let made = list.iter().map(|(first, seconds, host, tags, paths)| {
            let mut made = snapshot();
            (made.time.seconds, made.host) = (*seconds, (*host).to_owned());
            made.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            made.paths = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
            let mut name = [0xAB; 32];
            name[2] = *first;
            (SnapshotName::from_bytes(name), made)
        });
        AllSnapshots { snapshots: made.collect(), damaged: Vec::new() }
    }

    fn example() -> AllSnapshots {
        all(&[
            (1, 100, "one", &["a", "b"], &["/x", "/y"]),
            (2, 200, "two", &[], &["/x"]),
            (0x21, 300, "one", &["a"], &["/x", "/y"]),
        ])
    }

    fn seconds(found: Result<&Named>) -> i64 {
        found.unwrap().1.time.seconds
    }

    #[test]
    fn latest_counts_back_among_what_the_filter_leaves() {
        let (all, none) = (example(), Filter::default());
        let one = Filter { hosts: vec!["one".into()], ..Filter::default() };
        for (text, filter, expected) in [("latest", &none, 300), ("latest~1", &none, 200), ("latest~1", &one, 100)] {
            assert_eq!(seconds(resolve(&all, text, filter)), expected, "{text}");
        }
        for text in ["latest~3", "latest~", "latest1", "latest~x", "nothing", ""] {
            assert!(matches!(resolve(&all, text, &none), Err(SnapshotError::NoSnapshot { .. })), "{text}");
        }
    }

    #[test]
    fn a_beginning_must_be_long_enough_and_unique() {
        let (mut all, none) = (example(), Filter::default());
        assert_eq!(seconds(resolve(&all, "abab01", &none)), 100);
        assert_eq!(seconds(resolve(&all, "ABAB21", &none)), 300);
        let whole = all.snapshots[1].0.to_string();
        assert_eq!(seconds(resolve(&all, &whole, &none)), 200);
        assert!(matches!(resolve(&all, "aba", &none), Err(SnapshotError::NoSnapshot { .. })));
        assert!(
            matches!(resolve(&all, "abab", &none), Err(SnapshotError::Ambiguous { matches, .. }) if matches.len() == 3)
        );
        all.damaged.push((SnapshotName::from_bytes([0xCD; 32]), SnapshotError::damaged("it", "broken")));
        assert!(
            matches!(resolve(&all, "cdcd", &none), Err(SnapshotError::Damaged { detail, .. }) if detail == "broken")
        );
    }

    #[test]
    fn nothing_is_chosen_by_age_beside_a_snapshot_that_cannot_be_read() {
        let (mut all, none) = (example(), Filter::default());
        all.damaged.push((SnapshotName::from_bytes([0xCD; 32]), SnapshotError::damaged("it", "broken")));
        for found in
            [resolve(&all, "latest", &none), resolve(&all, "latest~1", &none), at(&all, Time::default(), &none)]
        {
            assert!(
                matches!(found, Err(SnapshotError::Unreadable { snapshots, .. }) if snapshots == ["snapshot cdcdcdcd"])
            );
        }
        assert_eq!(seconds(resolve(&all, "abab01", &none)), 100);
    }

    #[test]
    fn a_time_means_the_newest_before_it() {
        let (all, none) = (example(), Filter::default());
        let at_second = |second| at(&all, Time { seconds: second, nanoseconds: 0 }, &none);
        assert_eq!((seconds(at_second(200)), seconds(at_second(299)), seconds(at_second(9999))), (200, 200, 300));
        assert!(matches!(at_second(99), Err(SnapshotError::NoSnapshot { .. })));
    }

    #[test]
    fn tags_of_one_list_must_all_be_there_and_one_list_is_enough() {
        let all = example();
        let count = |lists: &[&str], paths: &[&str]| {
            let tags = lists.iter().map(|list| Filter::tag_list(list)).collect();
            let filter = Filter { tags, paths: paths.iter().map(PathBuf::from).collect(), ..Filter::default() };
            all.snapshots.iter().filter(|(_, snapshot)| filter.matches(snapshot)).count()
        };
        for (lists, paths, expected) in [
            (&["a,b"][..], &[][..], 1),
            (&["a"], &[], 2),
            (&["a,b", ""], &[], 2),
            (&["c"], &[], 0),
            (&[], &["/y"], 2),
            (&[], &["/x"], 3),
            (&[], &["/x", "/y"], 2),
        ] {
            assert_eq!(count(lists, paths), expected, "{lists:?} {paths:?}");
        }
    }

    #[test]
    fn the_parent_is_of_the_same_group_and_not_later() {
        let all = example();
        let paths = [b"/y".to_vec(), b"/x".to_vec()];
        let planned = |seconds| Planned {
            host: "one",
            paths: &paths,
            tags: &[],
            scope: None,
            time: Time { seconds, nanoseconds: 0 },
        };
        let parent = |seconds, group| find_parent(&all, &planned(seconds), group).map(|(_, found)| found.time.seconds);
        assert_eq!(parent(1000, GroupBy::default()), Some(300));
        assert_eq!(parent(250, GroupBy::default()), Some(100));
        assert_eq!(parent(50, GroupBy::default()), None);
        assert_eq!(parent(250, GroupBy { host: false, paths: false, tags: true }), Some(200));
    }

    #[test]
    fn the_parent_lacks_nothing_of_what_is_asked_for_if_there_is_such_a_one() {
        let paths = [b"/x".to_vec()];
        let mut all =
            all(&[(1, 100, "one", &[], &["/x"]), (2, 200, "one", &[], &["/x"]), (3, 300, "one", &[], &["/x"])]);
        let scopes = [Some("essential"), None, Some("light")];
        for ((_, snapshot), scope) in all.snapshots.iter_mut().zip(scopes) {
            snapshot.applications.push(application("jpom", "/x", scope));
        }
        let parent = |all: &AllSnapshots, scope| {
            let time = Time { seconds: 1000, nanoseconds: 0 };
            let planned = Planned { host: "one", paths: &paths, tags: &[], scope, time };
            find_parent(all, &planned, GroupBy::default()).unwrap().1.time.seconds
        };
        assert_eq!([None, Some("essential"), Some("light")].map(|scope| parent(&all, scope)), [200, 200, 300]);
        all.snapshots.remove(1);
        assert_eq!([None, Some("essential"), Some("light")].map(|scope| parent(&all, scope)), [300, 100, 300]);
    }

    #[test]
    fn a_path_is_found_from_the_root() {
        let home = Home::new();
        let named = home.commit(vec![dir("a", vec![file("b", b"content")]), file("c", b"")]);
        let mut reader = home.repository.reader().unwrap();
        let mut find = |path: &str| resolve_path(&mut reader, &named, Path::new(path));
        assert_eq!(find("/a/b").unwrap().size(), 7);
        assert_eq!(find("/").unwrap().kind.as_str(), "dir");
        for path in ["/a/x", "/c/x", "/a/../c"] {
            assert!(matches!(find(path), Err(SnapshotError::NoPath { .. })), "{path}");
        }
        assert_eq!(split_path("abcd:/a:b"), ("abcd", Some(Path::new("/a:b"))));
    }
}
