#[transactional]
async fn rename(State(db): State<PgEngine>, mut tx: &mut Transaction<Postgres>, Path(id): Path<i64>, _: u8, mut n: u64, f: impl Fn(u64) -> u64) -> Result<(), AppError> {
    n += f(n);
    rename_to(&mut tx, db, id, n).await
}

// expands to

async fn rename(
    __poolhouse_0: State<PgEngine>,
    tx: impl ::poolhouse::TransactionParent<
        <Transaction<Postgres> as ::poolhouse::__private::IsTransaction>::Database,
    >,
    __poolhouse_2: Path<i64>,
    __poolhouse_3: u8,
    n: u64,
    f: impl Fn(u64) -> u64,
) -> Result<(), AppError> {
    #[allow(unused_mut)]
    let State(db) = __poolhouse_0;
    #[allow(unused_mut)]
    let Path(id) = __poolhouse_2;
    #[allow(unused_mut)]
    let _ = __poolhouse_3;
    ::poolhouse::__private::assert_argument(&db);
    ::poolhouse::__private::assert_argument(&id);
    ::poolhouse::__private::assert_argument(&n);
    ::poolhouse::__private::assert_argument(&f);
    let __poolhouse_options = ::poolhouse::TransactionOptions::new().join();
    ::poolhouse::__private::transactional(
            tx,
            __poolhouse_options,
            async move |mut tx: &mut Transaction<Postgres>| -> Result<(), AppError> {
                if let ::core::option::Option::Some(__poolhouse_output) = ::core::option::Option::None::<
                    Result<(), AppError>,
                > {
                    return __poolhouse_output;
                }
                let db = db;
                let id = id;
                let mut n = n;
                let f = f;
                let __poolhouse_output: Result<(), AppError> = {
                    n += f(n);
                    rename_to(&mut tx, db, id, n).await
                };
                #[allow(unreachable_code)] __poolhouse_output
            },
        )
        .await
}
