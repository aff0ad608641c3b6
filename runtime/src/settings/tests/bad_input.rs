//! Messages about mistakes: each names the engine, the setting, its source and the cure.

use super::super::table::{TABLE, Takes};
use super::super::{EngineSettings, ProgramSettings, Settings};
use super::{TestSources, at};

#[test]
fn no_url_anywhere() {
    assert_eq!(
        TestSources::new().error(&Settings::new()),
        "engine `default` has no URL: the variable DATABASE_URL is not set in the environment, and there is no .env file in \
         ROOT or above it; there is no poolhouse.toml in ROOT or above it; the code gives no `url`. Set the variable \
         DATABASE_URL, write `url` into [engine] of poolhouse.toml, or give it in code: #[with_pool(url = \"…\")]"
    );
    let sources = TestSources::new()
        .file(".env", "OTHER=1")
        .file("poolhouse.toml", "[engines.reports]\nmax_size = 1");
    assert_eq!(
        sources.error(&Settings::new().engine("reports")),
        "engine `reports` has no URL: the variable REPORTS_DATABASE_URL is not set in the environment, nor in ROOT/.env; \
         poolhouse.toml gives no `url` in [engines.reports]; the code gives no `url`. Set the variable REPORTS_DATABASE_URL, \
         write `url` into [engines.reports] of poolhouse.toml, or give it in code: \
         #[with_pool(engine = \"reports\", url = \"…\")]"
    );
    let named = sources.error(&Settings::new().env("BANDS_URL"));
    assert!(
        named.contains("the variable BANDS_URL is not set"),
        "{named}"
    );
}

#[test]
fn an_engine_nobody_configured() {
    let sources = TestSources::new()
        .file(
            "poolhouse.toml",
            "[engines.reports]\nurl = 'sqlite:r.db'\n[profile.p.engines.hidden]\n",
        )
        .variable("AUDIT_DATABASE_URL", "sqlite:a.db");
    let (code, line) = at(Settings::attribute().engine("reprots"));
    let expected = format!(
        "engine `reprots` (attribute, {line}) is not configured; known: audit, default, reports. Did you mean `reports`? To add \
         it, set the variable REPROTS_DATABASE_URL, write [engines.reprots] into poolhouse.toml, or give `url` in code"
    );
    assert_eq!(sources.error(&code), expected);
    // Each of these makes an engine known.
    sources.resolve(&Settings::new().engine("reports")).unwrap();
    sources.resolve(&Settings::new().engine("audit")).unwrap();
    sources
        .resolve(&Settings::new().engine("coded").url("sqlite::memory:"))
        .unwrap();
    assert!(
        sources
            .error(&Settings::new().engine("coded").env("X"))
            .contains("has no URL")
    );
}

#[test]
fn a_url_that_is_not_one() {
    for (url, reason) in [
        ("localhost/db", "it has no scheme"),
        ("   ", "it is empty"),
        ("10.0.0.1:5432/db", "it does not begin with a scheme"),
    ] {
        let error = TestSources::new().error(&Settings::new().url(url));
        assert!(
            error.contains(reason) && error.contains("(builder, "),
            "{error}"
        );
    }
    assert_eq!(
        TestSources::new()
            .variable("DATABASE_URL", "host/db")
            .error(&Settings::new()),
        "engine `default`: `url` = *** (environment, DATABASE_URL) is not a database URL: it has no scheme. Write one \
         such as postgres://user:password@host/database, mysql://user:password@host/database or sqlite:file.db"
    );
}

#[test]
fn a_file_that_is_not_toml() {
    let sources = TestSources::with_url().file("poolhouse.toml", "[engine]\nmax_size = \n");
    let error = sources.error(&Settings::new());
    assert!(error.starts_with("poolhouse.toml:2:12: "), "{error}");
}

