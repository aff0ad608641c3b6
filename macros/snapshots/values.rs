#[with_pool(
    max_size = (20),
    acquire_timeout = Duration::from_secs(5),
    connect_with = |options| options.ssl_mode(PgSslMode::Require),
    extensions("citext", EXTENSION),
    session = concat!("SET ", "ROLE app"),
    log_queries = LEVEL,
    migrator = crate::MIGRATOR,
)]
async fn main(db: PgEngine) {}

// expands to

fn main() {
    #[allow(
        clippy::fn_params_excessive_bools,
        clippy::future_not_send,
        clippy::items_after_statements,
        clippy::too_many_arguments,
        clippy::too_many_lines,
        clippy::unused_async
    )]
    async fn __poolhouse_body(db: PgEngine) {}
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute()
            .max_size((20))
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(|options| options.ssl_mode(PgSslMode::Require))
            .extensions(["citext", EXTENSION])
            .session(concat!("SET ", "ROLE app"))
            .log_queries(LEVEL)
            .migrator(&crate::MIGRATOR),
    );
    __poolhouse
        .block_on(
            (::poolhouse::__private::parameter::<PgEngine>(),),
            |(db,)| __poolhouse_body(db),
        )
}
