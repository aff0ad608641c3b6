//! The same service written by hand over [`sqlx::PgPool`], as the documents of sqlx and of each framework show it.
//!
//! The pool is the application's state, and a handler begins and commits its transaction. The framework's own graceful shutdown
//! ends the server, and then the pool is closed.

pub mod handlers;
pub mod on_actix;
pub mod on_axum;
pub mod on_poem;
pub mod on_rocket;
pub mod on_tonic;
pub mod pool;
mod signals;
