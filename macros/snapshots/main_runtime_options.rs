#[with_pool(flavor = "multi_thread", worker_threads = CORES / 2)]
async fn main(db: PgEngine) -> ExitCode {
    ExitCode::SUCCESS
}

// expands to

fn main() -> ExitCode {
    #[allow(
        clippy::fn_params_excessive_bools,
        clippy::future_not_send,
        clippy::items_after_statements,
        clippy::too_many_arguments,
        clippy::too_many_lines,
        clippy::unused_async
    )]
    async fn __poolhouse_body(db: PgEngine) -> ExitCode {
        ExitCode::SUCCESS
    }
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute()
            .flavor("multi_thread")
            .worker_threads(CORES / 2),
    );
    __poolhouse
        .block_on(
            (::poolhouse::__private::parameter::<PgEngine>(),),
            |(db,)| __poolhouse_body(db),
        )
}
