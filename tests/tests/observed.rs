//! What a tracing backend and `metrics` see.

mod captured;
mod dashboard;
mod spans;
