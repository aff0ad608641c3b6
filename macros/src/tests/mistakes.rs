//! Every mistake with its message and the tokens that the message is about.

use super::expand;
use proc_macro2::{Span, TokenStream, TokenTree};

/// The compile errors of an expansion: the text of each, and its message.
fn errors(source: &str) -> Vec<(String, String)> {
    collect(expand(source))
}

fn collect(tokens: TokenStream) -> Vec<(String, String)> {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let mut errors = Vec::new();
    for (index, tree) in trees.iter().enumerate() {
        if let TokenTree::Ident(name) = tree
            && name == "compile_error"
            && let Some(TokenTree::Group(group)) = trees.get(index + 2)
        {
            let literal =
                syn::parse2::<syn::LitStr>(group.stream()).expect("a message is one literal");
            errors.push((text_between(name.span(), literal.span()), literal.value()));
        }
    }
    errors
}

fn text_between(start: Span, end: Span) -> String {
    start
        .join(end)
        .and_then(|span| span.source_text())
        .unwrap_or_default()
}

/// Checks one use of the attribute: all of its errors, in order, each as "at" and "message".
#[track_caller]
pub(super) fn check(source: &str, expected: &[(&str, &str)]) {
    let errors = errors(source);
    let errors: Vec<(&str, &str)> = errors
        .iter()
        .map(|(at, message)| (&**at, &**message))
        .collect();
    assert_eq!(errors, expected, "in {source}");
}

/// Checks the settings of a `main` that is otherwise correct.
#[track_caller]
fn settings(args: &str, expected: &[(&str, &str)]) {
    check(
        &format!("#[with_pool({args})] async fn main(db: PgEngine) {{}}"),
        expected,
    );
}

#[test]
fn what_is_right_has_no_errors() {
    settings("", &[]);
    settings("max_size = 20, min_size = 20,", &[]);
    settings(
        "max_size = 262143u32, min_size = 0, worker_threads = 2usize, statement_cache = 0",
        &[],
    );
    settings(
        "acquire_timeout = \"1m 30s\", validate_after = \"0s\", leak_after = \"500ms\", idle_timeout = \"off\"",
        &[],
    );
    settings(
        "max_size = if cfg!(test) { 2 } else { 20 }, lazy = !true, url = URL, engine = name()",
        &[],
    );
    settings(
        "url = \"sqlite::memory:\", flavor = \"current_thread\"",
        &[],
    );
    settings("flavor = FLAVOR, worker_threads = 2", &[]);
    check(
        "#[with_pool] async fn serve(app: App, #[pool] db: PgEngine) {}",
        &[],
    );
    check("#[with_pool] async fn serve(parent: &PgEngine) {}", &[]);
    check(
        "#[with_pool] async fn serve(parent: PgEngine, #[pool] db: PgEngine) {}",
        &[],
    );
}

#[test]
fn all_mistakes_are_reported_at_once() {
    check(
        "#[with_pool(max_conections = 5, lazy = \"yes\", signals)] fn main(#[pool(min_size = -1)] db: PgEngine) {}",
        &[
            (
                "max_conections",
                "unknown setting `max_conections`: what sqlx calls `max_connections` is `max_size` in poolhouse",
            ),
            (
                "\"yes\"",
                "`lazy` takes `true` or `false`, without quotes: `lazy = true`",
            ),
            ("signals", "`signals` needs a value: `signals = false`"),
            ("-1", "`min_size` must be at least 0"),
            (
                "fn",
                "`main` must be an `async fn` under `#[with_pool]`; a runtime attribute such as `#[tokio::main]` goes below `#[with_pool]`, not above it",
            ),
        ],
    );
}

#[test]
fn a_broken_entry_does_not_hide_the_next() {
    settings(
        "\"max_size\" = 3, max_size: 20, url == \"a\", 5, lazy lazy, connect_with = tune::<A, B> x, min_size, , engine =, signals(true), flavor = \"x\"",
        &[
            (
                "\"max_size\"",
                "a setting's name is written without quotes: `max_size = …`",
            ),
            (":", "a setting is written with `=`: `max_size = …`"),
            ("=", "a setting is written with `=`: `url = …`"),
            ("5", "expected a setting, such as `max_size = 20`"),
            ("lazy", "expected `=` after `lazy`"),
            ("x", "expected `,` after the value of `connect_with`"),
            (",", "expected a setting, such as `max_size = 20`"),
            ("min_size", "`min_size` needs a value: `min_size = 2`"),
            ("engine", "`engine` needs a value: `engine = \"reports\"`"),
            (
                "signals",
                "`signals` takes its value with `=`: `signals = false`",
            ),
            (
                "\"x\"",
                "`flavor` takes one of `\"multi_thread\"`, `\"current_thread\"`",
            ),
        ],
    );
}

