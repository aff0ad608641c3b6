#[with_pool(max_size = 20, signals = false)]
async fn main(
    db: PgEngine,
    #[pool(engine = "reports", max_size = 5)] reports: MySqlEngine,
    #[pool] cache: SqliteEngine,
) -> Result<(), Error> {
    Ok(())
}

// expands to

fn main() -> Result<(), Error> {
    #[allow(
        clippy::fn_params_excessive_bools,
        clippy::future_not_send,
        clippy::items_after_statements,
        clippy::too_many_arguments,
        clippy::too_many_lines,
        clippy::unused_async
    )]
    async fn __poolhouse_body(
        db: PgEngine,
        reports: MySqlEngine,
        cache: SqliteEngine,
    ) -> Result<(), Error> {
        Ok(())
    }
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute().max_size(20).signals(false),
    );
    __poolhouse
        .block_on(
            (
                ::poolhouse::__private::parameter::<PgEngine>(),
                ::poolhouse::__private::parameter_with::<
                    MySqlEngine,
                >(::poolhouse::Settings::attribute().engine("reports").max_size(5)),
                ::poolhouse::__private::parameter::<SqliteEngine>(),
            ),
            |(db, reports, cache)| __poolhouse_body(db, reports, cache),
        )
}
