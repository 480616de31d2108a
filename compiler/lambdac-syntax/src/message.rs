//! pest's failures in the programmer's words.

use lambdac_diag::{Diagnostic, FileId, Span};
use pest::error::{Error, ErrorVariant, InputLocation};

use crate::grammar::Rule;
use crate::items::Tokens;
use crate::lex::Kind;

/// Quoted pieces of source are at most this many characters.
const MAX_QUOTED: usize = 40;
/// More alternatives than this are not listed.
const MAX_EXPECTED: usize = 4;

/// The furthest offset that pest got to.
pub(crate) fn offset(error: &Error<Rule>) -> usize {
    match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    }
}

/// The error at token `index`, where something else was expected.
pub(crate) fn unexpected(file: FileId, tokens: &Tokens, index: usize, error: &Error<Rule>) -> Diagnostic {
    let expected = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => expected(positives),
        ErrorVariant::CustomError { .. } => String::new(),
    };
    let found = found(tokens, index);
    let mut message = match expected.as_str() {
        "" => format!("unexpected {found}"),
        _ => format!("expected {expected}"),
    };
    if !expected.is_empty() {
        if let Some(previous) = index.checked_sub(1) {
            message += &format!(" after {}", quote(tokens.word(previous)));
        }
        message += &format!(", found {found}");
    }
    let label = if expected.is_empty() {
        "unexpected".into()
    } else {
        format!("expected {expected}")
    };
    let diagnostic = Diagnostic::error("E0101", message, span(file, tokens, index), label);
    match help(tokens, index) {
        Some(help) => diagnostic.with_help(help),
        None => diagnostic,
    }
}

/// The bytes of a token; past the end, an empty span after the last one.
pub(crate) fn span(file: FileId, tokens: &Tokens, index: usize) -> Span {
    match tokens.list.get(index) {
        Some(token) => Span::new(file, token.start, token.end),
        None => {
            let end = tokens.list.last().map_or(0, |t| t.end);
            Span::new(file, end, end)
        }
    }
}

/// Token `index` as it is named in messages.
pub(crate) fn found(tokens: &Tokens, index: usize) -> String {
    if index >= tokens.list.len() {
        "the end of the file".into()
    } else {
        quote(tokens.word(index))
    }
}

fn quote(text: &str) -> String {
    let short: String = text.chars().take(MAX_QUOTED).collect();
    if short.len() < text.len() {
        format!("`{short}…`")
    } else {
        format!("`{short}`")
    }
}

