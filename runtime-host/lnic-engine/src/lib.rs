//! Runs host code: state objects, invocations, traps, code swap.