#[test]
fn a_value_without_a_name() {
    settings(
        "\"postgres://localhost/bands\", max_size = 20",
        &[(
            "\"postgres://localhost/bands\"",
            "expected a setting; the URL is one: `url = \"postgres://localhost/bands\"`",
        )],
    );
}

#[test]
fn a_lifespan_function_named_main() {
    check(
        "#[with_pool] async fn main(port: u16, name: &str, #[pool] db: PgEngine) {}",
        &[(
            "main",
            "a function named `main` is the program's main; give a lifespan function another name",
        )],
    );
    // The name may be an alias of an engine's type.
    check(
        "#[with_pool] async fn main(db: Database, #[pool] pool: PgPool) {}",
        &[],
    );
    // The compiler's error about the type says more.
    for ty in [
        "&PgEngine",
        "Option<PgEngine>",
        "Arc<sqlx::PgPool>",
        "(Shutdown, u8)",
    ] {
        let source = format!("#[with_pool] async fn main(other: {ty}, #[pool] db: PgEngine) {{}}");
        check(&source, &[]);
    }
}

#[test]
fn only_a_parameter_that_the_body_does_not_mention_is_allowed_to_be_unused() {
    let allows = |body: &str| {
        let source = format!(
            "#[with_pool(max_size = size)] async fn copy(size: u32, #[pool] db: PgEngine) {{ {body} }}"
        );
        expand(&source).to_string().contains("unused_variables")
    };
    assert!(allows("db.status();"));
    assert!(!allows("if size > 1 { f(size) }"));
    assert!(!allows("println!(\"{size}\")"));
}

#[test]
fn unknown_settings() {
    settings(
        "max_szie = 5",
        &[(
            "max_szie",
            "unknown setting `max_szie`: did you mean `max_size`?",
        )],
    );
    settings(
        "max_s",
        &[("max_s", "unknown setting `max_s`: did you mean `max_size`?")],
    );
    settings(
        "maxSize = 5",
        &[(
            "maxSize",
            "unknown setting `maxSize`: did you mean `max_size`?",
        )],
    );
    settings(
        "idle_time_out = \"5s\"",
        &[(
            "idle_time_out",
            "unknown setting `idle_time_out`: did you mean `idle_timeout`?",
        )],
    );
    check(
        "#[with_pool] async fn main(#[pool(colour = 5)] db: PgEngine) {}",
        &[(
            "colour",
            "unknown setting `colour`; the settings are `engine`, `url`, `env`, `direct_url`, `max_size`, `min_size`, `acquire_timeout`, `connect_timeout`, `start_timeout`, `idle_timeout`, `max_lifetime`, `validate_after`, `leak_after`, `close_timeout`, `lazy`, `statement_cache`, `application_name`, `session`, `connect_with`, `before_connect`, `pooler`, `extensions`, `log_queries`, `query_spans`, `slow_query`, `migrations`, `migrator`, `isolation`, `fixtures`",
        )],
    );
}

#[test]
fn names_of_other_pools() {
    #[rustfmt::skip]
    let rows = [
        ("max_connections", "sqlx", "`max_size` in poolhouse"),
        ("min_connections", "sqlx", "`min_size` in poolhouse"),
        ("test_before_acquire", "sqlx", "`validate_after` in poolhouse (`\"0s\"` pings before every use)"),
        ("acquire_slow_threshold", "sqlx", "`acquire_timeout` in poolhouse (its error names who holds the connections)"),
        ("after_connect", "sqlx", "`session` in poolhouse (SQL that is run on every new connection)"),
        ("maximumPoolSize", "HikariCP", "`max_size` in poolhouse"),
        ("minimumIdle", "HikariCP", "`min_size` in poolhouse"),
        ("connectionTimeout", "HikariCP", "`acquire_timeout` in poolhouse (a duration such as `\"30s\"`)"),
        ("leakDetectionThreshold", "HikariCP", "`leak_after` in poolhouse (a duration such as `\"1m\"`)"),
        ("keepaliveTime", "HikariCP", "`validate_after` in poolhouse (how long a connection may be idle before it is pinged)"),
        ("timeouts", "deadpool", "`acquire_timeout` in poolhouse"),
        ("wait_timeout", "deadpool", "`acquire_timeout` in poolhouse"),
        ("recycle", "deadpool", "`validate_after` in poolhouse (how long a connection may be idle before it is pinged)"),
        ("dsn", "asyncpg", "`url` in poolhouse"),
        ("command_timeout", "asyncpg", "`session` in poolhouse (`session = \"SET statement_timeout = '5s'\"`)"),
        ("max_inactive_connection_lifetime", "asyncpg", "`idle_timeout` in poolhouse"),
        ("core_threads", "tokio", "`worker_threads` in poolhouse"),
    ];
    for (name, library, ours) in rows {
        let message = format!("unknown setting `{name}`: what {library} calls `{name}` is {ours}");
        settings(&format!("{name} = 5"), &[(name, &message)]);
    }
}

