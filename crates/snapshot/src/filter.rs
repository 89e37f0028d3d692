//! Patterns that choose paths, with the meaning that restic gives them.
//!
//! Owns: parsing and matching of patterns over paths of any bytes. It knows nothing of files or of the command line.
//! Never: opens, lists or resolves a path, and does not allocate at all when there are no patterns.
//! Invariant: a [`PatternSet`] that exists can be matched without an error; malformed patterns are refused on parsing.
//!
//! A pattern is a path whose components may hold `*`, `?`, `[a-z]`, `[^a-z]` and `\` (none of them matches a `/`).
//! One that starts with `/` matches from the root; any other matches at every depth. In both cases it matches a path
//! if it matches the path itself or one of its parents. `**` stands for any number of components. A pattern that
//! starts with `!` takes back what patterns before it have matched. Empty patterns are ignored.

use std::borrow::Cow;
use std::fmt;

/// Whether capitals matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// `A` is not `a`.
    Sensitive,
    /// `A` is `a`, also beyond ASCII. Bytes that are not UTF-8 must be the same.
    Insensitive,
}

/// An ordered list of patterns; a later one may take back an earlier one.
#[derive(Debug, Clone)]
pub struct PatternSet {
    patterns: Vec<Pattern>,
    case: Case,
    has_negated: bool,
}

/// What a [`PatternSet`] says about a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The path itself is matched.
    pub matched: bool,
    /// Something below the path may be matched. Never wrongly false for a set without negated patterns.
    pub child_may_match: bool,
}

impl PatternSet {
    /// Parses patterns in their order.
    pub fn parse<P: AsRef<[u8]>>(patterns: impl IntoIterator<Item = P>, case: Case) -> Result<PatternSet, BadPattern> {
        let mut parsed = Vec::new();
        for text in patterns {
            if !text.as_ref().is_empty() {
                parsed.push(Pattern::parse(&folded(text.as_ref(), case)).ok_or_else(|| BadPattern::new(&text))?);
            }
        }
        let has_negated = parsed.iter().any(|pattern| pattern.negated);
        Ok(PatternSet { patterns: parsed, case, has_negated })
    }

    /// Whether there is nothing to match.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the path, absolute or relative, is matched.
    pub fn matches(&self, path: &[u8]) -> bool {
        if self.is_empty() {
            return false;
        }
        let path = folded(path, self.case);
        let components = split(&path);
        self.patterns.iter().fold(false, |matched, pattern| match pattern.negated {
            true => matched && !pattern.matches(&components),
            false => matched || pattern.matches(&components),
        })
    }

    /// Whether the path is matched, and whether something below it may be. For choosing what to restore.
    pub fn verdict(&self, path: &[u8]) -> Verdict {
        let mut verdict = Verdict { matched: false, child_may_match: false };
        if self.is_empty() {
            return verdict;
        }
        let path = folded(path, self.case);
        let components = split(&path);
        for pattern in &self.patterns {
            verdict = pattern.refine(verdict, &components);
            if verdict.matched && verdict.child_may_match && !self.has_negated {
                break;
            }
        }
        verdict
    }
}

/// One parsed pattern.
#[derive(Debug, Clone)]
struct Pattern {
    negated: bool,
    /// [`Part::Root`] can only be the first, and makes the pattern an absolute one.
    parts: Vec<Part>,
}

/// What one component of a path has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// The root folder, before the first component.
    Root,
    /// `**`: any number of components, also none.
    Any,
    /// One component.
    Component(Glob),
}

impl Pattern {
    fn parse(text: &[u8]) -> Option<Pattern> {
        let (negated, text) = match text {
            [b'!', rest @ ..] => (true, rest),
            text => (false, text),
        };
        let absolute = text.starts_with(b"/");
        let mut parts: Vec<Part> = if absolute { vec![Part::Root] } else { Vec::new() };
        for component in clean(text) {
            parts.push(match component {
                b"**" => Part::Any,
                component => Part::Component(Glob::parse(component)?),
            });
        }
        Some(Pattern { negated, parts })
    }

    fn is_absolute(&self) -> bool {
        self.parts.first() == Some(&Part::Root)
    }

    fn matches(&self, path: &[&[u8]]) -> bool {
        // The empty first component of an absolute path stands for the root, and only Root matches it.
        let first = usize::from(!self.is_absolute() && path.first() == Some(&ROOT));
        let last = if self.is_absolute() { 0 } else { path.len() };
        (first..=last).any(|offset| starts_with(&path[offset.min(path.len())..], &self.parts))
    }

