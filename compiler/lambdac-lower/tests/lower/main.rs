//! Lowering and the await split, on whole programs.

mod common;
mod shapes;
mod valid;
