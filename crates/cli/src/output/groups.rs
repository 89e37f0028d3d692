//! What a policy keeps and drops, group by group: for people and for programs.
//!
//! Never: prints, decides or drops.
//! Invariant: both forms say the same; every snapshot of a group is in exactly one of its two lists.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use jiff::tz::TimeZone;
use treering_snapshot::retention::{Count, Decision, Group, Left};
use treering_snapshot::select::Named;

use super::messages::{ForgetGroup, KeepCounters, KeepReason, ScopeObject, SnapshotObject};
use super::objects;
use super::table::{Content, Table, count};
use crate::{escape, time};

/// The groups as JSON has them.
pub(crate) fn to_json(groups: &[Group<'_>], zone: &TimeZone, dry_run: bool) -> Vec<ForgetGroup> {
    groups.iter().map(|group| object(group, zone, dry_run)).collect()
}

/// What was dropped by name as JSON has it: one group without a policy.
pub(crate) fn named_to_json(dropped: &[&Named], zone: &TimeZone, dry_run: bool) -> ForgetGroup {
    let remove = dropped.iter().map(|named| snapshot(named, zone)).collect();
    ForgetGroup { remove, dry_run, ..ForgetGroup::default() }
}

/// The groups as tables, oldest snapshots first; safe to show. `verb` says what becomes of what is not kept.
pub(crate) fn to_text(groups: &[Group<'_>], zone: &TimeZone, verb: &str) -> String {
    let mut text = String::new();
    for group in groups {
        let (kept, dropped): (Vec<_>, Vec<_>) = group.decisions.iter().rev().partition(|decision| decision.is_kept());
        text.push_str(&format!("{}:\n\n", escape::text(&group.key.to_string())));
        text.push_str(&listed("kept", &kept, zone));
        text.push_str(&listed(verb, &dropped, zone));
    }
    text
}

fn listed(what: &str, decisions: &[&Decision<'_>], zone: &TimeZone) -> String {
    if decisions.is_empty() {
        return String::new();
    }
    let has_reasons = decisions.iter().any(|decision| decision.is_kept());
    let head = ["ID", "Time", "Host", "Tags", "Paths", "Reasons"];
    let mut table = Table::new(if has_reasons { &head } else { &head[..5] });
    for decision in decisions {
        let (name, snapshot) = decision.snapshot;
        let reasons: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
        let paths: Vec<_> = snapshot.paths.iter().map(|path| escape::terminal(path)).collect();
        let mut cells = vec![
            Content::Own(name.short()),
            Content::Own(time::show(objects::timestamp(snapshot.time), zone)),
            Content::Text(&snapshot.host),
            Content::Own(snapshot.tags.join(",")),
            Content::Lines(paths.iter().map(AsRef::as_ref).collect()),
        ];
        if has_reasons {
            cells.push(Content::Lines(reasons.iter().map(String::as_str).collect()));
        }
        table.add(cells);
    }
    format!("{what} {}:\n{}\n", count(decisions.len() as u64, "snapshot"), table.render())
}

fn object(group: &Group<'_>, zone: &TimeZone, dry_run: bool) -> ForgetGroup {
    let key = &group.key;
    let paths = key.paths.map(|paths| paths.iter().map(Vec::as_slice));
    ForgetGroup {
        tags: key.tags.map(<[String]>::to_vec),
        host: key.host.unwrap_or_default().to_owned(),
        paths: paths.clone().map(|paths| paths.map(escape::lossy).collect()),
        paths_raw: paths.and_then(escape::raw_list),
        scopes: key.scopes.iter().map(|(path, scope)| scope_of(path, scope)).collect(),
        keep: group.kept().map(|decision| snapshot(decision.snapshot, zone)).collect(),
        remove: group.dropped().map(|decision| snapshot(decision.snapshot, zone)).collect(),
        reasons: group.kept().map(|decision| reason(decision, zone)).collect(),
        dry_run,
    }
}

fn scope_of(path: &Path, scope: &str) -> ScopeObject {
    let bytes = path.as_os_str().as_bytes();
    ScopeObject { path: escape::lossy(bytes), path_raw: escape::raw(bytes), scope: scope.to_owned() }
}

fn reason(decision: &Decision<'_>, zone: &TimeZone) -> KeepReason {
    KeepReason {
        snapshot: snapshot(decision.snapshot, zone),
        matches: decision.reasons.iter().map(ToString::to_string).collect(),
        counters: counters(&decision.left),
    }
}

fn counters(left: &Left) -> KeepCounters {
    let number = |count: Count| match count {
        Count::AtMost(left) => i64::from(left),
        Count::Unlimited => -1,
    };
    KeepCounters {
        last: number(left.last),
        hourly: number(left.each.hourly),
        daily: number(left.each.daily),
        weekly: number(left.each.weekly),
        monthly: number(left.each.monthly),
        yearly: number(left.each.yearly),
    }
}

fn snapshot((name, snapshot): &Named, zone: &TimeZone) -> SnapshotObject {
    objects::snapshot(*name, snapshot, zone)
}
