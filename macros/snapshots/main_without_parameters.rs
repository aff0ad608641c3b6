#[with_pool]
async fn main() {
    println!("{}", poolhouse::engine_finder::<Sqlite>().is_ok());
}

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
    async fn __poolhouse_body() {
        println!("{}", poolhouse::engine_finder::< Sqlite > ().is_ok());
    }
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute(),
    );
    __poolhouse.block_on((), |()| __poolhouse_body())
}
