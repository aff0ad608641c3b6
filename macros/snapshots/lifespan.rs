/// Serves until the caller stops it.
#[with_pool(engine = "reports", max_size = 5)]
#[tracing::instrument(skip_all)]
#[allow(unused_variables)]
pub(crate) async fn serve(app: Router, #[pool] mut db: MySqlEngine) -> Result<(), AppError> {
    app.run(&mut db).await
}

// expands to

/// Serves until the caller stops it.
#[tracing::instrument(skip_all)]
#[allow(unused_variables)]
pub(crate) async fn serve(app: Router) -> Result<(), AppError> {
    #[allow(
        clippy::fn_params_excessive_bools,
        clippy::future_not_send,
        clippy::items_after_statements,
        clippy::too_many_arguments,
        clippy::too_many_lines,
        clippy::unused_async
    )]
    async fn __poolhouse_body(app: Router, mut db: MySqlEngine) -> Result<(), AppError> {
        app.run(&mut db).await
    }
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute().engine("reports").max_size(5),
    );
    __poolhouse
        .lifespan(
            (::poolhouse::__private::parameter::<MySqlEngine>(),),
            move |(db,)| __poolhouse_body(app, db),
        )
        .await
}
