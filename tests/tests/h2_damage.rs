//! A small database of real H2, damaged anywhere: what our verification says of each copy, and what the real H2 makes of it.
//!
//! Campaign `h2-damage`: a round is one copy with one bit flipped, or cut short; every other one of a database that was
//! killed. All of them are opened in one JVM.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use treering_h2::verify;
use treering_tests::Campaign;
use treering_workloads::Random;
use treering_workloads::h2_load::{Checker, LoadDatabase};

const ROWS: u32 = 300;
/// Of so many copies one is cut short, the others have a bit flipped.
const CUT_EVERY: u64 = 3;
const BLOCK_BYTES: usize = 4096;
/// As much of a store header as its text has.
const HEADER_TEXT_BYTES: usize = 160;
const FOOTER_BYTES: usize = 128;

/// What is done to a copy.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Flip { at: usize, bit: u8 },
    Cut { bytes: usize },
}

impl Harm {
    /// Every other flip is in a text of H2's: what it has checks for is a small part of a file.
    fn random(random: &mut Random, original: &Original) -> Self {
        let anywhere = random.below(original.bytes.len() as u64) as usize;
        let texts = &original.texts;
        let text = texts[random.below(texts.len() as u64) as usize].clone();
        let in_text = text.start + random.below(text.len() as u64) as usize;
        match (random.below(CUT_EVERY), random.below(2)) {
            (0, _) => Self::Cut { bytes: anywhere },
            (_, half) => Self::Flip { at: if half == 0 { anywhere } else { in_text }, bit: random.below(8) as u8 },
        }
    }

    fn done_to(self, original: &[u8]) -> Vec<u8> {
        let mut bytes = original.to_vec();
        match self {
            Self::Flip { at, bit } => bytes[at] ^= 1 << bit,
            Self::Cut { bytes: length } => bytes.truncate(length),
        }
        bytes
    }
}

/// What our verification says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ours {
    Whole,
    /// As if the process had been killed earlier: nothing in the file names a later version.
    Earlier,
    Damaged,
    Unreadable,
}

impl Ours {
    fn of(bytes: &[u8], newest: u64) -> Self {
        match verify(&mut &*bytes) {
            Ok(report) if report.is_whole() && report.newest.version.last.version < newest => Self::Earlier,
            Ok(report) if report.is_whole() => Self::Whole,
            Ok(_) => Self::Damaged,
            Err(_) => Self::Unreadable,
        }
    }
}

/// What the real H2 makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Theirs {
    Right,
    /// It opens without a word, with other rows than there were.
    Wrong,
    Refused,
}

/// A database as it was left, and what is in it.
struct Original {
    bytes: Vec<u8>,
    version: u64,
    is_closed: bool,
    digest: u64,
    /// Where pages lie: of what is in them between their own headers H2 has no checksum.
    pages: Vec<Range<usize>>,
    /// Headers, tables of contents and footers.
    texts: Vec<Range<usize>>,
}

impl Original {
    fn of(file: &Path, copy: PathBuf, checker: &mut Checker) -> Self {
        let bytes = fs::read(file).unwrap();
        let report = verify(&mut bytes.as_slice()).unwrap();
        assert!(report.is_whole(), "{:?}", report.findings);
        let digest = checker.digest(&put(copy, &bytes)).unwrap().unwrap();
        let (version, is_closed) = (report.newest.version.last.version, report.newest.header.is_clean);
        let (mut pages, mut texts) =
            (Vec::new(), vec![0..HEADER_TEXT_BYTES, BLOCK_BYTES..BLOCK_BYTES + HEADER_TEXT_BYTES]);
        for chunk in report.newest.version.chunks.values() {
            let (start, end) = (chunk.start() as usize, chunk.end() as usize);
            let first_page = start + bytes[start..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
            let toc = start + chunk.toc as usize;
            pages.push(first_page..toc);
            texts.extend([start..first_page, toc..toc + 8 * chunk.pages as usize, end - FOOTER_BYTES..end]);
        }
        Self { version, is_closed, digest, pages, texts, bytes }
    }

    fn is_in_pages(&self, harm: Harm) -> bool {
        matches!(harm, Harm::Flip { at, .. } if self.pages.iter().any(|pages| pages.contains(&at)))
    }
}

/// The text that it is in, if it is in one.
fn around(bytes: &[u8], harm: Harm) -> String {
    let Harm::Flip { at, .. } = harm else { return String::new() };
    let block = at / BLOCK_BYTES * BLOCK_BYTES;
    String::from_utf8_lossy(&bytes[block..(block + 256).min(bytes.len())]).into_owned()
}

/// Puts it into a folder of its own, for an engine knows databases by their paths.
fn put(folder: PathBuf, bytes: &[u8]) -> PathBuf {
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("Server.mv.db"), bytes).unwrap();
    folder
}

