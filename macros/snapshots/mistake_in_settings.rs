#[with_pool(max_connections = 20, acquire_timeout = "5s")]
async fn main(db: PgEngine) -> anyhow::Result<()> {
    Ok(())
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
    async fn __poolhouse_body(db: PgEngine) -> anyhow::Result<()> {
        Ok(())
    }
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute().acquire_timeout("5s"),
    );
    __poolhouse
        .block_on(
            (::poolhouse::__private::parameter::<PgEngine>(),),
            |(db,)| __poolhouse_body(db),
        )
}
::core::compile_error! {
    "unknown setting `max_connections`: what sqlx calls `max_connections` is `max_size` in poolhouse"
}
