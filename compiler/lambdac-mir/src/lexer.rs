//! Words of the text form.
//!
//! Tokens are spans of the text; the payload of strings is decoded only where a parser asks for it. `//` starts a
//! comment that ends with its line.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Letters, digits, `_`, and `-` between letters.
    Word,
    /// A decimal number.
    Int(u64),
    /// `"…"`
    Text,
    /// `b"…"`
    Bytes,
    /// A sign of one or two characters.
    Sign(&'static str),
    /// The end of the text.
    End,
}

/// A token and where it stands, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Signs, longer ones first.
const SIGNS: [&str; 22] = [
    "->", "=>", "==", "..", "+:", "(", ")", "{", "}", "[", "]", "<", ">", ",", ":", ".", "=", "&", "/", "*",
    "+", "@",
];

/// Where a text is broken, in bytes, and why.
pub(crate) type LexError = (usize, String);

/// The token at or after `at`.
pub(crate) fn next_token(text: &str, at: usize) -> Result<Token, LexError> {
    let bytes = text.as_bytes();
    let start = skip_space(bytes, at);
    let token = |kind, end| Ok(Token { kind, start, end });
    let Some(&first) = bytes.get(start) else {
        return token(Kind::End, start);
    };
    if first == b'"' {
        return token(Kind::Text, quoted_end(bytes, start)?);
    }
    if first == b'b' && bytes.get(start + 1) == Some(&b'"') {
        return token(Kind::Bytes, quoted_end(bytes, start + 1)?);
    }
    if first.is_ascii_digit() {
        let end = start
            + bytes[start..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
        let number = text[start..end]
            .parse()
            .map_err(|_| (start, "the number is over 64 bits".to_owned()))?;
        return token(Kind::Int(number), end);
    }
    if first.is_ascii_alphabetic() || first == b'_' {
        return token(Kind::Word, word_end(bytes, start));
    }
    match SIGNS
        .iter()
        .find(|sign| bytes[start..].starts_with(sign.as_bytes()))
    {
        Some(sign) => token(Kind::Sign(sign), start + sign.len()),
        None => {
            let c = text[start..].chars().next().unwrap_or_default();
            Err((start, format!("{c:?} is not part of the text form")))
        }
    }
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at += bytes[at.min(bytes.len())..]
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        if !bytes[at..].starts_with(b"//") {
            return at;
        }
        at += bytes[at..].iter().take_while(|byte| **byte != b'\n').count();
    }
}

fn word_end(bytes: &[u8], start: usize) -> usize {
    let mut end = start;
    while let Some(&byte) = bytes.get(end) {
        let hyphen = byte == b'-' && bytes.get(end + 1).is_some_and(u8::is_ascii_alphanumeric);
        if !(byte.is_ascii_alphanumeric() || byte == b'_' || hyphen) {
            break;
        }
        end += 1;
    }
    end
}

/// The byte after the closing quote of a string whose opening one stands at `open`.
fn quoted_end(bytes: &[u8], open: usize) -> Result<usize, LexError> {
    let mut at = open + 1;
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at += 2,
            Some(b'\n') | None => return Err((open, "the string does not end on its line".to_owned())),
            Some(_) => at += 1,
        }
    }
}

/// Decodes a [`Kind::Text`] token, which starts at `at`.
pub(crate) fn text_value(token: &str, at: usize) -> Result<String, LexError> {
    let mut out = String::new();
    let mut chars = token[1..token.len() - 1].char_indices();
    while let Some((i, c)) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let bad = || (at + 1 + i, "not an escape of a text".to_owned());
        match chars.next() {
            Some((_, 'n')) => out.push('\n'),
            Some((_, c @ ('"' | '\\'))) => out.push(c),
            Some((_, 'u')) => {
                let rest = chars.as_str();
                let digits = rest
                    .strip_prefix('{')
                    .and_then(|rest| rest.split_once('}'))
                    .ok_or_else(bad)?
                    .0;
                let code = (digits.len() <= 6)
                    .then(|| u32::from_str_radix(digits, 16).ok())
                    .flatten();
                out.push(code.and_then(char::from_u32).ok_or_else(bad)?);
                for _ in 0..digits.chars().count() + 2 {
                    chars.next();
                }
            }
            _ => return Err(bad()),
        }
    }
    Ok(out)
}

/// Decodes a [`Kind::Bytes`] token, which starts at `at`.
pub(crate) fn bytes_value(token: &str, at: usize) -> Result<Vec<u8>, LexError> {
    let body = &token.as_bytes()[2..token.len() - 1];
    let mut out = Vec::with_capacity(body.len());
    let mut i = 0;
    while let Some(&byte) = body.get(i) {
        if byte != b'\\' {
            out.push(byte);
            i += 1;
            continue;
        }
        let bad = || (at + 2 + i, "not an escape of a byte string".to_owned());
        let (value, len) = match body.get(i + 1) {
            Some(b'n') => (b'\n', 2),
            Some(&c @ (b'"' | b'\\')) => (c, 2),
            Some(b'x') => {
                let digit = |k: usize| body.get(i + k).and_then(|byte| char::from(*byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(2), digit(3)) else {
                    return Err(bad());
                };
                ((high * 16 + low) as u8, 4)
            }
            _ => return Err(bad()),
        };
        out.push(value);
        i += len;
    }
    Ok(out)
}
