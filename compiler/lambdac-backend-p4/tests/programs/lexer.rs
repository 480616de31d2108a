//! Words of P4_16 text.

/// A word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Name(String),
    /// A number, and the width before its `w`.
    Number(Option<u32>, Vec<u8>),
    Text(String),
    Sign(&'static str),
    End,
}

/// Longest first.
const SIGNS: [&str; 38] = [
    "&&&", "++", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "(", ")", "{", "}", "[", "]", "<", ">", ";",
    ":", ",", ".", "=", "+", "-", "*", "/", "%", "&", "|", "^", "~", "!", "?", "@", "#", "_", "\"",
];

/// Splits a text. Comments go.
pub fn tokens(text: &str) -> Result<Vec<(Token, usize)>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        let first = rest.as_bytes()[0];
        let taken = if first.is_ascii_whitespace() {
            1
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").ok_or("a comment without end")? + 2
        } else if first == b'"' {
            let end = rest[1..].find('"').ok_or("a string without end")?;
            out.push((Token::Text(rest[1..=end].to_owned()), line));
            end + 2
        } else if first.is_ascii_digit() {
            let len = rest
                .find(|c: char| !c.is_ascii_alphanumeric())
                .unwrap_or(rest.len());
            out.push((
                number(&rest[..len]).ok_or_else(|| format!("line {line}: {}", &rest[..len]))?,
                line,
            ));
            len
        } else if first.is_ascii_alphabetic()
            || (first == b'_' && rest[1..].starts_with(|c: char| c == '_' || c.is_ascii_alphanumeric()))
        {
            let len = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            out.push((Token::Name(rest[..len].to_owned()), line));
            len
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| format!("line {line}: what is {:?}", &rest[..1]))?;
            out.push((Token::Sign(sign), line));
            sign.len()
        };
        line += rest[..taken].matches('\n').count();
        rest = &rest[taken..];
    }
    out.push((Token::End, line));
    Ok(out)
}

fn number(text: &str) -> Option<Token> {
    let (width, digits) = match text.split_once('w') {
        Some((width, digits)) => (Some(width.parse().ok()?), digits),
        None => (None, text),
    };
    let bytes = match digits.strip_prefix("0x") {
        Some(hex) => {
            let even = format!("{}{hex}", if hex.len() % 2 == 1 { "0" } else { "" });
            (0..even.len() / 2)
                .map(|at| u8::from_str_radix(&even[2 * at..2 * at + 2], 16).ok())
                .collect::<Option<Vec<u8>>>()?
        }
        None => digits.parse::<u64>().ok()?.to_be_bytes().to_vec(),
    };
    Some(Token::Number(width, bytes))
}
