#[transactional(
    read_only,
    deferrable = true,
    retries = RETRIES,
    timeout = "1m 500ms",
    local("app.tenant" = tenant, "app.user" = user.id()),
    retry_if = AppError::is_conflict,
    mandatory,
    crate = crate::database
)]
async fn bands(tx: &mut Transaction<Postgres>, tenant: &str, user: &User) -> Result<Vec<Band>, AppError> {
    all(tx).await
}

// expands to

#[allow(clippy::used_underscore_binding)]
async fn bands(
    tx: impl crate::database::TransactionParent<
        <Transaction<Postgres> as crate::database::__private::IsTransaction>::Database,
    >,
    tenant: &str,
    user: &User,
) -> Result<Vec<Band>, AppError> {
    crate::database::__private::assert_argument(&tenant);
    crate::database::__private::assert_argument(&user);
    let __poolhouse_options = crate::database::TransactionOptions::new()
        .read_only()
        .deferrable()
        .retries(RETRIES)
        .timeout(::core::time::Duration::new(60u64, 500000000u32))
        .local(
            "app.tenant",
            {
                let kept = ::core::clone::Clone::clone(&tenant);
                kept
            },
        )
        .local("app.user", user.id())
        .retry_if(AppError::is_conflict)
        .mandatory();
    crate::database::__private::transactional(
            tx,
            __poolhouse_options,
            async move |tx: &mut Transaction<Postgres>| -> Result<Vec<Band>, AppError> {
                if let ::core::option::Option::Some(__poolhouse_output) = ::core::option::Option::None::<
                    Result<Vec<Band>, AppError>,
                > {
                    return __poolhouse_output;
                }
                #[allow(unused_variables)]
                let tenant = tenant;
                #[allow(unused_variables)]
                let user = user;
                let __poolhouse_output: Result<Vec<Band>, AppError> = { all(tx).await };
                #[allow(unreachable_code)] __poolhouse_output
            },
        )
        .await
}
