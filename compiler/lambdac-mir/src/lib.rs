//! MIR: structured SSA regions; printer, parser, validator and a small interpreter.
