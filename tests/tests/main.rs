//! Every integration test, in one binary.

mod bad_input;
mod engine;
mod faults;
mod house;
mod lifecycle;
mod neighbours;
mod stress;
mod support;
mod table;
mod transactions;
