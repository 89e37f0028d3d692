//! What comes from standard input or from a command.

use std::io::Write;
use std::process::Stdio;

use crate::kit::Home;

#[test]
fn what_a_command_prints_is_a_file() {
    let home = Home::new();
    home.run(["backup", "--stdin-from-command", "--stdin-filename", "d/b.sql", "--", "printf", "one two"]).expect(0);
    assert_eq!(home.run(["dump", "latest", "/d/b.sql"]).expect(0).stdout, "one two");
    assert_eq!(home.snapshots()[0]["paths"][0], "/d/b.sql");
}

#[test]
fn a_command_that_fails_leaves_no_snapshot() {
    let home = Home::new();
    let ran = home.run(["backup", "--stdin-from-command", "--", "sh", "-c", "echo half; exit 3"]).expect(1);
    assert!(ran.stderr.contains("exit status: 3"), "{}", ran.stderr);
    assert!(ran.stderr.contains("No snapshot was written"), "{}", ran.stderr);
    home.run(["backup", "--stdin-from-command", "--", "/nonexistent"]).expect(1);
    assert!(home.snapshots().is_empty());
}

#[test]
fn standard_input_is_read_to_its_end() {
    let home = Home::new();
    let mut child = home.command(["backup", "--stdin", "-q"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&vec![b'x'; 200_000]).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(home.run(["dump", "latest", "/stdin"]).expect(0).stdout.len(), 200_000);
}

#[test]
fn a_dry_run_stores_nothing() {
    let home = Home::new();
    home.write("a", vec![3; 50_000]);
    let ran = home.run(["backup", "src", "--dry-run"]).expect(0);
    assert!(ran.stdout.contains("Would add to the repository"), "{}", ran.stdout);
    assert!(home.packs().is_empty() && home.snapshots().is_empty());
}

#[test]
fn an_unchanged_source_is_skipped_if_asked() {
    let home = Home::new();
    home.write("a", "x");
    home.backup();
    home.run(["backup", "src", "--skip-if-unchanged"]).expect(0);
    assert_eq!(home.snapshots().len(), 1);
    home.write("b", "y");
    home.run(["backup", "src", "--skip-if-unchanged"]).expect(0);
    assert_eq!(home.snapshots().len(), 2);
}
