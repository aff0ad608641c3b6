//! URLs of other databases on the same server.

use url::Url;

use crate::error::{TestError, TestKind};
use crate::settings::{DatabaseUrl, EngineSettings};

/// Query parameters that locate the server. Others configure the driver alone, and `psql` refuses them.
const WHERE: &[&str] = &[
    "host",
    "port",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
];

/// The URL of another database on the same server.
pub(super) fn of_database(settings: &EngineSettings, name: &str) -> Result<DatabaseUrl, TestError> {
    let mut url = parse(settings)?;
    url.set_path(name);
    // The parameter would override the path.
    if url.query_pairs().any(|(key, _)| key == "dbname") {
        keep_parameters(&mut url, |key| key != "dbname");
    }
    DatabaseUrl::parse(url.as_str()).map_err(|reason| unusable(settings, reason))
}

/// The URL without its database, which is the same for all URLs of one server and user.
pub(super) fn server(settings: &EngineSettings) -> Result<String, TestError> {
    Ok(of_database(settings, "")?.expose().to_owned())
}

/// The database that the URL names, if any.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(super) fn database(settings: &EngineSettings) -> Result<Option<String>, TestError> {
    let url = parse(settings)?;
    let parameter = url.query_pairs().find(|(key, _)| key == "dbname");
    let name = parameter.map_or_else(
        || url.path().trim_start_matches('/').to_owned(),
        |(_, name)| name.into_owned(),
    );
    Ok(Some(name).filter(|name| !name.is_empty()))
}

/// The URL to paste into a client, without the password and the driver's own parameters.
pub(super) fn for_people(url: &DatabaseUrl) -> String {
    let Ok(mut shown) = Url::parse(url.expose()) else {
        return url.to_string();
    };
    // Setting a password fails only on URLs that cannot have one.
    let _ = shown.set_password(None);
    keep_parameters(&mut shown, |key| WHERE.contains(&key));
    shown.into()
}

fn keep_parameters(url: &mut Url, keep: impl Fn(&str) -> bool) {
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(key, _)| keep(key))
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(kept);
    }
}

fn parse(settings: &EngineSettings) -> Result<Url, TestError> {
    Url::parse(settings.url.expose()).map_err(|error| unusable(settings, &error.to_string()))
}

fn unusable(settings: &EngineSettings, reason: &str) -> TestError {
    TestError::new(
        settings,
        TestKind::Url,
        format!("no other database of the server can be named by changing the url: {reason}"),
        "Write it as scheme://user:password@host:port/database",
    )
}
