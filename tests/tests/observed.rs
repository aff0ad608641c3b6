//! The spans for a tracing backend, and the metrics.

mod captured;
mod dashboard;
mod gauges;
mod spans;
