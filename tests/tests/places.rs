//! What is in the way of a walk: the repository itself, its cache, and databases that are being written.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use treering_tests::{Treering, count, fingerprint, id, run};

fn paths(folder: &Path) -> Vec<String> {
    let all = fingerprint(folder);
    all.keys().map(|path| path.to_str().unwrap().to_owned()).filter(|path| !path.is_empty()).collect()
}

/// Key file, cache and repository lie in the folder that is backed up, as in a home folder.
#[test]
fn the_walk_does_not_enter_the_repository_or_its_cache() {
    let temp = tempfile::tempdir().unwrap();
    let (home, restored) = (temp.path().join("home"), temp.path().join("restored"));
    fs::create_dir(&home).unwrap();
    let treering = Treering::init(&home);
    fs::create_dir_all(treering.cache()).unwrap();
    fs::write(treering.cache().join("anything"), "cached").unwrap();
    fs::write(home.join("file"), "kept").unwrap();
    std::os::unix::fs::symlink("repository", home.join("link-to-repository")).unwrap();
    let first = treering.backup(&home);
    treering.restore(&id(&first), &restored);
    assert_eq!(paths(&restored), ["file", "key", "link-to-repository"]);
    let second = treering.backup(&home);
    assert_eq!(count(&second, "files_new"), 0, "the repository grew into itself: {second}");
}

/// Asked for by name, or reached by another name.
#[test]
fn the_repository_is_not_backed_up_even_if_it_is_asked_for() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    fs::write(temp.path().join("file"), "kept").unwrap();
    let mut command = treering.backup_command(treering.repository());
    let summary = run(command.arg(temp.path().join("file"))).message("summary");
    assert_eq!(count(&summary, "total_files_processed"), 1, "{summary}");

    std::os::unix::fs::symlink(temp.path(), temp.path().with_extension("link")).unwrap();
    let through_link = temp.path().with_extension("link").join("repository/packs");
    let ran = run(&mut treering.backup_command(&through_link));
    fs::remove_file(temp.path().with_extension("link")).unwrap();
    let stored: u64 = ran.messages("summary").iter().map(|summary| count(summary, "total_files_processed")).sum();
    assert_eq!(stored, 0, "{ran}");
}

/// Another repository is a folder like any other.
#[test]
fn another_repository_is_backed_up_and_opens_when_restored() {
    let temp = tempfile::tempdir().unwrap();
    let (one, other) = (temp.path().join("one"), temp.path().join("other"));
    [&one, &other].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
    let (treering, inner) = (Treering::init(&one), Treering::init(&other));
    fs::write(temp.path().join("file"), "inside the inner one").unwrap();
    let inside = id(&inner.backup(&temp.path().join("file")));
    treering.restore(&id(&treering.backup(inner.repository())), &temp.path().join("restored"));
    fs::remove_dir_all(inner.repository()).unwrap();
    fs::rename(temp.path().join("restored"), inner.repository()).unwrap();
    inner.check();
    inner.restore(&inside, &temp.path().join("out"));
    assert_eq!(fs::read_to_string(temp.path().join("out/file")).unwrap(), "inside the inner one");
}

/// Rows whose sum is zero after each transaction: a copy that is torn between two of them shows.
const ACCOUNTS: i64 = 2000;

fn make_database(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.execute_batch("CREATE TABLE account (id INTEGER PRIMARY KEY, amount INTEGER, filler TEXT)").unwrap();
    let filler = "what fills the pages of a database ".repeat(20);
    let transaction = connection.unchecked_transaction().unwrap();
    for number in 0..ACCOUNTS {
        transaction.execute("INSERT INTO account VALUES (?1, 0, ?2)", (number, &filler)).unwrap();
    }
    transaction.commit().unwrap();
    connection
}

/// Moves amounts between accounts until it is told to stop.
fn write_on(connection: &mut Connection, stop: &AtomicBool, commits: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let number = commits.load(Ordering::Relaxed) as i64;
        let transaction = connection.transaction().unwrap();
        for (account, amount) in [(number * 7 % ACCOUNTS, 5), (number * 13 % ACCOUNTS, -5)] {
            let change = "UPDATE account SET amount = amount + ?1 WHERE id = ?2";
            assert_eq!(transaction.execute(change, (amount, account)).unwrap(), 1);
        }
        transaction.commit().unwrap();
        commits.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_database_that_is_being_written_is_captured_consistently() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let tree = temp.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("beside"), "an ordinary file").unwrap();
    let mut connection = make_database(&tree.join("app.db"));
    let (stop, commits) = (AtomicBool::new(false), AtomicU64::new(1));
    let mut taken = Vec::new();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_on(&mut connection, &stop, &commits));
        for _ in 0..3 {
            let before = commits.load(Ordering::Relaxed);
            let ran = run(&mut treering.backup_command(&tree));
            assert!(commits.load(Ordering::Relaxed) > before, "nothing was written during the backup");
            taken.push(ran);
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
    for (number, ran) in taken.into_iter().enumerate() {
        let summary = ran.expect(0).message("summary");
        let [app] = summary["apps"].as_array().unwrap().as_slice() else { panic!("{summary}") };
        assert_eq!((app["kind"].as_str(), app["state"].as_str()), (Some("sqlite"), Some("consistent")), "{app}");
        assert_eq!(app["path"].as_str(), tree.join("app.db").to_str());
        let restored = temp.path().join(format!("restored-{number}"));
        treering.restore(&id(&summary), &restored);
        assert_eq!(paths(&restored), ["app.db", "beside"]);
        assert_is_whole(&restored.join("app.db"));
    }
    let snapshots = treering.snapshots();
    assert!(snapshots.iter().all(|snapshot| snapshot["apps"][0]["state"] == "consistent"), "{snapshots:?}");
    // The writer lost no lock by it: the live database is whole as well.
    assert_is_whole(&tree.join("app.db"));
}

#[track_caller]
fn assert_is_whole(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let verdict: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let found: (i64, i64) = connection.query_row("SELECT count(*), sum(amount) FROM account", (), row).unwrap();
    assert_eq!(found, (ACCOUNTS, 0));
}
