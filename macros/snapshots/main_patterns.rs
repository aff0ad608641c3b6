#[with_pool(lazy = true)]
async fn main(mut db: PgEngine, _: MySqlEngine, r#type: SqliteEngine, Wrapper(pool): Wrapper) {
    db = db.clone();
}

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
    async fn __poolhouse_body(
        mut db: PgEngine,
        _: MySqlEngine,
        r#type: SqliteEngine,
        Wrapper(pool): Wrapper,
    ) {
        db = db.clone();
    }
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute().lazy(true),
    );
    __poolhouse
        .block_on(
            (
                ::poolhouse::__private::parameter::<PgEngine>(),
                ::poolhouse::__private::parameter::<MySqlEngine>(),
                ::poolhouse::__private::parameter::<SqliteEngine>(),
                ::poolhouse::__private::parameter::<Wrapper>(),
            ),
            |(db, __poolhouse_1, r#type, __poolhouse_3)| __poolhouse_body(
                db,
                __poolhouse_1,
                r#type,
                __poolhouse_3,
            ),
        )
}