#[test]
fn values_of_the_wrong_type() {
    #[rustfmt::skip]
    let rows = [
        ("engine", "5", "takes text: `engine = \"reports\"`"),
        ("engine", "b\"x\"", "takes text: `engine = \"reports\"`"),
        ("session", "true", "takes text: `session = \"SET TIME ZONE 'UTC'\"`"),
        ("url", "5", "takes text: `url = \"postgres://localhost/bands\"`"),
        ("max_size", "\"20\"", "takes a whole number, without quotes: `max_size = 20`"),
        ("max_size", "20.5", "takes a whole number: `max_size = 20`"),
        ("max_size", "true", "takes a whole number: `max_size = 20`"),
        ("max_size", "20u64", "takes a `u32`, not a `u64`"),
        ("worker_threads", "4u32", "takes a `usize`, not a `u32`"),
        ("acquire_timeout", "30", "takes a duration with its unit: `acquire_timeout = \"30s\"`"),
        ("idle_timeout", "600", "takes a duration with its unit: `idle_timeout = \"600s\"`"),
        ("max_lifetime", "false", "takes a duration or `\"off\"`: `max_lifetime = \"30m\"`"),
        ("acquire_timeout", "true", "takes a duration: `acquire_timeout = \"30s\"`"),
        ("lazy", "1", "takes `true` or `false`: `lazy = true`"),
        ("lazy", "\"true\"", "takes `true` or `false`, without quotes: `lazy = true`"),
        ("log_queries", "\"verbose\"", "takes one of `\"off\"`, `\"error\"`, `\"warn\"`, `\"info\"`, `\"debug\"`, `\"trace\"`"),
        ("log_queries", "false", "takes one of `\"off\"`, `\"error\"`, `\"warn\"`, `\"info\"`, `\"debug\"`, `\"trace\"`"),
        ("extensions", "\"citext\"", "takes a list of texts: `extensions = [\"citext\"]`"),
        ("connect_with", "\"tune\"", "takes the path of a function, without quotes: `connect_with = tune`"),
        ("migrations", "true", "takes a directory: `migrations = \"migrations\"`"),
        ("migrator", "\"migrations\"", "takes the path of a static `Migrator`: `migrator = MIGRATOR`; a directory is set with `migrations`"),
        ("crate", "\"db\"", "takes a path, without quotes: `crate = ::poolhouse`"),
        ("crate", "a + b", "takes a path: `crate = ::poolhouse`"),
    ];
    for (name, value, message) in rows {
        settings(
            &format!("{name} = {value}"),
            &[(value, &format!("`{name}` {message}"))],
        );
    }
    settings(
        "extensions(\"a\", 5)",
        &[(
            "5",
            "`extensions` takes a list of texts: `extensions = [\"citext\"]`",
        )],
    );
    settings(
        "extensions()",
        &[(
            "extensions",
            "`extensions` needs a value: `extensions = [\"citext\"]`",
        )],
    );
}

/// In a crate that renames poolhouse, a path into `::poolhouse` would be a further error.
#[test]
fn a_mistake_in_crate_emits_no_path_into_poolhouse() {
    for mistaken in [
        "crate = \"pools\"",
        "crate",
        "crate(::pools)",
        "krate = ::pools",
    ] {
        for function in [
            format!("#[with_pool({mistaken}, max_size = 5)] async fn main(db: PgEngine) {{}}"),
            format!("#[with_pool({mistaken})] #[tokio::main] async fn main(db: PgEngine) {{}}"),
            format!("#[with_pool({mistaken})] async fn serve(app: App, #[pool] db: PgEngine) {{}}"),
            format!("#[with_pool({mistaken})] #[tokio::test] async fn t(db: PgEngine) {{}}"),
            format!(
                "#[transactional({mistaken}, retries = 3)] async fn f(tx: &mut Transaction<Postgres>) -> R {{}}"
            ),
        ] {
            assert_eq!(errors(&function).len(), 1, "{function}");
            let output = expand(&function).to_string();
            let emitted = output.split("compile_error").next().unwrap_or_default();
            assert!(!emitted.contains(":: poolhouse"), "{emitted}");
        }
    }
    let right = "#[with_pool(crate = ::pools, max_size = \"5\")] async fn main(db: PgEngine) {}";
    assert!(expand(right).to_string().contains("block_on"));
}

