//! The field names that programs rely on.

use serde_json::{Value, json};

use super::*;

fn value(message: &impl Serialize) -> Value {
    serde_json::to_value(message).unwrap()
}

/// The fields of an object, in their order.
fn fields(message: &impl Serialize) -> Vec<String> {
    let line = crate::output::json::line(message);
    let value: serde_json::Map<String, Value> = serde_json::from_str(&line).unwrap();
    let mut names: Vec<String> = value.keys().cloned().collect();
    names.sort_by_key(|name| line.find(&format!("\"{name}\":")));
    names
}

#[test]
fn messages_say_their_type() {
    let cases = [
        (Message::BackupStatus(BackupStatus::default()), "status"),
        (Message::BackupVerbose(BackupVerbose::default()), "verbose_status"),
        (Message::BackupSummary(BackupSummary::default()), "summary"),
        (Message::RestoreStatus(RestoreStatus::default()), "status"),
        (Message::RestoreSummary(RestoreSummary::default()), "summary"),
        (Message::CheckSummary(CheckSummary::default()), "summary"),
        (Message::Error(ItemError::default()), "error"),
        (Message::Warning(Warning::default()), "warning"),
        (Message::Snapshot(Box::default()), "snapshot"),
        (Message::Node(NodeMessage::default()), "node"),
        (Message::Change(DiffChange::default()), "change"),
        (Message::Statistics(DiffStatistics::default()), "statistics"),
        (Message::Initialized(Initialized::default()), "initialized"),
    ];
    for (message, expected) in cases {
        assert_eq!(value(&message)["message_type"], expected);
    }
}

#[test]
fn a_backups_summary_has_restics_fields() {
    let summary = BackupSummary { snapshot_id: Some("ab".into()), ..Default::default() };
    let expected = "message_type files_new files_changed files_unmodified dirs_new dirs_changed dirs_unmodified \
                    data_blobs tree_blobs data_added data_added_packed total_files_processed total_bytes_processed \
                    total_duration backup_start backup_end snapshot_id error_count";
    assert_eq!(fields(&Message::BackupSummary(summary)).join(" "), expected);
}

#[test]
fn a_checks_summary_has_restics_fields_and_then_ours() {
    let expected = "message_type num_errors broken_packs suggest_repair_index suggest_prune";
    assert_eq!(fields(&Message::CheckSummary(CheckSummary::default())).join(" "), expected);
    let summary =
        CheckSummary { verified_fraction: Some(0.5), packs_read: 1, more_runs: Some(1), ..Default::default() };
    let ours = "verified_fraction packs_read more_runs";
    assert_eq!(fields(&Message::CheckSummary(summary)).join(" "), format!("{expected} {ours}"));
}

#[test]
fn zeros_of_a_status_are_left_out() {
    let pace = Pace { percent_done: 0.5, ..Pace::default() };
    let status = BackupStatus { pace, files_done: 3, ..Default::default() };
    let expected = json!({ "message_type": "status", "percent_done": 0.5, "files_done": 3 });
    assert_eq!(value(&Message::BackupStatus(status)), expected);
}

#[test]
fn an_error_has_its_message_inside() {
    let error = ItemError::new("archival", b"/caf\xe9", "permission denied");
    let expected = json!({
        "message_type": "error", "error": { "message": "permission denied" }, "during": "archival",
        "item": "/caf\u{fffd}", "item_raw": "/caf%E9",
    });
    assert_eq!(value(&Message::Error(error)), expected);
}

#[test]
fn snapshots_and_keys_have_restics_fields() {
    let snapshot = SnapshotObject { hostname: "web".into(), tags: vec!["a".into()], ..Default::default() };
    assert_eq!(fields(&snapshot).join(" "), "time tree paths hostname tags id short_id");
    assert_eq!(fields(&KeyInfo::default()).join(" "), "current id userName hostName created kind");
    let group = ForgetGroup { reasons: vec![KeepReason::default()], ..Default::default() };
    assert_eq!(value(&group)["tags"], Value::Null);
    assert_eq!(fields(&ForgetGroup::default()).join(" "), "tags host paths keep remove reasons dry_run");
    assert_eq!(value(&group)["reasons"][0]["counters"], json!({}));
    let counters = KeepCounters { last: 2, daily: -1, ..Default::default() };
    assert_eq!(value(&counters), json!({ "last": 2, "daily": -1 }));
    let stat = DiffStatistics::default();
    assert_eq!(fields(&stat.added).join(" "), "files dirs others bytes");
    assert_eq!(fields(&stat).join(" "), "source_snapshot target_snapshot changed_files added removed");
}

#[test]
fn lines_are_byte_for_byte_what_programs_have_read_so_far() {
    let pace = Pace { seconds_elapsed: 10, seconds_remaining: 30, percent_done: 0.25 };
    let status = BackupStatus { pace, total_files: 4, files_done: 1, ..Default::default() };
    let counts = RestoreCounts { total_files: 4, files_restored: 1, total_bytes: 9, ..Default::default() };
    let restored =
        RestoreSummary { seconds_elapsed: 5, counts: counts.clone(), target: "/t".into(), ..Default::default() };
    let backed_up = BackupSummary { counts: BackupCounts { files_new: 1, ..Default::default() }, ..Default::default() };
    let zeros = r#""files_changed":0,"files_unmodified":0,"dirs_new":0,"dirs_changed":0,"dirs_unmodified":0,"data_blobs":0,"tree_blobs":0,"data_added":0,"data_added_packed":0,"total_files_processed":0,"total_bytes_processed":0"#;
    for (message, expected) in [
        (
            Message::BackupStatus(status),
            r#"{"message_type":"status","seconds_elapsed":10,"seconds_remaining":30,"percent_done":0.25,"total_files":4,"files_done":1}"#.to_owned(),
        ),
        (
            Message::RestoreStatus(RestoreStatus { pace, counts }),
            r#"{"message_type":"status","seconds_elapsed":10,"seconds_remaining":30,"percent_done":0.25,"total_files":4,"files_restored":1,"total_bytes":9}"#.to_owned(),
        ),
        (
            Message::RestoreSummary(restored),
            r#"{"message_type":"summary","seconds_elapsed":5,"total_files":4,"files_restored":1,"total_bytes":9,"target":"/t","snapshot_id":""}"#.to_owned(),
        ),
        (
            Message::BackupSummary(backed_up),
            format!(r#"{{"message_type":"summary","files_new":1,{zeros},"total_duration":0.0,"backup_start":"","backup_end":"","error_count":0}}"#),
        ),
    ] {
        assert_eq!(crate::output::json::line(&message), format!("{expected}\n"));
    }
}
