#[with_pool]
pub async fn serve(&self, app: Router, #[pool] mut db: PgEngine) -> Result<(), AppError> {
    self.run(app, &mut db).await
}

// expands to

pub async fn serve(&self, app: Router) -> Result<(), AppError> {
    fn __poolhouse_parameter<T>() -> T {
        ::core::unreachable!()
    }
    let mut db: PgEngine = __poolhouse_parameter();
    { self.run(app, &mut db).await }
}
::core::compile_error! {
    "`#[with_pool]` cannot stand on a method; put it on a free function that the method calls"
}
