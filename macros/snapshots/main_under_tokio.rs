/// The service.
#[with_pool(env = "BANDS_URL")]
#[tokio::main(flavor = "current_thread")]
#[tracing::instrument]
async fn main(db: PgEngine) -> anyhow::Result<()> {
    Ok(())
}

// expands to

/// The service.
#[tokio::main(flavor = "current_thread")]
#[tracing::instrument]
async fn main() -> anyhow::Result<()> {
    #[allow(
        clippy::fn_params_excessive_bools,
        clippy::future_not_send,
        clippy::items_after_statements,
        clippy::too_many_arguments,
        clippy::too_many_lines,
        clippy::unused_async
    )]
    async fn __poolhouse_body(db: PgEngine) -> anyhow::Result<()> {
        Ok(())
    }
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute().env("BANDS_URL"),
    );
    __poolhouse
        .main(
            (::poolhouse::__private::parameter::<PgEngine>(),),
            |(db,)| __poolhouse_body(db),
        )
        .await
}
