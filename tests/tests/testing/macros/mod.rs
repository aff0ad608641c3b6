//! A macro in another folder than the tests that it writes, and than their fixtures.

/// A test with the fixture `bands` of the folder of the file that calls the macro.
macro_rules! counts_bands {
    ($name:ident) => {
        #[poolhouse::with_pool(fixtures("bands"))]
        #[tokio::test]
        async fn $name(db: poolhouse::SqliteEngine) -> Result<(), sqlx::Error> {
            let bands: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
                .fetch_one(&db)
                .await?;
            assert_eq!(bands, 2);
            Ok(())
        }
    };
}

pub(crate) use counts_bands;
