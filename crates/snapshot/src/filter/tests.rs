//! What the patterns mean, by example.

use super::*;

fn set(patterns: &[&str]) -> PatternSet {
    PatternSet::parse(patterns, Case::Sensitive).unwrap()
}

#[track_caller]
fn assert_match(pattern: &str, path: &str, expected: bool) {
    assert_eq!(set(&[pattern]).matches(path.as_bytes()), expected, "`{pattern}` on {path}");
}

#[test]
fn relative_patterns_match_at_any_depth() {
    for pattern in [
        "*.rs",
        "*",
        "**",
        "src*",
        "core*",
        "core/*",
        "core/main.rs",
        "core/*.rs",
        "co*/*.rs",
        "main.*",
        "src",
        "core",
        "src/core",
        "src/core/main.rs",
        "./src/",
        "src//core",
        "lib/../src",
    ] {
        assert_match(pattern, "/src/core/main.rs", true);
        assert_match(pattern, "src/core/main.rs", true);
    }
    for pattern in ["*.c", "lib/*", "cc*/*.rs", "maiN.*", "src/main.rs", "rc", "mai", "../src", "core/main.rs/x", "!*"]
    {
        assert_match(pattern, "/src/core/main.rs", false);
        assert_match(pattern, "src/core/main.rs", false);
    }
}

#[test]
fn absolute_patterns_match_from_the_root() {
    for pattern in [
        "/srv",
        "/srv/",
        "/srv/app",
        "/srv//app",
        "/srv/./app",
        "/srv/x/../app",
        "/../srv",
        "/srv/*",
        "/*",
        "/*/app",
        "/srv/app/log/a.txt",
        "/*/*/log/*.txt",
        "/",
        "/**",
        "/**/log",
        "/srv/**",
    ] {
        assert_match(pattern, "/srv/app/log/a.txt", true);
    }
    for pattern in
        ["/app", "/app*", "/srv/log", "/srv/*app.*", "/srv/*/app/a.*", "/*/srv/log/*", "/srv/app/log/a.txt/x"]
    {
        assert_match(pattern, "/srv/app/log/a.txt", false);
    }
    assert_match("/srv/*", "/srv", false);
    assert_match("/srv", "srv", false);
    assert_match("/srv/app", "srv/app", false);
}

#[test]
fn double_stars_stand_for_any_number_of_components() {
    for path in ["/a/b", "/x/y/a/b", "/a/x/b", "/a/x/y/z/b", "a/b", "a/x/b/below", "/a/b/b"] {
        assert_match("a/**/b", path, true);
    }
    for path in ["/a", "/b/a", "/a/x", "/b"] {
        assert_match("a/**/b", path, false);
    }
    assert_match("a/**/b/**/c", "/x/a/b/c", true);
    assert_match("a/**/b/**/c", "/x/a/1/2/b/3/4/c", true);
    assert_match("a/**/b*/**/c", "/x/a/1/bb/z/a/b/c", true);
    assert_match("a/**/b/**/c", "/x/a/c/b", false);
    assert_match("**/c", "/c", true);
    assert_match("/a/**/c", "/a/c", true);
    assert_match("/a/**/c", "/b/a/c", false);
    // Within a component two stars are one.
    assert_match("a**c", "/abc", true);
    assert_match("a**c", "/a/c", false);
}

/// The examples of restic's manual, "Excluding Files".
#[test]
fn the_manuals_examples() {
    for (pattern, excluded, kept) in [
        ("*.c", "/home/user/work/foo.c", "/home/user/work/foo.go"),
        ("bin", "/usr/bin/bash", "/usr/binary"),
        ("/bin", "/bin/bash", "/usr/bin/bash"),
        ("/home/user/foo/*.txt", "/home/user/foo/a.txt", "/home/user/foo/x/a.txt"),
        ("foo/**/bar", "/dir1/foo/dir2/bar/file", "/dir1/dir2/bar"),
        ("foo/**/bar", "/foo/bar/file", "/bar/foo"),
        (".*", "/home/user/.cache", "/home/user/cache"),
        ("~*", "/home/~user/x", "/home/user~"),
        ("[._]*", "/home/_a", "/home/a"),
    ] {
        assert_match(pattern, excluded, true);
        assert_match(pattern, kept, false);
    }
}

#[test]
fn components_match_as_filepath_match_does() {
    let cases: &[(&str, &[u8], bool)] = &[
        ("abc", b"abc", true),
        ("*", b"", true),
        ("*c", b"abc", true),
        ("a*", b"a", true),
        ("a*b*c*d*e*", b"axbxcxdxexxx", true),
        ("a*b*c*d*e*", b"axbxcxdxxx", false),
        ("a*b?c*x", b"abxbbxdbxebxczzx", true),
        ("a*b?c*x", b"abxbbxdbxebxczzy", false),
        ("ab[c]", b"abc", true),
        ("ab[b-d]", b"abc", true),
        ("ab[e-g]", b"abc", false),
        ("ab[^c]", b"abc", false),
        ("ab[^e-g]", b"abc", true),
        ("ab[!c]", b"abd", false),
        ("ab[!c]", b"ab!", true),
        ("a\\*b", b"a*b", true),
        ("a\\*b", b"ab", false),
        ("a?b", "a\u{263a}b".as_bytes(), true),
        ("a[^a]b", "a\u{263a}b".as_bytes(), true),
        ("a???b", "a\u{263a}b".as_bytes(), false),
        ("[a-\u{3b6}]*", "\u{3b1}".as_bytes(), true),
        ("*[a-\u{3b6}]", b"A", false),
        ("a?b", b"a\xffb", true),
        ("[\\]a]", b"]", true),
        ("[\\-x]", b"-", true),
        ("[x\\-]", b"x", true),
        ("[x\\-]", b"z", false),
        ("]", b"]", true),
        ("a-b", b"a-b", true),
        ("*x", b"xxx", true),
        ("*ab?", b"ababc", true),
    ];
    for (pattern, name, expected) in cases {
        assert_eq!(Glob::parse(pattern.as_bytes()).unwrap().matches(name), *expected, "{pattern} on {name:?}");
    }
}

