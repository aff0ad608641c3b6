#[with_pool(extensions = ["citext"], migrations = directory())]
async fn main(db: PgEngine, #[pool(engine = "other", extensions = [])] other: PgEngine) {}

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
    async fn __poolhouse_body(db: PgEngine, other: PgEngine) {}
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute().extensions(["citext"]).migrations(directory()),
    );
    __poolhouse
        .block_on(
            (
                ::poolhouse::__private::parameter::<PgEngine>(),
                ::poolhouse::__private::parameter_with::<
                    PgEngine,
                >(::poolhouse::Settings::attribute().engine("other").extensions([""; 0])),
            ),
            |(db, other)| __poolhouse_body(db, other),
        )
}
