//! The reader of Berkeley DB JE's log.

use treering_je::log::{Entry, FileSummary, Scanner};
use treering_store::fuzzing::Target;

/// All of it.
pub(crate) const TARGETS: &[Target] = &[Target { name: "je_log", run: je_log, seeds }];

/// The beginnings of files that real JE wrote, of log versions 6, 15 and 17.
fn seeds() -> Vec<Vec<u8>> {
    [
        &include_bytes!("../../tests/corpus/je_log/version-6")[..],
        include_bytes!("../../tests/corpus/je_log/version-15"),
        include_bytes!("../../tests/corpus/je_log/version-17"),
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

fn je_log(bytes: &[u8]) -> bool {
    let whole = scan(bytes, bytes.len().max(1), Some(bytes.len() as u64));
    assert!(whole.valid_end <= bytes.len() as u64 && whole.read_bytes == bytes.len() as u64);
    assert!(whole.damage.as_ref().is_none_or(|damage| damage.offset >= whole.valid_end));
    assert_eq!(scan(bytes, 61, Some(bytes.len() as u64)), whole, "the size of the pieces does not matter");
    whole.is_whole() && whole.valid_end == bytes.len() as u64
}

fn scan(bytes: &[u8], piece: usize, length: Option<u64>) -> FileSummary {
    let (mut scanner, mut seen) = (Scanner::new(0, length), 0);
    let mut visit = |entry: &Entry<'_>| {
        assert!(entry.end() <= bytes.len() as u64 && u64::from(entry.lsn.offset) >= seen, "entries come in order");
        seen = entry.end();
        let _ = (entry.item(), entry.is_malformed());
    };
    bytes.chunks(piece).for_each(|piece| scanner.push(piece, &mut visit));
    scanner.finish(&mut visit)
}