#[test]
fn a_setting_that_uses_a_variable_of_a_pattern() {
    let with = |settings: &str, expected: &[(&str, &str)]| {
        check(
            &format!(
                "#[with_pool({settings})] async fn serve(Config {{ n, .. }}: Config, whole @ Pair(a, b): Pair, #[pool] db: PgEngine) {{}}"
            ),
            expected,
        );
    };
    let message = |name: &str, ty: &str| {
        format!(
            "a setting cannot use `{name}`, which is part of a pattern; give the parameter a name, as in `value: {ty}`, and take it apart in the body"
        )
    };
    for value in [
        "n",
        "n + 1",
        "u32::from(n)",
        "(n)",
        "if true { n } else { 3 }",
        "n.max(3)",
    ] {
        with(
            &format!("max_size = {value}"),
            &[("n", &message("n", "Config"))],
        );
    }
    with("extensions(\"citext\", a)", &[("a", &message("a", "Pair"))]);
    // None of these names the variable, or the value has a variable of the same name.
    for value in [
        "whole.n",
        "n::SIZE",
        "sizes::n",
        "n()",
        "n!()",
        "size(|n| n + 1)",
        "{ let n = 3; n }",
        "of(Size { n: 3 })",
        "whole",
    ] {
        with(&format!("max_size = {value}"), &[]);
    }
    check(
        "#[with_pool] async fn serve((a, b): (u8, String), #[pool(url = b)] db: PgEngine) {}",
        &[("b", &message("b", "(u8, String)"))],
    );
}

#[test]
fn self_in_the_body_of_an_associated_function() {
    let body = |body: &str, expected: &[(&str, &str)]| {
        check(
            &format!("#[with_pool] async fn create(#[pool] db: PgEngine) -> u8 {{ {body} }}"),
            expected,
        );
    };
    let message = "`Self` has no meaning under `#[with_pool]`, which moves the body to a function of its own; write the type's name";
    for mistaken in [
        "Self::new(db)",
        "if x { f(Self { db }) }",
        "let new: Self = new(db);",
        "struct A; let a = A; a.f(!Self::b())",
        "impl A { fn f(self) -> Self { self } } Self::new(db)",
        "let x = vec![1]; [Self::A; 2]",
    ] {
        body(mistaken, &[("Self", message)]);
    }
    for right in [
        "impl A { fn f(self) -> Self { Self } }",
        "trait A: Sized { fn f(self) -> Self; }",
        "struct Node { next: Option<Box<Self>> } struct Pair(Box<Self>, u8); 3",
        "enum List { Nil, More(Box<Self>) }",
        "macro_rules! own { () => { Self } }",
        "quote!(Self); quote! { Self }; #[derive_with(Self)] struct A;",
    ] {
        body(right, &[]);
    }
}

