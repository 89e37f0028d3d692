//! Names of users and groups, from `/etc/passwd` and `/etc/group`.
//!
//! Never: asks a directory service; a backup must not hang because one does. A number without a name stays a number.

use std::collections::BTreeSet;
use std::fs;

use treering_snapshot::record::Owners;

/// The names of these users and groups, as far as they are known.
pub(crate) fn names(users: &BTreeSet<u32>, groups: &BTreeSet<u32>) -> Owners {
    Owners { users: named(&read("/etc/passwd"), users), groups: named(&read("/etc/group"), groups) }
}

/// The name of one user.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    named(&read("/etc/passwd"), &BTreeSet::from([uid])).pop().map(|(_, name)| name)
}

fn read(path: &str) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Both files have the name first and the number third. The first line for a number counts.
fn named(content: &str, wanted: &BTreeSet<u32>) -> Vec<(u32, String)> {
    let mut found: Vec<(u32, String)> = Vec::new();
    for line in content.lines() {
        let mut fields = line.split(':');
        let (Some(name), Some(number)) = (fields.next(), fields.nth(1)) else { continue };
        let Ok(number) = number.parse() else { continue };
        if wanted.contains(&number) && found.iter().all(|(known, _)| *known != number) {
            found.push((number, name.to_owned()));
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_number_and_sorted() {
        let content = "b:x:7:7::/:/bin/sh\n# comment\nroot:x:0:0::/root:/bin/sh\nother:x:0:0\nbad:x:y\n\n";
        let found = named(content, &BTreeSet::from([0, 7, 9]));
        assert_eq!(found, [(0, "root".to_owned()), (7, "b".to_owned())]);
    }
}
