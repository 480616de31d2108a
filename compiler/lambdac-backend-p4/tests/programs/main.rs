//! The printed programs, held against a grammar, a check and a machine that share nothing with the emitter.

mod bits;
mod check;
mod corpus;
mod execution;
mod joined;
mod lexer;
mod machine;
mod nfp;
mod parser;
mod structure;
mod tree;
