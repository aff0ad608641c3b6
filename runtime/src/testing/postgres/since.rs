//! What tells the changes of a leased database from what was there before.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

/// The first version that counts a session before it is out of `pg_stat_activity`. Databases of older ones are not used twice.
const COUNTS_SESSIONS: u32 = 15_00_00;

/// What tells the changes of a leased database from what was there before.
#[derive(Clone, Debug)]
pub(super) struct Since {
    pub(super) oid: i64,
    /// The transaction since which nobody has undone changes.
    pub(super) xid: u64,
    /// Whether a catalog that was empty in the template has had rows: they are gone, and its pages are still there.
    pub(super) every_catalog: bool,
    /// Sessions that there were, and when the count began; `None` when it is not known.
    sessions: Option<(i64, String)>,
}

impl Since {
    pub(super) fn new(xid: u64, oid: i64) -> Self {
        Self {
            oid,
            xid,
            every_catalog: false,
            sessions: None,
        }
    }

    /// Counts a session of ours.
    pub(super) async fn opened(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        if connection.server_version_num() < Some(COUNTS_SESSIONS) {
            return Ok(());
        }
        // It takes effect at the end of the statement.
        sqlx::raw_sql("SELECT pg_stat_force_next_flush()")
            .execute(&mut *connection)
            .await?;
        if let Some((sessions, _)) = &mut self.sessions {
            *sessions += 1;
            return Ok(());
        }
        let row = sqlx::raw_sql(AssertSqlSafe(format!("SELECT {}", counts(self.oid))))
            .fetch_one(connection)
            .await?;
        self.sessions = Some((row.try_get(0)?, row.try_get(1)?));
        Ok(())
    }

    /// Whether there were no sessions but those that are counted, as an expression.
    pub(super) fn nobody_came(&self) -> String {
        match &self.sessions {
            Some((sessions, counted_since)) => format!(
                "({}) = ({sessions}, {})",
                counts(self.oid),
                literal(counted_since)
            ),
            None => "false".to_owned(),
        }
    }

    /// How many others are in the database, as an expression.
    pub(super) fn others(&self) -> String {
        format!(
            "(SELECT count(*) FROM pg_stat_get_activity(NULL) \
             WHERE datid = {} AND usesysid IS NOT NULL AND pid <> pg_backend_pid())",
            self.oid
        )
    }

    /// Counts sessions that have ended.
    pub(super) fn opened_others(&mut self, others: i64) {
        if let Some((sessions, _)) = &mut self.sessions {
            *sessions += others;
        }
    }
}

/// Sessions that there were, and when the count began.
fn counts(oid: i64) -> String {
    format!(
        "pg_stat_get_db_sessions({oid}), coalesce(pg_stat_get_db_stat_reset_time({oid})::text, '')"
    )
}

/// Whether the transaction of a row is younger than this one, as an expression.
pub(super) fn younger(xmin: &str, than: u64) -> String {
    format!("age({xmin}) < age('{}'::xid)", in_row(than))
}

/// A text as SQL writes it.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A transaction as rows carry it: the lower half of its number.
pub(super) fn in_row(xid: u64) -> String {
    (xid & u64::from(u32::MAX)).to_string()
}
