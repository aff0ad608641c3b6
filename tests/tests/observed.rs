//! The spans for a tracing backend, and the metrics.

mod captured;
mod dashboard;
mod spans;
