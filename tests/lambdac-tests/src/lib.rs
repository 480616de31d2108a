//! What the tests over the whole tool chain share: the program generator, the differential runner, real peers.

#![forbid(unsafe_code)]

pub mod differential;
pub mod fuzz;
pub mod generate;
pub mod images;
pub mod peers;
pub mod random;
pub mod runners;
pub mod wire_model;
