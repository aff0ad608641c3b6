#[with_pool]
#[tokio::test]
#[should_panic]
async fn counts_bands(db: PgEngine) {
    assert_eq!(count(&db).await, 3);
}

// expands to

#[allow(dead_code)]
async fn counts_bands(db: PgEngine) {
    assert_eq!(count(& db). await, 3);
}
::core::compile_error! {
    "`#[with_pool]` does not support test functions in this version"
}
