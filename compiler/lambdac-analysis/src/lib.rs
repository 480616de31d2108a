//! Rules and warnings over typed HIR: what a body may do, worst cases, unused and lost updates.