#[test]
fn malformed_patterns_are_refused() {
    for bad in ["[]a]", "[-]", "[x-]", "[-x]", "[", "[^", "[^bc", "a[", "a\\", "*[._]log[.-][0-9]", "x/[/y", "!["] {
        let error = PatternSet::parse([bad], Case::Sensitive).unwrap_err();
        assert_eq!(error.pattern, bad.as_bytes());
    }
    assert!(PatternSet::parse([b"[\xff]"], Case::Sensitive).is_err());
}

#[test]
fn later_negated_patterns_take_back() {
    let cases: &[(&[&str], &str, bool, bool)] = &[
        (&[], "/a/b/c.rs", false, false),
        (&["*.rs"], "/a/b/c.rs", true, true),
        (&["*.rs"], "/a/b", false, true),
        (&["*.rs", "*.c"], "/a/b/c.rs", true, true),
        (&["", "*.c"], "/a/b/c.rs", false, true),
        (&["!**", "*.rs"], "/a/b/c.rs", true, true),
        (&["/a/*/c.*", "!*.c"], "/a/b/c.c", false, false),
        (&["/a/*/c.*", "!*.c"], "/a/b/c.rs", true, true),
        (&["/a/*/*", "!c.*", "*.c"], "/a/b/c.rs", false, true),
        (&["/a/*/*", "!c.*", "*.c"], "/a/b/c.c", true, true),
        (&["/**/*", "!/a", "/a/*", "!/a/b"], "/a/other/x", true, true),
        (&["/**/*", "!/a", "/a/*", "!/a/b"], "/a/b", false, false),
        (&["/**/*", "!/a", "/a/*", "!/a/b"], "/a/b/x/y", false, false),
        (&["/**/*", "!/a", "/a/*", "!/a/b", "/a/b/x*"], "/a/b/x.rs/y", true, true),
        (&["/*/*/b/x.*"], "/a/b/x.rs", false, false),
        (&["/*/*/b/x.*"], "/a/b/b", false, true),
        (&["/a/b/*"], "/a", false, true),
        (&["/a/b/*", "!/a/b/[a-m]*"], "/a", false, true),
        (&["/a/**/x"], "/a/b/a/b/x", true, true),
        (&["/a/*/x"], "/a/b/a/b/x", false, false),
    ];
    for (patterns, path, matched, child_may_match) in cases {
        let patterns_set = set(patterns);
        assert_eq!(patterns_set.matches(path.as_bytes()), *matched, "{patterns:?} on {path}");
        let expected = Verdict { matched: *matched, child_may_match: *child_may_match };
        assert_eq!(patterns_set.verdict(path.as_bytes()), expected, "{patterns:?} on {path}");
    }
}

#[test]
fn folders_on_the_way_to_a_match_are_entered() {
    let cases = [
        ("a/b", "/a", true),
        ("x/b", "/a", true),
        ("/a/b/c", "/a", true),
        ("/a/b/c", "/a/b", true),
        ("/a/b/c", "/a/c", false),
        ("/a/**/c", "/a/b/x/y", true),
        ("/a/**/c", "/b", false),
        ("/a/**", "/a/b/c", true),
        ("/a/*/q", "/a/b", true),
        ("/a/*/q", "/a/b/c", false),
        ("/a", "/a/b", true),
        ("/*", "/a/b", true),
        ("/**", "/a", true),
        ("/*/**", "/a", true),
        ("/**/b", "/a/b", true),
        ("/b/*", "/a", false),
        ("/", "/a", true),
        ("/a", "/", true),
    ];
    for (pattern, path, expected) in cases {
        assert_eq!(set(&[pattern]).verdict(path.as_bytes()).child_may_match, expected, "`{pattern}` on {path}");
    }
}

#[test]
fn capitals_do_not_matter_when_told_so() {
    let patterns = PatternSet::parse(["*.JPG", "ÄRGER", "/Srv/[A-C]*"], Case::Insensitive).unwrap();
    for path in ["/a/b.jpg", "/a/B.JpG", "/x/ärger", "/x/Ärger/y", "/sRV/bx"] {
        assert!(patterns.matches(path.as_bytes()), "{path}");
    }
    assert!(!patterns.matches(b"/srv/dx"));
    assert!(patterns.matches(b"/\xff/B.jpg"));
}

#[test]
fn any_bytes_are_paths() {
    let patterns = PatternSet::parse([b"caf\xe9".as_slice(), b"*.\xff"], Case::Sensitive).unwrap();
    assert!(patterns.matches(b"/x/caf\xe9/y"));
    assert!(patterns.matches(b"/x/a.\xff"));
    assert!(!patterns.matches("/x/café".as_bytes()));
}

#[test]
fn no_pattern_matches_nothing() {
    let patterns = set(&["", ""]);
    assert!(patterns.is_empty());
    assert!(!patterns.matches(b"/a"));
}

/// The last-star rule keeps matching linear in practice; a rule that tried all stars would not end here.
#[test]
fn hostile_patterns_and_names_end() {
    let pattern = format!("{}b", "a*".repeat(200));
    assert_match(&pattern, &format!("/{}", "a".repeat(2000)), false);
}
