//! The λ wire: request header, checks, fragments.
