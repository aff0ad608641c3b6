//! Services on poolhouse with frameworks that it has no feature for: a middleware of a few lines gives each request its
//! transactions, through [`poolhouse::web::RequestTransactions`].

pub mod on_poem;
pub mod on_salvo;
pub mod on_tonic;