    fn refine(&self, before: Verdict, path: &[&[u8]]) -> Verdict {
        let matched = self.matches(path);
        match self.negated {
            true => {
                Verdict { matched: before.matched && !matched, child_may_match: before.child_may_match && !matched }
            }
            false => Verdict {
                matched: before.matched || matched,
                child_may_match: before.child_may_match || self.child_may_match(path),
            },
        }
    }

    /// A relative pattern may match at any depth; an absolute one must agree with the path as far as both go.
    fn child_may_match(&self, path: &[&[u8]]) -> bool {
        if !self.is_absolute() {
            return true;
        }
        let fixed = self.parts.iter().position(|part| *part == Part::Any).unwrap_or(self.parts.len());
        let common = fixed.min(path.len());
        starts_with(&path[..common], &self.parts[..common])
    }
}

/// Whether the parts match the first components of the path, whatever follows. No parts match no path.
fn starts_with(path: &[&[u8]], parts: &[Part]) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return false;
    };
    match part {
        Part::Any if rest.is_empty() => true,
        Part::Any => (0..=path.len()).any(|skipped| starts_with(&path[skipped..], rest)),
        part => match path.split_first() {
            Some((component, below)) if part.matches(component) => rest.is_empty() || starts_with(below, rest),
            _ => false,
        },
    }
}

impl Part {
    fn matches(&self, component: &[u8]) -> bool {
        match self {
            Part::Root => component == ROOT,
            Part::Any => true,
            Part::Component(glob) => glob.matches(component),
        }
    }
}

/// Stands for the root folder in a split path; no other component is empty.
const ROOT: &[u8] = b"";

fn split(path: &[u8]) -> Vec<&[u8]> {
    /// Deeper paths cost a second allocation.
    const USUAL_DEPTH: usize = 16;
    let mut components = Vec::with_capacity(USUAL_DEPTH);
    if path.starts_with(b"/") {
        components.push(ROOT);
    }
    components.extend(path.split(|byte| *byte == b'/').filter(|component| !component.is_empty()));
    components
}

/// The components of a pattern without empty ones, `.` and `x/..`, by text alone, as Go's `filepath.Clean` does.
fn clean(text: &[u8]) -> Vec<&[u8]> {
    let mut cleaned: Vec<&[u8]> = Vec::new();
    for component in text.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if cleaned.last().is_some_and(|last| *last != b"..") => drop(cleaned.pop()),
            b".." if text.starts_with(b"/") => {}
            component => cleaned.push(component),
        }
    }
    cleaned
}

/// A pattern for one component, as in Go's `filepath.Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Form);

/// The common forms need no tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// No special character.
    Exact(Vec<u8>),
    /// `*`.
    Everything,
    /// `abc*`.
    Prefix(Vec<u8>),
    /// `*.abc`.
    Suffix(Vec<u8>),
    /// Anything else.
    Tokens(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// `*`: any bytes.
    Star,
    /// `?`: one character.
    One,
    /// These bytes.
    Literal(Vec<u8>),
    /// `[…]`: one character within, or with `^` outside of, these ranges.
    Class { negated: bool, ranges: Vec<(u32, u32)> },
}

impl Glob {
    /// Parses the pattern of one component; `None` if it is malformed.
    pub fn parse(text: &[u8]) -> Option<Glob> {
        let tokens = tokenize(text)?;
        Some(Glob(match tokens.as_slice() {
            [] => Form::Exact(Vec::new()),
            [Token::Literal(exact)] => Form::Exact(exact.clone()),
            [Token::Star] => Form::Everything,
            [Token::Literal(prefix), Token::Star] => Form::Prefix(prefix.clone()),
            [Token::Star, Token::Literal(suffix)] => Form::Suffix(suffix.clone()),
            _ => Form::Tokens(tokens),
        }))
    }

    /// Whether it matches the whole of a component.
    pub fn matches(&self, component: &[u8]) -> bool {
        match &self.0 {
            Form::Exact(exact) => component == exact,
            Form::Everything => true,
            Form::Prefix(prefix) => component.starts_with(prefix),
            Form::Suffix(suffix) => component.ends_with(suffix),
            Form::Tokens(tokens) => tokens_match(tokens, component),
        }
    }
}

/// Walks both; on a mismatch the last star takes one byte more. Earlier stars need no second try.
fn tokens_match(tokens: &[Token], component: &[u8]) -> bool {
    let (mut at, mut token) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match tokens.get(token) {
            None if at == component.len() => return true,
            Some(Token::Star) => {
                retry = Some((at, token + 1));
                token += 1;
                continue;
            }
            Some(wanted) => {
                if let Some(len) = wanted.accepts(&component[at..]) {
                    at += len;
                    token += 1;
                    continue;
                }
            }
            None => {}
        }
        match retry {
            Some((from, after)) if from < component.len() => {
                retry = Some((from + 1, after));
                (at, token) = (from + 1, after);
            }
            _ => return false,
        }
    }
}

