//! Lowering and the await split, on whole programs.

mod common;
mod differential;
mod order;
mod programs;
mod shapes;
