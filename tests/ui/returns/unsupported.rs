//! Return types through which a failed start cannot be reported.

use std::fmt;

use poolhouse::{PgEngine, with_pool};

#[with_pool]
pub async fn number(#[pool] db: PgEngine) -> u32 { //~
    drop(db);
    5
}

#[with_pool]
pub async fn option(#[pool] db: PgEngine) -> Option<PgEngine> { //~
    Some(db)
}

#[with_pool]
pub async fn unknown_trait(#[pool] db: PgEngine) -> impl fmt::Debug { //~
    db
}

#[derive(Debug)]
pub enum AppError {
    Database(sqlx::Error),
}

impl From<sqlx::Error> for AppError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

#[with_pool]
pub async fn own_error(#[pool] db: PgEngine) -> Result<u32, AppError> { //~
    drop(db);
    Ok(5)
}

#[with_pool]
async fn main(db: PgEngine) -> Result<(), String> { //~
    drop(db);
    Ok(())
}
