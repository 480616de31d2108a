//! Mutators of text: bytes, tokens, lines, and what programs are known to dislike.

use super::dice::Dice;

/// Numbers at the edges of widths and limits.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "7",
    "8",
    "63",
    "64",
    "65",
    "127",
    "128",
    "255",
    "256",
    "1344",
    "1345",
    "32767",
    "65535",
    "65536",
    "1048576",
    "1048577",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "0x",
    "0b2",
    "1_",
    "99999999999999999999999999999999999999999",
];

/// Bytes that are not UTF-8, or not ASCII.
const ODD_BYTES: &[&[u8]] = &[
    b"\xff",
    b"\xc3",
    b"\xe2\x82",
    b"\xed\xa0\x80",
    b"\0",
    "é".as_bytes(),
    "\u{feff}".as_bytes(),
    "\u{fffd}".as_bytes(),
];

/// What nests: opening, what may stand inside, closing.
const NESTS: &[(&str, &str, &str)] = &[
    ("(", "1", ")"),
    ("[", "1", "]"),
    ("{", "", "}"),
    ("if x {", "", "}"),
    ("if x { 1 } else {", "2", "}"),
    ("while true max 2 {", "", "}"),
    ("for i in 0..2 {", "", "}"),
    ("match x { 0 => {", "", "} _ => {} }"),
    ("f(", "1", ")"),
    ("!", "true", ""),
    ("- ", "1", ""),
    ("1 + ", "1", ""),
    ("a.", "b", ""),
    ("a[0]", "", ""),
    ("/*", "", "*/"),
    ("(v0 +: ", "v1", ")"),
    ("block b0 {", "", "}"),
    ("loop b1() {", "", "}"),
];

/// The pieces that token mutations move about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    Number,
    Space,
    Text,
    Mark,
}

/// Cuts text into words, numbers, white space, quoted text and single other bytes. Joined, they are the text again.
fn tokens(text: &[u8]) -> Vec<(Kind, std::ops::Range<usize>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let start = at;
        let kind = match text[at] {
            b'0'..=b'9' => Kind::Number,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Kind::Word,
            b if b.is_ascii_whitespace() => Kind::Space,
            b'"' => Kind::Text,
            _ => Kind::Mark,
        };
        at += 1;
        match kind {
            Kind::Word | Kind::Number => at += run(&text[at..], |b| b.is_ascii_alphanumeric() || b == b'_'),
            Kind::Space => at += run(&text[at..], |b| b.is_ascii_whitespace()),
            Kind::Text => {
                at = text
                    .len()
                    .min(at + run(&text[at..], |b| b != b'"' && b != b'\n') + 1)
            }
            Kind::Mark => {}
        }
        found.push((kind, start..at));
    }
    found
}

fn run(text: &[u8], of: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|&&b| of(b)).count()
}

/// Changes `text` in one to four places, with pieces of `other`.
pub fn text(dice: &mut Dice, text: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=dice.below(4) {
        match dice.below(20) {
            0..=7 => token(dice, text, other),
            8..=9 => number(dice, text),
            10..=12 => line(dice, text),
            13 => byte(dice, text),
            14 => splice(dice, text, other),
            15 => {
                let piece = other[dice.range(other.len())].to_vec();
                insert(dice, text, piece);
            }
            16 => nest(dice, text),
            17 => long(dice, text),
            18 => {
                let odd = dice.pick(ODD_BYTES).to_vec();
                insert(dice, text, odd);
            }
            _ if dice.chance(30) => text.truncate(dice.below(text.len() + 1)),
            _ => drop(text.drain(dice.range(text.len()))),
        }
    }
}

/// Changes one or two tokens or lines in ways that often still parse: ids, numbers and words become others of the text.
pub fn gently(dice: &mut Dice, text: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=dice.below(2) {
        match dice.below(10) {
            0..=3 => nudge(dice, text),
            4..=5 => like_token(dice, text),
            6..=8 => line(dice, text),
            _ => token(dice, text, other),
        }
    }
}

/// Makes the number in a token, such as `7`, `v7` or `i32`, a little larger or smaller.
fn nudge(dice: &mut Dice, text: &mut Vec<u8>) {
    let digits = |at: &std::ops::Range<usize>| text[at.clone()].iter().position(u8::is_ascii_digit);
    let numbered: Vec<_> = tokens(text)
        .into_iter()
        .filter_map(|(_, at)| Some(at.start + digits(&at)?..at.end))
        .collect();
    if numbered.is_empty() {
        return;
    }
    let at = dice.pick(&numbered).clone();
    let number = std::str::from_utf8(&text[at.clone()])
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    let Some(number) = number else { return };
    let by = 1 + dice.below(3) as u64;
    let number = if dice.chance(50) {
        number.wrapping_add(by)
    } else {
        number.saturating_sub(by)
    };
    text.splice(at, number.to_string().into_bytes());
}

/// Puts another token that starts alike in a token's place: a value's id for a value's id, a width for a width.
fn like_token(dice: &mut Dice, text: &mut Vec<u8>) {
    let all: Vec<_> = tokens(text)
        .into_iter()
        .filter(|(kind, _)| *kind != Kind::Space)
        .collect();
    if all.is_empty() {
        return;
    }
    let (kind, at) = dice.pick(&all).clone();
    let alike: Vec<_> = all
        .iter()
        .filter(|(k, other)| *k == kind && text[other.start] == text[at.start])
        .collect();
    let from = alike[dice.below(alike.len())].1.clone();
    let piece = text[from].to_vec();
    text.splice(at, piece);
}

