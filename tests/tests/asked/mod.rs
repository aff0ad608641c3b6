//! Tests of `poolhouse::testing::recorded` and `cancel_everywhere`.

mod cancel;
mod recorded;
