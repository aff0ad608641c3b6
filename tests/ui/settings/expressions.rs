//! Expressions of another type than the setting's: the compiler's error is at the expression.

use sqlx::postgres::PgConnectOptions;

const SIZE: usize = 20;
const SECONDS: u64 = 30;

#[poolhouse::with_pool(
    max_size = SIZE, //~
    acquire_timeout = SECONDS, //~
    lazy = SIZE, //~
    application_name = SIZE, //~
    connect_with = tune, //~
    migrator = SECONDS, //~
    session = sql() //~
)]
async fn main() {}

fn tune(options: &mut PgConnectOptions) {
    *options = options.clone().port(5433);
}
