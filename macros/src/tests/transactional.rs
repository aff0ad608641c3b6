//! Every mistake under `#[transactional]` with its message and the tokens that the message is about.

use super::mistakes::check;

/// Checks the arguments of a function that is otherwise correct.
#[track_caller]
fn arguments(args: &str, expected: &[(&str, &str)]) {
    check(
        &format!(
            "#[transactional({args})] async fn add(tx: &mut Transaction<Postgres>) -> sqlx::Result<()> {{ Ok(()) }}"
        ),
        expected,
    );
}

/// Checks a function under the attribute without arguments.
#[track_caller]
fn function(source: &str, expected: &[(&str, &str)]) {
    check(&format!("#[transactional] {source}"), expected);
}

#[test]
fn what_is_right_has_no_errors() {
    for args in [
        "",
        "isolation = \"serializable\", retries = 3,",
        "isolation = \"REPEATABLE_READ\"",
        "isolation = IsolationLevel::ReadCommitted, retries = RETRIES, timeout = LIMIT",
        "read_only, deferrable = true, join",
        "read_only = false, timeout = \"1m 30s\"",
        "local(\"app.tenant\" = tenant, \"app.user\" = &user.id)",
        "retry_if = |error: &AppError| error.again(), retries = 0usize + 1",
        "retry_if = AppError::again, mandatory",
        "durable = true, mandatory = false, join = false",
    ] {
        arguments(args, &[]);
    }
    for source in [
        "async fn f(&self, tx: &mut poolhouse::Transaction<DB>) -> Result<(), E> {}",
        "async fn f(self, _: u8, (a, b): (u8, u8), mut tx: &mut PgTransaction, mut x: T) -> ApiResult {}",
        "async fn f(tx: &'_ mut Transaction<Postgres>) -> Result<impl Sized, E> {}",
        "async fn f(tx: &mut Transaction<Postgres>, entry: &BankTransaction) -> R {}",
        "async fn f(tx: &mut Transaction<Postgres>) -> Result<(), Box<dyn Error + Send + Sync>> {}",
        "async fn f(tx: &mut Transaction<Postgres>) -> Result<(), Box<dyn Error + Send>> {}",
        "async fn f(tx: &mut Transaction<Postgres>) -> Result<(), Box<dyn AppError>> {}",
        "async fn f(tx: &mut Transaction<Postgres>) -> Result<Box<dyn Display + Send>, AppError> {}",
        "async fn f(entry: BankTransaction, tx: &mut PgTransaction) -> R {}",
        "async fn f(entries: &bank::CardTransaction, tx: &mut poolhouse::Transaction<DB>, entry: BankTransaction) -> R {}",
    ] {
        function(source, &[]);
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    check(
        "#[transactional(retires = 3, timeout = 5, \"serializable\")] fn add(tx: &Transaction<Postgres>, out: &mut Vec<u8>) {}",
        &[
            (
                "\"serializable\"",
                "expected an argument, such as `isolation = \"serializable\"`",
            ),
            (
                "retires",
                "unknown argument `retires`: did you mean `retries`?",
            ),
            (
                "5",
                "`timeout` takes a duration with its unit: `timeout = \"5s\"`",
            ),
            (
                "fn",
                "`#[transactional]` goes on an `async fn`: `async fn add`",
            ),
            (
                "&Transaction<Postgres>",
                "the transaction is borrowed, so write `tx: &mut Transaction<Postgres>`",
            ),
            (
                "&mut Vec<u8>",
                "`out` cannot be had again for another try; take `&Vec<u8>`, return what it collects, or write `retries = 0`",
            ),
            (
                "add",
                "the function must return a `Result`, such as `-> sqlx::Result<()>`: the transaction is committed after `Ok` and rolled back after `Err`",
            ),
        ],
    );
}

#[test]
fn unknown_arguments() {
    #[rustfmt::skip]
    let rows = [
        ("retires = 3", "retires", "did you mean `retries`?"),
        ("retry = 3", "retry", "write `retries`, which does not count the first try"),
        ("isolat = \"serializable\"", "isolat", "did you mean `isolation`?"),
        ("readOnly = true", "readOnly", "did you mean `read_only`?"),
        ("readonly = true", "readonly", "did you mean `read_only`?"),
        ("max_retries = 3", "max_retries", "write `retries`, which does not count the first try"),
        ("maxAttempts = 3", "maxAttempts", "write `retries`, which does not count the first try"),
        ("propagation = \"required\"", "propagation", "that is `join`, which is the default"),
        ("propagation = Propagation::REQUIRES_NEW", "propagation", "write `join = false`"),
        ("propagation = \"mandatory\"", "propagation", "write `mandatory`"),
        ("propagation = \"never\"", "propagation", "write `durable`, which is an error inside of a transaction"),
        ("propagation = \"sideways\"", "propagation", "how a transaction stands to the one around it is said by `join` (the default: a savepoint of it), `join = false` (one of its own), `mandatory` (an error outside of one) or `durable` (an error inside of one)"),
        ("requires_new", "requires_new", "write `join = false`"),
        ("rollback_for = AppError", "rollback_for", "every `Err` rolls back, so leave it out"),
        ("rollbackFor = AppError", "rollbackFor", "every `Err` rolls back, so leave it out"),
        ("noRollbackFor = AppError", "noRollbackFor", "every `Err` rolls back; return what is to be committed as `Ok`"),
        ("isolation_level = \"serializable\"", "isolation_level", "write `isolation`"),
        ("using = \"reports\"", "using", "leave it out; the caller passes the engine: `transfer(&db, …)`"),
    ];
    for (args, at, hint) in rows {
        let message = format!("unknown argument `{at}`: {hint}");
        arguments(args, &[(at, &message)]);
    }
    arguments(
        "colour = 5",
        &[(
            "colour",
            "unknown argument `colour`; the arguments are `isolation`, `read_only`, `deferrable`, `retries`, `retry_if`, `timeout`, `local`, `join`, `mandatory`, `durable`, `crate`",
        )],
    );
}

#[test]
fn values_of_arguments() {
    let levels = "takes one of `\"read uncommitted\"`, `\"read committed\"`, `\"repeatable read\"`, `\"serializable\"`";
    #[rustfmt::skip]
    let rows = [
        ("isolation = \"snapshot\"", "\"snapshot\"", format!("`isolation` {levels}")),
        ("isolation = \"serialisable\"", "\"serialisable\"", format!("`isolation` {levels}; did you mean `\"serializable\"`?")),
        ("isolation = 3", "3", format!("`isolation` {levels}")),
        ("isolation", "isolation", "`isolation` needs a value: `isolation = \"serializable\"`".into()),
        ("isolation(\"serializable\")", "isolation", "`isolation` takes its value with `=`: `isolation = \"serializable\"`".into()),
        ("read_only =", "read_only", "`read_only` needs a value: `read_only`".into()),
        ("read_only = \"true\"", "\"true\"", "`read_only` takes `true` or `false`, written out: `read_only = true`".into()),
        ("join = JOIN", "JOIN", "`join` takes `true` or `false`, written out: `join = true`".into()),
        ("join(true)", "join", "`join` takes its value with `=`: `join = true`".into()),
        ("retries", "retries", "`retries` needs a value: `retries = 3`".into()),
        ("retries = \"3\"", "\"3\"", "`retries` takes a whole number, without quotes: `retries = 3`".into()),
        ("retries = -1", "-1", "`retries` must be at least 0".into()),
        ("retries = 3u32", "3u32", "`retries` takes a `usize`, not a `u32`".into()),
        ("retries = 2.5", "2.5", "`retries` takes a whole number: `retries = 3`".into()),
        ("retries = false", "false", "`retries` takes a whole number; `retries = 0` runs nothing again".into()),
        ("timeout = \"0s\"", "\"0s\"", "`timeout` must be above zero; a transaction without a limit has no `timeout`".into()),
        ("timeout = \"5\"", "\"5\"", "`timeout` = \"5\" has no unit; write `\"30s\"`, `\"1m 30s\"` or `\"500ms\"`".into()),
        ("timeout = \"soon\"", "\"soon\"", "`timeout` = \"soon\" is not a duration; write `\"30s\"`, `\"1m 30s\"` or `\"500ms\"`".into()),
        ("timeout = 5", "5", "`timeout` takes a duration with its unit: `timeout = \"5s\"`".into()),
        ("timeout = true", "true", "`timeout` takes a duration: `timeout = \"5s\"`".into()),
        ("local", "local", "`local` needs a value: `local(\"app.tenant\" = tenant)`".into()),
        ("local()", "local", "`local` needs a value: `local(\"app.tenant\" = tenant)`".into()),
        ("local = tenant", "local", "`local` takes names and values in parentheses: `local(\"app.tenant\" = tenant)`".into()),
        ("local(tenant)", "tenant", "`local` takes the name of a setting and its value: `local(\"app.tenant\" = tenant)`".into()),
        ("local(tenant = tenant)", "tenant", "`local` takes the name of a setting as text: `local(\"app.tenant\" = tenant)`".into()),
        ("local(\" \" = tenant)", "\" \"", "a name in `local` must not be empty".into()),
        ("local(\"a\" = x, \"a\" = y)", "\"a\"", "`a` is set twice in `local`; keep one of the two".into()),
        ("retry_if = \"again\"", "\"again\"", "`retry_if` takes a function of the error, without quotes: `retry_if = is_conflict`".into()),
        ("crate = \"db\"", "\"db\"", "`crate` takes a path: `crate = ::poolhouse`".into()),
        ("retries: 3", ":", "an argument is written with `=`: `retries = …`".into()),
        ("\"retries\" = 3", "\"retries\"", "an argument's name is written without quotes: `retries = …`".into()),
        ("3", "3", "expected an argument, such as `retries = 3`".into()),
    ];
    for (args, at, message) in rows {
        arguments(args, &[(at, &message)]);
    }
}

#[test]
fn arguments_that_do_not_go_together() {
    #[rustfmt::skip]
    let rows = [
        ("retries = 1, retries = 2", "retries", "`retries` is set twice; keep one of the two"),
        ("join, mandatory", "join, mandatory", "`join` and `mandatory` are both set, but one means a savepoint of the transaction around it, and the other an error outside of a transaction; keep one of the two"),
        ("durable, retries = 3, mandatory", "durable, retries = 3, mandatory", "`mandatory` and `durable` are both set, but one means an error outside of a transaction, and the other an error inside of a transaction; keep one of the two"),
        ("join = false, mandatory", "join = false, mandatory", "`join` and `mandatory` are both set, but one means a transaction of its own, and the other an error outside of a transaction; keep one of the two"),
        ("retry_if = again, retries = 0", "retry_if = again, retries", "`retry_if` says what is run again, but `retries = 0` runs nothing again"),
    ];
    for (args, at, message) in rows {
        arguments(args, &[(at, message)]);
    }
}

#[test]
fn functions_that_cannot_carry_it() {
    let needs = "`#[transactional]` needs a parameter for the transaction: `tx: &mut Transaction<Postgres>`";
    let passed = "callers pass `&db`, or a transaction that they are in";
    let result = "the transaction is committed after `Ok` and rolled back after `Err`";
    #[rustfmt::skip]
    let rows = [
        ("fn add(tx: &mut Transaction<Postgres>) -> R {}", "fn", "`#[transactional]` goes on an `async fn`: `async fn add`".to_owned()),
        ("async fn add(x: u8) -> R {}", "add", format!("{needs}; {passed}")),
        ("async fn add(db: &PgEngine) -> R {}", "add", format!("{needs} in place of `db: &PgEngine`; {passed}")),
        ("async fn add(db: Engine<Postgres>) -> R {}", "add", format!("{needs} in place of `db: Engine<Postgres>`; {passed}")),
        ("async fn add(a: &mut Transaction<Postgres>, b: &mut Transaction<MySql>) -> R {}", "b: &mut Transaction<MySql>", "`b` is a second transaction, besides `a`; a function has one, which its caller begins or passes on".into()),
        ("async fn add(a: &mut PgTransaction, b: &mut MyTransaction) -> R {}", "b: &mut MyTransaction", "`b` is a second transaction, besides `a`; a function has one, which its caller begins or passes on".into()),
        ("async fn add(a: &mut Transaction<Postgres>, b: &Transaction<MySql>) -> R {}", "b: &Transaction<MySql>", "`b` is a second transaction, besides `a`; a function has one, which its caller begins or passes on".into()),
        ("async fn add(a: &mut Transaction<Postgres>, b: &mut BankTransaction) -> R {}", "&mut BankTransaction", "`b` cannot be had again for another try; take `&BankTransaction`, return what it collects, or write `retries = 0`".into()),
        ("async fn add(tx: &BankTransaction) -> R {}", "&BankTransaction", "the transaction is borrowed, so write `tx: &mut BankTransaction`".into()),
        ("async fn add(tx: &mut sqlx::Transaction<'_, MySql>) -> R {}", "&mut sqlx::Transaction<'_, MySql>", "`#[transactional]` begins a transaction of poolhouse; take `tx: &mut poolhouse::Transaction<MySql>`, which is an executor too".into()),
        ("async fn add(tx: &mut Transaction<'_, Postgres>) -> R {}", "&mut Transaction<'_, Postgres>", "`#[transactional]` begins a transaction of poolhouse; take `tx: &mut poolhouse::Transaction<Postgres>`, which is an executor too".into()),
        ("async fn add(tx: Transaction<Postgres>) -> R {}", "Transaction<Postgres>", "the transaction is borrowed, so write `tx: &mut Transaction<Postgres>`".into()),
        ("async fn add<'a>(tx: &'a mut Transaction<Postgres>) -> R {}", "&'a mut Transaction<Postgres>", "the transaction lives for this call alone, so its lifetime has no name: `tx: &mut Transaction<Postgres>`".into()),
        ("async fn add(&mut self, tx: &mut Transaction<Postgres>) -> R {}", "&mut self", "`&mut self` cannot be had again for another try; take `&self`, or write `retries = 0`".into()),
        ("async fn add(tx: &mut Transaction<Postgres>)  {}", "add", format!("the function must return a `Result`, such as `-> sqlx::Result<()>`: {result}")),
        ("async fn add(tx: &mut Transaction<Postgres>) -> i64 {}", "i64", format!("the function must return a `Result`, such as `-> sqlx::Result<i64>`: {result}")),
        ("async fn add(tx: &mut Transaction<Postgres>) -> Option<i64> {}", "Option<i64>", format!("the function must return a `Result`, such as `-> sqlx::Result<Option<i64>>`: {result}")),
        ("async fn add(tx: &mut Transaction<Postgres>) -> Result<(), Box<dyn Error>> {}", "dyn Error", "the error must be `Send`, because a transaction's future is; write `Box<dyn Error + Send + Sync>`".into()),
        ("async fn add(tx: &mut Transaction<Postgres>) -> std::result::Result<impl Sized, Box<dyn std::error::Error>> {}", "dyn std::error::Error", "the error must be `Send`, because a transaction's future is; write `Box<dyn std::error::Error + Send + Sync>`".into()),
        ("async unsafe fn add(tx: &mut Transaction<Postgres>) -> R {}", "unsafe", "a function under `#[transactional]` cannot be `unsafe`; write `unsafe { … }` in its body".into()),
        ("async extern \"C\" fn add(tx: &mut Transaction<Postgres>) -> R {}", "extern \"C\"", "a function under `#[transactional]` cannot be `extern`".into()),
        ("async fn add(tx: &mut Transaction<Postgres>, #[cfg(x)] a: u8) -> R {}", "#[cfg(x)]", "a parameter under `#[transactional]` cannot depend on `#[cfg]`; write two functions and put `#[cfg]` on each".into()),
        ("async fn add(tx: &mut Transaction<Postgres>) -> R;", "async fn add(tx: &mut Transaction<Postgres>) -> R", "`#[transactional]` goes on a function with a body; a trait's method has its body, and the attribute, in a free function or in an inherent method that it calls".into()),
        ("struct Bank;", "struct", "`#[transactional]` goes on an `async fn` with a body (expected `fn`)".into()),
    ];
    for (source, at, message) in rows {
        function(source, &[(at, &message)]);
    }
    function(
        "#[poolhouse::transactional(retries = 3)] async fn add(tx: &mut Transaction<Postgres>) -> R {}",
        &[(
            "#[poolhouse::transactional(retries = 3)]",
            "`#[transactional]` stands on this function twice; write all arguments in one",
        )],
    );
    check(
        "#[transactional(retries = 0)] async fn add(b: &mut BankTransaction, a: &mut Transaction<Postgres>) -> R {}",
        &[],
    );
    // With `retries = 0`, no argument is needed twice.
    check(
        "#[transactional(retries = 0)] async fn add(&mut self, tx: &mut Transaction<Postgres>, out: &mut Vec<u8>) -> R {}",
        &[],
    );
}
