//! Mistakes of types.

use poolhouse::{PgEngine, Shutdown};

#[poolhouse::with_pool]
async fn main(db: PgEngine) -> anyhow::Result<()> {
    let port: u16 = "8000";
    drop(db);
    Ok(())
}

#[poolhouse::with_pool]
pub async fn question_mark_on_no_result(#[pool] db: PgEngine) -> anyhow::Result<()> {
    let status = db.status()?;
    drop(status);
    Ok(())
}

#[poolhouse::with_pool]
pub async fn question_mark_on_another_error(#[pool] db: PgEngine) -> Result<(), sqlx::Error> {
    drop(db);
    let port: u16 = "8000".parse()?;
    println!("{port}");
    Ok(())
}

#[poolhouse::with_pool]
pub async fn question_mark_in_a_function_without_result(#[pool] db: PgEngine) {
    let checkout = db.acquire().await?;
    drop(checkout);
}

#[poolhouse::with_pool]
pub async fn missing_return(#[pool] db: PgEngine) -> anyhow::Result<()> {
    drop(db);
}

#[poolhouse::with_pool]
pub async fn semicolon_behind_the_value(#[pool] db: PgEngine) -> anyhow::Result<u16> {
    drop(db);
    Ok(8000);
}

#[poolhouse::with_pool]
pub async fn wrong_return(#[pool] db: PgEngine) -> anyhow::Result<u16> {
    drop(db);
    Ok("8000")
}

#[poolhouse::with_pool]
pub async fn first_return_of_another_type(port: u16, #[pool] db: PgEngine) -> anyhow::Result<u16> {
    if port == 0 {
        return 8000;
    }
    drop(db);
    Ok(port)
}

#[poolhouse::with_pool]
pub async fn unknown_names(#[pool] db: PgEngine) -> anyhow::Result<()> {
    database.acquire().await?;
    db.aquire().await?;
    Ok(())
}

#[poolhouse::with_pool]
pub async fn missing_await(#[pool] db: PgEngine) -> anyhow::Result<()> {
    let rows: u64 = db.acquire()?;
    println!("{rows}");
    Ok(())
}

#[poolhouse::with_pool]
pub async fn callers_parameter(port: u16, (host, name): (String, &str), #[pool] db: PgEngine) -> anyhow::Result<()> {
    let _: String = port;
    let _: u16 = host;
    let _: u16 = name;
    let _: u16 = db;
    Ok(())
}

#[poolhouse::with_pool]
pub async fn generics<T, const N: usize>(value: T, #[pool] db: PgEngine, #[pool] shutdown: Shutdown) -> anyhow::Result<[T; N]> {
    let copy = value.clone();
    println!("{value}");
    let _ = (db, shutdown);
    Ok([copy; N])
}

#[poolhouse::with_pool]
pub async fn opaque_value(#[pool] db: PgEngine) -> anyhow::Result<impl Iterator<Item = u16>> {
    drop(db);
    Ok(vec![String::new()].into_iter())
}
