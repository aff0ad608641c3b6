//! Items in scope under names that generated code might use.

use poolhouse::{SqliteEngine, with_pool};

use super::answer;

mod shadowed {
    #![allow(dead_code, non_camel_case_types, non_snake_case)]

    mod poolhouse {}
    mod std {}
    mod core {}
    mod sqlx {}
    struct Result;
    struct Option;
    struct Attribute;
    struct Settings;
    struct String;
    trait Future {}
    fn Ok() {}
    fn Err() {}
    fn parameter() {}
    #[allow(unused_macros)]
    macro_rules! env {
        () => {};
    }

    #[::poolhouse::with_pool(engine = "shadowed", url = "sqlite::memory:", max_size = 2)]
    pub(super) async fn shadowed(
        __poolhouse: u16,
        #[pool] settings: ::poolhouse::SqliteEngine,
    ) -> ::anyhow::Result<i64> {
        fn __poolhouse_body() -> i64 {
            1
        }
        let answer = super::answer(&settings).await?;
        ::anyhow::Ok(answer + i64::from(__poolhouse) + __poolhouse_body())
    }
}

#[tokio::test]
async fn local_items_with_the_names_of_everything() -> anyhow::Result<()> {
    assert_eq!(shadowed::shadowed(1).await?, 44);
    Ok(())
}

mod reexport {
    pub(super) use poolhouse as database;
}

#[reexport::database::with_pool(
    crate = crate::neighbours::names::reexport::database,
    engine = "reexported",
    url = "sqlite::memory:"
)]
async fn reexported(
    #[pool(engine = "reexported", url = "sqlite::memory:")] db: reexport::database::SqliteEngine,
) -> anyhow::Result<i64> {
    Ok(answer(&db).await?)
}

#[tokio::test]
async fn another_path_to_the_crate() -> anyhow::Result<()> {
    assert_eq!(reexported().await?, 42);
    Ok(())
}

macro_rules! service {
    ($(#[$attribute:meta])* $name:ident($db:ident: $engine:ty, $port:pat) -> $value:ty = $size:expr, $url:literal, $body:block) => {
        $(#[$attribute])*
        #[with_pool(engine = stringify!($name), url = $url, max_size = $size)]
        async fn $name($port: u16, #[pool(engine = stringify!($name), url = $url, max_size = $size)] $db: $engine) -> anyhow::Result<$value> $body
    };
}

service! {
    /// Is made by a macro.
    macro_made(db: SqliteEngine, mut port) -> i64 = 2 + 1, "sqlite::memory:", {
        port += 1;
        assert_eq!(db.status().max, 3);
        Ok(answer(&db).await? + i64::from(port))
    }
}

/// Makes a whole function, with all names in it.
macro_rules! whole {
    ($name:ident) => {
        #[with_pool(engine = "whole", url = "sqlite::memory:")]
        async fn $name(port: u16, #[pool] db: SqliteEngine) -> anyhow::Result<i64> {
            let answer = answer(&db).await?;
            Ok(answer + i64::from(port))
        }
    };
}

whole!(whole);

/// Takes the name of a parameter that only a setting uses.
macro_rules! sized {
    ($name:ident, $size:ident) => {
        #[with_pool(engine = "sized", url = "sqlite::memory:", max_size = $size)]
        #[deny(unused_variables)]
        async fn $name($size: u32, #[pool] db: SqliteEngine) -> anyhow::Result<usize> {
            Ok(db.status().max)
        }
    };
}

sized!(sized, size);

#[tokio::test]
async fn inside_macro_rules() -> anyhow::Result<()> {
    assert_eq!(macro_made(1).await?, 44);
    assert_eq!(whole(1).await?, 43);
    assert_eq!(sized(3).await?, 3);
    Ok(())
}
