//! MIR to Cranelift IR: code for the host, in memory or as an object file.
