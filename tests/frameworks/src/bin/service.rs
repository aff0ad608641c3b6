//! One of the services: `service axum`.
//!
//! It says where it listens, and which requests have come to a handler.

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    poolhouse_frameworks::service::run(&std::env::args().nth(1).unwrap_or_default())
}
