//! CockroachDB, which speaks the protocol of Postgres and is another database behind it.

use std::borrow::Cow;

use url::Url;

use super::{Diagnosis, Dialect, Greeted, MigrationsLock, POSTGRES, Session};

use crate::settings::DatabaseUrl;

/// Where the URL names no port: <https://www.cockroachlabs.com/docs/stable/connection-parameters>.
const PORT: u16 = 26257;

/// A URL as the driver of Postgres knows it, which has its own idea of schemes and ports.
pub(in crate::backend) fn for_driver(url: &DatabaseUrl) -> Cow<'_, str> {
    let given = Cow::Borrowed(url.expose());
    if !COCKROACH.schemes.contains(&url.scheme()) {
        return given;
    }
    let as_postgres = || {
        let mut url = Url::parse(url.expose()).ok()?;
        let by_query = url.query_pairs().any(|(name, _)| name == "port");
        if url.port().is_none() && !by_query {
            url.set_port(Some(PORT)).ok()?;
        }
        url.set_scheme(POSTGRES.schemes[0]).ok()?;
        Some(Cow::Owned(url.into()))
    };
    // What cannot be read is told by the driver.
    as_postgres().unwrap_or(given)
}

pub(in crate::backend) static COCKROACH: Dialect = Dialect {
    name: "CockroachDB",
    feature: "postgres",
    schemes: &["cockroachdb", "cockroach"],
    session: Some(Session {
        // A schema change inside a transaction is to be part of it, and not to commit what comes before it:
        // <https://www.cockroachlabs.com/docs/stable/set-vars#supported-variables>.
        greet: "SET autocommit_before_ddl = off; SHOW session_id",
        read: |answer| Greeted::Id(answer.into()),
        // <https://www.cockroachlabs.com/docs/stable/cancel-session>
        end: |id| format!("CANCEL SESSION IF EXISTS '{id}'"),
    }),
    // Every node reads and writes: <https://www.cockroachlabs.com/docs/stable/architecture/overview>.
    session_state: Some("SELECT current_setting('default_transaction_read_only')::bool::int::int8"),
    version: "SELECT version()",
    pooler_sign: None,
    diagnose: |code, message| match code? {
        // <https://www.cockroachlabs.com/docs/stable/node-shutdown>
        "57P01" => Some(Diagnosis::retry(
            "the node is draining",
            "wait for it, or name the other nodes in the url: cockroachdb://node1:26257,node2:26257/database",
        )),
        _ => (POSTGRES.diagnose)(code, message),
    },
    // <https://www.cockroachlabs.com/docs/stable/begin-transaction>
    begin: |options| match options {
        options if options.deferrable => Err("DEFERRABLE"),
        options => (POSTGRES.begin)(options),
    },
    // <https://www.cockroachlabs.com/docs/stable/transaction-retry-error-reference>: every one of them is a 40001.
    conflict: |code, _| code == Some("40001"),
    // "Result is ambiguous": <https://www.cockroachlabs.com/docs/stable/common-errors#result-is-ambiguous>
    outcome_unknown: |code| code == Some("40003"),
    in_memory: |_| false,
    closes_in_turn: false,
    // There are no templates: <https://www.cockroachlabs.com/docs/stable/create-database>.
    copies_databases: false,
    hold: (
        Some("SET default_transaction_read_only = on"),
        "BEGIN READ WRITE",
    ),
    // Advisory locks are there in name only, and lock nothing:
    // <https://www.cockroachlabs.com/docs/stable/functions-and-operators#compatibility-functions>.
    migrations_lock: MigrationsLock::Nothing,
    create_extension: None,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn for_driver_of(url: &str) -> String {
        for_driver(&DatabaseUrl::parse(url).unwrap()).into_owned()
    }

    #[test]
    fn the_driver_is_given_a_url_of_its_own_with_the_right_port() {
        for (written, given) in [
            (
                "cockroachdb://app:s%2Fcret@db/music?sslmode=disable",
                "postgres://app:s%2Fcret@db:26257/music?sslmode=disable",
            ),
            (
                "cockroach://app@db:5000/music",
                "postgres://app@db:5000/music",
            ),
            (
                "cockroachdb://app@db/music?port=5000",
                "postgres://app@db/music?port=5000",
            ),
            ("postgres://app@db/music", "postgres://app@db/music"),
        ] {
            assert_eq!(for_driver_of(written), given);
        }
    }
}