impl Token {
    /// How many bytes at the start of `rest` it takes.
    fn accepts(&self, rest: &[u8]) -> Option<usize> {
        match self {
            Token::Star => Some(0),
            Token::Literal(bytes) => rest.starts_with(bytes).then_some(bytes.len()),
            Token::One => next_char(rest).map(|(_, len)| len),
            Token::Class { negated, ranges } => {
                let (c, len) = next_char(rest)?;
                let within = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                (within != *negated).then_some(len)
            }
        }
    }
}

fn tokenize(mut text: &[u8]) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    while let Some((byte, rest)) = text.split_first() {
        text = rest;
        match byte {
            b'*' => push_star(&mut tokens),
            b'?' => tokens.push(Token::One),
            b'[' => tokens.push(parse_class(&mut text)?),
            b'\\' => {
                let (escaped, rest) = text.split_first()?;
                text = rest;
                push_literal(&mut tokens, *escaped);
            }
            byte => push_literal(&mut tokens, *byte),
        }
    }
    Some(tokens)
}

fn push_star(tokens: &mut Vec<Token>) {
    if tokens.last() != Some(&Token::Star) {
        tokens.push(Token::Star);
    }
}

fn push_literal(tokens: &mut Vec<Token>, byte: u8) {
    match tokens.last_mut() {
        Some(Token::Literal(bytes)) => bytes.push(byte),
        _ => tokens.push(Token::Literal(vec![byte])),
    }
}

/// Reads what follows a `[`, up to and with the `]`.
fn parse_class(text: &mut &[u8]) -> Option<Token> {
    let negated = text.starts_with(b"^");
    *text = &text[usize::from(negated)..];
    let mut ranges = Vec::new();
    while ranges.is_empty() || !text.starts_with(b"]") {
        let low = class_char(text)?;
        let high = match text.strip_prefix(b"-") {
            Some(rest) => {
                *text = rest;
                class_char(text)?
            }
            None => low,
        };
        ranges.push((low, high));
    }
    *text = &text[1..];
    Some(Token::Class { negated, ranges })
}

/// One bound of a range. A class must go on behind it, at least with its `]`.
fn class_char(text: &mut &[u8]) -> Option<u32> {
    if text.is_empty() || text.starts_with(b"-") || text.starts_with(b"]") {
        return None;
    }
    let rest = text.strip_prefix(b"\\").unwrap_or(text);
    let (c, len) = next_char(rest)?;
    *text = &rest[len..];
    let valid = c != INVALID || len > 1;
    (valid && !text.is_empty()).then_some(c)
}

/// What a byte that is not UTF-8 counts as.
const INVALID: u32 = 0xfffd;

/// The first character and its length. A byte that is not UTF-8 counts as one character.
fn next_char(bytes: &[u8]) -> Option<(u32, usize)> {
    let first = *bytes.first()?;
    if first.is_ascii() {
        return Some((u32::from(first), 1));
    }
    let chunk = bytes[..bytes.len().min(4)].utf8_chunks().next()?;
    Some(chunk.valid().chars().next().map_or((INVALID, 1), |c| (u32::from(c), c.len_utf8())))
}

fn folded(bytes: &[u8], case: Case) -> Cow<'_, [u8]> {
    match case {
        Case::Sensitive => Cow::Borrowed(bytes),
        Case::Insensitive => Cow::Owned(lower(bytes)),
    }
}

fn lower(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_ascii() {
        return bytes.to_ascii_lowercase();
    }
    let mut lowered = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let mut buffer = [0; 4];
        for c in chunk.valid().chars().flat_map(char::to_lowercase) {
            lowered.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
        }
        lowered.extend_from_slice(chunk.invalid());
    }
    lowered
}

/// A malformed pattern: an unfinished `[`, an empty class, a backslash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPattern {
    /// As it was given.
    pub pattern: Vec<u8>,
}

impl BadPattern {
    fn new(text: &impl AsRef<[u8]>) -> Self {
        BadPattern { pattern: text.as_ref().to_vec() }
    }
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a pattern: a `[` has no `]`, a class is empty, or a `\\` ends a component",
            self.pattern.escape_ascii()
        )
    }
}

impl std::error::Error for BadPattern {}

#[cfg(test)]
mod tests;
