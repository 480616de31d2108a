//! Benches printed as ratios of one run.
