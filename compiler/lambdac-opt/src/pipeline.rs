//! The order of the passes.

use crate::pass::Pass;
use crate::{
    BOUNDS_CHECK_ELIM, COMPACT, CONST_FOLD, COPY_FORWARD, CSE, DCE, DSE, FUNC_DCE, INLINE, LICM, MEM2REG,
    REPLY_IN_PLACE, SIMPLIFY_CFG, SROA, STACK_COLORING,
};

/// Inlining first, as everything else ends at a call. Then the scalar passes, three times round: promotion and reuse
/// show constants and ranges, decided checks and branches show more of both, and what was replaced is forgotten.
/// What goes by way of memory is looked at when loops and branches are what they will be. Placement of the reply comes
/// when the slots are final.
pub(crate) fn default_pipeline() -> Vec<&'static Pass> {
    let mut passes: Vec<&'static Pass> = vec![&CONST_FOLD, &SIMPLIFY_CFG, &INLINE, &FUNC_DCE];
    for _ in 0..3 {
        passes.extend([&CONST_FOLD, &SIMPLIFY_CFG, &SROA, &MEM2REG, &CSE, &CONST_FOLD]);
        passes.extend([&BOUNDS_CHECK_ELIM, &SIMPLIFY_CFG, &DCE, &COMPACT]);
    }
    passes.extend([
        &LICM,
        &CSE,
        &COPY_FORWARD,
        &DSE,
        &DCE,
        &STACK_COLORING,
        &REPLY_IN_PLACE,
        &COMPACT,
    ]);
    passes
}
