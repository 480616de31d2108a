//! The language's reference, error pages and standard library as data.
