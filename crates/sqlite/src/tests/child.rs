//! Other processes that use a database: this test binary, started again for one role.
//!
//! POSIX locks do not exist between connections of one process, so nothing about locks can be tested without these.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

const ROLE: &str = "TREERING_SQLITE_TEST_ROLE";
const DATABASE: &str = "TREERING_SQLITE_TEST_DATABASE";
const MARK: &str = "MARK:";

/// A process in a role; it is killed when this is dropped.
pub(crate) struct Helper {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    input: Option<ChildStdin>,
}

impl Helper {
    /// Starts a process and waits for its first word.
    pub(crate) fn start(role: &str, database: &Path) -> (Helper, String) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["tests::child::play_a_role", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(DATABASE, database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let input = child.stdin.take();
        let mut helper = Helper { child, output, input };
        let word = helper.word();
        (helper, word)
    }

    fn word(&mut self) -> String {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if let Some((_, word)) = line.trim().split_once(MARK) {
                return word.to_owned();
            }
            line.clear();
        }
        panic!("the helper ended without a word");
    }

    /// Ends the process in an orderly way.
    pub(crate) fn finish(mut self) {
        drop(self.input.take());
        self.child.wait().unwrap();
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a role to its end and gives its word.
pub(crate) fn ask(role: &str, database: &Path) -> String {
    let (helper, word) = Helper::start(role, database);
    helper.finish();
    word
}

#[test]
fn play_a_role() {
    let (Ok(role), Some(database)) = (std::env::var(ROLE), std::env::var_os(DATABASE)) else { return };
    let connection = Connection::open(database).unwrap();
    match role.as_str() {
        "write" => write(connection),
        "write-once" => write_once(connection),
        "hold" => hold(&connection, "BEGIN EXCLUSIVE"),
        "hold-begun" => hold(&connection, "BEGIN IMMEDIATE; DELETE FROM a WHERE n < 5"),
        "hold-spilled" => hold(&connection, "PRAGMA cache_size=2; BEGIN EXCLUSIVE; UPDATE a SET pad = randomblob(800)"),
        "lock-wal" => hold(
            &connection,
            "PRAGMA locking_mode=EXCLUSIVE; BEGIN; INSERT INTO a VALUES (201, x''); INSERT INTO b VALUES (201); COMMIT",
        ),
        "leave-wal" => hold(
            &connection,
            "PRAGMA wal_autocheckpoint=0; INSERT INTO a VALUES (201, x''); INSERT INTO b VALUES (201)",
        ),
        "try" => say(match connection.execute_batch("PRAGMA busy_timeout=0; BEGIN EXCLUSIVE; COMMIT") {
            Ok(()) => "got it",
            Err(_) => "busy",
        }),
        other => panic!("no role {other}"),
    }
}

fn say(word: &str) {
    println!("{MARK}{word}");
}

fn hold(connection: &Connection, sql: &str) {
    connection.execute_batch(sql).unwrap();
    say("ready");
    let _ = std::io::stdin().read(&mut [0]);
}

/// Rows in two tables at once, until the other side hangs up.
fn write(mut connection: Connection) {
    connection.busy_timeout(Duration::from_secs(20)).unwrap();
    let (hang_up, hung_up) = std::sync::mpsc::channel();
    std::thread::spawn(move || hang_up.send(std::io::stdin().read(&mut [0]).is_ok()));
    let mut is_first = true;
    while hung_up.try_recv().is_err() {
        add_row(&mut connection);
        // A writer that never pauses starves every reader of a database with a rollback journal.
        std::thread::sleep(Duration::from_millis(1));
        if std::mem::take(&mut is_first) {
            say("ready");
        }
    }
}

fn write_once(mut connection: Connection) {
    add_row(&mut connection);
    say("done");
}

fn add_row(connection: &mut Connection) {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    transaction.execute("INSERT INTO a SELECT max(n) + 1, randomblob(400) FROM a", []).unwrap();
    transaction.execute("INSERT INTO b SELECT max(n) FROM a", []).unwrap();
    transaction.commit().unwrap();
}
