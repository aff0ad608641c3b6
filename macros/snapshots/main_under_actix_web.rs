#[with_pool]
#[actix_web::main]
async fn main(db: PgEngine) -> std::io::Result<()> {
    serve(db).await
}

// expands to

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    #[allow(
        clippy::fn_params_excessive_bools,
        clippy::future_not_send,
        clippy::items_after_statements,
        clippy::too_many_arguments,
        clippy::too_many_lines,
        clippy::unused_async
    )]
    async fn __poolhouse_body(db: PgEngine) -> std::io::Result<()> {
        serve(db).await
    }
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute(),
    );
    __poolhouse
        .beside_server()
        .main(
            (::poolhouse::__private::parameter::<PgEngine>(),),
            |(db,)| __poolhouse_body(db),
        )
        .await
}
