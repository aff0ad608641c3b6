#[with_pool]
#[tokio::test]
#[should_panic]
async unsafe fn counts_bands(db: PgEngine) {
    assert_eq!(count(&db).await, 3);
}

// expands to

#[allow(dead_code)]
async unsafe fn counts_bands(db: PgEngine) {
    assert_eq!(count(& db). await, 3);
}
::core::compile_error! {
    "a function under `#[with_pool]` cannot be `unsafe`; write `unsafe { … }` in its body"
}
