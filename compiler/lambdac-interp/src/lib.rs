//! The evaluator over typed HIR, which is the meaning of the language, and the runner of test items.
