//! The tests of `scenarios` on other engines, which drivers run separately.

use std::env;

use poolhouse::{MySqlEngine, PgEngine, with_pool};

use crate::scenarios::{ASK_AGAIN, COUNT, FATE, INSERT, meet_fate, migrations, tests};

/// Tests with a pool of sqlx.
pub(crate) mod with_pools_of_sqlx {
    use super::*;

    tests!(sqlx::PgPool, "POOLHOUSE_TESTING_POSTGRES_URL", one);
}

pub(crate) mod with_mariadb {
    use super::*;

    tests!(MySqlEngine, "POOLHOUSE_TESTING_MYSQL_URL", one two three four five six seven eight);
}

/// Tests whose connection is held in a transaction.
pub(crate) mod with_rollback {
    use super::*;

    macro_rules! rolls_back {
        ($name:ident, $engine:ty, $variable:literal) => {
            #[with_pool(env = $variable, isolation = "rollback")]
            #[tokio::test]
            async fn $name(db: $engine) {
                sqlx::query(INSERT).execute(&db).await.unwrap();
                meet_fate().await;
                let rows: i64 = sqlx::query_scalar(COUNT).fetch_one(&db).await.unwrap();
                assert_eq!(rows, 1);
            }
        };
    }

    rolls_back!(postgres, PgEngine, "POOLHOUSE_TESTING_POSTGRES_URL");
    rolls_back!(mariadb, MySqlEngine, "POOLHOUSE_TESTING_MYSQL_URL");

    pub(crate) use rolls_back;
}
