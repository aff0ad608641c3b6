#[with_pool(max_size = 20, acquire_timeout = "5s")]
async fn main(db: PgEngine, shutdown: Shutdown) -> anyhow::Result<()> {
    serve(db, shutdown).await
}

// expands to

fn main() -> anyhow::Result<()> {
    #[allow(
        clippy::fn_params_excessive_bools,
        clippy::future_not_send,
        clippy::items_after_statements,
        clippy::too_many_arguments,
        clippy::too_many_lines,
        clippy::unused_async
    )]
    async fn __poolhouse_body(db: PgEngine, shutdown: Shutdown) -> anyhow::Result<()> {
        serve(db, shutdown).await
    }
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute().max_size(20).acquire_timeout("5s"),
    );
    __poolhouse
        .block_on(
            (
                ::poolhouse::__private::parameter::<PgEngine>(),
                ::poolhouse::__private::parameter::<Shutdown>(),
            ),
            |(db, shutdown)| __poolhouse_body(db, shutdown),
        )
}
