//! What a cell says of commands whose cost is known.

#![allow(clippy::unwrap_used)]

use std::process::Command;

fn measure(timeout_seconds: &str, command: &str) -> serde_json::Value {
    let temp = tempfile::tempdir().unwrap();
    let log = temp.path().join("log");
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("cell")
        .arg("--log")
        .arg(&log)
        .args(["--timeout-seconds", timeout_seconds, "--", command])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(std::fs::read_to_string(&log).unwrap().contains(command));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(usage: &serde_json::Value, name: &str) -> f64 {
    usage[name].as_f64().unwrap()
}

#[test]
fn work_of_grandchildren_is_counted() {
    let usage = measure("60", "sh -c 'head -c 300000000 /dev/zero | sha256sum'; exit 3");
    assert_eq!(usage["exit_code"], 3);
    assert!(number(&usage, "user_seconds") > 0.05, "{usage}");
    assert!(number(&usage, "wall_seconds") < 60.0, "{usage}");
}

#[test]
fn memory_of_all_processes_is_added_up() {
    let hold = "head -c 60000000 /dev/zero | tail -c 50000000 | sleep 1";
    let usage = measure("60", &format!("({hold}) & ({hold}) & wait"));
    assert!(number(&usage, "peak_bytes") > 90e6, "{usage}");
}

#[test]
fn what_is_asked_for_is_counted_also_if_no_disk_is_read_and_what_the_watcher_reads_is_not() {
    // Read once from the device, once from the pipe.
    let usage = measure("60", "head -c 50000000 /dev/zero | sha256sum");
    assert!((100e6..101e6).contains(&number(&usage, "asked_bytes")), "{usage}");
    assert!(number(&measure("60", "sleep 2"), "asked_bytes") < 100e3);
}

#[test]
fn a_late_command_is_killed() {
    assert_eq!(measure("60", "exit 9")["timed_out"], false);
    let usage = measure("1", "sleep 50 | cat");
    assert_eq!((&usage["exit_code"], &usage["timed_out"]), (&(128 + 9).into(), &true.into()));
    let wall = number(&usage, "wall_seconds");
    assert!((1.0..20.0).contains(&wall), "{usage}");
}
