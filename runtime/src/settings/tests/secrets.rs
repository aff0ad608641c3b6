//! A password is in no log, no error and no `Debug`.

use super::super::url::redact;
use super::super::{DatabaseUrl, Settings};
use super::Place;

/// How each URL is shown. The secret in all of them contains `s3cret`.
#[test]
fn a_url_shows_everything_but_its_secrets() {
    for (url, shown) in [
        (
            "postgres://user:s3cret@host/db",
            "postgres://user:***@host/db",
        ),
        (
            "postgres://user:s3cret@h1,h2:5433/db",
            "postgres://user:***@h1,h2:5433/db",
        ),
        ("postgres://:s3cret@host/db", "postgres://:***@host/db"),
        (
            "postgres://user@host:s3cret@host:5432/db",
            "postgres://user@host:***@host:5432/db",
        ),
        (
            "postgres:///db?host=/tmp&password=s3cret",
            "postgres:///db?host=/tmp&password=***",
        ),
        (
            "postgres://host/db?password=s3cret@x&a=b",
            "postgres://host/db?password=***&a=b",
        ),
        (
            "postgres://me@host/db?password=a&s3cret&b=c",
            "postgres://me@host/db?password=***&b=c",
        ),
        (
            "mysql://h/db?ssl-mode=REQUIRED&sslpassword=s3cret",
            "mysql://h/db?ssl-mode=REQUIRED&sslpassword=***",
        ),
        ("mysql://h/db?PASSWORD=s3cret", "mysql://h/db?PASSWORD=***"),
        (
            "mysql://h/db?p%61ssword=s3cret",
            "mysql://h/db?p%61ssword=***",
        ),
        (
            "postgres://u:s3cret@h/db?options=a@b",
            "postgres://u:***@h/db?options=a@b",
        ),
        // Unescaped: no URL parser gets these right, and they end up in errors.
        (
            "postgres://user:a@s3cret@host/db",
            "postgres://user:***@host/db",
        ),
        (
            "postgres://user:a/s3cret@host/db",
            "postgres://user:***@host/db",
        ),
        (
            "postgres://user:12/s3cret@host/db",
            "postgres://user:***@host/db",
        ),
        (
            "postgres://user:a?s3cret@host/db",
            "postgres://user:***@host/db",
        ),
        (
            "postgres://user:a#s3cret@host/db",
            "postgres://user:***@host/db",
        ),
        (
            "postgres://user:a@b?s3cret@host/db",
            "postgres://user:***@host/db",
        ),
        (
            "postgres://user:a:s3cret@host/db",
            "postgres://user:***@host/db",
        ),
        // Broken.
        ("user:s3cret@host/db", "user:***@host/db"),
        ("s3cret@host/db", "***@host/db"),
        ("postgres:/user:s3cret@host", "postgres:***@host"),
        ("://user:s3cret@host", "://user:***@host"),
    ] {
        assert_eq!(redact(url), shown, "{url}");
    }
}

#[test]
fn a_url_without_a_secret_is_shown_as_it_is() {
    for url in [
        "sqlite::memory:",
        "sqlite://data.db?mode=rwc",
        "sqlite:///home/me@work/data.db",
        "postgres:///db?host=/tmp/sock",
        "postgres://me@host:5432/db?application_name=me@work",
        "mysql://host:3306/db?charset=utf8mb4",
        "postgres://[::1]:5432/db",
    ] {
        assert_eq!(redact(url), url);
        let parsed = DatabaseUrl::parse(url).unwrap();
        assert_eq!((parsed.to_string().as_str(), parsed.expose()), (url, url));
    }
}

#[test]
fn the_driver_gets_the_url_as_it_was_written() {
    let url = DatabaseUrl::parse(" Postgres://User:S3cret@Host/Db\n").unwrap();
    assert_eq!(url.expose(), "postgres://User:S3cret@Host/Db");
    assert_eq!(url.scheme(), "postgres");
    assert_eq!(
        format!("{url:?}"),
        "DatabaseUrl(postgres://User:***@Host/Db)"
    );
}

#[test]
fn resolved_settings_do_not_show_it() {
    let code = Settings::attribute().url("postgres://u:s3cret@h/db?sslpassword=s3cret");
    let settings = Place::new().resolve(&code).unwrap();
    let changed: Vec<_> = settings.changed().collect();
    for shown in [
        format!("{code:?}"),
        format!("{code:#?}"),
        format!("{settings:?}"),
        format!("{settings:#?}"),
        settings.describe("url"),
        changed.join(" "),
    ] {
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("postgres://u:***@h/db"), "{shown}");
    }
}

/// Every way to put a URL where it does not belong, or to break the file it is in.
#[test]
fn errors_do_not_show_it() {
    let url = "postgres://u:s3cret@h/db";
    let toml = |text: &str| Place::new().file("poolhouse.toml", text);
    for (place, code) in [
        (Place::new(), Settings::new().url("u s:s3cret@h/db")),
        (Place::new(), Settings::new().url("s3cret@h/db")),
        (
            Place::new().variable("DATABASE_URL", "://u:s3cret@h"),
            Settings::new(),
        ),
        (
            Place::new().variable("POOLHOUSE_MAX_SIZE", url),
            Settings::new().url(url),
        ),
        (Place::new(), Settings::new().url(url).acquire_timeout(url)),
        (toml(&format!("[engine]\nurl = ['{url}']")), Settings::new()),
        (toml(&format!("[engine]\nurl = '{url}")), Settings::new()),
        (toml(&format!("[engine]\nurl = {url}")), Settings::new()),
        (
            toml(&format!("[engine]\nurl = '{url}'\nurl = '{url}'")),
            Settings::new(),
        ),
        (
            Place::new().file(".env", &format!("DATABASE_URL='{url}\n")),
            Settings::new(),
        ),
        (
            Place::new().file(".env", "DATABASE URL=s3cret\n"),
            Settings::new(),
        ),
    ] {
        let error = place.resolve(&code).unwrap_err();
        let shown = format!("{error} {error:?} {error:#?}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn settings_that_differ_do_not_show_it() {
    let place = Place::new();
    let started = place
        .resolve(&Settings::new().url("postgres://u:s3cret1@h/db"))
        .unwrap();
    let again = place
        .resolve(&Settings::new().url("postgres://u:s3cret2@h/db"))
        .unwrap();
    let error = again.same_as(&started).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains("url = postgres://u:***@h/db (builder"),
        "{shown}"
    );
    assert!(!shown.contains("s3cret"), "{shown}");
}
