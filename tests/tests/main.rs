//! Every integration test, in one binary.

mod bad_input;
mod bank;
mod cockroach;
mod credentials;
mod engine;
mod faults;
mod hosts;
mod lifecycle;
mod neighbours;
mod observed;
mod operated;
mod pooled;
mod seams;
mod spawned;
mod stress;
mod support;
mod table;
mod transactions;
mod variant;
