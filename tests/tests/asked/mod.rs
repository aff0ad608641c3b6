//! What tests can ask for: `poolhouse::testing::recorded` and `cancel_everywhere`.

mod cancel;
mod recorded;
