//! Every integration test, in one binary.

mod faults;
mod support;
