#[with_pool]
#[tokio::main]
async fn main<T>(db: PgEngine) -> anyhow::Result<T> {
    todo!()
}

// expands to

#[tokio::main]
async fn main() {
    async fn __poolhouse_body<T>(db: PgEngine) -> anyhow::Result<T> {
        todo!()
    }
}
::core::compile_error! {
    "`main` cannot be generic"
}
