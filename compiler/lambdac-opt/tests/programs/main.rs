//! Passes on whole programs: valid after each, the same behavior, and the code that is hoped for.

mod compile;
mod shape;
mod soundness;