#[test]
fn what_is_called_whole_opens_in_the_real_h2() {
    let campaign = Campaign::start("h2-damage", 60);
    let temp = tempfile::tempdir().unwrap();
    let room = temp.path().join("copies");
    fs::create_dir(&room).unwrap();
    let mut checker = Checker::start().unwrap();
    let database = LoadDatabase::create(&temp.path().join("home"), ROWS, campaign.seed).unwrap();
    let closed = Original::of(&database.file(), room.join("closed"), &mut checker);
    let mut load = database.load(campaign.seed, 200, "").unwrap();
    while load.commits().len() < 200 {
        assert!(load.is_running());
        std::thread::sleep(Duration::from_millis(20));
    }
    load.kill().unwrap();
    let killed = Original::of(&database.file(), room.join("killed"), &mut checker);
    let (mut random, mut counts) = (campaign.random("harms"), BTreeMap::<_, u64>::new());
    for round in 0..campaign.rounds {
        let original = if round % 2 == 0 { &closed } else { &killed };
        let harm = Harm::random(&mut random, original);
        let bytes = harm.done_to(&original.bytes);
        let ours = Ours::of(&bytes, original.version);
        let folder = put(room.join(round.to_string()), &bytes);
        let said = checker.digest(&folder).unwrap();
        let theirs = match &said {
            Ok(digest) if *digest == original.digest => Theirs::Right,
            Ok(_) => Theirs::Wrong,
            Err(_) => Theirs::Refused,
        };
        fs::remove_dir_all(&folder).unwrap();
        let is_in_pages = original.is_in_pages(harm);
        let is_true = match ours {
            Ours::Whole => theirs == Theirs::Right || is_in_pages,
            Ours::Earlier => theirs != Theirs::Refused && !original.is_closed,
            Ours::Damaged | Ours::Unreadable => true,
        };
        assert!(is_true, "round {round}: {harm:?} is {ours:?}, and H2 {theirs:?}: {said:?}; {}", around(&bytes, harm));
        *counts.entry((is_in_pages, ours, theirs)).or_default() += 1;
    }
    println!("{}", table(&counts));
    let sum = |is_one: &dyn Fn(&(bool, Ours, Theirs)) -> bool| -> u64 {
        counts.iter().filter(|(key, _)| is_one(key)).map(|(_, count)| count).sum()
    };
    let whole = sum(&|key| key.1 == Ours::Whole);
    let right = sum(&|key| (key.1, key.2) == (Ours::Whole, Theirs::Right));
    let earlier = sum(&|key| key.1 == Ours::Earlier);
    let silent = sum(&|key| key.1 >= Ours::Damaged && key.2 == Theirs::Wrong);
    campaign.end(&format!(
        "{} damaged copies: of {whole} that are called whole the real H2 opens {right} with the right rows, the others have \
         a bit flipped within a page; {earlier} are as if the process had been killed earlier; {silent} that are called \
         damaged H2 opens with other rows and without a word",
        campaign.rounds
    ));
}

fn table(counts: &BTreeMap<(bool, Ours, Theirs), u64>) -> String {
    let mut text =
        String::from("| harm | verified as | H2: right rows | other rows | does not open |\n|---|---|---|---|---|");
    for (is_in_pages, name) in [(true, "a bit within pages"), (false, "a bit elsewhere, or cut short")] {
        for ours in [Ours::Whole, Ours::Earlier, Ours::Damaged, Ours::Unreadable] {
            let count = |theirs| counts.get(&(is_in_pages, ours, theirs)).copied().unwrap_or_default();
            let [right, wrong, refused] = [Theirs::Right, Theirs::Wrong, Theirs::Refused].map(count);
            let _ = write!(text, "\n| {name} | {ours:?} | {right} | {wrong} | {refused} |");
        }
    }
    text
}
