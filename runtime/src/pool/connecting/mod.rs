//! Opening a connection, to which host and as whom, and ending one.
//!
//! | file | what it holds |
//! |---|---|
//! | `connector` | opens connections of one engine, and says goodbye to them |
//! | `attempts` | does so again and again, for a start |
//! | `hosts` | which of several hosts a connection is opened to |
//! | `credentials` | connect options that the program makes anew for each connection |
//! | `borrowed` | connections that a test's engine borrows and gives back |
//! | `terminate`, `terminations` | ends sessions on the server from the outside, over one connection at a time |

mod attempts;
mod borrowed;
mod connector;
mod credentials;
mod hosts;
mod terminate;
mod terminations;

#[cfg(all(feature = "testing", any(feature = "postgres", feature = "mysql")))]
pub(crate) use self::attempts::open_for;
pub(super) use self::attempts::{open_patiently, patiently};
#[cfg(all(feature = "testing", any(feature = "postgres", feature = "mysql")))]
pub(crate) use self::borrowed::{Borrowed, ServerFacts};
pub(crate) use self::connector::{Connector, Opened};
pub(super) use self::hosts::SessionId;
