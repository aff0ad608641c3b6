//! Services on each framework under signals, panics, closed connections, an exhausted pool and a killed server.
//!
//! Each service is a program of its own, queried over real sockets. Postgres gives the evidence.

mod cases;
#[path = "../drive/mod.rs"]
mod drive;
