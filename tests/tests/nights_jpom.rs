//! Ten nights of the home of a Jpom server with a real H2 database: each comes back byte for byte, but for what is
//! temporary, and H2 finds in it what was there. `TREERING_TEST_JPOM_SCALE` sets the size: 0.02 makes 16 MB that grow
//! to 78, 0.1 hundreds.

use std::path::Path;

use treering_tests::{Treering, assert_same, count, fingerprint, id, megabytes, setting, without_temporary};
use treering_workloads::h2;
use treering_workloads::jpom_home::{Database, Home, Options};
use treering_workloads::{Access, Contents};

const NIGHTS: u32 = 10;
const SEED: u64 = 11;
/// Rows in the largest tables at scale 1.
const ROWS: f64 = 60_000.0;

#[test]
fn ten_nights_of_a_server() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let root = temp.path().join("jpom");
    let scale: f64 = setting("TREERING_TEST_JPOM_SCALE", 0.02);
    let options = Options { database: Database::None, ..Options::server(SEED, scale) };
    let mut home = Home::create(&root, options).unwrap();
    let database = h2::Database::create(&home.base(), (ROWS * scale) as u32, SEED).unwrap();
    let mut kept: Vec<(String, _, Contents)> = Vec::new();
    let mut figures = Vec::new();
    for night in 0..NIGHTS {
        if night > 0 {
            home.next_day().unwrap();
            database.day(night, SEED).unwrap();
        }
        let contents = database.count(Access::ReadOnly).unwrap();
        let was = fingerprint(&root);
        let summary = treering.backup(&root);
        assert_same(&was, &fingerprint(&root));
        figures.push(
            ["total_bytes_processed", "files_new", "files_changed", "data_added_packed"]
                .map(|name| count(&summary, name)),
        );
        kept.push((id(&summary), without_temporary(was, Path::new("")), contents));
    }
    for (night, (snapshot, was, contents)) in kept.iter().enumerate() {
        let restored = temp.path().join(format!("restored-{night}"));
        treering.restore(snapshot, &restored);
        assert_same(was, &fingerprint(&restored));
        let found = h2::Database::open(&restored).unwrap().count(Access::ReadOnly).unwrap();
        assert_eq!(found, *contents, "night {night}");
        std::fs::remove_dir_all(restored).unwrap();
    }
    assert!(kept.windows(2).all(|pair| pair[0].2 != pair[1].2), "a day changed nothing");
    treering.check();
    for (night, ([bytes, new, changed, added], (_, _, contents))) in figures.iter().zip(&kept).enumerate() {
        let (bytes, added, rows) = (megabytes(*bytes), megabytes(*added), contents.records);
        println!("Jpom night {night}: {bytes}, {rows} rows, {new} files new, {changed} changed, {added} added");
    }
    println!("Jpom: {} in packs after {NIGHTS} nights", megabytes(treering.pack_bytes()));
}
