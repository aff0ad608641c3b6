//! Extractors and request transactions of the web frameworks, over real sockets, with the database as witness.
//!
//! | part | what it holds |
//! |---|---|
//! | [`act`] | what handlers do, for every framework and database |
//! | [`client`] | a client that sends one request, and can hang up |
//! | [`framework`] | the frameworks, as servers of those handlers |
//! | [`cases`] | what must come of them |

mod act;
mod cases;
mod client;
mod framework;
mod heard;
mod transactional;
