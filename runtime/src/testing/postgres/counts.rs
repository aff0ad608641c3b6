//! What the server counts in a database, which tells cheaply that nothing has happened there.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

/// The catalogs of one database, as something to select from.
pub(super) const CATALOGS: &str = "FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND NOT relisshared";

/// The first version that tells what a session has done until now, and not until a second ago.
const COUNTS_AT_ONCE: u32 = 15_00_00;

/// The counts of one database. If none of them has changed, no row of a catalog has: neither by a transaction that was
/// committed, nor by one that was not.
///
/// (A superuser can switch the counting off, with `track_counts`. A session that is left so is noticed. Whoever also switches
/// it on again, to change the schema in between, has a reason for it that we need not meet.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    /// Sessions that there ever were, the one that asks included.
    pub(super) sessions: i64,
    /// Rows of catalogs that were ever inserted, updated or deleted.
    writes: i64,
}

/// The columns of [`Counts`] in a query.
pub(super) fn columns(oid: i64) -> String {
    format!("pg_stat_get_db_sessions({oid}), {}", writes("pg_stat_get"))
}

/// The rows of catalogs that this transaction has written, which are added to the counts later.
pub(super) fn written_now() -> String {
    writes("pg_stat_get_xact")
}

/// The sum of what the server's functions of this name tell of each catalog.
fn writes(of: &str) -> String {
    format!(
        "(SELECT sum({of}_tuples_inserted(oid) + {of}_tuples_updated(oid) + {of}_tuples_deleted(oid))::int8 {CATALOGS})"
    )
}

impl Counts {
    pub(super) fn of(sessions: Option<i64>, writes: Option<i64>) -> Option<Self> {
        Some(Self {
            sessions: sessions?,
            writes: writes?,
        })
    }

    pub(super) fn and_written(self, rows: i64) -> Self {
        Self {
            writes: self.writes + rows,
            ..self
        }
    }

    pub(super) fn are_told(connection: &PgConnection) -> bool {
        let version = connection.server_version_num();
        version.is_some_and(|version| version >= COUNTS_AT_ONCE)
    }

    /// Lets the session add to the counts what it has done; false when they are not told, or it has not counted.
    pub(super) async fn settle(connection: &mut PgConnection) -> sqlx::Result<bool> {
        if !Self::are_told(connection) {
            return Ok(false);
        }
        sqlx::raw_sql("SELECT current_setting('track_counts')::bool, pg_stat_force_next_flush()")
            .fetch_one(connection)
            .await?
            .try_get(0)
    }

    /// The counts, with what the session that asks has settled; `None` where the server does not tell.
    pub(super) async fn read(
        connection: &mut PgConnection,
        oid: i64,
    ) -> sqlx::Result<Option<Self>> {
        if !Self::are_told(connection) {
            return Ok(None);
        }
        let row = sqlx::raw_sql(AssertSqlSafe(format!("SELECT {}", columns(oid))))
            .fetch_one(connection)
            .await?;
        Ok(Self::of(row.get(0), row.get(1)))
    }
}
