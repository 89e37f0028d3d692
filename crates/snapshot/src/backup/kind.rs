//! Which files are cut in another way than the rest, told by their first bytes.
//!
//! Sources: PostgreSQL `src/include/storage/bufpage.h`; SQLite "Database File Format"; MySQL
//! `storage/innobase/include/fil0types.h`; LMDB `mdb.c`; H2 `org.h2.mvstore.FileStore`. A wrong guess costs space, never
//! correctness.

use treering_chunk::CutPolicy;

/// How many bytes [`policy`] wants to see.
pub(super) const HEAD_BYTES: usize = 100;

const POSTGRES_PAGE: u32 = 8192;
const LMDB_PAGE: u32 = 4096;

/// How to cut a file of this length that starts with these bytes.
pub(super) fn policy(head: &[u8], bytes: u64) -> CutPolicy {
    sqlite(head)
        .or_else(|| h2(head))
        .or_else(|| postgres(head, bytes))
        .or_else(|| innodb(head, bytes))
        .or_else(|| lmdb(head))
        .unwrap_or(CutPolicy::General)
}

fn u16_at(head: &[u8], at: usize, order: fn([u8; 2]) -> u16) -> Option<u16> {
    Some(order(head.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(head: &[u8], at: usize, order: fn([u8; 4]) -> u32) -> Option<u32> {
    Some(order(head.get(at..at + 4)?.try_into().ok()?))
}

fn sqlite(head: &[u8]) -> Option<CutPolicy> {
    head.strip_prefix(b"SQLite format 3\0")?;
    match u16_at(head, 16, u16::from_be_bytes)? {
        1 => Some(CutPolicy::Pages(65_536)),
        page @ 512..=32_768 if page.is_power_of_two() => Some(CutPolicy::Pages(page.into())),
        _ => None,
    }
}

/// MVStore moves whole chunks of small pages about inside one file: fine cuts find them again.
fn h2(head: &[u8]) -> Option<CutPolicy> {
    head.starts_with(b"H:2,").then_some(CutPolicy::Fine)
}

/// A heap or index segment starts with a page header: lower ≤ upper ≤ special ≤ 8192, layout version 4.
fn postgres(head: &[u8], bytes: u64) -> Option<CutPolicy> {
    let page = POSTGRES_PAGE as u16;
    let [lower, upper, special, layout] = [12, 14, 16, 18].map(|at| u16_at(head, at, u16::from_le_bytes));
    let ordered = 24 <= lower? && lower <= upper && upper <= special && special? <= page;
    let whole = bytes.is_multiple_of(POSTGRES_PAGE.into());
    (ordered && whole && layout? == page | 4).then_some(CutPolicy::Pages(POSTGRES_PAGE))
}

/// A tablespace starts with a page of type 8 (file space header), number 0, that names its own page size in its flags.
fn innodb(head: &[u8], bytes: u64) -> Option<CutPolicy> {
    let (number, kind) = (u32_at(head, 4, u32::from_be_bytes)?, u16_at(head, 24, u16::from_be_bytes)?);
    let (space, again) = (u32_at(head, 34, u32::from_be_bytes)?, u32_at(head, 38, u32::from_be_bytes)?);
    let shift = (u32_at(head, 54, u32::from_be_bytes)? >> 6) & 0xf;
    let page = if shift == 0 { 16_384 } else { 512u32.checked_shl(shift)? };
    let fits = number == 0 && kind == 8 && space == again && page <= 65_536 && bytes.is_multiple_of(page.into());
    fits.then_some(CutPolicy::Pages(page))
}

fn lmdb(head: &[u8]) -> Option<CutPolicy> {
    (u32_at(head, 16, u32::from_le_bytes)? == 0xbeef_c0de).then_some(CutPolicy::Pages(LMDB_PAGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; HEAD_BYTES];
        for (at, bytes) in parts {
            head[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    #[test]
    fn known_kinds() {
        let sqlite = |size: [u8; 2]| head(&[(0, b"SQLite format 3\0"), (16, &size)]);
        assert_eq!(policy(&sqlite([16, 0]), 8192), CutPolicy::Pages(4096));
        assert_eq!(policy(&sqlite([0, 1]), 65_536), CutPolicy::Pages(65_536));
        assert_eq!(policy(&sqlite([0, 7]), 65_536), CutPolicy::General);
        assert_eq!(policy(b"H:2,block:2", 11), CutPolicy::Fine);
        let page = head(&[(12, &[40, 0, 0, 31, 0, 32, 4, 32])]);
        assert_eq!(policy(&page, 8192 * 3), CutPolicy::Pages(8192));
        assert_eq!(policy(&page, 8193), CutPolicy::General);
        assert_eq!(policy(&head(&[(24, &[0, 8])]), 16_384 * 7), CutPolicy::Pages(16_384));
        assert_eq!(policy(&head(&[(16, &[0xde, 0xc0, 0xef, 0xbe])]), 8192), CutPolicy::Pages(4096));
        assert_eq!(policy(b"", 0), CutPolicy::General);
        assert_eq!(policy(&[0; 100], 16_384), CutPolicy::General);
        assert_eq!(policy(b"#!/bin/sh\n", 10), CutPolicy::General);
    }
}
