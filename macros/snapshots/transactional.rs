#[transactional(isolation = "serializable", retries = 3)]
async fn transfer(tx: &mut Transaction<Postgres>, from: i64, to: i64, cents: i64) -> Result<(), AppError> {
    write(&mut *tx, from, -cents).await?;
    write(tx, to, cents).await
}

// expands to

async fn transfer(
    tx: impl ::poolhouse::TransactionParent<
        <Transaction<Postgres> as ::poolhouse::__private::IsTransaction>::Database,
    >,
    from: i64,
    to: i64,
    cents: i64,
) -> Result<(), AppError> {
    ::poolhouse::__private::assert_argument(&from);
    ::poolhouse::__private::assert_argument(&to);
    ::poolhouse::__private::assert_argument(&cents);
    let __poolhouse_options = ::poolhouse::TransactionOptions::new()
        .join()
        .isolation(::poolhouse::IsolationLevel::Serializable)
        .retries(3);
    ::poolhouse::__private::transactional(
            tx,
            __poolhouse_options,
            async move |tx: &mut Transaction<Postgres>| -> Result<(), AppError> {
                if let ::core::option::Option::Some(__poolhouse_output) = ::core::option::Option::None::<
                    Result<(), AppError>,
                > {
                    return __poolhouse_output;
                }
                let from = from;
                let to = to;
                let cents = cents;
                let __poolhouse_output: Result<(), AppError> = {
                    write(&mut *tx, from, -cents).await?;
                    write(tx, to, cents).await
                };
                #[allow(unreachable_code)] __poolhouse_output
            },
        )
        .await
}