#[test]
fn a_misspelt_setting_in_the_file() {
    let hint = |written: &str| {
        let sources = TestSources::with_url().file(
            "poolhouse.toml",
            &format!("[engine]\nmin_size = 1\n{written} = 1"),
        );
        sources.error(&Settings::new())
    };
    assert_eq!(
        hint("max_siez"),
        "poolhouse.toml:3: there is no setting `max_siez` here; did you mean `max_size`?"
    );
    for (written, ours) in [
        ("maxsize", "max_size"),
        ("aquire_timeout", "acquire_timeout"),
        ("leak_afer", "leak_after"),
    ] {
        let error = hint(written);
        assert!(
            error.contains(&format!("`{written}` here; did you mean `{ours}`?")),
            "{error}"
        );
    }
    // Names in sqlx, HikariCP, deadpool and asyncpg.
    for (written, ours) in [
        ("max_connections", "max_size"),
        ("min_connections", "min_size"),
        ("test_before_acquire", "validate_after"),
        ("maximumPoolSize", "max_size"),
        ("minimumIdle", "min_size"),
        ("connectionTimeout", "acquire_timeout"),
        ("leakDetectionThreshold", "leak_after"),
        ("wait_timeout", "acquire_timeout"),
        ("max_inactive_connection_lifetime", "idle_timeout"),
        ("dsn", "url"),
    ] {
        let error = hint(written);
        assert!(
            error.contains(&format!("calls `{written}` is `{ours}` in poolhouse")),
            "{error}"
        );
    }
    assert!(
        hint("colour").contains("there is no setting `colour` here; the settings are listed at")
    );
    assert!(hint("connect_with").contains("it can be set in code only"));
}

