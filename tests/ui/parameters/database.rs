//! An engine of a database whose feature is not on.

use poolhouse::{MySqlEngine, PgEngine, with_pool}; //~

#[with_pool]
async fn main(db: PgEngine, reports: MySqlEngine) {
    let _ = (db, reports);
}
