//! The same service on each framework, as programs: their handlers, and the function that runs
//! them.

pub mod handlers;
pub mod on_actix;
pub mod on_axum;
pub mod on_poem;
pub mod on_rocket;
pub mod on_tonic;
pub mod requests;
mod run;

pub use self::run::run;
