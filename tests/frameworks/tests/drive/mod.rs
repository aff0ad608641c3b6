//! The events. Each drives a service as a program, over real sockets, and returns its observations. Tests assert them, and a
//! report prints them.

pub(crate) mod client;
pub(crate) mod exhausted;
pub(crate) mod hangs_up;
pub(crate) mod load;
pub(crate) mod panic;
pub(crate) mod second_signal;
pub(crate) mod server_killed;
pub(crate) mod service;
pub(crate) mod sigterm_under_load;
pub(crate) mod witness;
