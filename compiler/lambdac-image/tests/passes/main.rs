//! Each pass alone on small images: what it does, what it leaves alone, and what it tells.

mod coalescing;
mod placement;
mod reduction;
mod relinking;
mod support;
mod weights;
