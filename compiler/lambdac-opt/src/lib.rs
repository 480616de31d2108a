//! Passes from MIR to MIR.
