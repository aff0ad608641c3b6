#[with_pool(engine = "reports")]
async fn nightly() -> Result<(), poolhouse::Error> {
    report().await
}

// expands to

async fn nightly() -> Result<(), poolhouse::Error> {
    #[allow(
        clippy::fn_params_excessive_bools,
        clippy::future_not_send,
        clippy::items_after_statements,
        clippy::too_many_arguments,
        clippy::too_many_lines,
        clippy::unused_async
    )]
    async fn __poolhouse_body() -> Result<(), poolhouse::Error> {
        report().await
    }
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute().engine("reports"),
    );
    __poolhouse.lifespan((), move |()| __poolhouse_body()).await
}