#[test]
fn a_misspelt_section_in_the_file() {
    for (text, message) in [
        (
            "\n[engin]\n",
            "poolhouse.toml:2: there is no section `engin` here; did you mean `engine`?",
        ),
        (
            "[enginse.reports]\n",
            "poolhouse.toml:1: there is no section `enginse` here; did you mean `engines`?",
        ),
        (
            "[profiles.p.engine]\n",
            "poolhouse.toml:1: there is no section `profiles` here; did you mean `profile`?",
        ),
        (
            "[database]\n",
            "there is no section `database` here; the sections are [engine], [engines.NAME] and",
        ),
        (
            "max_size = 1\n",
            "there is no section `max_size` here; settings belong into a section: [engine] for",
        ),
        (
            "engine = 'x'\n",
            "there is no section `engine` here; a section is written [engine]",
        ),
        (
            "[engines]\nreports = 1\n",
            "poolhouse.toml:2: there is no section `reports` here; a section is written",
        ),
        (
            "[engines.default]\n",
            "`engines.default` here; the section of the default engine is [engine]",
        ),
        (
            "[profile.p.engin]\n",
            "poolhouse.toml:1: there is no section `engin` here; did you mean `engine`?",
        ),
    ] {
        let error = TestSources::with_url()
            .file("poolhouse.toml", text)
            .error(&Settings::new());
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn a_section_that_this_run_does_not_use_is_checked_too() {
    let sources =
        TestSources::with_url().file("poolhouse.toml", "[profile.p.engines.reports]\nmaxsize = 1");
    assert!(
        sources
            .error(&Settings::new())
            .contains("poolhouse.toml:2: there is no setting `maxsize`")
    );
}

#[test]
fn a_bad_value_in_any_source() {
    let whole = "expected a whole number from 1 to 262143";
    let duration = "expected a duration with its unit, such as \"30s\"";
    let filed =
        |text: &str| TestSources::with_url().file("poolhouse.toml", &format!("[engine]\n{text}"));
    let set = |name: &str, value: &str| TestSources::with_url().variable(name, value);
    for (sources, shown, expected) in [
        (
            filed("max_size = 0"),
            "`max_size` = 0 (poolhouse.toml:2)",
            whole,
        ),
        (
            filed("max_size = -1"),
            "`max_size` = -1 (poolhouse.toml:2)",
            whole,
        ),
        (
            filed("max_size = 2.5"),
            "`max_size` = 2.5 (poolhouse.toml:2)",
            whole,
        ),
        (
            filed("max_size = 4294967296"),
            "`max_size` = 4294967296 (poolhouse.toml:2)",
            whole,
        ),
        (
            filed("max_size = true"),
            "`max_size` = true (poolhouse.toml:2)",
            whole,
        ),
        (
            filed("max_size = [1]"),
            "`max_size` = [1] (poolhouse.toml:2)",
            whole,
        ),
        (
            filed("acquire_timeout = 30"),
            "`acquire_timeout` = 30 (poolhouse.toml:2)",
            "expected a duration above zero with its unit",
        ),
        (
            filed("lazy = 'maybe'"),
            "`lazy` = \"maybe\" (poolhouse.toml:2)",
            "expected true or false",
        ),
        (
            filed("idle_timeout = '0s'"),
            "`idle_timeout` = \"0s\"",
            "expected a duration above zero",
        ),
        (
            filed("log_queries = 'loud'"),
            "`log_queries` = \"loud\"",
            "expected \"off\", \"error\"",
        ),
        (
            filed("extensions = [1]"),
            "`extensions` = [1]",
            "expected an array of strings",
        ),
        (
            filed("session = 1"),
            "`session` = 1",
            "expected SQL as a string",
        ),
        (
            filed("migrations = 1"),
            "`migrations` = 1",
            "expected a string",
        ),
        (
            set("POOLHOUSE_MAX_SIZE", "many"),
            "`max_size` = \"many\" (environment, POOLHOUSE_MAX_SIZE)",
            whole,
        ),
        (
            set("POOLHOUSE_SLOW_QUERY", "5"),
            "`slow_query` = \"5\" (environment, POOLHOUSE_SLOW_QUERY)",
            duration,
        ),
        (
            TestSources::with_url().file(".env", "\nPOOLHOUSE_MAX_SIZE=many"),
            "`max_size` = \"many\" (.env:2, POOLHOUSE_MAX_SIZE)",
            whole,
        ),
    ] {
        let error = sources.error(&Settings::new());
        assert!(
            error.starts_with(&format!("engine `default`: {shown}")),
            "{error}"
        );
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_url_that_is_not_text() {
    let sources = TestSources::new().file("poolhouse.toml", "[engine]\nurl = 1");
    assert_eq!(
        sources.error(&Settings::new()),
        "engine `default`: `url` = 1 (poolhouse.toml:2) is not valid; expected a string"
    );
}

#[test]
fn a_bad_value_in_code_is_reported_with_its_line() {
    let (code, line) = at(Settings::attribute().acquire_timeout("30 parsecs"));
    let expected = format!(
        "engine `default`: `acquire_timeout` = \"30 parsecs\" (attribute, {line}) is not valid"
    );
    let error = TestSources::with_url().error(&code);
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn a_bad_value_that_a_stronger_source_replaces_does_no_harm() {
    let sources = TestSources::with_url().variable("POOLHOUSE_ACQUIRE_TIMEOUT", "1s");
    sources
        .resolve(&Settings::new().acquire_timeout("30 parsecs"))
        .unwrap();
}

#[test]
fn more_kept_than_allowed() {
    let sources = TestSources::with_url().variable("POOLHOUSE_MAX_SIZE", "3");
    let (code, line) = at(Settings::attribute().min_size(5));
    let expected = format!(
        "engine `default`: min_size = 5 (attribute, {line}) is more than max_size = 3 (environment, POOLHOUSE_MAX_SIZE); lower the \
         first or raise the second"
    );
    assert_eq!(sources.error(&code), expected);
}

#[test]
fn a_file_or_a_profile_that_is_not_there() {
    let sources = TestSources::with_url().variable("POOLHOUSE_CONF", "etc/p.toml");
    assert_eq!(
        sources.error(&Settings::new()),
        "there is no file `etc/p.toml` (environment, POOLHOUSE_CONF); correct the variable, or remove it to have \
         poolhouse.toml looked for"
    );
    let sources = TestSources::with_url().variable("POOLHOUSE_PROFILE", "prd");
    assert_eq!(
        sources.error(&Settings::new()),
        "the profile `prd` (environment, POOLHOUSE_PROFILE) needs a file, but there is no poolhouse.toml in ROOT or above it; \
         add the file or remove the variable"
    );
    let sources = sources.file("poolhouse.toml", "[profile.test]\n[profile.prod.engine]\n");
    assert_eq!(
        sources.error(&Settings::new()),
        "poolhouse.toml has no profile `prd` (environment, POOLHOUSE_PROFILE); known: prod, test"
    );
}

#[test]
fn a_broken_line_in_dot_env() {
    for text in [
        "A=1\n\nDATABASE URL=x\n",
        "A=1\n\nGREETING=hello world\n",
        "A=1\n# GREETING=hello world\nexport GREETING = hello world # a comment\n",
        "A=hello\nB='hello world'\nGREETING=hello world",
        "A=1\n\nGREETING='hello\n",
        "A=1\n\nGREETING # a comment\n",
    ] {
        let sources = TestSources::new().file(".env", text);
        assert_eq!(
            sources.error(&Settings::new()),
            ".env:3: the line is not of the form NAME=value; put single quotes around a value with spaces, `#` or `$` in it",
            "{text}"
        );
    }
}

#[test]
fn the_last_line_of_dot_env_may_end_in_a_space() {
    let sources = TestSources::new().file(".env", "DATABASE_URL=sqlite:a.db ");
    assert_eq!(sources.settings().url.expose(), "sqlite:a.db");
}

#[test]
fn single_quotes_in_dot_env_keep_a_value_as_it_is() {
    let sources = TestSources::new().file(".env", "DATABASE_URL='sqlite:a$HOME #1.db'\n");
    assert_eq!(sources.settings().url.expose(), "sqlite:a$HOME #1.db");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_unicode() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let mut sources = TestSources::new();
    sources.surroundings.variables.push((
        "DATABASE_URL".to_owned(),
        OsString::from_vec(b"sqlite:\xff".to_vec()),
    ));
    assert_eq!(
        sources.error(&Settings::new()),
        "the value of the environment variable DATABASE_URL is not valid Unicode; set it anew"
    );
}

/// They only warn, because the environment is shared.
#[test]
fn a_variable_that_looks_like_a_misspelt_setting() {
    let sources = TestSources::with_url()
        .variable("POOLHOUSE_MAXSIZE", "5")
        .variable("POOLHOUSE_MAX_CONNECTIONS", "5")
        .variable("POOLHOUSE_URL", "sqlite::memory:")
        .variable("POOLHOUSE_DATABASE_URL", "sqlite::memory:")
        .variable("POOLHOUSE_MIGRATOR", "x")
        .variable("POOLHOUSE_SERVER_PORT", "5")
        .variable("POOLHOUSE_REPORTS_MIN_SIZ", "5")
        .variable("POOLHOUSE_MIN_SIZE", "5")
        .variable("POOLHOUSE_lazy", "true")
        // Of engines with short names.
        .variable("POOLHOUSE_DB_ACQUIRE_TIMEOUT", "2s")
        .variable("POOLHOUSE_ETL_STATEMENT_CACHE", "50")
        .variable("POOLHOUSE_BI_DIRECT_URL", "sqlite::memory:")
        .file(".env", "POOLHOUSE_LASY=1");
    sources.settings();
    let misspelt = |engine: &str| {
        let layers = sources.layers(&Settings::new().engine(engine));
        layers.unwrap().without_effect()
    };
    assert_eq!(
        misspelt("default"),
        [
            "POOLHOUSE_DATABASE_URL is not a variable of poolhouse; did you mean DATABASE_URL?",
            "POOLHOUSE_LASY is not a variable of poolhouse; did you mean POOLHOUSE_LAZY?",
            "POOLHOUSE_MAXSIZE is not a variable of poolhouse; did you mean POOLHOUSE_MAX_SIZE?",
            "POOLHOUSE_MAX_CONNECTIONS is not a variable of poolhouse; did you mean POOLHOUSE_MAX_SIZE?",
            "POOLHOUSE_MIGRATOR has no effect: `migrator` cannot be set in the environment",
            "POOLHOUSE_URL is not a variable of poolhouse; did you mean DATABASE_URL?",
            "POOLHOUSE_lazy is not a variable of poolhouse; did you mean POOLHOUSE_LAZY?",
        ]
    );
    assert_eq!(
        misspelt("reports"),
        [
            "POOLHOUSE_REPORTS_MIN_SIZ is not a variable of poolhouse; did you mean POOLHOUSE_REPORTS_MIN_SIZE?"
        ]
    );
}

#[test]
fn the_variable_that_env_names_is_not_misspelt() {
    let sources = TestSources::with_url()
        .variable("POOLHOUSE_DATABASE_URL", "sqlite::memory:")
        .variable("POOLHOUSE_URL", "sqlite::memory:");
    let layers = sources.layers(&Settings::new().env("POOLHOUSE_DATABASE_URL"));
    assert_eq!(
        layers.unwrap().without_effect(),
        ["POOLHOUSE_URL is not a variable of poolhouse; did you mean POOLHOUSE_DATABASE_URL?"]
    );
}

#[test]
fn a_variable_of_a_node_that_has_no_effect() {
    let sources = TestSources::with_url()
        .variable("POOLHOUSE_NODES_EAST_URL", "sqlite:east.db")
        .variable("POOLHOUSE_NODES_EAST_DIRECT_URL", "sqlite:east.db")
        .variable("POOLHOUSE_NODES_EAST_MIN_SIZE", "1")
        .variable("POOLHOUSE_NODES_EAST_MAXSIZE", "5")
        .variable("POOLHOUSE_NODES_EAST_DATABASE_URL", "sqlite:west.db")
        .variable("POOLHOUSE_NODES_WEST_MAX_SIZE", "5")
        .variable("POOLHOUSE_NODES_SOUTH_URL", "");
    let layers = sources.layers(&Settings::new()).unwrap();
    assert_eq!(
        layers.without_effect(),
        [
            "POOLHOUSE_NODES_WEST_MAX_SIZE has no effect: the engine has no node of this name; known: east"
        ]
    );
    assert_eq!(
        layers.of_node("east").unwrap().without_effect(),
        [
            "POOLHOUSE_NODES_EAST_DATABASE_URL is not a variable of poolhouse; did you mean POOLHOUSE_NODES_EAST_URL?",
            "POOLHOUSE_NODES_EAST_MAXSIZE is not a variable of poolhouse; did you mean POOLHOUSE_NODES_EAST_MAX_SIZE?"
        ]
    );
}

/// Every size and every time of the table, at its bounds and beside them, from each source: a value within the bounds is
/// accepted, and any other is an error that names the setting.
#[test]
fn the_ends_of_every_size_and_time() {
    let numbers = || {
        let is_number = |takes| {
            matches!(
                takes,
                Takes::Count { .. } | Takes::Duration | Takes::Timeout | Takes::Limit
            )
        };
        TABLE.iter().filter(move |spec| is_number(spec.takes))
    };
    assert_eq!(numbers().count(), 15);
    for spec in numbers() {
        let ends = match spec.takes {
            Takes::Count { least, most, .. } => ends_of_count(least, most),
            takes => ends_of_time(
                matches!(takes, Takes::Duration),
                matches!(takes, Takes::Limit),
            ),
        };
        for (value, in_file, taken) in ends {
            check_value(spec.name, &value, &in_file, taken);
        }
    }
}

/// Values as the environment and as TOML has them, and whether they are accepted; `None` allows both.
type Ends = Vec<(String, String, Option<bool>)>;

fn ends_of_count(least: u64, most: u64) -> Ends {
    let beside = [0, 1, 2, least, most - 1, most, most + 1];
    let of_types = [
        u64::from(i32::MAX.unsigned_abs()),
        u64::from(i32::MAX.unsigned_abs()) + 1,
        u64::from(u32::MAX) - 1,
        u64::from(u32::MAX),
        u64::from(u32::MAX) + 1,
        u64::MAX,
    ];
    let within = beside.iter().chain(&of_types).map(|value| {
        let taken = (least..=most).contains(value);
        (value.to_string(), value.to_string(), Some(taken))
    });
    let beyond = [
        "18446744073709551616",
        "340282366920938463463374607431768211455",
        "-1",
    ];
    let beyond = beyond.map(|value| (value.to_owned(), value.to_owned(), Some(false)));
    within.chain(beyond).collect()
}

fn ends_of_time(zero: bool, off: bool) -> Ends {
    let ends = [
        ("0s", Some(zero)),
        ("1ns", Some(true)),
        ("2ns", Some(true)),
        ("1ms", Some(true)),
        ("99years", Some(true)),
        ("100years", Some(true)),
        ("1000years", Some(true)),
        ("18446744073709551615s", Some(true)),
        ("18446744073709551616s", Some(false)),
        // The parser of durations decides.
        ("584554531years", None),
        ("584942417355years", None),
        ("9999999999999999999years", Some(false)),
        ("-1s", Some(false)),
        ("off", Some(off)),
    ];
    let quoted = ends.map(|(value, taken)| (value.to_owned(), format!("'{value}'"), taken));
    quoted.into()
}

/// Checks one value from each source.
fn check_value(name: &str, value: &str, in_file: &str, taken: Option<bool>) {
    let variable = format!("POOLHOUSE_{}", name.to_ascii_uppercase());
    // `min_size` must not be more than `max_size`.
    let sources = || {
        if name == "min_size" {
            TestSources::with_url().variable("POOLHOUSE_MAX_SIZE", "262143")
        } else {
            TestSources::with_url()
        }
    };
    let of_environment = sources().variable(&variable, value);
    let of_dot_env = sources().file(".env", &format!("{variable}={value}"));
    let of_file = sources().file("poolhouse.toml", &format!("[engine]\n{name} = {in_file}"));
    for sources in [of_environment, of_dot_env, of_file] {
        let layers = match sources.layers(&Settings::new()) {
            Ok(layers) => layers,
            // A number that the TOML parser refuses.
            Err(error) => {
                assert!(error.to_string().contains("poolhouse.toml:2"), "{error}");
                assert!(taken != Some(true), "{name} = {value}: {error}");
                continue;
            }
        };
        let read = ProgramSettings::read(&layers).and_then(|_| EngineSettings::read(&layers, None));
        match read {
            Ok(settings) => {
                assert!(taken != Some(false), "{name} = {value} is taken");
                can_be_counted_with(&settings);
                assert!(settings.max_size <= 262_143, "{name} = {value}");
            }
            Err(error) => {
                assert!(taken != Some(true), "{name} = {value}: {error}");
                let error = error.to_string();
                assert!(error.contains(&format!("`{name}`")), "{error}");
            }
        }
    }
}

/// Checks that every time can be added to the present, twice.
fn can_be_counted_with(settings: &EngineSettings) {
    let now = std::time::Instant::now();
    for time in [
        Some(settings.acquire_timeout),
        Some(settings.connect_timeout),
        Some(settings.start_timeout),
        settings.idle_timeout,
        settings.max_lifetime,
        Some(settings.validate_after),
        settings.leak_after,
        Some(settings.close_timeout),
        Some(settings.slow_query),
    ] {
        let time = time.unwrap_or_default();
        assert!(now.checked_add(time * 2).is_some(), "{time:?}");
    }
}

#[test]
fn sizes_of_the_code_at_their_ends() {
    let code = || Settings::new().url("sqlite::memory:");
    for (taken, code) in [
        (false, code().max_size(0)),
        (true, code().max_size(1)),
        (true, code().max_size(262_143)),
        (false, code().max_size(262_144)),
        (false, code().max_size(u32::MAX)),
        (true, code().min_size(0)),
        (true, code().min_size(10)),
        (false, code().min_size(11)),
        (true, code().max_size(262_143).min_size(262_143)),
        (false, code().max_size(262_143).min_size(262_144)),
        (false, code().min_size(u32::MAX)),
        (true, code().statement_cache(0)),
        (true, code().statement_cache(1)),
        (true, code().statement_cache(u32::MAX)),
        (false, code().worker_threads(0)),
        (true, code().worker_threads(1)),
        (true, code().worker_threads(1024)),
        (false, code().worker_threads(1025)),
        (false, code().worker_threads(usize::MAX)),
    ] {
        let layers = TestSources::new().layers(&code).unwrap();
        let read = ProgramSettings::read(&layers).and_then(|_| EngineSettings::read(&layers, None));
        match read {
            Ok(_) => assert!(taken, "{code:?} is taken"),
            Err(error) => {
                assert!(!taken, "{code:?}: {error}");
                assert!(error.to_string().contains("(builder, "), "{error}");
            }
        }
    }
}

#[test]
fn durations_of_the_code_at_their_ends() {
    use std::time::Duration;
    for time in [
        Duration::MAX,
        Duration::new(u64::MAX, 999_999_998),
        Duration::from_secs(u64::MAX),
    ] {
        let code = Settings::new()
            .acquire_timeout(time)
            .connect_timeout(time)
            .start_timeout(time)
            .idle_timeout(time)
            .max_lifetime(time)
            .validate_after(time)
            .leak_after(time)
            .close_timeout(time)
            .slow_query(time)
            .drain_delay(time)
            .shutdown_timeout(time);
        let settings = TestSources::with_url().resolve(&code).unwrap();
        assert_eq!(settings.close_timeout, settings.acquire_timeout);
        assert!(settings.close_timeout < Duration::from_secs(4_000_000_000));
    }
    for code in [
        Settings::new().acquire_timeout(Duration::ZERO),
        Settings::new().connect_timeout(Duration::ZERO),
        Settings::new().start_timeout(Duration::ZERO),
        Settings::new().max_size(u32::MAX),
        Settings::new().max_size(0),
        Settings::new().min_size(u32::MAX),
    ] {
        let error = TestSources::with_url().error(&code);
        assert!(
            error.contains("(builder, ") && error.contains("expected"),
            "{error}"
        );
    }
}
