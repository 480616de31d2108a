//! The `lambdac` command.

fn main() {}
