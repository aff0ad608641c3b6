//! No log, error or `Debug` shows a password.

use super::super::secrets::{conceal, show_url};
use super::super::{DatabaseUrl, EngineSettings, ProgramSettings, Settings};
use super::TestSources;

/// How each URL is shown. The secret in all of them contains `s3cret`.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
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
            "postgres://host/db?password=***&a=***",
        ),
        (
            "postgres://me@host/db?password=a&s3cret&b=c",
            "postgres://me@host/db?password=***&b=***",
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
        // Unescaped: no URL parser reads these correctly, and errors show them.
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
        (
            "postgres://user:a://s3cret@host/db",
            "postgres://user:***@host/db",
        ),
        // The user is the password.
        ("postgres://s3cret:s3cret@host/db", "postgres://***:***@***"),
        // The host is missing.
        ("postgres://user:s3cret@", "postgres://user:***@"),
        ("postgres://user:s3cret", "postgres://***"),
        ("postgres://user:s3cret/db", "postgres://***"),
        ("postgres://user:12345678901/db", "postgres://***"),
        ("postgres://user%3As3cret@host/db", "postgres://***@***"),
        (
            "postgres://h/db?user=app:s3cret",
            "postgres://h/db?user=***",
        ),
        ("postgres:///db?host=app:s3cret", "postgres:///db?host=***"),
        ("postgres://host/user:s3cret@db", "postgres://***:***@***"),
        ("postgres://h/db;password=s3cret", "postgres://h/***"),
        ("postgres://h/db&password=s3cret", "postgres://h/***"),
        ("postgres://h/db#s3cret", "postgres://h/***"),
        ("postgres://h/password%3Ds3cret", "postgres://h/***"),
        // Unknown parameters, and known ones with a secret in them.
        ("postgres://h/db?sas=s3cret", "postgres://h/db?sas=***"),
        (
            "postgres://h/db?apikey=s3cret",
            "postgres://h/db?apikey=***",
        ),
        ("postgres://h/db?s3cret", "postgres://h/***"),
        (
            "postgres://h/db?sslmode=disable&s3cret",
            "postgres://h/db?sslmode=disable&***",
        ),
        (
            "postgres://h/db?options=-c%20app.key%3Ds3cret",
            "postgres://h/db?options=***",
        ),
        (
            "postgres://h/db?options=-c app.token=s3cret",
            "postgres://h/db?options=***",
        ),
        (
            "postgres://h/db?options[app.key]=s3cret",
            "postgres://h/db?options[app.key]=***",
        ),
        // Settings of the program's own may hold anything.
        (
            "postgres://h/db?options=-c app.jwt=s3cret",
            "postgres://h/db?options=***",
        ),
        (
            "postgres://h/db?options=-c%20search_path%3Da%20-capp.pin%3Ds3cret",
            "postgres://h/db?options=***",
        ),
        (
            "postgres://h/db?options[app.jwt]=s3cret",
            "postgres://h/db?options[app.jwt]=***",
        ),
        (
            "postgres://h/db?dbname=postgres://u:s3cret@h",
            "postgres://h/db?dbname=***",
        ),
        (
            "sqlite:data.db?password=s3cret",
            "sqlite:data.db?password=***",
        ),
        (
            "sqlite:data.db?key=s3cret&mode=rwc",
            "sqlite:data.db?key=***&mode=rwc",
        ),
        ("sqlite:password=s3cret", "sqlite:password=***"),
        // No URLs.
        ("user:s3cret@host/db", "***"),
        ("user:s3cret@", "***"),
        ("user:s3cret", "***"),
        ("s3cret@host/db", "***"),
        ("postgres:/user:s3cret@host", "***"),
        ("postgres:user:s3cret@host", "***"),
        ("://user:s3cret@host", "***"),
        ("host=db user=me password=s3cret", "***"),
        (
            "host=db port=5432 password='s3:cret' sslmode=require",
            "***",
        ),
        ("Server=db;User Id=me;Password=s3cret", "***"),
        ("Data Source=tcp:db,1433;Pwd=s3cret", "***"),
        ("s3cret", "***"),
    ] {
        assert_eq!(show_url(url), shown, "{url}");
    }
}

