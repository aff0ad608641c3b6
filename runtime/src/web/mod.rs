//! Extractors for handlers of web frameworks: an engine, a checkout, or the transaction of the request.
//!
//! The features `axum`, `actix-web` and `rocket` make [`Engine`](crate::Engine), [`Checkout`](crate::Checkout),
//! [`RequestTransaction`] and [`Named`] extractors (Rocket: request guards), and [`Error`] a response. Each has a function
//! `request_transactions()`, the layer, middleware or fairing that ends the transactions of a request. A middleware for another
//! framework uses [`RequestTransactions`], and [`Answer`] for errors.

#[cfg(feature = "actix-web")]
#[doc(hidden)]
pub mod actix_web;
mod answer;
#[cfg(feature = "axum")]
#[doc(hidden)]
pub mod axum;
#[cfg(any(feature = "axum", feature = "actix-web", feature = "rocket"))]
mod extract;
#[cfg(feature = "rocket")]
#[doc(hidden)]
pub mod rocket;

pub use self::answer::Answer;
#[cfg(any(feature = "axum", feature = "actix-web", feature = "rocket"))]
pub use self::extract::Extract;
// Public at the crate's root, where users find them.
#[cfg(any(feature = "axum", feature = "actix-web", feature = "rocket"))]
#[doc(hidden)]
pub use self::extract::{EngineName, Named};
#[cfg(doc)]
use crate::engine::RequestTransaction;
pub use crate::engine::{RequestSession, RequestTransactions, TransactionGuard};
#[cfg(doc)]
use crate::error::Error;
