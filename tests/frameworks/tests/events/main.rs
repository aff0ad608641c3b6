//! What becomes of a service on each framework: signals, panics, clients that hang up, an exhausted pool, a server that is
//! killed. Each is a program of its own, asked over real sockets, with Postgres as witness.

mod cases;
#[path = "../drive/mod.rs"]
mod drive;
