//! Test functions under `#[with_pool]`.

mod drivers;
mod mysql;
mod postgres;
mod rollback;
mod scenarios;
mod sqlite;
