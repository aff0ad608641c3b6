#[with_pool]
fn main(db: PgEngine) -> anyhow::Result<()> {
    Ok(())
}

// expands to

fn main() {
    async fn __poolhouse_body(db: PgEngine) -> anyhow::Result<()> {
        Ok(())
    }
}
::core::compile_error! {
    "`main` must be an `async fn` under `#[with_pool]`; a runtime attribute such as `#[tokio::main]` goes below `#[with_pool]`, not above it"
}
