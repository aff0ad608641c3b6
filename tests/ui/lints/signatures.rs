//! Signatures that trigger lints: the attribute generates two functions, and adds no lint of another kind or place.

#![warn(clippy::pedantic, clippy::nursery, unused)]
#![warn(redundant_lifetimes, single_use_lifetimes, unused_lifetimes, unused_qualifications)]
#![allow(dead_code)]

use std::collections::{HashMap, LinkedList};
use std::rc::Rc;
use std::sync::Arc;

use poolhouse::PgEngine;
use sqlx::Postgres;

#[poolhouse::with_pool]
async fn lifetimes<'a, 'b, 'c>(one: &'a str, two: &'b str, three: &'static str, #[pool] db: PgEngine) -> anyhow::Result<&'a str> {
    db.acquire().await.map(drop)?;
    println!("{two}{three}");
    Ok(one)
}

#[poolhouse::with_pool]
async fn bounds<T: Clone + Clone, U>(one: T, two: U, #[pool] db: PgEngine) -> anyhow::Result<(T, T)>
where
    T: Send,
    U: Send,
    U: Sync,
{
    db.acquire().await.map(drop)?;
    drop(two);
    Ok((one.clone(), one))
}

#[poolhouse::with_pool]
async fn unused_type<T>(#[pool] db: PgEngine) -> anyhow::Result<()> {
    db.acquire().await.map(drop)?;
    Ok(())
}

#[poolhouse::with_pool]
async fn references(one: &Vec<u16>, two: &String, three: &Box<u16>, four: &u8, five: &mut u8, six: &Option<String>, #[pool] db: PgEngine) -> anyhow::Result<()> {
    db.acquire().await.map(drop)?;
    println!("{one:?}{two}{three}{four}{five}{six:?}");
    Ok(())
}

#[poolhouse::with_pool]
async fn values(one: String, two: Vec<u16>, three: Option<Option<u8>>, four: [u8; 4096], #[pool] db: PgEngine) -> anyhow::Result<()> {
    db.acquire().await.map(drop)?;
    println!("{one}{two:?}{three:?}{four:?}");
    Ok(())
}

#[poolhouse::with_pool]
async fn types(
    one: Box<Vec<u16>>,
    two: Rc<String>,
    three: LinkedList<u16>,
    four: HashMap<String, u16>,
    five: Vec<Box<u16>>,
    six: Arc<Rc<Vec<Option<Result<HashMap<String, Vec<u16>>, Box<dyn std::error::Error>>>>>>,
    #[pool] db: sqlx::Pool<sqlx::Postgres>,
) -> anyhow::Result<()> {
    db.acquire().await.map(drop)?;
    drop((one, two, three, four, five, six));
    Ok(())
}

#[poolhouse::with_pool]
async fn names(aB: u8, c: u8, d: u8, e: u8, f: u8, g: u8, host: u8, hosts: u8, #[pool] db: PgEngine) -> Result<u8, poolhouse::Error> {
    db.acquire().await.map(drop)?;
    Ok(aB + c + d + e + f + g + host + hosts)
}

#[poolhouse::with_pool]
#[must_use]
async fn must_use(#[pool] db: PgEngine) -> anyhow::Result<()> {
    db.acquire().await.map(drop)?;
    Ok(())
}

#[poolhouse::with_pool]
#[inline(always)]
pub async fn inline(_named: u8, #[pool] db: PgEngine) -> anyhow::Result<u8> {
    db.acquire().await.map(drop)?;
    Ok(_named)
}

/// documents Something without back ticks: PgEngine::acquire
#[poolhouse::with_pool]
pub async fn documented(#[pool] db: poolhouse::Engine<Postgres>) -> anyhow::Result<()> {
    let connection = db.acquire().await.unwrap();
    drop(connection);
    panic!("always");
}