/// Changes bytes in one to four places: flips, deletes, doubles, cuts.
pub fn bytes(dice: &mut Dice, bytes: &mut Vec<u8>) {
    for _ in 0..=dice.below(4) {
        match dice.below(8) {
            0..=4 => byte(dice, bytes),
            5 => drop(bytes.drain(dice.range(bytes.len()))),
            6 => {
                let piece = bytes[dice.range(bytes.len())].to_vec();
                insert(dice, bytes, piece);
            }
            _ => bytes.truncate(dice.below(bytes.len() + 1)),
        }
    }
}

fn byte(dice: &mut Dice, text: &mut [u8]) {
    if text.is_empty() {
        return;
    }
    let at = dice.below(text.len());
    text[at] = match dice.below(3) {
        0 => text[at] ^ (1 << dice.below(8)),
        1 => text[at].wrapping_add(1),
        _ => dice.roll() as u8,
    };
}

fn insert(dice: &mut Dice, text: &mut Vec<u8>, piece: Vec<u8>) {
    // Mostly at the start of a token, where it has the best chance to mean something.
    let tokens = tokens(text);
    let at = match dice.chance(80) && !tokens.is_empty() {
        true => dice.pick(&tokens).1.start,
        false => dice.below(text.len() + 1),
    };
    text.splice(at..at, piece);
}

/// Swaps, doubles, deletes or replaces a token.
fn token(dice: &mut Dice, text: &mut Vec<u8>, other: &[u8]) {
    let all: Vec<_> = tokens(text)
        .into_iter()
        .filter(|(kind, _)| *kind != Kind::Space)
        .collect();
    if all.is_empty() {
        return;
    }
    let (kind, at) = dice.pick(&all).clone();
    // One of the same kind often still parses.
    let like = |dice: &mut Dice, all: &[(Kind, std::ops::Range<usize>)]| {
        let any = dice.chance(10);
        let alike: Vec<_> = all.iter().filter(|(other, _)| any || *other == kind).collect();
        (!alike.is_empty()).then(|| alike[dice.below(alike.len())].1.clone())
    };
    match dice.below(6) {
        0 => drop(text.drain(at)),
        1 => {
            let copy = text[at.clone()].to_vec();
            text.splice(at.start..at.start, copy);
        }
        2 | 3 => {
            if let Some(from) = like(dice, &all) {
                let piece = text[from].to_vec();
                text.splice(at, piece);
            }
        }
        4 => {
            if let Some(from) = like(dice, &tokens(other)) {
                text.splice(at, other[from].to_vec());
            }
        }
        _ => {
            if let Some(with) = like(dice, &all) {
                swap(text, at, with);
            }
        }
    }
}

/// Swaps two parts; nothing where they overlap.
fn swap(text: &mut Vec<u8>, a: std::ops::Range<usize>, b: std::ops::Range<usize>) {
    let (first, second) = if a.start <= b.start { (a, b) } else { (b, a) };
    if first.end > second.start {
        return;
    }
    let (one, two) = (text[first.clone()].to_vec(), text[second.clone()].to_vec());
    text.splice(second, one);
    text.splice(first, two);
}

/// Puts a number from the edges in a number's place.
fn number(dice: &mut Dice, text: &mut Vec<u8>) {
    let numbers: Vec<_> = tokens(text)
        .into_iter()
        .filter(|(kind, _)| *kind == Kind::Number)
        .collect();
    if !numbers.is_empty() {
        let at = dice.pick(&numbers).1.clone();
        text.splice(at, dice.pick(NUMBERS).bytes());
    }
}

/// Deletes, doubles, moves or swaps whole lines.
fn line(dice: &mut Dice, text: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = text
        .split_inclusive(|&b| b == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    if lines.is_empty() {
        return;
    }
    let (a, b) = (dice.below(lines.len()), dice.below(lines.len()));
    match dice.below(4) {
        0 => drop(lines.remove(a)),
        1 => lines.insert(b, lines[a].clone()),
        2 => lines.swap(a, b),
        _ => {
            let moved = lines.remove(a);
            lines.insert(b.min(lines.len()), moved);
        }
    }
    *text = lines.concat();
}

/// The start of one file and the end of another.
fn splice(dice: &mut Dice, text: &mut Vec<u8>, other: &[u8]) {
    let (ours, theirs) = (tokens(text), tokens(other));
    if !ours.is_empty() && !theirs.is_empty() {
        text.truncate(dice.pick(&ours).1.end);
        text.extend_from_slice(&other[dice.pick(&theirs).1.start..]);
    }
}

/// Nests something, closed or not.
fn nest(dice: &mut Dice, text: &mut Vec<u8>) {
    let (open, inside, close) = *dice.pick(NESTS);
    let depth = *dice.pick(&[2, 10, 40, 63, 64, 65, 300, 5_000]);
    let closing = if dice.chance(70) { depth } else { dice.below(depth) };
    insert(
        dice,
        text,
        [&open.repeat(depth), inside, &close.repeat(closing)]
            .concat()
            .into_bytes(),
    );
}

/// Something very long: a number, a name, a string, a line of one token, a comment.
fn long(dice: &mut Dice, text: &mut Vec<u8>) {
    let len = *dice.pick(&[100, 1_000, 20_000]);
    let piece = match dice.below(6) {
        0 => "9".repeat(len),
        1 => "x".repeat(len),
        2 => format!("b\"{}\"", "\\x00".repeat(len / 4)),
        3 => "1,".repeat(len / 2),
        4 => format!("// {}\n", "é".repeat(len / 2)),
        _ => " ".repeat(len),
    };
    insert(dice, text, piece.into_bytes());
}