fn help(tokens: &Tokens, index: usize) -> Option<String> {
    let word = tokens.word(index);
    let is_word = tokens.list.get(index).is_some_and(|t| t.kind == Kind::Word);
    if is_word
        && is_reserved(word)
        && index > 0
        && matches!(tokens.word(index - 1), "let" | "mut" | "fn" | "lambda")
    {
        return Some(format!("`{word}` is a keyword and can't be a name"));
    }
    match (tokens.word(index.wrapping_sub(1)), word) {
        ("+", "+") | ("-", "-") => Some("write `+= 1` or `-= 1`".into()),
        (field, ":") if is_name(field) && tokens.word(index.wrapping_sub(2)) == "{" => Some(
            "a struct literal in the head of `if`, `while`, `for` or `match` stands in parentheses".into(),
        ),
        ("..", "=") => {
            Some("a range leaves its end out: write `a..b` with the first value that is not in it".into())
        }
        (_, "=") if matches!(tokens.word(index.wrapping_sub(2)), "const" | "param") => {
            Some("say its type: `NAME: TYPE = …`".into())
        }
        ("=" | "return" | "reply" | "(" | ",", "match") => Some(
            "`match` is a statement and has no value: assign to a `let mut` in its arms, or use `if`".into(),
        ),
        (_, "=") => Some("to compare, write `==`".into()),
        _ => None,
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && !is_reserved(word)
}

fn is_reserved(word: &str) -> bool {
    const RESERVED: [&str; 18] = [
        "if", "else", "for", "while", "in", "let", "mut", "fn", "lambda", "match", "return", "reply",
        "break", "continue", "true", "false", "as", "await",
    ];
    RESERVED.contains(&word)
}

/// The alternatives as "a, b or c"; empty where there are none or too many to help.
fn expected(rules: &[Rule]) -> String {
    let mut words: Vec<&str> = Vec::new();
    let mut weak: Vec<&str> = Vec::new();
    for &rule in rules {
        let (word, is_weak) = describe(rule);
        let list = if is_weak { &mut weak } else { &mut words };
        if !word.is_empty() && !list.contains(&word) {
            list.push(word);
        }
    }
    // After an operand an operator, call or index could nearly always follow: say so only where nothing else could.
    if !weak.is_empty() && words.iter().any(|word| !OPENERS.contains(word)) {
        words.retain(|word| !OPENERS.contains(word));
    } else if !weak.is_empty() && words.contains(&"`{`") {
        words = vec!["`{`"];
    }
    if words.is_empty() {
        words = weak;
    }
    // A whole says more than the list of what it may start with.
    for whole in ["an item", "a statement", "an expression"] {
        if words.contains(&whole) {
            words.retain(|word| *word == whole || is_separator(word) && !OPENERS.contains(word));
        }
    }
    words.truncate(MAX_EXPECTED);
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).into(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// What also goes on with an operand.
const OPENERS: [&str; 3] = ["`(`", "`[`", "`{`"];

/// Whether a description is that of a token, and not of a word that starts something.
fn is_separator(word: &str) -> bool {
    word.starts_with('`') && !word.contains(|c: char| c.is_ascii_alphabetic())
}

/// A rule's name in messages, and whether it is one of the things that could follow nearly anywhere.
fn describe(rule: Rule) -> (&'static str, bool) {
    let strong = |word| (word, false);
    let weak = |word| (word, true);
    match rule {
        Rule::binary_op | Rule::bits_op | Rule::pat_op | Rule::size_op | Rule::in_op => weak("an operator"),
        Rule::kw_as => weak("`as`"),
        Rule::member | Rule::index | Rule::dot => weak("`.`"),
        Rule::args => weak("`(`"),
        Rule::struct_init => weak("`{`"),
        Rule::path_sep => weak("`::`"),
        Rule::question => weak("`?`"),
        Rule::assign_op => weak("`=`"),
        Rule::else_if | Rule::else_arm | Rule::let_else | Rule::kw_else => weak("`else`"),
        Rule::max | Rule::kw_max => weak("`max`"),
        Rule::with | Rule::kw_with => weak("`with`"),
        Rule::attr | Rule::at | Rule::broken => strong(""),
        Rule::EOI | Rule::WHITESPACE => strong(""),
        _ => strong(describe_strong(rule)),
    }
}

fn describe_strong(rule: Rule) -> &'static str {
    use Rule as R;
    match rule {
        R::item
        | R::use_item
        | R::const_item
        | R::enum_item
        | R::struct_item
        | R::header_item
        | R::param_item
        | R::state_item
        | R::table_item
        | R::service_item
        | R::fn_item
        | R::lambda_item
        | R::match_item
        | R::test_item => "an item",
        R::let_stmt
        | R::if_stmt
        | R::for_stmt
        | R::while_stmt
        | R::match_stmt
        | R::return_stmt
        | R::reply_stmt
        | R::break_stmt
        | R::continue_stmt
        | R::drop_stmt
        | R::punt_stmt
        | R::effect_stmt
        | R::arm_effect => "a statement",
        R::expr
        | R::expr_h
        | R::operand
        | R::num_lit
        | R::bytes_lit
        | R::byte_lit
        | R::bool_lit
        | R::paren
        | R::array
        | R::await_expr
        | R::include
        | R::if_expr
        | R::name_expr
        | R::name_expr_h
        | R::unary_op => "an expression",
        R::size | R::pat_value => "a constant",
        R::pattern | R::arm => "a pattern",
        R::str_lit => "a string `\"…\"`",
        R::ty | R::array_ty | R::bytes_ty | R::counter_ty | R::keyed_ty => "a type",
        R::name | R::path => "a name",
        R::field | R::fields => "a field `name: type`",
        R::field_init => "a field `name: value`",
        R::named_arg => "`name = value`",
        R::variant => "a variant",
        R::match_rule => "a rule `condition => target`",
        R::entry => "an entry `key => value`",
        R::expect_step | R::given_step | R::kw_expect | R::kw_given => "`expect` or `given`",
        R::head | R::head_kind => "`workload` or `library`",
        R::let_cond => "`let`",
        R::block => "`{`",
        _ => token(rule),
    }
}

fn token(rule: Rule) -> &'static str {
    use Rule as R;
    match rule {
        R::semi => "`;`",
        R::comma => "`,`",
        R::colon => "`:`",
        R::dotdot => "`..`",
        R::arrow => "`->`",
        R::fat_arrow => "`=>`",
        R::bar => "`|`",
        R::lt => "`<`",
        R::gt => "`>`",
        R::lparen => "`(`",
        R::rparen => "`)`",
        R::lbrack => "`[`",
        R::rbrack => "`]`",
        R::lbrace => "`{`",
        R::rbrace => "`}`",
        R::assign => "`=`",
        R::eq_or_ne => "`==` or `!=`",
        R::wild => "`_`",
        R::array_count => "`;`",
        R::kw_in => "`in`",
        R::kw_if => "`if`",
        R::kw_lambda => "`lambda`",
        R::kw_mut => "`mut`",
        _ => "",
    }
}
