//! Test functions under `#[with_pool]`.
//!
//! They run on private servers of the feature `ephemeral`, unless `POOLHOUSE_TESTING_POSTGRES_URL` and
//! `POOLHOUSE_TESTING_MYSQL_URL` name others. Tests that inspect a server or count its databases start one themselves.

mod around;
#[path = "../asked/mod.rs"]
mod asked;
mod attributes;
mod chapter;
mod closed;
mod cockroach;
mod connect_functions;
mod driver_state;
mod drivers;
mod ephemeral;
mod full_disk;
mod half_filled;
mod handed_on;
mod indexes;
mod inventory;
mod kept;
mod macros;
mod meeting;
mod minimal;
mod mysql;
mod neighbours;
mod on_file;
mod planner;
mod policies;
mod poolers;
mod postgres;
mod prepared;
mod rebuilt;
mod references;
mod restarted;
mod restarts;
mod rollback;
mod routines;
mod scenarios;
mod session_state;
mod sqlite;
#[path = "../torture/mod.rs"]
mod torture;
mod turns;
mod used_again;
mod visitors;
