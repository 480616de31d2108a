//! Source text to AST. pest stays private; the grammar is `lang-spec/grammar.pest`.

#![forbid(unsafe_code)]

pub mod ast;
