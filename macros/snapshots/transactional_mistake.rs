#[transactional(retry = 3)]
fn add(a: &mut Transaction<Postgres>, b: &mut sqlx::Transaction<'_, Postgres>, n: u8) -> sqlx::Result<()> {
    insert(a, n).await
}

// expands to

#[allow(unused_variables)]
async fn add(
    __poolhouse_0: impl ::core::marker::Sized,
    __poolhouse_1: impl ::core::marker::Sized,
    n: u8,
) -> sqlx::Result<()> {
    fn __poolhouse_parameter<T>() -> T {
        ::core::unreachable!()
    }
    let a: &mut Transaction<Postgres> = __poolhouse_parameter();
    let b: &mut sqlx::Transaction<'_, Postgres> = __poolhouse_parameter();
    { insert(a, n).await }
}
::core::compile_error! {
    "unknown argument `retry`: write `retries`, which does not count the first try"
}
::core::compile_error! {
    "`#[transactional]` goes on an `async fn`: `async fn add`"
}
::core::compile_error! {
    "`b` is a second transaction, besides `a`; a function has one, which its caller begins or passes on"
}
