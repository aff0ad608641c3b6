//! Runs one of the services: `service axum`.
//!
//! The program prints its address, and each request that has reached a handler.

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    poolhouse_frameworks::service::run(&std::env::args().nth(1).unwrap_or_default())
}
