//! Opening a connection (host and credentials), and terminating sessions.
//!
//! | file | what it holds |
//! |---|---|
//! | `connector` | opens and closes connections of one engine |
//! | `attempts` | retries an opening, for a start |
//! | `hosts` | chooses one of several hosts for a connection |
//! | `credentials` | connect options that the program makes anew for each connection |
//! | `borrowed` | connections that a test's engine borrows and returns |
//! | `terminate`, `terminations` | terminates sessions on the server, over one separate connection at a time |

mod attempts;
mod borrowed;
mod connector;
mod credentials;
mod hosts;
mod terminate;
mod terminations;

#[cfg(all(feature = "testing", any(feature = "postgres", feature = "mysql")))]
pub(crate) use self::attempts::open_for;
pub(super) use self::attempts::{open_anchor, open_with_retries, with_retries};
#[cfg(all(feature = "testing", any(feature = "postgres", feature = "mysql")))]
pub(crate) use self::borrowed::{Borrowed, ServerFacts};
pub(super) use self::connector::ABANDONED;
pub(crate) use self::connector::{Connector, Opened};
pub(super) use self::hosts::SessionId;
