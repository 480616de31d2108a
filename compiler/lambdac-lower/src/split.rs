//! x
/// Split.
pub fn split_awaits(_m: &mut lambdac_mir::Module) {}
