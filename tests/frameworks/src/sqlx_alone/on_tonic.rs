//! tonic, with `serve_with_incoming_shutdown`.

use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::signals::shutdown_signal;
use super::{handlers, pool};
use crate::service::on_tonic::generated::acts_server;
use crate::service::on_tonic::{Call, Done};
use crate::service::requests::listening;

/// The service.
#[derive(Debug)]
pub struct Acts {
    pool: PgPool,
}

#[tonic::async_trait]
impl acts_server::Acts for Acts {
    async fn act(&self, request: Request<Call>) -> Result<Response<Done>, Status> {
        let Call { what, key } = request.into_inner();
        if what == "ready" {
            let ready = handlers::ready(&self.pool).await;
            ready.map_err(|_| Status::unavailable("not ready"))?;
        } else {
            let acted = handlers::act(&what, key, &self.pool).await;
            acted.map_err(|error| {
                tracing::error!("a request fails: {error}");
                Status::internal("Internal Server Error")
            })?;
        }
        Ok(Response::new(Done::default()))
    }
}

/// The program.
///
/// # Errors
///
/// A failed start, and the server's errors.
#[tokio::main]
pub async fn main() -> anyhow::Result<()> {
    let pool = pool::connect().await?;
    let acts = Acts { pool: pool.clone() };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    listening(listener.local_addr()?);
    Server::builder()
        .add_service(acts_server::ActsServer::new(acts))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown_signal())
        .await?;
    pool.close().await;
    Ok(())
}
