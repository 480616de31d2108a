//! AST to typed HIR: names, types, rules of the language, warnings.
