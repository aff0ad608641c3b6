#[with_pool(migrations = "./snapshots/migrations/")]
async fn main(db: SqliteEngine) {}

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
    async fn __poolhouse_body(db: SqliteEngine) {}
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute()
            .embedded_migrations(
                "./snapshots/migrations/",
                &[
                    (
                        "0001_bands.sql",
                        ::core::include_str!(
                            ::core::concat!(::core::env!("CARGO_MANIFEST_DIR"),
                            "/./snapshots/migrations/0001_bands.sql")
                        ),
                    ),
                    (
                        "0002_names.sql",
                        ::core::include_str!(
                            ::core::concat!(::core::env!("CARGO_MANIFEST_DIR"),
                            "/./snapshots/migrations/0002_names.sql")
                        ),
                    ),
                ],
            ),
    );
    __poolhouse
        .block_on(
            (::poolhouse::__private::parameter::<SqliteEngine>(),),
            |(db,)| __poolhouse_body(db),
        )
}
