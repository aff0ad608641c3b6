#[with_pool(url = url)]
async fn serve<'a, DB: Database, F, const N: usize>(
    url: &'a str,
    #[allow(unused)] (host, port): (String, u16),
    #[pool(min_size = N as u32)] db: Engine<DB>,
    _done: impl Fn() -> F,
) -> Result<&'a str, Error>
where
    F: Future<Output = [u8; N]>,
{
    Ok(url)
}

// expands to

async fn serve<'a, DB: Database, F, const N: usize>(
    url: &'a str,
    __poolhouse_1: (String, u16),
    _done: impl Fn() -> F,
) -> Result<&'a str, Error>
where
    F: Future<Output = [u8; N]>,
{
    #[allow(
        clippy::fn_params_excessive_bools,
        clippy::future_not_send,
        clippy::items_after_statements,
        clippy::too_many_arguments,
        clippy::too_many_lines,
        clippy::unused_async
    )]
    async fn __poolhouse_body<'a, DB: Database, F, const N: usize>(
        url: &'a str,
        #[allow(unused)]
        (host, port): (String, u16),
        db: Engine<DB>,
        _done: impl Fn() -> F,
    ) -> Result<&'a str, Error>
    where
        F: Future<Output = [u8; N]>,
    {
        Ok(url)
    }
    let __poolhouse = ::poolhouse::__private::Attribute::new(
        ::core::env!("CARGO_PKG_NAME"),
        ::poolhouse::Settings::attribute()
            .url({
                let kept = ::core::clone::Clone::clone(&url);
                kept
            }),
    );
    __poolhouse
        .lifespan(
            (
                ::poolhouse::__private::parameter_with::<
                    Engine<DB>,
                >(::poolhouse::Settings::attribute().min_size(N as u32)),
            ),
            move |(db,)| __poolhouse_body::<DB, F, N>(url, __poolhouse_1, db, _done),
        )
        .await
}
