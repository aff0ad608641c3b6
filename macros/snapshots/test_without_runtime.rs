#[with_pool(isolation = "rollback", flavor = "current_thread")]
#[test]
async fn counts_bands(db: PgEngine) -> Result<(), sqlx::Error> {
    Ok(())
}

// expands to

#[test]
fn counts_bands() -> Result<(), sqlx::Error> {
    #[allow(
        clippy::fn_params_excessive_bools,
        clippy::future_not_send,
        clippy::items_after_statements,
        clippy::too_many_arguments,
        clippy::too_many_lines,
        clippy::unused_async
    )]
    async fn __poolhouse_body(db: PgEngine) -> Result<(), sqlx::Error> {
        Ok(())
    }
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute().isolation("rollback").flavor("current_thread"),
    );
    __poolhouse
        .block_on_test(
            ::poolhouse::__test_function! {
                ::poolhouse::__private::Test::new(::core::concat!(::core::module_path!(),
                "::", "counts_bands"))
            },
            (::poolhouse::__private::parameter::<PgEngine>(),),
            move |(db,)| __poolhouse_body(db),
        )
}
