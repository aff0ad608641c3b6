//! The examples of `docs/testing.md`, which must compile and pass.
//!
//! They are code of users, so their servers are those of `DATABASE_URL` and `REPORTS_DATABASE_URL`, or private ones.

mod one_engine {
    use poolhouse::{PgEngine, with_pool};

    #[with_pool(fixtures("bands"))]
    #[tokio::test]
    async fn counts_bands(db: PgEngine) -> Result<(), sqlx::Error> {
        let bands: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
            .fetch_one(&db)
            .await?;
        assert_eq!(bands, 2);
        Ok(())
    }
}

mod two_engines {
    use poolhouse::{MySqlEngine, PgEngine, with_pool};

    #[with_pool(fixtures("bands"))]
    #[tokio::test]
    async fn copies_bands(
        db: PgEngine,
        #[pool(engine = "reports")] reports: MySqlEngine,
    ) -> Result<(), sqlx::Error> {
        let names: Vec<String> = sqlx::query_scalar("SELECT name FROM band ORDER BY id")
            .fetch_all(&db)
            .await?;
        sqlx::query("CREATE TABLE report (names TEXT NOT NULL)")
            .execute(&reports)
            .await?;
        sqlx::query("INSERT INTO report VALUES (?)")
            .bind(names.join(", "))
            .execute(&reports)
            .await?;
        Ok(())
    }
}

mod recorded {
    use poolhouse::{SqliteEngine, with_pool};

    async fn names(db: &SqliteEngine) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar("SELECT name FROM band ORDER BY id")
            .fetch_all(db)
            .await
    }

    #[with_pool(fixtures("bands"))]
    #[tokio::test]
    async fn one_query_is_enough(db: SqliteEngine) -> Result<(), sqlx::Error> {
        let seen = db.recorded(names(&db)).await;
        seen.at_most(1);
        assert_eq!(seen.output?, ["Pythonistas", "Rustaceans"]);
        Ok(())
    }
}

mod cancelled {
    use poolhouse::{PgEngine, testing::cancel_everywhere, with_pool};

    async fn rename(db: &PgEngine) -> Result<(), sqlx::Error> {
        let mut transaction = db.begin().await?;
        for sql in [
            "UPDATE band SET name = 'Swap' WHERE id = 1",
            "UPDATE band SET name = 'Pythonistas' WHERE id = 2",
            "UPDATE band SET name = 'Rustaceans' WHERE id = 1",
        ] {
            sqlx::query(sql).execute(&mut transaction).await?;
        }
        transaction.commit().await
    }

    #[with_pool(fixtures("bands"))]
    #[tokio::test]
    async fn renaming_can_be_cancelled(db: PgEngine) {
        cancel_everywhere(|| rename(&db)).await;
    }
}

/// The Rust code of a text, without the white space that depends on its indentation.
fn examples(markdown: &str) -> Vec<String> {
    markdown
        .split("```rust\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .map(words)
        .collect()
}

fn words(code: &str) -> String {
    code.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_example_of_the_chapter_is_a_test_here() {
    let here = words(include_str!("chapter.rs"));
    let examples = examples(include_str!("../../../docs/testing.md"));
    assert!(!examples.is_empty());
    for example in examples {
        assert!(
            here.contains(&example),
            "not a test in this file:\n{example}"
        );
    }
}
