//! The worker as its callers see it: sockets on loopback, a fake engine behind.

mod fake;
mod functions;
mod services;
mod wire;
