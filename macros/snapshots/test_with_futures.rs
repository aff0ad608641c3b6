#[with_pool]
#[rstest]
#[tokio::test]
async fn counts_bands(#[future] bands: i64, #[future(awt)] known: i64, #[pool] db: PgEngine) {
    assert_eq!(count(&db).await, bands.await + known);
}

// expands to

#[rstest]
#[tokio::test]
async fn counts_bands(#[future] bands: i64, #[future(awt)] known: i64) {
    #[allow(
        clippy::fn_params_excessive_bools,
        clippy::future_not_send,
        clippy::items_after_statements,
        clippy::too_many_arguments,
        clippy::too_many_lines,
        clippy::unused_async
    )]
    async fn __poolhouse_body(
        bands: impl ::core::future::Future<Output = i64>,
        known: i64,
        db: PgEngine,
    ) {
        assert_eq!(count(& db). await, bands. await + known);
    }
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute(),
    );
    __poolhouse
        .test(
            ::poolhouse::__test_function! {
                ::poolhouse::__private::Test::new(::core::concat!(::core::module_path!(),
                "::", "counts_bands"))
            },
            (::poolhouse::__private::parameter::<PgEngine>(),),
            move |(db,)| __poolhouse_body(bands, known, db),
        )
        .await
}