#[test]
fn values_out_of_range() {
    #[rustfmt::skip]
    let rows = [
        ("max_size", "0", "must be at least 1"),
        ("max_size", "(-5)", "must be at least 1"),
        ("max_size", "262144", "must be at most 262143"),
        ("min_size", "262144", "must be at most 262143"),
        ("statement_cache", "4294967296", "must be at most 4294967295"),
        ("max_size", "99999999999999999999999", "must be at most 262143"),
        ("worker_threads", "1025", "must be at most 1024"),
        ("worker_threads", "0", "must be at least 1"),
        ("statement_cache", "-1", "must be at least 0"),
        ("engine", "\" \"", "must not be empty"),
        ("url", "\"DATABASE_URL\"", "takes a URL, which begins with the kind of database: `sqlite:`, `postgres:`, `mysql:`; the name of a variable is set with `env`"),
        ("env", "\"postgres://localhost\"", "takes the name of a variable; the URL itself is set with `url`"),
        ("env", "\"$DATABASE_URL\"", "takes the name of a variable, such as `\"DATABASE_URL\"`; `$DATABASE_URL` is not one"),
        ("acquire_timeout", "\"30\"", "= \"30\" has no unit; write `\"30s\"`, `\"1m 30s\"` or `\"500ms\"`"),
        ("acquire_timeout", "\"5 parsecs\"", "= \"5 parsecs\" has the unknown unit `parsecs`; write `\"30s\"`, `\"1m 30s\"` or `\"500ms\"`"),
        ("acquire_timeout", "\"soon\"", "= \"soon\" is not a duration; write `\"30s\"`, `\"1m 30s\"` or `\"500ms\"`"),
        ("acquire_timeout", "\"0s\"", "must be above zero"),
        ("start_timeout", "\"0ms\"", "must be above zero"),
        ("idle_timeout", "\"0s\"", "must be above zero; `\"off\"` switches it off"),
        ("leak_after", "\"never\"", "= \"never\" is not a duration; write `\"30s\"`, `\"1m 30s\"` or `\"500ms\"`"),
        ("acquire_timeout", "\"off\"", "= \"off\" is not a duration; write `\"30s\"`, `\"1m 30s\"` or `\"500ms\"`"),
        ("acquire_timeout", "\"-5s\"", "= \"-5s\" is not a duration; write `\"30s\"`, `\"1m 30s\"` or `\"500ms\"`"),
        ("acquire_timeout", "\"99999999999999999999s\"", "= \"99999999999999999999s\" is out of range; write `\"30s\"`, `\"1m 30s\"` or `\"500ms\"`"),
    ];
    for (name, value, message) in rows {
        settings(
            &format!("{name} = {value}"),
            &[(value, &format!("`{name}` {message}"))],
        );
    }
}

#[test]
fn settings_that_do_not_go_together() {
    settings(
        "max_size = 5, max_size = 6",
        &[("max_size", "`max_size` is set twice; keep one of the two")],
    );
    settings(
        "min_size = 20, lazy = true, max_size = 10",
        &[(
            "min_size = 20, lazy = true, max_size",
            "`min_size = 20` is more than `max_size = 10`",
        )],
    );
    settings(
        "max_size = 10, min_size = 20",
        &[(
            "max_size = 10, min_size",
            "`min_size = 20` is more than `max_size = 10`",
        )],
    );
    settings(
        "env = \"A\", url = \"sqlite:a\"",
        &[(
            "env = \"A\", url",
            "`url` and `env` are both set, but the URL is either written here or read from a variable",
        )],
    );
    settings(
        "migrations = \"snapshots/migrations\", migrator = M",
        &[(
            "migrations = \"snapshots/migrations\", migrator",
            "`migrations` and `migrator` are both set, but the migrations come either from a directory or from a `Migrator`",
        )],
    );
    settings(
        "pooler = \"pgbouncer\", session = \"SET x = 1\"",
        &[(
            "pooler = \"pgbouncer\", session",
            "`session` and `pooler` are both set, but behind a pooler the next statement may be in another session of the server",
        )],
    );
    settings(
        "flavor = \"current_thread\", worker_threads = 2",
        &[(
            "worker_threads",
            "`worker_threads` needs `flavor = \"multi_thread\"`: a current-thread runtime has no workers",
        )],
    );
}

#[test]
fn settings_that_do_not_belong_to_the_position() {
    check(
        "#[with_pool(worker_threads = 2)] #[tokio::main] async fn main() {}",
        &[(
            "worker_threads",
            "`worker_threads` belongs in `#[tokio::main(…)]`, which builds the runtime here",
        )],
    );
    check(
        "#[with_pool(worker_threads = 2)] #[tokio::main] async fn serve(#[pool] db: PgEngine) {}",
        &[(
            "worker_threads",
            "`worker_threads` belongs in `#[tokio::main(…)]`, which builds the runtime here",
        )],
    );
    check(
        "#[with_pool(flavor = \"multi_thread\")] async fn serve(#[pool] db: PgEngine) {}",
        &[(
            "flavor",
            "`flavor` belongs on `main`: any other function runs on its caller's runtime",
        )],
    );
    check(
        "#[with_pool] async fn main(#[pool(signals = true, crate = x, flavor = \"multi_thread\")] db: PgEngine) {}",
        &[
            (
                "signals",
                "`signals` is not a setting of one engine; write it in `#[with_pool(signals = …)]`",
            ),
            (
                "crate",
                "`crate` is not a setting of one engine; write it in `#[with_pool(crate = …)]`",
            ),
            (
                "flavor",
                "`flavor` is not a setting of one engine; write it in `#[with_pool(flavor = …)]`",
            ),
        ],
    );
}

