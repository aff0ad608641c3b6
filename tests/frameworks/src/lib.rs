//! Services on poolhouse, on each framework.
//!
//! [`on_poem`], [`on_salvo`] and [`on_tonic`] use frameworks for which poolhouse has no feature: a short middleware gives each
//! request its transactions, through [`poolhouse::web::RequestTransactions`]. [`service`] has the programs for the tests with
//! signals, and [`sqlx_alone`] the same service without poolhouse, for comparison.

pub mod on_poem;
pub mod on_salvo;
pub mod on_tonic;
pub mod service;
pub mod sqlx_alone;
