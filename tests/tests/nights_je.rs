//! Ten nights of a real Berkeley DB JE environment: each comes back byte for byte, and JE finds in it what was there.

use treering_tests::{Treering, assert_same, count, fingerprint, id, megabytes, setting};
use treering_workloads::je::Environment;
use treering_workloads::{Access, Contents};

const NIGHTS: u32 = 10;
const SEED: u64 = 7;

#[test]
fn ten_nights_of_an_environment() {
    let temp = tempfile::tempdir().unwrap();
    let treering = Treering::init(temp.path());
    let folder = temp.path().join("je");
    let environment = Environment::create(&folder, setting("TREERING_TEST_JE_RECORDS", 6000), SEED).unwrap();
    let mut kept: Vec<(String, _, Contents)> = Vec::new();
    let mut figures = Vec::new();
    for night in 0..NIGHTS {
        if night > 0 {
            environment.day(night, SEED).unwrap();
        }
        let contents = environment.count(Access::ReadOnly).unwrap();
        let was = fingerprint(&folder);
        let summary = treering.backup(&folder);
        assert_same(&was, &fingerprint(&folder));
        figures.push((count(&summary, "total_bytes_processed"), count(&summary, "data_added_packed")));
        kept.push((id(&summary), was, contents));
    }
    for (night, (snapshot, was, contents)) in kept.iter().enumerate() {
        let restored = temp.path().join(format!("restored-{night}"));
        treering.restore(snapshot, &restored);
        assert_same(was, &fingerprint(&restored));
        assert_eq!(Environment::open(&restored).unwrap().count(Access::ReadOnly).unwrap(), *contents, "night {night}");
    }
    assert!(kept.iter().all(|(_, _, contents)| contents.records > 0));
    assert!(kept.windows(2).all(|pair| pair[0].2 != pair[1].2), "a day changed nothing");
    treering.check();
    for (night, ((bytes, added), (_, _, contents))) in figures.iter().zip(&kept).enumerate() {
        let (bytes, added) = (megabytes(*bytes), megabytes(*added));
        println!("JE night {night}: {bytes}, {} records, {added} added", contents.records);
    }
    println!("JE: {} in packs after {NIGHTS} nights", megabytes(treering.pack_bytes()));
}
