//! Small histories: a commit every hundred bytes, whose time is its place.

use super::*;
use crate::log::Lsn;

const FILE_COMMITS: u32 = 10;

/// Commit number `n` lies in file `n / 10`; its time is `n`.
fn commit(n: u32) -> Commit {
    let offset = 100 + n % FILE_COMMITS * 100;
    Commit {
        lsn: Lsn::new(n / FILE_COMMITS, offset),
        end: u64::from(offset) + 50,
        transaction: i64::from(n),
        time_ms: i64::from(n),
    }
}

/// An image with these files that ends with a commit, and whose last checkpoint comes right behind another.
fn image(files: impl IntoIterator<Item = u32>, checkpoint: u32, last: u32) -> Image {
    let mut checkpoint_end = Position::after(&commit(checkpoint));
    checkpoint_end.offset += 20;
    Image {
        files: files.into_iter().collect(),
        end: Some(Position::after(&commit(last))),
        checkpoint_end: Some(checkpoint_end),
        commits: (0..=last).map(commit).collect(),
        overwritten: BTreeSet::new(),
        taken_ms: i64::from(last),
        continues: true,
    }
}

fn until(images: &[Image], time_ms: i64) -> Result<Cut, NoCut> {
    find(&ranges(images), Goal::Until(time_ms))
}

/// The moments that can be brought back, each checked to be exactly what it says.
fn moments(images: &[Image]) -> Vec<(i64, Source)> {
    let cuts = (0..200).filter_map(|time| Some((time, until(images, time).ok()?)));
    cuts.map(|(time, cut)| {
        assert_eq!(cut.last.unwrap().time_ms, time);
        assert!(cut.at >= Position::after(&cut.last.unwrap()));
        assert!(cut.next.is_none_or(|next| cut.at <= Position::of(&next) && next.time_ms == time + 1));
        (time, cut.source)
    })
    .collect()
}

#[test]
fn one_image_can_be_cut_behind_its_last_checkpoint() {
    let found = moments(&[image(0..=2, 14, 23)]);
    assert_eq!(found, (14..=23).map(|time| (time, Source::One(0))).collect::<Vec<_>>());
    // The state of the commit before the checkpoint is that of the checkpoint's end.
    let cut = until(&[image(0..=2, 14, 23)], 14).unwrap();
    assert_eq!(cut.at.offset, Position::after(&commit(14)).offset + 20);
}

#[test]
fn two_images_reach_from_the_first_ones_checkpoint_to_the_seconds_end() {
    let images = [image(0..=2, 14, 23), image(2..=5, 50, 55)];
    let found = moments(&images);
    let source = |time| match time {
        14..=23 => Source::One(0),
        24..=50 => Source::Two(0, 1),
        _ => Source::One(1),
    };
    assert_eq!(found, (14..=55).map(|time| (time, source(time))).collect::<Vec<_>>());
    assert_eq!(ranges(&images).len(), 1);
}

#[test]
fn a_file_that_was_born_and_deleted_between_two_images_limits_both() {
    let images = [image(0..=2, 14, 23), image([2, 3, 5], 50, 55)];
    let found: Vec<i64> = moments(&images).into_iter().map(|(time, _)| time).collect();
    // Of the last commit before the gap nobody knows whether it was the last until a time within the gap.
    assert_eq!(found, (14..=38).chain(50..=55).collect::<Vec<_>>());
    let refused = until(&images, 44).unwrap_err();
    assert_eq!(refused.before.map(|commit| commit.time_ms), Some(39));
    assert_eq!(refused.after.map(|commit| commit.time_ms), Some(50));
    // By its place it can be had.
    let cut = find(&ranges(&images), Goal::Lsn(commit(39).lsn)).unwrap();
    assert_eq!((cut.last, cut.source), (Some(commit(39)), Source::Two(0, 1)));
}

#[test]
fn the_last_file_of_the_first_image_must_be_in_the_second() {
    let images = [image(0..=2, 14, 23), image(3..=5, 50, 55)];
    assert_eq!(moments(&images).len(), 10 + 6);
}

#[test]
fn overwritten_files_and_other_histories_are_not_put_together() {
    let mut images = [image(0..=2, 14, 23), image(2..=5, 50, 55)];
    images[1].overwritten.insert(4);
    let found: Vec<i64> = moments(&images).into_iter().map(|(time, _)| time).collect();
    assert_eq!(found, (14..=38).chain(50..=55).collect::<Vec<_>>());
    images[1].overwritten.clear();
    images[1].continues = false;
    assert_eq!(moments(&images).len(), 10 + 6);
    assert_eq!(ranges(&images).len(), 2);
}

#[test]
fn nothing_is_known_behind_the_newest_image_and_before_the_oldest() {
    let images = [image(0..=2, 14, 23)];
    for (time, before, after) in [(13, None, Some(14)), (24, Some(23), None)] {
        let refused = until(&images, time).unwrap_err();
        assert_eq!(refused.before.map(|commit| commit.time_ms), before);
        assert_eq!(refused.after.map(|commit| commit.time_ms), after);
    }
    // An image that was taken later says that nothing was committed meanwhile.
    let mut later = images;
    later[0].taken_ms = 30;
    assert_eq!(until(&later, 30).unwrap().last, Some(commit(23)));
}

#[test]
fn an_image_without_a_checkpoint_or_without_anything_gives_nothing() {
    let bare = Image { checkpoint_end: None, ..image(0..=2, 14, 23) };
    assert!(ranges(&[bare, Image::default()]).is_empty());
    assert_eq!(until(&[], 5), Err(NoCut { before: None, after: None }));
}

/// Times are made before the log is locked, and clocks are set.
#[test]
fn a_commit_behind_a_later_one_is_not_in_it() {
    let mut one = image(0..=2, 14, 23);
    one.commits[18].time_ms = 21;
    let cut = until(&[one], 19).unwrap();
    assert_eq!((cut.last, cut.next.map(|next| next.transaction)), (Some(commit(17)), Some(18)));
}

#[test]
fn a_place_within_a_transaction_is_cut_at_the_commit_before() {
    let images = [image(0..=2, 14, 23)];
    let lsn = Lsn::new(1, commit(17).lsn.offset + 70);
    let cut = find(&ranges(&images), Goal::Lsn(lsn)).unwrap();
    assert_eq!((cut.last, cut.next), (Some(commit(17)), Some(commit(18))));
    assert!(find(&ranges(&images), Goal::Lsn(Lsn::new(2, 5000))).is_err());
    assert!(find(&ranges(&images), Goal::Lsn(Lsn::new(0, 100))).is_err());
}

/// A restored environment writes numbers again that are there already.
#[test]
fn the_newest_history_wins_where_both_have_a_moment() {
    let mut again = image(0..=2, 16, 22);
    again.continues = false;
    let images = [image(0..=2, 14, 23), again];
    assert_eq!(until(&images, 20).unwrap().source, Source::One(1));
    assert_eq!(until(&images, 15).unwrap().source, Source::One(0));
}
