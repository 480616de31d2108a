//! Golden, differential, command-line and end-to-end tests over the whole tool chain.
