//! Test functions under `#[with_pool]`.

mod drivers;
mod ephemeral;
mod handed_on;
mod inventory;
mod mysql;
mod neighbours;
mod on_file;
mod postgres;
mod rollback;
mod scenarios;
mod sqlite;
