//! The order of the passes.
use crate::pass::Pass;
pub(crate) fn default_pipeline() -> Vec<&'static Pass> {
    vec![&crate::CONST_FOLD, &crate::SIMPLIFY_CFG]
}
