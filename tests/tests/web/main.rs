//! Extractors and request transactions of the web frameworks, over real sockets, checked in the database.
//!
//! | part | what it holds |
//! |---|---|
//! | [`act`] | the handlers, for every framework and database |
//! | [`client`] | a client that sends one request, and can disconnect |
//! | [`framework`] | the frameworks, as servers of those handlers |
//! | [`cases`] | the expected results |
//! | [`errors`] | errors of actix-web's middleware, which are responses |
//! | [`layer`] | axum's layer: calls of gRPC, and extensions of a request that is over |
//! | [`local`] | requests of Rocket's local client |
//! | [`scopes`] | a server in another runtime than its engine |
//! | [`several`] | requests without a framework: the commits of two engines, a conflict, a transaction beside the request's |

mod act;
mod cases;
mod client;
mod errors;
mod framework;
mod heard;
mod layer;
mod local;
mod scopes;
mod several;
mod transactional;
