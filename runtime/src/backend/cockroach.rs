//! CockroachDB's URLs, rewritten for drivers that know only Postgres.

use std::borrow::Cow;

use url::Url;

use crate::dialect::{COCKROACH, POSTGRES};
use crate::settings::DatabaseUrl;

/// The port of a URL that names none: <https://www.cockroachlabs.com/docs/stable/connection-parameters>.
const PORT: u16 = 26257;

/// Rewrites a URL for the driver of Postgres, which has its own schemes and default port.
pub(super) fn for_driver(url: &DatabaseUrl) -> Cow<'_, str> {
    let given = Cow::Borrowed(url.expose());
    if !COCKROACH.schemes.contains(&url.scheme()) {
        return given;
    }
    let as_postgres = || {
        let mut url = Url::parse(url.expose()).ok()?;
        let by_query = url.query_pairs().any(|(name, _)| name == "port");
        // A URL without a host before its path cannot have a port there.
        if url.port().is_none() && !by_query && url.set_port(Some(PORT)).is_err() {
            url.query_pairs_mut().append_pair("port", &PORT.to_string());
        }
        url.set_scheme(POSTGRES.schemes[0]).ok()?;
        Some(Cow::Owned(url.into()))
    };
    // The driver reports an invalid URL.
    as_postgres().unwrap_or(given)
}

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
            (
                "cockroachdb:///music?host=db",
                "postgres:///music?host=db&port=26257",
            ),
            (
                "cockroachdb:///music?host=db&port=5000",
                "postgres:///music?host=db&port=5000",
            ),
            (
                "cockroachdb:/music?host=%2Frun%2Fcockroach",
                "postgres:/music?host=%2Frun%2Fcockroach&port=26257",
            ),
            ("postgres://app@db/music", "postgres://app@db/music"),
        ] {
            assert_eq!(for_driver_of(written), given);
        }
    }
}
