//! The tests of `scenarios` on other engines, which drivers run apart from those.

use std::env;

use poolhouse::{MySqlEngine, with_pool};

use crate::scenarios::{ASK_AGAIN, COUNT, FATE, INSERT, meet_fate, migrations, tests};

/// Where a test has a pool of sqlx's.
pub(crate) mod with_pools_of_sqlx {
    use super::*;

    tests!(sqlx::PgPool, "POOLHOUSE_TESTING_POSTGRES_URL", one);
}

pub(crate) mod with_mariadb {
    use super::*;

    tests!(MySqlEngine, "POOLHOUSE_TESTING_MYSQL_URL", one two three four);
}
