#[with_pool(migrations = false, fixtures(seed_bands))]
#[tokio::test]
#[should_panic]
async fn counts_bands(db: PgEngine) {
    assert_eq!(count(&db).await, 3);
}

// expands to

#[tokio::test]
#[should_panic]
async fn counts_bands() {
    #[allow(
        clippy::fn_params_excessive_bools,
        clippy::future_not_send,
        clippy::items_after_statements,
        clippy::too_many_arguments,
        clippy::too_many_lines,
        clippy::unused_async
    )]
    async fn __poolhouse_body(db: PgEngine) {
        assert_eq!(count(& db). await, 3);
    }
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute()
            .no_migrations()
            .fixture_fn("seed_bands", seed_bands),
    );
    __poolhouse
        .test(
            ::poolhouse::__test_function! {
                ::poolhouse::__private::Test::new(::core::concat!(::core::module_path!(),
                "::", "counts_bands")).should_panic().any_panic()
            },
            (::poolhouse::__private::parameter::<PgEngine>(),),
            move |(db,)| __poolhouse_body(db),
        )
        .await
}
