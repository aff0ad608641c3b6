//! Every integration test, in one binary.

mod bad_input;
mod faults;
mod lifecycle;
mod support;