#[test]
fn directories_of_migrations() {
    let errors = errors("#[with_pool(migrations = \"nowhere\")] async fn main() {}");
    let [(at, message)] = &*errors else {
        panic!("{errors:?}")
    };
    assert_eq!(at, "\"nowhere\"");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/nowhere");
    assert!(
        message.starts_with(&format!(
            "cannot read the directory of migrations {directory}: "
        )),
        "{message}"
    );
}

#[test]
fn settings_of_an_engine_that_no_parameter_has() {
    let of_default = "is a setting of the engine `default`, which no parameter has; write it in the `#[pool(…)]` of a parameter";
    check(
        "#[with_pool(max_size = 50, signals = false, migrations = MIGRATIONS)] async fn main(#[pool(engine = \"reports\")] db: PgEngine, shutdown: Shutdown) {}",
        &[
            ("max_size", &format!("`max_size` {of_default}")),
            ("migrations", &format!("`migrations` {of_default}")),
        ],
    );
    check(
        "#[with_pool(isolation = \"none\", fixtures(seed))] #[tokio::test] async fn t(#[pool(engine = \"reports\")] db: PgEngine) {}",
        &[
            ("isolation", &format!("`isolation` {of_default}")),
            ("fixtures", &format!("`fixtures` {of_default}")),
        ],
    );
    check(
        "#[with_pool(engine = \"a\")] async fn serve(app: App, #[pool(engine = \"b\")] db: PgEngine, #[pool(engine = \"c\")] other: PgPool) {}",
        &[(
            "engine",
            "`engine` is a setting of the engine `a`, which no parameter has; write it in the `#[pool(…)]` of a parameter",
        )],
    );
    for right in [
        "#[with_pool(max_size = 5)] async fn main(#[pool(engine = \"reports\")] db: PgEngine, own: PgEngine) {}",
        "#[with_pool(max_size = 5)] async fn main(#[pool(engine = \"default\")] db: PgEngine) {}",
        "#[with_pool(engine = \"a\", max_size = 5)] async fn main(#[pool(engine = \"a\")] db: PgEngine) {}",
        "#[with_pool(max_size = 5)] async fn main(#[pool(engine = NAME)] db: PgEngine) {}",
        "#[with_pool(max_size = 5)] async fn main(shutdown: Shutdown) {}",
        "#[with_pool(max_size = 5)] async fn serve(app: App) {}",
        "#[with_pool(shutdown_timeout = \"5s\", crate = pools)] async fn main(#[pool(engine = \"reports\")] db: PgEngine) {}",
    ] {
        check(right, &[]);
    }
}

#[test]
fn marks_on_parameters() {
    check(
        "#[with_pool] async fn main(#[pool = \"a\"] a: PgEngine, #[pool] #[pool(lazy = true)] b: PgEngine) {}",
        &[
            (
                "#[pool = \"a\"]",
                "settings of a parameter are written in parentheses: `#[pool(engine = \"reports\")]`",
            ),
            (
                "#[pool(lazy = true)]",
                "`#[pool]` stands on this parameter twice; keep one",
            ),
        ],
    );
    check(
        "#[with_pool] #[pool] async fn serve(db: Engine<Postgres>, other: &str) {}",
        &[
            (
                "#[pool]",
                "`#[pool]` goes on a parameter, in front of its name: `#[pool] db: PgEngine`",
            ),
            (
                "db",
                "poolhouse fills in this parameter only when it is marked: `#[pool] db: Engine<Postgres>`; on a test, `#[with_pool]` goes above the test attribute",
            ),
        ],
    );
    check(
        "#[with_pool] async fn serve(#[pool] a: impl Into<PgEngine>, #[cfg(unix)] b: u8) {}",
        &[
            (
                "#[cfg(unix)]",
                "a parameter under `#[with_pool]` cannot depend on `#[cfg]`; write two functions and put `#[cfg]` on each",
            ),
            (
                "impl",
                "poolhouse must know the type of a parameter that it fills in, such as `PgEngine`",
            ),
        ],
    );
    let twelve = "_: PgEngine, ".repeat(12);
    check(&format!("#[with_pool] async fn main({twelve}) {{}}"), &[]);
    check(
        &format!("#[with_pool] async fn main({twelve} more: PgEngine) {{}}"),
        &[(
            "more",
            "poolhouse fills in at most 12 parameters; further engines can be had from `engine_finder` in the body",
        )],
    );
}

