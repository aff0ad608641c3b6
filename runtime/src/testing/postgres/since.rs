//! Recognizes the changes to a database since its lease.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};

use super::objects::{FIRST_OF_USERS, OF_USERS};
use crate::dialect::literal;

/// The first version that counts a session before `pg_stat_activity` loses it. Older versions' databases are used only once.
const COUNTS_SESSIONS: u32 = 15_00_00;

/// The first version with `pg_restore_attribute_stats`:
/// <https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-STATSMOD>.
const RESTORES_STATISTICS: u32 = 18_00_00;

/// The facts that identify the changes to a database since its lease.
#[derive(Clone, Debug)]
pub(super) struct Since {
    pub(super) oid: i64,
    /// The transaction of the lease or of the last cleaning: younger rows are changes.
    pub(super) xid: u64,
    /// Whether an empty catalog of the template may have had rows, of which only its pages are left.
    pub(super) every_catalog: bool,
    /// Whether the kept connection may have data of what a test has made: of an extension, as `dblink` has, or a compiled function
    /// with a type that is gone.
    pub(super) keeps_data: bool,
    /// The number of sessions so far, and when the count began; `None` when unknown.
    sessions: Option<(i64, String)>,
    /// The planner's data of the tables at the lease; `None` when unknown.
    planned: Option<PlannerData>,
}

/// The planner's data of the tables.
///
/// `ANALYZE`, `VACUUM` and `CREATE INDEX` write the size of a table or index into its row of `pg_class`, in place, without a new
/// `xmin`.
/// `ANALYZE` writes statistics too, which only a superuser may read; the view `pg_stats` shows those of the role's tables. The
/// view takes longer, and is read only for tables that have a noted size at the lease. For other tables, the note of the size
/// shows that they were analyzed: only a new file removes the note, and gives the row of `pg_class` another `xmin`. From version
/// 18 on, `pg_restore_attribute_stats` writes statistics without a size, and the view is read for all tables.
///
/// They are measured at the lease and not in the template, because the server's own `ANALYZE` changes a template at any time.
#[derive(Clone, Debug)]
struct PlannerData {
    sizes: String,
    /// The condition for the statistics to read, and these.
    statistics: Option<(String, String)>,
}

impl Since {
    pub(super) fn new(xid: u64, oid: i64) -> Self {
        Self {
            oid,
            xid,
            every_catalog: false,
            keeps_data: false,
            sessions: None,
            planned: None,
        }
    }

    /// Counts a session that this process has opened.
    pub(super) async fn opened(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        self.keeps_data = false;
        if !counts_sessions(connection) {
            return Ok(());
        }
        // The flush takes effect at the end of the statement.
        sqlx::raw_sql("SELECT pg_stat_force_next_flush()")
            .execute(&mut *connection)
            .await?;
        if let Some((sessions, _)) = &mut self.sessions {
            *sessions += 1;
            return Ok(());
        }
        let row = ask(
            connection,
            &format!("{}, {}, {}", counts(self.oid), sizes(), analyzed()),
        )
        .await?;
        let sessions = (row.try_get(0)?, row.try_get(1)?);
        let which = if connection.server_version_num() >= Some(RESTORES_STATISTICS) {
            Some(OF_ALL_TABLES.to_owned())
        } else {
            let tables: Option<String> = row.try_get(3)?;
            tables.map(|tables| format!("(schemaname, tablename) IN ({tables})"))
        };
        let statistics = match which {
            Some(which) => {
                let row = ask(connection, &statistics(&which)).await?;
                Some((which, row.try_get(0)?))
            }
            None => None,
        };
        self.planned = Some(PlannerData {
            sizes: row.try_get(2)?,
            statistics,
        });
        self.sessions = Some(sessions);
        Ok(())
    }

    /// An SQL expression for whether the planner's data of the tables is that of the lease.
    pub(super) fn is_planned_as_before(&self) -> String {
        let Some(PlannerData {
            sizes: before,
            statistics: known,
        }) = &self.planned
        else {
            return "false".to_owned();
        };
        let same_sizes = format!("{} = {}", sizes(), literal(before));
        match known {
            Some((which, before)) => format!(
                "{same_sizes} AND {} = {}",
                statistics(which),
                literal(before)
            ),
            None => same_sizes,
        }
    }

    /// An SQL expression for whether there were only the counted sessions.
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

    /// The counts as [`counted`] gives them, or an empty text when they are unknown.
    pub(super) fn counted(&self) -> String {
        match &self.sessions {
            Some((sessions, counted_since)) => format!("{sessions} {counted_since}"),
            None => String::new(),
        }
    }

