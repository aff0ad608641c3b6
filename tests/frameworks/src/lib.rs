//! Services on poolhouse, on each framework.
//!
//! [`on_poem`], [`on_salvo`] and [`on_tonic`] are for frameworks that it has no feature for: a middleware of a few lines gives
//! each request its transactions, through [`poolhouse::web::RequestTransactions`]. [`service`] has the programs that the tests
//! send signals to, and [`sqlx_alone`] the same service without poolhouse, for comparison.

pub mod on_poem;
pub mod on_salvo;
pub mod on_tonic;
pub mod service;
pub mod sqlx_alone;