#[test]
fn functions_that_cannot_carry_the_attribute() {
    check(
        "#[with_pool] fn serve() {}",
        &[(
            "fn",
            "`#[with_pool]` goes on an `async fn`: `async fn serve`",
        )],
    );
    check(
        "#[with_pool] async unsafe extern \"C\" fn serve(app: u8, ...) {}",
        &[
            (
                "unsafe",
                "a function under `#[with_pool]` cannot be `unsafe`; write `unsafe { … }` in its body",
            ),
            (
                "extern \"C\"",
                "a function under `#[with_pool]` cannot be `extern`",
            ),
            ("...", "a function under `#[with_pool]` cannot be variadic"),
        ],
    );
    check(
        "#[with_pool] const fn serve() {}",
        &[
            (
                "fn",
                "`#[with_pool]` goes on an `async fn`: `async fn serve`",
            ),
            ("const", "a function under `#[with_pool]` cannot be `const`"),
        ],
    );
    check(
        "#[with_pool] async fn main<T, U>(db: Engine<T>) where T: Database {}",
        &[
            ("T, U", "`main` cannot be generic"),
            ("where", "`main` cannot have a `where` clause"),
        ],
    );
    let method =
        "`#[with_pool]` cannot stand on a method; put it on a free function that the method calls";
    check(
        "#[with_pool] async fn main(#[pool] &mut self, #[pool] db: PgEngine) {}",
        &[("self", method)],
    );
    check(
        "#[with_pool] async fn run(self: Box<Self>) -> Self {}",
        &[("self", method)],
    );
    check(
        "#[with_pool] async fn new(#[pool] db: PgEngine) -> Result<Self, Error> {}",
        &[(
            "Self",
            "`Self` has no meaning under `#[with_pool]`, which moves the body to a function of its own; write the type's name",
        )],
    );
}

#[test]
fn the_attribute_twice() {
    let message = "`#[with_pool]` stands on this function twice; write all settings in one, and those of another engine in the `#[pool(…)]` of a parameter";
    for (function, second) in [
        (
            "#[with_pool(max_size = 5)] async fn main(db: PgEngine) {}",
            "#[with_pool(max_size = 5)]",
        ),
        (
            "#[tokio::main] #[poolhouse::with_pool] async fn main() {}",
            "#[poolhouse::with_pool]",
        ),
        (
            "#[with_pool] async fn serve(#[pool] db: PgEngine) {}",
            "#[with_pool]",
        ),
        (
            "#[with_pool] #[tokio::test] async fn t(db: PgEngine) {}",
            "#[with_pool]",
        ),
    ] {
        let source = format!("#[with_pool] {function}");
        check(&source, &[(second, message)]);
        // The second one is not expanded, which would report other mistakes.
        let output = expand(&source).to_string();
        let emitted = output.split("compile_error").next();
        assert!(
            !emitted.unwrap_or_default().contains("with_pool"),
            "{output}"
        );
    }
    // One of the two conditions is false.
    check(
        "#[with_pool] #[cfg_attr(unix, with_pool(max_size = 5))] async fn main() {}",
        &[],
    );
}

#[test]
fn rocket_launch() {
    let message = |attribute: &str| {
        format!(
            "`#[{attribute}]` starts the server after this function has returned, when the pool is closed; write `#[rocket::main]` on `async fn main`, and `.launch().await` in it"
        )
    };
    for attribute in ["launch", "rocket::launch"] {
        for function in ["async fn rocket(#[pool] db: PgEngine)", "fn rocket()"] {
            check(
                &format!("#[with_pool] #[{attribute}] {function} -> _ {{}}"),
                &[(attribute, &message(attribute))],
            );
        }
    }
    check(
        "#[with_pool] #[cfg_attr(unix, rocket::launch)] async fn rocket() -> Rocket<Build> {}",
        &[("rocket::launch", &message("rocket::launch"))],
    );
}

#[test]
fn test_functions() {
    for attribute in [
        "test",
        "tokio::test",
        "tokio::test(flavor = \"multi_thread\")",
        "rocket::async_test",
        "test_log::test(tokio::test)",
        "cfg_attr(unix, tokio::test)",
    ] {
        check(
            &format!(
                "#[with_pool(isolation = \"rollback\")] #[{attribute}] async fn t(db: PgEngine) {{}}"
            ),
            &[],
        );
    }
    check(
        "#[with_pool] #[rstest] #[case(1)] #[tokio::test] async fn t(#[case] n: u8, #[pool] db: PgEngine) {}",
        &[],
    );
    check(
        "#[with_pool] #[rstest] #[tokio::test] async fn t(#[case] n: u8, db: PgEngine) {}",
        &[(
            "db",
            "poolhouse fills in this parameter only when it is marked: `#[pool] db: PgEngine`",
        )],
    );
}