    /// An SQL expression for the number of other sessions in the database.
    pub(super) fn others(&self) -> String {
        format!(
            "(SELECT count(*) FROM pg_stat_get_activity(NULL) \
             WHERE datid = {} AND usesysid IS NOT NULL AND pid <> pg_backend_pid())",
            self.oid
        )
    }

    /// An SQL expression for whether the database has no replication slot. A rollback does not undo one.
    pub(super) fn has_no_slot(&self) -> String {
        format!(
            "NOT EXISTS (SELECT FROM pg_get_replication_slots() WHERE datoid = {})",
            self.oid
        )
    }

    /// Counts sessions that the test's engine has opened and closed.
    pub(super) fn opened_others(&mut self, others: i64) {
        if let Some((sessions, _)) = &mut self.sessions {
            *sessions += others;
        }
    }
}

/// Whether the server counts sessions as needed.
pub(super) fn counts_sessions(connection: &PgConnection) -> bool {
    connection.server_version_num() >= Some(COUNTS_SESSIONS)
}

/// SQL expressions for the number of sessions so far, and for when the count began, in seconds. Sessions with different time
/// zones compare them.
fn counts(oid: i64) -> String {
    format!(
        "pg_stat_get_db_sessions({oid}), {}",
        began(&oid.to_string())
    )
}

fn began(oid: &str) -> String {
    format!("coalesce(extract(epoch FROM pg_stat_get_db_stat_reset_time({oid}))::text, '')")
}

/// Asks with the search path of the later comparison, on which the text of some values depends.
async fn ask(connection: &mut PgConnection, what: &str) -> sqlx::Result<PgRow> {
    let ask = format!("BEGIN; SET LOCAL search_path = pg_catalog; SELECT {what}; COMMIT");
    let rows = sqlx::raw_sql(AssertSqlSafe(ask))
        .fetch_all(connection)
        .await?;
    rows.into_iter().next().ok_or(sqlx::Error::RowNotFound)
}

/// The tables that have data for the planner, besides the server's own.
const PLANNED: &str = "relkind IN ('r', 'm', 'p') AND relpersistence <> 't'";

/// An SQL expression for the noted sizes of the tables and their indexes, in one text. Those of an index may change where those of
/// its table stay the same, as with a partial index. An index without noted rows does not count: a new one has zero rows, and
/// `TRUNCATE` leaves an unknown number.
fn sizes() -> String {
    format!(
        "(SELECT coalesce(sum(hashtextextended(concat_ws(' ', oid, relpages, reltuples, relallvisible), 0)), 0)::text \
         FROM pg_catalog.pg_class WHERE oid >= {FIRST_OF_USERS} AND ({PLANNED} OR relkind = 'i' AND relpersistence <> 't' AND reltuples > 0))"
    )
}

/// An SQL expression for the tables with a noted number of rows, as a list of SQL rows; NULL if there are none.
fn analyzed() -> String {
    format!(
        "(SELECT string_agg(format('(%L, %L)', n.nspname, c.relname), ', ') FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid >= {FIRST_OF_USERS} AND {PLANNED} AND {OF_USERS} AND c.reltuples >= 0)"
    )
}

/// The condition for the statistics of tables that are not the server's own.
const OF_ALL_TABLES: &str = "schemaname !~ '^pg_' AND schemaname <> 'information_schema'";

/// An SQL expression for the statistics of this condition, in one text.
fn statistics(which: &str) -> String {
    format!(
        "(SELECT coalesce(sum(hashtextextended(s::text, 0)), 0)::text FROM pg_catalog.pg_stats AS s WHERE {which})"
    )
}

/// The counts of a new clone, which no session has used and whose count was never reset, as [`counted`] gives them.
pub(super) const UNUSED: &str = "0 ";

/// An SQL expression for the counts of a database in one text. The `oid` is an SQL expression.
pub(super) fn counted(oid: &str) -> String {
    format!("pg_stat_get_db_sessions({oid}) || ' ' || {}", began(oid))
}

/// An SQL expression that is true, and gives the session another seed of `random()`. `DISCARD ALL` keeps the seed of an earlier
/// test, and that of a new session cannot be predicted.
pub(super) fn seeded() -> String {
    format!("(SELECT setseed({}) IS NOT NULL)", fastrand::f64())
}

/// An SQL expression for whether the transaction of a row is younger than this one.
pub(super) fn younger(xmin: &str, than: u64) -> String {
    format!("age({xmin}) < age('{}'::xid)", in_row(than))
}

/// A transaction as rows store it: the lower 32 bits of its number.
pub(super) fn in_row(xid: u64) -> String {
    (xid & u64::from(u32::MAX)).to_string()
}
