//! Signals: the repository is intact, and the next backup works.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::kit::Home;

/// A backup that waits for input that does not come.
fn waiting(home: &Home) -> Child {
    let mut command = home.command(["backup", "--stdin"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Signals are watched for before the first line is printed.
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("parent"), "{line}");
    child
}

fn ends_with(signal: Signal, code: i32) {
    let home = Home::new();
    home.write("a", "x");
    let child = waiting(&home);
    let started = Instant::now();
    kill_process(Pid::from_child(&child), signal).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(code));
    assert!(started.elapsed() < Duration::from_secs(5));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("interrupted") && stderr.contains("the repository is intact"), "{stderr}");
    assert!(home.snapshots().is_empty());
    home.backup();
    home.run(["check", "--read-data"]).expect(0);
}

#[test]
fn sigint_is_130() {
    ends_with(Signal::INT, 130);
}

#[test]
fn sigterm_is_143() {
    ends_with(Signal::TERM, 143);
}

#[test]
fn a_command_does_not_outlive_its_backup() {
    let home = Home::new();
    let args = ["backup", "--stdin-from-command", "--", "sh", "-c", "echo $$ > pid; exec sleep 60"];
    let child = home.command(args).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let pid = loop {
        match std::fs::read_to_string(home.path("pid")).ok().and_then(|text| text.trim().parse::<i32>().ok()) {
            Some(pid) => break Pid::from_raw(pid).unwrap(),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    assert!(rustix::process::test_kill_process(pid).is_err());
}
