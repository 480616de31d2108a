//! Typed HIR to MIR, and the await split.
