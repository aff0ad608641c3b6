#[with_pool(crate = crate::vendor::poolhouse, max_size = 2)]
async fn main(#[pool(engine = "a")] a: PgEngine, b: PgEngine) {}

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
    async fn __poolhouse_body(a: PgEngine, b: PgEngine) {}
    let __poolhouse = crate::vendor::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        crate::vendor::poolhouse::Settings::attribute().max_size(2),
    );
    __poolhouse
        .block_on(
            (
                crate::vendor::poolhouse::__private::parameter_with::<
                    PgEngine,
                >(crate::vendor::poolhouse::Settings::attribute().engine("a")),
                crate::vendor::poolhouse::__private::parameter::<PgEngine>(),
            ),
            |(a, b)| __poolhouse_body(a, b),
        )
}
