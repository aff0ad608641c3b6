//! Mistakes of ownership.

use poolhouse::PgEngine;

#[poolhouse::with_pool]
async fn main(db: PgEngine) -> anyhow::Result<()> {
    drop(db);
    db.acquire().await?;
    Ok(())
}

#[poolhouse::with_pool]
pub async fn moved_value(names: Vec<String>, #[pool] db: PgEngine) -> anyhow::Result<Vec<String>> {
    let task = tokio::spawn(async move {
        println!("{names:?}");
        drop(db);
    });
    task.await?;
    Ok(names)
}

#[poolhouse::with_pool]
pub async fn assigned_twice(port: u16, #[pool] db: PgEngine) -> anyhow::Result<()> {
    port = 8000;
    db = db.clone();
    let _ = (port, db);
    Ok(())
}

#[poolhouse::with_pool]
pub async fn borrowed_for_too_long(names: &mut Vec<String>, #[pool] db: PgEngine) -> anyhow::Result<()> {
    let first = &names[0];
    names.push(String::new());
    println!("{first}");
    drop(db);
    Ok(())
}

#[poolhouse::with_pool]
pub async fn returned_borrow(#[pool] db: PgEngine) -> anyhow::Result<&'static PgEngine> {
    Ok(&db)
}

#[poolhouse::with_pool]
pub async fn lifetimes<'a>(one: &'a str, other: &str, #[pool] db: PgEngine) -> anyhow::Result<&'a str> {
    drop(db);
    Ok(if one.is_empty() { other } else { one })
}

#[poolhouse::with_pool]
pub async fn spawned_borrow(#[pool] db: PgEngine) -> anyhow::Result<()> {
    tokio::spawn(async {
        let _ = db.acquire().await;
    });
    Ok(())
}
