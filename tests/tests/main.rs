//! Every integration test, in one binary.

mod bad_input;
mod lifecycle;
mod faults;
mod support;
