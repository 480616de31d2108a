//! Callers of a worker: one request, or load.
