#[transactional(join = false, isolation = IsolationLevel::RepeatableRead, timeout = LIMIT)]
/// Adds a band.
#[tracing::instrument(skip_all)]
pub(crate) async fn add<'a, DB: Backend, N>(self, tx: &mut poolhouse::Transaction<DB>, names: &'a [N]) -> Result<impl Iterator<Item = i64> + use<'a, DB, N>, AppError>
where
    N: AsRef<str>,
{
    self.insert(tx, names).await
}

// expands to

/// Adds a band.
#[tracing::instrument(skip_all)]
#[allow(clippy::used_underscore_binding)]
pub(crate) async fn add<'a, DB: Backend, N>(
    self,
    tx: impl ::poolhouse::TransactionParent<
        <poolhouse::Transaction<DB> as ::poolhouse::__private::IsTransaction>::Database,
    >,
    names: &'a [N],
) -> Result<impl Iterator<Item = i64> + use<'a, DB, N>, AppError>
where
    N: AsRef<str>,
{
    ::poolhouse::__private::assert_argument(&self);
    ::poolhouse::__private::assert_argument(&names);
    let __poolhouse_options = ::poolhouse::TransactionOptions::new()
        .isolation(IsolationLevel::RepeatableRead)
        .timeout(LIMIT);
    ::poolhouse::__private::transactional(
            tx,
            __poolhouse_options,
            async move |tx: &mut poolhouse::Transaction<DB>| {
                let names = names;
                '__poolhouse: { self.insert(tx, names).await }
            },
        )
        .await
}