#[test]
fn a_url_without_a_secret_is_shown_as_it_is() {
    for url in [
        "postgres://h1:5432,h2:5433/db?target_session_attrs=read-write&load_balance_hosts=random",
        "postgres://me@%2Frun%2Fpostgresql/db",
        "mysql://host/db?ssl-mode=REQUIRED&statement-cache-capacity=10",
        "sqlite::memory:",
        "sqlite://data.db?mode=rwc",
        "sqlite:///home/me@work/data.db",
        "postgres:///db?host=/tmp/sock",
        "postgres://me@host:5432/db?application_name=me@work",
        "mysql://host:3306/db?charset=utf8mb4",
        "postgres://[::1]:5432/db",
        "postgres://h/db?options=-c search_path=music -c statement_timeout=1.5s",
        "postgres://h/db?options[search_path]=music",
    ] {
        assert_eq!(show_url(url), url);
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
    let settings = TestSources::new().resolve(&code).unwrap();
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

/// Text that should be a URL, with a secret in it.
const WRITTEN: &[&str] = &[
    "postgres://u:s3cret@h/db",
    "postgres://u:s3cret@",
    "postgres://u:s3cret",
    "postgres://h1,h2,u:s3cret/db",
    "postgres://u%3As3cret@h/db",
    "postgres://h/db?api_key=s3cret",
    "postgres://h/db?unheard-of=s3cret",
    "postgres://h/db?PassWord=s3cret",
    "postgres://h/db?p%61ssword=s3cret",
    "postgres://h/db?port=s3cret",
    "postgres://h/db?sslmode=s3cret",
    "postgres://h/db?statement-cache-capacity=s3cret",
    "postgres://h/db?target_session_attrs=s3cret",
    "postgres://h,h/db?port=s3cret:1",
    "postgres://h/db?options=-c app.key=s3cret",
    "postgres://h/db?options=-c app.jwt=s3cret",
    "postgres://h/db?options[app.jwt]=s3cret",
    "user:s3cret@h",
    "user:s3cret",
    "host=h user=u password=s3cret",
    "Server=h;User Id=u;Pwd=s3cret",
    "Password=s3cret;Server=tcp:h,1433",
    "'postgres://u:s3cret@h/db'",
    "https://h/?token=s3cret",
    "sqlite:a.db?key=s3cret",
];

/// Every secret in every source, in every form that shows it.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn no_setting_in_no_source_is_shown_with_its_secret() {
    let toml = |text: &str| TestSources::new().file("poolhouse.toml", text);
    for written in WRITTEN {
        // TOML and `.env` files quote the value below, so its own single quotes are removed.
        let quoted = written.trim_matches('\'');
        let url = "postgres://u:s3cret@h/db";
        let node = || Settings::new().url(*written);
        let mut cases = vec![
            (TestSources::new(), Settings::new().url(*written)),
            (TestSources::new(), Settings::attribute().url(*written)),
            (
                TestSources::new().variable("DATABASE_URL", written),
                Settings::new(),
            ),
            (
                TestSources::new().variable("X_DATABASE_URL", written),
                Settings::new().engine("x"),
            ),
            (
                TestSources::new().file(".env", &format!("DATABASE_URL=\"{quoted}\"")),
                Settings::new(),
            ),
            // Broken files.
            (
                TestSources::new().file(".env", &format!("DATABASE_URL='{quoted}\n")),
                Settings::new(),
            ),
            (
                TestSources::new().file(".env", &format!("DATABASE URL={quoted}\n")),
                Settings::new(),
            ),
            (
                TestSources::new().file(".env", &format!("{quoted}\n")),
                Settings::new().url(url),
            ),
            (
                toml(&format!("[engine]\nurl = '{quoted}'")),
                Settings::new(),
            ),
            (
                toml(&format!("[engine]\nurl = ['{quoted}']")),
                Settings::new(),
            ),
            (toml(&format!("[engine]\nurl = '{quoted}")), Settings::new()),
            (toml(&format!("[engine]\nurl = {quoted}")), Settings::new()),
            (toml(&format!("{quoted}\n")), Settings::new()),
            (toml(&format!("[engine]\n'{quoted}' = 1")), Settings::new()),
            (toml(&format!("['{quoted}']\nurl = 'x'")), Settings::new()),
            (
                toml(&format!("[engine]\nurl = '{quoted}'\nurl = '{quoted}'")),
                Settings::new(),
            ),
            (
                toml(&format!("[engine.nodes.a]\nurl = '{quoted}'")),
                Settings::new().url(url),
            ),
            // Nodes, and the URL past a pooler.
            (
                TestSources::new(),
                Settings::new().url(url).node("a", node()),
            ),
            (
                TestSources::new(),
                Settings::new().url(url).direct_url(*written),
            ),
            (
                TestSources::new().variable("POOLHOUSE_NODES_A_URL", written),
                Settings::new().url(url),
            ),
            (
                TestSources::new().variable("POOLHOUSE_DIRECT_URL", written),
                Settings::new().url(url),
            ),
            // A URL in settings that take none.
            (TestSources::new(), Settings::new().engine(*written)),
            (TestSources::new(), Settings::new().env(*written)),
            (
                TestSources::new(),
                Settings::new().url(url).node(*written, node()),
            ),
            (
                toml("[engine]\nurl = 'sqlite::memory:'").variable("POOLHOUSE_PROFILE", written),
                Settings::new(),
            ),
            (
                TestSources::new().variable("POOLHOUSE_PROFILE", written),
                Settings::new(),
            ),
            (
                // Two words with a colon between them may be a path.
                TestSources::new().variable(
                    "POOLHOUSE_CONF",
                    if *written == "user:s3cret" {
                        "none"
                    } else {
                        written
                    },
                ),
                Settings::new(),
            ),
        ];
        for setting in [
            "max_size",
            "acquire_timeout",
            "lazy",
            "log_queries",
            "pooler",
            "migrations",
            "application_name",
            "session",
            "extensions",
            "flavor",
        ] {
            // Two words with a colon between them are no URL, and may be a name.
            let is_text = matches!(setting, "application_name" | "migrations" | "extensions");
            if is_text && *written == "user:s3cret" {
                continue;
            }
            let variable = format!("POOLHOUSE_{}", setting.to_ascii_uppercase());
            cases.push((
                TestSources::new().variable(&variable, written),
                Settings::new().url(url),
            ));
            cases.push((
                toml(&format!("[engine]\n{setting} = '{quoted}'")),
                Settings::new().url(url),
            ));
        }
        for (sources, code) in cases {
            let mut shown = vec![format!("{code:?} {code:#?}")];
            let layers = sources.layers(&code);
            match layers.and_then(|layers| {
                ProgramSettings::read(&layers)?;
                EngineSettings::read(&layers, None)
            }) {
                Ok(settings) => {
                    let changed: Vec<_> = settings.changed().collect();
                    shown.push(format!("{settings:?} {settings:#?} {}", changed.join(" ")));
                    for (_, node) in &settings.nodes {
                        shown.push(format!("{node:?}"));
                    }
                    for setting in ["url", "direct_url", "session", "application_name"] {
                        shown.push(settings.describe(setting));
                    }
                    let message = "a server says s3cret";
                    shown.extend(settings.without_secrets(message));
                    #[cfg(feature = "postgres")]
                    if let Err(error) = crate::Engine::<sqlx::Postgres>::new(settings) {
                        shown.push(format!("{error} {error:?}"));
                    }
                }
                Err(error) => shown.push(format!("{error} {error:?} {error:#?}")),
            }
            let shown = shown.join(" ");
            assert!(!shown.contains("s3cret"), "{written}: {shown}");
        }
    }
}

#[test]
fn the_sql_of_a_session_is_shown_by_its_first_word() {
    for (sql, first) in [
        ("SET app.key = 's3cret'", "SET …"),
        ("  select set_config('a', 's3cret', false)", "select …"),
        ("SET a = 1; SET password TO s3cret", "SET …"),
        ("s3cret", "***"),
        ("'s3cret'", "***"),
    ] {
        let code = Settings::new().url("postgres://h/db").session(sql);
        let settings = TestSources::new().resolve(&code).unwrap();
        let changed: Vec<_> = settings.changed().collect();
        let shown = format!("{code:?} {settings:?} {}", changed.join(" "));
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(
            shown.contains(&format!("session = {first} (builder, ")),
            "{shown}"
        );
    }
    // Hidden text still counts in the comparison.
    let of = |sql: &str| {
        let code = Settings::new().url("postgres://h/db").session(sql);
        TestSources::new().resolve(&code).unwrap()
    };
    assert!(of("SET a = 1").same_as(&of("SET a = 1")).is_ok());
    let error = of("SET a = 's3cret1'")
        .same_as(&of("SET a = 's3cret2'"))
        .unwrap_err();
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[test]
fn a_message_of_the_server_does_not_show_it() {
    let settings = TestSources::new()
        .resolve(
            &Settings::new()
                .url("postgres://u:s3%63ret@h/db?sslpassword=s3cret2")
                .session(
                    "SET app.key = 's3cret3'; SET app.token = s3cret4; SELECT login($$s3cret5$$, $a$s3cret6$a$)",
                ),
        )
        .unwrap();
    for message in [
        "no such thing as s3cret",
        "the URL has s3%63ret in it",
        "s3cret2",
        "unterminated quoted string at or near \"'s3cret3\"",
        "syntax error at or near \"s3cret4\"",
        "no user s3cret5 with s3cret6",
    ] {
        let shown = settings.without_secrets(message).unwrap();
        assert!(!shown.contains("cret"), "{shown}");
    }
    assert_eq!(
        settings.without_secrets("password authentication failed"),
        None
    );
}

#[test]
fn the_secrets_of_a_url_without_slashes_are_known() {
    let url = "postgres:/db?host=h&user=u&password=s3cret&sslpassword=s3cret2";
    let settings = TestSources::new().resolve(&Settings::new().url(url));
    let shown = settings.unwrap().without_secrets("no s3cret, no s3cret2");
    assert!(!shown.unwrap().contains("cret"));
}

#[test]
fn other_texts_end_where_a_secret_begins() {
    for (text, shown) in [
        ("me@home", "me@home"),
        ("a name", "a name"),
        ("key", "key"),
        ("user=me pwd=s3cret", "user=me pwd=***"),
        ("API-KEY: s3cret", "API-KEY:***"),
        ("my secret is = s3cret", "my secret is =***"),
        ("p%61ssword=s3cret", "***"),
        ("see postgres://u:s3cret@h/db", "see postgres://u:***@h/db"),
        ("(postgres://u:s3 cret@h/db)", "(postgres://u:***@h/db)"),
    ] {
        assert_eq!(conceal(text), shown, "{text}");
    }
}

#[test]
fn settings_that_differ_do_not_show_it() {
    let sources = TestSources::new();
    let started = sources
        .resolve(&Settings::new().url("postgres://u:s3cret1@h/db"))
        .unwrap();
    let again = sources
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