#[test]
fn a_test_attribute_with_a_test_attribute_as_its_argument_builds_the_runtime() {
    for attribute in ["test", "test_log::test"] {
        let message = format!(
            "`worker_threads` belongs in `#[{attribute}(…)]`, which builds the runtime here"
        );
        check(
            &format!(
                "#[with_pool(worker_threads = 2)] #[{attribute}(tokio::test)] async fn t(db: PgEngine) {{}}"
            ),
            &[("worker_threads", &message)],
        );
        check(
            &format!(
                "#[with_pool(worker_threads = 2)] #[{attribute}] async fn t(db: PgEngine) {{}}"
            ),
            &[],
        );
    }
}

#[test]
fn attributes_that_give_a_test_its_parameters() {
    for attribute in [
        "test_case(1)",
        "test_matrix([1, 2])",
        "test_case::test_matrix([1, 2])",
        "apply(cases)",
        "rstest_reuse::apply(cases)",
    ] {
        check(
            &format!(
                "#[with_pool] #[{attribute}] #[tokio::test] async fn t(n: u8, #[pool] db: PgEngine) {{}}"
            ),
            &[],
        );
        check(
            &format!(
                "#[with_pool] #[{attribute}] #[tokio::test] async fn t(n: u8, db: PgEngine) {{}}"
            ),
            &[(
                "db",
                "poolhouse fills in this parameter only when it is marked: `#[pool] db: PgEngine`",
            )],
        );
    }
    // The `apply` of `macro_rules_attribute` gives none, and makes no test.
    for attribute in [
        "apply(main!)",
        "macro_rules_attribute::apply(smol_macros::main!)",
    ] {
        check(
            &format!(
                "#[with_pool(isolation = \"none\")] #[{attribute}] async fn main(db: PgEngine) {{}}"
            ),
            &[(
                "isolation",
                "`isolation` belongs on a test function, above its test attribute",
            )],
        );
    }
}

#[test]
fn a_test_attribute_above_ours() {
    // `#[tokio::test]` has turned the test into a synchronous function, with `#[test]` above.
    check(
        "#[with_pool] #[::core::prelude::v1::test] fn t() {}",
        &[(
            "fn",
            "a test must be an `async fn` under `#[with_pool]`; a test attribute such as `#[tokio::test]` goes below `#[with_pool]`, not above it",
        )],
    );
    check(
        "#[with_pool] async fn t(db: PgEngine) {}",
        &[(
            "db",
            "poolhouse fills in this parameter only when it is marked: `#[pool] db: PgEngine`; on a test, `#[with_pool]` goes above the test attribute",
        )],
    );
}

#[test]
fn settings_of_tests() {
    let on_test = |args: &str, expected: &[(&str, &str)]| {
        check(
            &format!("#[with_pool({args})] #[tokio::test] async fn t(db: PgEngine) {{}}"),
            expected,
        );
    };
    on_test("fixtures(seed, seeds::bands), migrations = false", &[]);
    on_test(
        "isolation = \"rolback\"",
        &[(
            "\"rolback\"",
            "`isolation` takes one of `\"database\"`, `\"rollback\"`, `\"none\"`; did you mean `\"rollback\"`?",
        )],
    );
    on_test(
        "fixtures = \"bands\"",
        &[(
            "fixtures",
            "`fixtures` takes a list in parentheses: `fixtures(\"bands\")`",
        )],
    );
    on_test(
        "fixtures(5)",
        &[(
            "5",
            "a fixture is a file of SQL, `\"bands\"`, or the path of an async function, `seed_bands`",
        )],
    );
    on_test(
        "worker_threads = 2",
        &[(
            "worker_threads",
            "`worker_threads` belongs in `#[tokio::test(…)]`, which builds the runtime here",
        )],
    );
    settings(
        "isolation = \"none\"",
        &[(
            "isolation",
            "`isolation` belongs on a test function, above its test attribute",
        )],
    );
}

#[test]
fn items_that_are_not_functions() {
    check(
        "#[with_pool] struct Service;",
        &[(
            "struct",
            "`#[with_pool]` goes on an `async fn` with a body (expected `fn`)",
        )],
    );
    check(
        "#[with_pool(max_siz = 5)] async fn f();",
        &[
            (
                "max_siz",
                "unknown setting `max_siz`: did you mean `max_size`?",
            ),
            (
                ";",
                "`#[with_pool]` goes on an `async fn` with a body (expected the body of a function)",
            ),
        ],
    );
}
