#[transactional(durable, retries = 0)]
async fn collect(&mut self, _: &mut Transaction<MySql>, out: &mut Vec<u8>) -> sqlx::Result<()> {
    out.push(1);
    Ok(())
}

// expands to

async fn collect(
    &mut self,
    __poolhouse_0: impl ::poolhouse::TransactionParent<
        <Transaction<MySql> as ::poolhouse::__private::IsTransaction>::Database,
    >,
    out: &mut Vec<u8>,
) -> sqlx::Result<()> {
    let __poolhouse_options = ::poolhouse::TransactionOptions::new()
        .durable()
        .retries(0);
    ::poolhouse::__private::transactional_once(
            __poolhouse_0,
            __poolhouse_options,
            async move |_: &mut Transaction<MySql>| -> sqlx::Result<()> {
                if let ::core::option::Option::Some(__poolhouse_output) = ::core::option::Option::None::<
                    sqlx::Result<()>,
                > {
                    return __poolhouse_output;
                }
                let out = out;
                let __poolhouse_output: sqlx::Result<()> = {
                    out.push(1);
                    Ok(())
                };
                #[allow(unreachable_code)] __poolhouse_output
            },
        )
        .await
}
