//! Snapshots, applications and times in the shapes that JSON and tables want.
//!
//! Never: prints. Invariant: bytes of names get here as they are stored and leave as [`escape::lossy`] and
//! [`escape::raw`] make them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use treering_snapshot::record::{AppEntry, NotCaptured, Statistics};
use treering_snapshot::{Node, Snapshot, SnapshotName, Time};

use super::messages::{AppObject, BackupCounts, NotCapturedObject, SnapshotObject, SnapshotSummary};
use crate::{escape, time};

/// A stored moment; one that no calendar has becomes the nearest that it has.
pub(crate) fn timestamp(moment: Time) -> Timestamp {
    moment.timestamp()
}

/// A moment as it is stored.
pub(crate) fn stored_time(moment: Timestamp) -> Time {
    let nanoseconds = moment.as_nanosecond();
    const SECOND: i128 = 1_000_000_000;
    Time {
        // A timestamp's range is far within that of an i64.
        seconds: nanoseconds.div_euclid(SECOND) as i64,
        nanoseconds: nanoseconds.rem_euclid(SECOND) as u32,
    }
}

/// RFC 3339 of a stored moment.
pub(crate) fn rfc3339(moment: Time, zone: &TimeZone) -> String {
    time::rfc3339(timestamp(moment), zone)
}

/// RFC 3339 of milliseconds since 1970.
pub(crate) fn rfc3339_ms(milliseconds: i64, zone: &TimeZone) -> String {
    let moment =
        Time { seconds: milliseconds.div_euclid(1000), nanoseconds: milliseconds.rem_euclid(1000) as u32 * 1_000_000 };
    rfc3339(moment, zone)
}

/// A snapshot as `snapshots --json`, `ls --json` and `cat` show it.
pub(crate) fn snapshot(name: SnapshotName, snapshot: &Snapshot, zone: &TimeZone) -> SnapshotObject {
    SnapshotObject {
        time: rfc3339(snapshot.time, zone),
        parent: snapshot.parent.map(|parent| SnapshotName::from_bytes(parent).to_string()),
        tree: tree_id(&snapshot.root),
        paths: snapshot.paths.iter().map(|path| escape::lossy(path)).collect(),
        paths_raw: escape::raw_list(snapshot.paths.iter().map(Vec::as_slice)),
        hostname: snapshot.host.clone(),
        username: snapshot.user.clone(),
        uid: Some(snapshot.uid),
        gid: Some(snapshot.gid),
        excludes: snapshot.excludes.clone(),
        tags: snapshot.tags.clone(),
        program_version: snapshot.program.clone(),
        summary: Some(summary(&snapshot.statistics, zone)),
        apps: snapshot.applications.iter().map(app).collect(),
        not_captured: snapshot.not_captured.iter().map(not_captured).collect(),
        id: name.to_string(),
        short_id: name.short(),
    }
}

/// The name of a folder's first chunk, which changes whenever the folder does unless it is huge.
pub(crate) fn tree_id(node: &Node) -> String {
    let first = node.tree().and_then(|tree| tree.extents.first()).and_then(|extent| extent.chunk());
    first.map(|id| id.to_string()).unwrap_or_default()
}

fn summary(statistics: &Statistics, zone: &TimeZone) -> SnapshotSummary {
    SnapshotSummary {
        backup_start: rfc3339_ms(statistics.started_ms, zone),
        backup_end: rfc3339_ms(statistics.ended_ms, zone),
        counts: counts(statistics),
    }
}

/// What a backup did.
pub(crate) fn counts(statistics: &Statistics) -> BackupCounts {
    BackupCounts {
        files_new: statistics.files_new,
        files_changed: statistics.files_changed,
        files_unmodified: statistics.files_unmodified,
        dirs_new: statistics.dirs_new,
        dirs_changed: statistics.dirs_changed,
        dirs_unmodified: statistics.dirs_unmodified,
        data_blobs: statistics.chunks_new,
        tree_blobs: 0,
        data_added: statistics.added_bytes,
        data_added_packed: statistics.stored_bytes,
        total_files_processed: statistics.total_files,
        total_bytes_processed: statistics.total_bytes,
    }
}

/// An application in a snapshot.
pub(crate) fn app(entry: &AppEntry) -> AppObject {
    AppObject {
        kind: entry.kind.clone(),
        path: escape::lossy(&entry.path),
        path_raw: escape::raw(&entry.path),
        scope: entry.scope.clone(),
        version: entry.version.clone(),
        state: entry.verdict.clone(),
        consistency_point: entry.consistency_point.clone(),
        detail: entry.detail.clone(),
        unlocked: is_unlocked(entry),
        bytes: entry.bytes,
    }
}

/// An application that is not in a snapshot.
pub(crate) fn not_captured(entry: &NotCaptured) -> NotCapturedObject {
    NotCapturedObject {
        kind: entry.kind.clone(),
        path: escape::lossy(&entry.path),
        path_raw: escape::raw(&entry.path),
        detail: entry.detail.clone(),
    }
}

/// Whether a JE environment was captured without JE's lock.
pub(crate) fn is_unlocked(entry: &AppEntry) -> bool {
    entry.kind == treering_je::KIND && treering_je::is_unlocked(&entry.detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_1970_and_impossible_ones() {
        let before: Timestamp = "1969-12-31T23:59:59.25Z".parse().unwrap();
        let stored = stored_time(before);
        assert_eq!(stored, Time { seconds: -1, nanoseconds: 250_000_000 });
        assert_eq!(timestamp(stored), before);
        assert_eq!(timestamp(Time { seconds: i64::MAX, nanoseconds: 0 }), Timestamp::MAX);
        assert_eq!(timestamp(Time { seconds: i64::MIN, nanoseconds: 0 }), Timestamp::MIN);
        assert_eq!(rfc3339_ms(-1, &TimeZone::UTC), "1969-12-31T23:59:59.999+00:00");
    }
}
